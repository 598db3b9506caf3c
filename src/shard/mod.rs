//! Floor 3: one core's whole world. `handle_*` takes what happened, `poll_*` gives what is to be done.

pub mod connections;
pub mod context;
pub mod credit;
pub mod inspect;
pub mod io;
pub mod mail;
pub mod owner;
pub mod stats;
pub mod timers;

use crate::base::id::{ConnId, ShardId};
use crate::base::time::Now;
use crate::flow::conn::Phase;
use crate::flow::fanout::plan::Outcome;
use crate::flow::fanout::queue::Budget;
use crate::flow::limits::Limits;
use crate::wire::hub::{Class, write};
use connections::{Clients, Reason};
use context::Context;
use inspect::Inspection;
use io::{Action, Door, Sockets};
use mail::Mail;
use mail::answer::Answer;
use mail::to_connections::ToConnections;
use owner::Owner;
use stats::Stats;
use std::sync::Arc;
use timers::{ConnectionTimer, Timer};

/// One shard: its connections, pools, documents and routes. Call order within a turn: any number of `handle_*`, then
/// `poll_flush` (once, or again while it says that more is due), then `poll_action` and `poll_mail` until empty.
#[derive(Debug)]
pub struct Shard {
    ctx: Context,
    clients: Clients,
    owner: Owner,
    /// The soonest moment for which a timer is set to let paced subscriptions go on.
    pacing: u64,
    outcomes: Vec<Outcome>,
}

impl Shard {
    /// Shard `id` of `shards`, at its first moment.
    pub fn new(id: ShardId, shards: u16, limits: Arc<Limits>, epoch: Arc<str>, now: Now) -> Shard {
        let clients = Clients::new(Budget { bytes: limits.queue_bytes, frames: limits.hub.queue_frames });
        let mut ctx = Context::new(id, shards, limits.clone(), epoch);
        ctx.now = now;
        let owner = Owner::new(&mut ctx);
        let mut shard = Shard { ctx, clients, owner, pacing: u64::MAX, outcomes: Vec::new() };
        shard.ctx.timers.push(now.mono, Timer::Connections(ConnectionTimer::Rounds));
        shard.deliver_local();
        shard
    }

    /// A connection was accepted at `door` into `slot`. The answer names it from now on.
    pub fn handle_open(&mut self, now: Now, slot: u32, door: Door) -> ConnId {
        self.ctx.now = now;
        self.clients.open(&mut self.ctx, slot, door)
    }

    /// A connection could not be taken in, because every place was taken.
    pub fn handle_refused(&mut self) {
        self.ctx.stats.refused += 1;
    }

    /// Bytes from the peer, in order. Bytes for a connection that is gone are ignored.
    pub fn handle_bytes(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        self.ctx.now = now;
        match self.clients.get(conn).map(|conn| &conn.phase) {
            Some(Phase::Feed(_)) => self.feed_bytes(conn, Some(bytes)),
            Some(_) => self.clients.bytes(&mut self.ctx, conn, bytes),
            None => {}
        }
        self.deliver_local();
    }

    /// The peer will send nothing more. It may still read: what it has asked for is answered before the end.
    pub fn handle_eof(&mut self, now: Now, conn: ConnId) {
        self.ctx.now = now;
        let Some(there) = self.clients.get(conn) else { return };
        there.ended = true;
        match there.phase {
            Phase::Feed(_) => self.feed_bytes(conn, None),
            _ => self.clients.eof(&mut self.ctx, conn),
        }
        self.deliver_local();
    }

    /// The connection is broken (reset, or any other error of the socket).
    pub fn handle_broken(&mut self, now: Now, conn: ConnId) {
        self.ctx.now = now;
        self.clients.drop_conn(&mut self.ctx, conn, Reason::Gone);
        self.deliver_local();
    }

    /// A socket that was watched (`Action::WatchWritable`) takes bytes again.
    pub fn handle_writable(&mut self, now: Now, conn: ConnId) {
        self.ctx.now = now;
        if self.clients.get(conn).is_some() {
            self.clients.fanout.writable(conn.slot);
        }
    }

    /// Mail from another shard, oldest first.
    pub fn handle_mail(&mut self, now: Now, from: ShardId, mail: Vec<Mail>) {
        self.ctx.now = now;
        for mail in mail {
            self.receive(from, mail);
            self.deliver_local();
        }
        self.feed_on();
    }

    /// Time has passed `poll_deadline`. Harmless at any other moment.
    pub fn handle_time(&mut self, now: Now) {
        self.ctx.now = now;
        while let Some(timer) = self.ctx.timers.pop(now.mono) {
            self.timer(timer);
        }
        self.deliver_local();
    }

    /// The server stops: every WebSocket is told so, and every connection ends when it has got what is queued.
    pub fn handle_stop(&mut self, now: Now) {
        self.ctx.now = now;
        for slot in 0..self.clients.conns.bound() {
            let id = self.clients.id(slot);
            match self.clients.conns.at(slot).map(|conn| &conn.phase) {
                Some(Phase::Socket(..) | Phase::Events(_)) => {
                    if self.clients.class(id) == Class::Forge {
                        let stamp = self.ctx.stamp();
                        self.clients.say(&mut self.ctx, id, |out| write::shutdown(stamp, out));
                    }
                    let why = "the server stops";
                    self.clients.close(&mut self.ctx, id, Some(1001), why, Reason::Stopping);
                }
                Some(Phase::Http(_) | Phase::Feed(_)) => {
                    self.clients.finish(&mut self.ctx, id, Reason::Stopping)
                }
                Some(Phase::Closing) | None => {}
            }
        }
        self.deliver_local();
    }

