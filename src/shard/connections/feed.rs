//! The application's lines: each to its owner, in order, with a bound on how many are under way.

use crate::base::id::ShardId;
use crate::flow::conn::reply_queue::ReplyQueue;
use crate::flow::identity::Actor;
use crate::flow::request::lines::{LineBuffer, NextLine};
use crate::flow::request::write::{Done, MergeRule, Write};
use crate::flow::route::owner::owner;
use crate::shard::connections::shared::list_once;
use crate::shard::connections::view::View;
use crate::shard::end_reason::EndReason;
use crate::shard::mail::answer::WriteRefused;
use crate::shard::mail::question::{Question, WriteOrigin, WriteTicket};
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::{SEQUENCER, ToSequencer};
use crate::wire::feed::{FeedOp, FeedReply, LineError, parse, write_error, write_ok};
use crate::wire::key::Name;

/// How many lines of one connection may wait for their owners.
const WINDOW: usize = 1024;

/// A line on its way.
#[derive(Debug)]
pub struct Line {
    /// Its number.
    pub number: u64,
    /// The `id` of its reply, if one is wanted.
    pub id: Option<Box<str>>,
}

/// A batch of several owners.
#[derive(Debug)]
enum Barrier {
    /// Waits until nothing before it is in flight.
    Waiting { line: Line, writes: Vec<Write>, single: bool },
    /// Is being done: nothing goes before its answer.
    UnderWay,
}

/// The application's connection.
#[derive(Debug, Default)]
pub struct FeedSession {
    /// What it has said and is not handled yet.
    lines: LineBuffer,
    /// How many lines wait for their owners.
    in_flight: u32,
    /// Their replies, in their order.
    replies: ReplyQueue,
    barrier: Option<Barrier>,
}

impl FeedSession {
    /// Bytes from the application.
    pub fn bytes(&mut self, view: &mut View<'_>, bytes: &[u8]) {
        self.lines.push(bytes);
        view.shared.ready_feeds.push_back(view.id);
    }

    /// No more will come, but those lines that have come are still handled and answered.
    pub fn eof(&mut self, view: &mut View<'_>) {
        self.lines.ended = true;
        view.shared.ready_feeds.push_back(view.id);
    }

    /// Handles the next line, if there is one and room for it; false if there is not.
    pub fn next_line(&mut self, view: &mut View<'_>) -> bool {
        let is_open = self.replies.len() < WINDOW && self.barrier.is_none();
        // an application that does not read its replies is not read from either
        if !is_open || view.ctx.is_behind() || view.is_unread() {
            self.wait(view);
            return false;
        }
        let max = view.ctx.limits.max_line;
        match self.lines.next(max) {
            NextLine::Line(range) => {
                let (id, op) = parse(self.lines.text(range));
                let line = Line { number: self.lines.number, id };
                self.handle_line(view, line, op);
                true
            }
            NextLine::Partial if self.lines.ended && self.in_flight == 0 => {
                view.finish(EndReason::Gone);
                false
            }
            NextLine::Partial => {
                view.resume_reading();
                false
            }
            NextLine::TooLong => {
                let error = LineError::TooLong(max);
                let line = Line { number: self.lines.number + 1, id: None };
                self.replies.begin(line.number);
                let reply = refusal(view, &line, error.code(), &error.to_string());
                self.done(view, line.number, reply);
                view.finish(EndReason::Violation);
                false
            }
        }
    }

    /// The next line waits; so do further bytes, if many are here already.
    fn wait(&mut self, view: &mut View<'_>) {
        list_once(&mut view.shared.held_feeds, view.id);
        view.pause_beyond_read_ahead(self.lines.held());
    }

    fn handle_line(&mut self, view: &mut View<'_>, line: Line, op: Result<FeedOp, LineError>) {
        self.replies.begin(line.number);
        match op.map(|op| resolve(view, op)) {
            Ok(Ok(write)) => match home(view, &write) {
                Some(home) => {
                    let question = Question::Write { write, ticket: ticket(view, line) };
                    self.ask(view, home, question);
                }
                None => self.wait_alone(view, line, vec![write], true),
            },
            Ok(Err(ops)) => {
                // a batch in a batch is no operation
                let writes: Vec<Write> = ops.into_iter().filter_map(|op| resolve(view, op).ok()).collect();
                let first = writes.first().map_or(Some(view.ctx.id), |write| home(view, write));
                match first.filter(|_| writes.iter().all(|write| home(view, write) == first)) {
                    Some(home) => {
                        let question = Question::Batch { writes, ticket: ticket(view, line) };
                        self.ask(view, home, question);
                    }
                    None => self.wait_alone(view, line, writes, false),
                }
            }
            Err(e) => {
                let reply = refusal(view, &line, e.code(), &e.to_string());
                self.done(view, line.number, reply);
            }
        }
    }

