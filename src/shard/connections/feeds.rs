//! The application's lines: each to its owner, in order, with a bound on what is under way.

use crate::base::id::ConnId;
use crate::flow::conn::Phase;
use crate::flow::conn::feed::{Barrier, Feed};
use crate::flow::request::lines::NextLine;
use crate::flow::request::write::{Done, Write};
use crate::flow::route::owner::owner;
use crate::shard::Shard;
use crate::shard::connections::Reason;
use crate::shard::io::Action;
use crate::shard::mail::answer::WriteRefused;
use crate::shard::mail::question::{Question, WriteOrigin, WriteTicket};
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::{SEQUENCER, ToSequencer};
use crate::wire::feed::{FeedOp, FeedReply, LineError, parse, write_error, write_ok};
use crate::wire::key::Name;

/// How many unhandled bytes of a feed are held before reading from it stops.
const READ_AHEAD: usize = 64 << 10;

/// A line on its way: its number, and the `id` of its reply.
type Line = (u64, Option<Box<str>>);

impl Shard {
    fn feed(&mut self, id: ConnId) -> Option<&mut Feed> {
        match &mut self.clients.get(id)?.phase {
            Phase::Feed(feed) => Some(feed),
            _ => None,
        }
    }

    /// Bytes of a feed; `None`: no more will come, but those that have come are still handled and answered.
    pub(in crate::shard) fn feed_bytes(&mut self, id: ConnId, bytes: Option<&[u8]>) {
        let Some(feed) = self.feed(id) else { return };
        match bytes {
            Some(bytes) => feed.lines.push(bytes),
            None => feed.lines.ended = true,
        }
        self.feed_lines(id);
    }

    /// Handles lines as long as there is room for them.
    fn feed_lines(&mut self, id: ConnId) {
        let max = self.ctx.limits.max_line;
        let mut starved = false;
        // an application that does not read its replies is not read from either
        while !starved
            && !self.ctx.is_behind()
            && self.clients.fanout.queued(id.slot) <= self.ctx.limits.queue_bytes
        {
            let Some(feed) = self.feed(id).filter(|feed| feed.is_open()) else { break };
            match feed.lines.next(max) {
                NextLine::Partial => starved = true,
                NextLine::Line(range) => {
                    let (reply_id, op) = parse(feed.lines.text(range));
                    let line = (feed.lines.number, reply_id);
                    self.feed_line(id, line, op);
                    self.deliver_local();
                }
                NextLine::TooLong => {
                    let (line, error) = ((feed.lines.number + 1, None), LineError::TooLong(max));
                    self.reply_error(id, &line, error.code(), &error.to_string());
                    return self.clients.finish(&mut self.ctx, id, Reason::Violation);
                }
            }
        }
        self.feed_pause(id, starved);
    }

    /// Reads on, or not, as the feed has room; ends it if it has nothing left to do.
    fn feed_pause(&mut self, id: ConnId, starved: bool) {
        let Some(feed) = self.feed(id) else { return };
        if feed.lines.ended && starved && feed.in_flight == 0 {
            return self.clients.finish(&mut self.ctx, id, Reason::Gone);
        }
        let full = feed.lines.held() > READ_AHEAD;
        if !starved && !self.clients.held_feeds.contains(&id) {
            self.clients.held_feeds.push(id);
        }
        let Some(conn) = self.clients.get(id) else { return };
        if !starved && full && !conn.paused {
            conn.paused = true;
            self.clients.actions.push_back(Action::Pause(id));
        } else if starved && conn.paused {
            conn.paused = false;
            self.clients.actions.push_back(Action::Resume(id));
        }
    }

    fn feed_line(&mut self, id: ConnId, line: Line, op: Result<FeedOp, LineError>) {
        let (mut writes, batch): (Vec<Write>, bool) = match op {
            Err(e) => return self.reply_error(id, &line, e.code(), &e.to_string()),
            Ok(FeedOp::Batch(ops)) => (ops.into_iter().map(|op| self.resolve(op)).collect(), true),
            Ok(op) => (vec![self.resolve(op)], false),
        };
        let shards = self.ctx.shards;
        let home = |write: &Write| match write.name() {
            None if shards > 1 => None,
            name => Some(owner(name.unwrap_or(""), shards)),
        };
        let first = writes.first().map_or(Some(self.ctx.id), home);
        let Some(feed) = self.feed(id) else { return };
        match first.filter(|_| writes.iter().all(|write| home(write) == first)) {
            Some(home) => {
                feed.in_flight += 1;
                let ticket =
                    WriteTicket { conn: id, origin: WriteOrigin::Line { number: line.0, id: line.1 } };
                let question = match writes.len() {
                    1 if !batch => Question::Write { write: writes.pop().expect("there is one"), ticket },
                    _ => Question::Batch { writes, ticket },
                };
                self.ctx.post(home, ToOwner::Ask(question));
            }
            None => {
                feed.barrier = Some(Barrier { line: line.0, id: line.1, writes, one: !batch });
                self.pass_barrier(id);
            }
        }
    }