    /// Sends one bounded slice of what is due; true if more is due at once.
    pub fn poll_flush(&mut self, now: Now, sockets: &mut impl Sockets) -> bool {
        self.ctx.now = now;
        let more = self.clients.fanout.flush(sockets, &mut self.outcomes);
        self.ctx.backlog = self.clients.fanout.backlog();
        for outcome in std::mem::take(&mut self.outcomes) {
            self.clients.outcome(&mut self.ctx, outcome);
        }
        if !self.clients.streams_wait(&self.ctx) {
            self.owner.give_chunks(&mut self.ctx);
            self.deliver_local();
            self.clients.pump(&mut self.ctx);
        }
        self.clients.settle(&mut self.ctx);
        if let Some(at) = self.clients.pacing.next().filter(|at| *at < self.pacing) {
            self.pacing = at;
            self.ctx.timers.push(at, Timer::Connections(ConnectionTimer::Pace));
        }
        if let Some(at) = self.clients.streams.deadline() {
            self.ctx.timers.push(at, Timer::Connections(ConnectionTimer::Streams));
        }
        if !more {
            let owed: Vec<(ShardId, usize)> = self.ctx.credit.settle().collect();
            for (shard, bytes) in owed {
                self.ctx.post(shard, Mail::Credit { bytes });
            }
        }
        self.deliver_local();
        self.feed_on();
        let streams = self.clients.streams.is_ready() || self.owner.owes_chunks();
        more || self.clients.fanout.has_more() || streams || self.can_import()
    }

    /// The next thing to do to a socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.clients.actions.pop_front()
    }

    /// Everything waiting for shard `to`, oldest first; `None` if nothing.
    pub fn poll_mail(&mut self, to: ShardId) -> Option<Vec<Mail>> {
        self.ctx.take(to)
    }

    /// When `handle_time` is next wanted (`Now::mono`).
    pub fn poll_deadline(&self) -> Option<u64> {
        self.ctx.timers.next()
    }

    /// What has been counted so far, and what there is.
    pub fn stats(&mut self) -> &Stats {
        let Shard { ctx: Context { stats, encoder, .. }, clients, owner, .. } = self;
        let fanout = &clients.fanout;
        (stats.sent, stats.encoded) = (fanout.sent, encoder.count);
        stats.open = clients.conns.len() as u64;
        stats.full = fanout.full() as u64;
        stats.backlog = fanout.backlog() as u64;
        stats.pools = fanout.pools.len() as u64;
        owner.count(stats);
        stats
    }

    /// What it holds at the moment.
    pub fn inspect(&self) -> Inspection {
        let mut inspection = Inspection::default();
        self.owner.inspect(&mut inspection);
        self.clients.inspect(&mut inspection);
        inspection
    }

    /// Handles mail to this shard itself until there is none.
    fn deliver_local(&mut self) {
        while let Some(mail) = self.ctx.next_local() {
            self.receive(self.ctx.id, mail);
        }
    }

    fn receive(&mut self, from: ShardId, mail: Mail) {
        if from != self.ctx.id {
            self.ctx.credit.owe(from, mail.weight());
        }
        match mail {
            Mail::Clock { stamp } => self.ctx.stamps.observe(stamp),
            Mail::Credit { bytes } => self.ctx.credit.back(from, bytes),
            Mail::Owner(mail) => self.owner.handle(&mut self.ctx, from, mail),
            Mail::Connections(mail) => self.receive_as_connections(from, mail),
            Mail::Sequencer(mail) => self.owner.handle_sequencer(&mut self.ctx, from, mail),
        }
    }

    /// The owner answers what has waited. Mail to oneself comes between, so that it sees how much is under way.
    fn resume_owner(&mut self) {
        while self.owner.resume(&mut self.ctx) {
            self.deliver_local();
        }
    }

    fn receive_as_connections(&mut self, from: ShardId, mail: ToConnections) {
        let Shard { ctx, clients, .. } = self;
        match mail {
            ToConnections::Answer(answer) => self.answered(answer),
            ToConnections::Ask { conn, question } => {
                let part = clients.asked(ctx, question);
                ctx.post(from, ToConnections::Answer(Answer::Request { conn, part }));
            }
            ToConnections::Joined(joined) => clients.joined(ctx, joined),
            ToConnections::Denied(denied) => clients.denied(ctx, *denied),
            ToConnections::Frame { pool, frame, mark } => clients.deliver(ctx, pool, frame, mark),
            ToConnections::AccessChanged { channel, user } => clients.closed(ctx, &channel, user.as_ref()),
            ToConnections::QuotaExceeded { conn, channel } => clients.over(ctx, conn, channel),
            ToConnections::Resumed { conn, session } => clients.resumed(ctx, conn, session),
            ToConnections::SessionTaken { conn } => clients.yield_session(ctx, conn),
            ToConnections::Reserved { conn, reservation } => clients.reserved(ctx, conn, &reservation),
            ToConnections::Departed { conn, room, departure } => clients.out(ctx, conn, &room, &departure),
            ToConnections::Chunk { scan, chunk } => clients.part(from, scan, *chunk),
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Shard { ctx, clients, .. } = self;
        match answer {
            Answer::Request { conn, part } => clients.answer(ctx, conn, part),
            Answer::Frame { conn, about, waited, reply } => {
                clients.frame_answer(ctx, conn, &about, reply);
                if waited {
                    clients.go_on(ctx, conn);
                }
            }
            Answer::Line { conn, number, id, result } => self.feed_answer(conn, (number, id), result),
            Answer::Element { conn } => clients.import_written(conn),
            Answer::Presence { conn, query, shown } => clients.look(ctx, conn, query, *shown),
        }
    }
}