    /// A line has its reply, which goes out behind those of the lines before it.
    fn done(&mut self, view: &mut View<'_>, number: u64, reply: Vec<u8>) {
        let mut next = self.replies.done(number, reply);
        while let Some(reply) = next {
            if !reply.is_empty() {
                view.force_send(reply);
            }
            next = self.replies.pop();
        }
    }

    fn ask(&mut self, view: &mut View<'_>, owner: ShardId, question: Question) {
        self.in_flight += 1;
        view.ctx.post(owner, ToOwner::Ask(question));
    }

    /// Writes of several owners wait until nothing else is in flight.
    fn wait_alone(&mut self, view: &mut View<'_>, line: Line, writes: Vec<Write>, single: bool) {
        self.barrier = Some(Barrier::Waiting { line, writes, single });
        self.pass_barrier(view);
    }

    /// Sends a batch of several owners on its way once nothing before it is in flight.
    fn pass_barrier(&mut self, view: &mut View<'_>) {
        if self.in_flight > 0 {
            return;
        }
        match self.barrier.take() {
            Some(Barrier::Waiting { line, writes, single }) => {
                self.in_flight = 1;
                self.barrier = Some(Barrier::UnderWay);
                let ticket = ticket(view, line);
                view.ctx.post(SEQUENCER, ToSequencer::Batch { ticket, writes, single });
            }
            // it was the batch that was in flight
            Some(Barrier::UnderWay) | None => {}
        }
    }

    /// An owner has answered a line.
    pub fn answer(&mut self, view: &mut View<'_>, line: Line, result: Result<Done, WriteRefused>) {
        let reply = match (result, &line.id) {
            (Err(WriteRefused::Invalid(why)), _) => refusal(view, &line, why.code(), &why.to_string()),
            (Err(WriteRefused::Forbidden(why)), _) => refusal(view, &line, why.code(), &why.to_string()),
            (Ok(done), Some(id)) => acknowledgement(id, &done),
            (Ok(_), None) => Vec::new(),
        };
        self.done(view, line.number, reply);
        self.in_flight -= 1;
        let done = self.lines.ended && self.in_flight == 0;
        self.pass_barrier(view);
        if done {
            list_once(&mut view.shared.held_feeds, view.id);
        }
    }
}

fn ticket(view: &View<'_>, line: Line) -> WriteTicket {
    let Line { number, id } = line;
    WriteTicket { conn: view.id, origin: WriteOrigin::Line { number, id } }
}

/// The owner who can do a write alone, if one can.
fn home(view: &View<'_>, write: &Write) -> Option<ShardId> {
    let shards = view.ctx.shards;
    match write.name() {
        None if shards > 1 => None,
        name => Some(owner(name.unwrap_or(""), shards)),
    }
}

/// What an operation means as a write: a push gets its key here. A batch is several.
fn resolve(view: &mut View<'_>, op: FeedOp) -> Result<Write, Vec<FeedOp>> {
    Ok(match op {
        FeedOp::Set(key, value) => Write::Set(key, value, view.ctx.stamp()),
        FeedOp::Merge(key, value) => Write::Merge(key, value, MergeRule::Feed),
        FeedOp::Patch(key, patch) => Write::Patch(key, patch),
        FeedOp::Del(Name::Key(key)) => Write::Del(key),
        FeedOp::Del(Name::Pattern(pattern)) => Write::Sweep(pattern, view.shared.next_sweep(view.ctx.id)),
        FeedOp::Publish(publish) => Write::Publish(publish, Actor::App),
        FeedOp::Push(pattern, value) => {
            let stamp = view.ctx.stamp();
            let key = pattern.push(&format!("{stamp:x}"));
            Write::Set(key.expect("only such patterns are pushed to"), value, stamp)
        }
        FeedOp::Batch(ops) => return Err(ops),
    })
}

fn acknowledgement(id: &str, done: &Done) -> Vec<u8> {
    let reply = match done {
        Done::Document(key, version) => FeedReply::Document(key.as_str(), *version),
        Done::Swept(count) => FeedReply::Swept(*count),
        Done::Channel(channel, offset, _) => FeedReply::Channel(channel, *offset),
        Done::Batch => FeedReply::Batch,
    };
    let mut out = Vec::with_capacity(96);
    write_ok(id, reply, &mut out);
    out
}

fn refusal(view: &mut View<'_>, line: &Line, code: &str, message: &str) -> Vec<u8> {
    view.ctx.stats.refuse_line(code);
    let mut out = Vec::with_capacity(128);
    write_error(line.id.as_deref(), line.number, code, message, &mut out);
    out
}