    /// What an operation means as a write: a push gets its key here.
    fn resolve(&mut self, op: FeedOp) -> Write {
        match op {
            FeedOp::Set(key, value) => Write::Set(key, value),
            FeedOp::Merge(key, value) => Write::Merge(key, value),
            FeedOp::Patch(key, patch) => Write::Patch(key, patch),
            FeedOp::Del(Name::Key(key)) => Write::Del(key),
            FeedOp::Del(Name::Pattern(pattern)) => Write::Sweep(pattern, self.clients.next_sweep(&self.ctx)),
            FeedOp::Publish(publish) => Write::Publish(publish),
            FeedOp::Push(pattern, value) => {
                let key = pattern.push(&format!("{:x}", self.ctx.stamp()));
                Write::Set(key.expect("only such patterns are pushed to"), value)
            }
            FeedOp::Batch(_) => unreachable!("a batch in a batch is no operation"),
        }
    }

    /// Sends a batch of several owners on its way once nothing before it is in flight.
    fn pass_barrier(&mut self, id: ConnId) {
        let Some(feed) = self.feed(id).filter(|feed| feed.in_flight == 0) else { return };
        let Some(barrier) = feed.barrier.as_mut().filter(|barrier| !barrier.writes.is_empty()) else {
            return;
        };
        let writes = std::mem::take(&mut barrier.writes);
        let (line, reply_id, one) = (barrier.line, barrier.id.take(), barrier.one);
        feed.in_flight = 1;
        let origin = WriteOrigin::Line { number: line, id: reply_id };
        let ticket = WriteTicket { conn: id, origin };
        self.ctx.post(SEQUENCER, ToSequencer::Batch { ticket, writes, single: one });
    }

    /// An owner has answered a line.
    pub(in crate::shard) fn feed_answer(
        &mut self,
        id: ConnId,
        line: Line,
        result: Result<Done, WriteRefused>,
    ) {
        self.ctx.stats.lines += u64::from(result.is_ok());
        match (result, &line.1) {
            (Err(WriteRefused::Invalid(why)), _) => self.reply_error(id, &line, why.code(), &why.to_string()),
            (Err(WriteRefused::Forbidden(why)), _) => {
                self.reply_error(id, &line, why.code(), &why.to_string())
            }
            (Ok(done), Some(reply_id)) => self.reply_done(id, reply_id, &done),
            (Ok(_), None) => {}
        }
        let Some(feed) = self.feed(id) else { return };
        feed.in_flight -= 1;
        if feed.in_flight == 0 && feed.barrier.as_ref().is_some_and(|barrier| barrier.writes.is_empty()) {
            feed.barrier = None;
        }
        let ended = feed.lines.ended && feed.in_flight == 0;
        self.pass_barrier(id);
        if ended && !self.clients.held_feeds.contains(&id) {
            self.clients.held_feeds.push(id);
        }
    }

    fn reply_done(&mut self, id: ConnId, reply_id: &str, done: &Done) {
        let reply = match done {
            Done::Document(key, version) => FeedReply::Document(key.as_str(), *version),
            Done::Swept(count) => FeedReply::Swept(*count),
            Done::Channel(channel, offset, _) => FeedReply::Channel(channel, *offset),
            Done::Batch => FeedReply::Batch,
        };
        let mut out = Vec::with_capacity(96);
        write_ok(reply_id, reply, &mut out);
        self.clients.insist(id, out.into());
    }

    fn reply_error(&mut self, id: ConnId, line: &Line, code: &str, message: &str) {
        self.ctx.stats.refuse_line(code);
        let mut out = Vec::with_capacity(128);
        write_error(line.1.as_deref(), line.0, code, message, &mut out);
        self.clients.insist(id, out.into());
    }

    /// Goes on with the feeds that waited, where there is room again.
    pub(in crate::shard) fn feed_on(&mut self) {
        self.resume_owner();
        if self.ctx.is_behind() {
            return;
        }
        self.imports_on();
        for id in std::mem::take(&mut self.clients.held_feeds) {
            self.feed_lines(id);
        }
    }
}
