//! Floor 3: one core's whole world. `handle_*` takes what happened, `poll_*` gives what is to be done.

pub mod connections;
pub mod context;
pub mod control;
pub mod credit;
pub mod end_reason;
pub mod inspect;
pub mod io;
pub mod mail;
pub mod owner;
pub mod stats;
pub mod timers;

use crate::base::id::{ConnId, ShardId};
use crate::base::time::Now;
use crate::flow::limits::Limits;
use connections::Connections;
use context::Context;
use control::{ControlReply, ControlRequest};
use inspect::Inspection;
use io::{Action, Door, Sockets};
use mail::Mail;
use owner::Owner;
use stats::Stats;
use std::sync::Arc;
use timers::Timer;

/// One shard: its connections, pools, documents and routes. Call order within a turn: any number of `handle_*`, then
/// `poll_flush` (once, or again while it says that more is due), then `poll_action` and `poll_mail` until empty.
#[derive(Debug)]
pub struct Shard {
    ctx: Context,
    connections: Connections,
    owner: Owner,
}

impl Shard {
    /// Shard `id` of `shards`, at its first moment. `epoch` names this life of the server's memory.
    pub fn new(id: ShardId, shards: u16, limits: Arc<Limits>, epoch: Arc<str>, now: Now) -> Shard {
        let mut ctx = Context::new(id, shards, limits, epoch);
        ctx.now = now;
        let connections = Connections::new(&mut ctx);
        let owner = Owner::new(&mut ctx);
        let mut shard = Shard { ctx, connections, owner };
        shard.deliver_local();
        shard
    }

    /// A connection was accepted at `door` into `slot`. The answer names it from now on.
    pub fn handle_open(&mut self, now: Now, slot: u32, door: Door) -> ConnId {
        self.ctx.now = now;
        self.connections.open(&mut self.ctx, slot, door)
    }

    /// A connection could not be taken in, because every place was taken.
    pub fn handle_refused(&mut self) {
        self.ctx.stats.refused += 1;
    }

    /// Bytes from the peer, in order. Bytes for a connection that is gone are ignored.
    pub fn handle_bytes(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        self.ctx.now = now;
        self.connections.bytes(&mut self.ctx, conn, bytes);
        self.deliver_local();
    }

    /// The peer will send nothing more. It may still read: what it has asked for is answered before the end.
    pub fn handle_eof(&mut self, now: Now, conn: ConnId) {
        self.ctx.now = now;
        self.connections.eof(&mut self.ctx, conn);
        self.deliver_local();
    }

    /// The connection is broken (reset, or any other error of the socket).
    pub fn handle_broken(&mut self, now: Now, conn: ConnId) {
        self.ctx.now = now;
        self.connections.broken(&mut self.ctx, conn);
        self.deliver_local();
    }

    /// A socket that was watched (`Action::WatchWritable`) takes bytes again.
    pub fn handle_writable(&mut self, now: Now, conn: ConnId) {
        self.ctx.now = now;
        self.connections.writable(conn);
    }

    /// A request of the control side, answered at once.
    pub fn handle_control(&mut self, now: Now, request: ControlRequest) -> ControlReply {
        match request {
            ControlRequest::Stats => ControlReply::Stats(Box::new(self.stats().clone())),
            ControlRequest::ReplaceLimits(limits) => {
                self.handle_limits(now, limits);
                ControlReply::LimitsReplaced
            }
        }
    }

    /// Other limits hold from now on, for what is there already too: what waits for a connection, when it is pinged, how
    /// much of a channel's past is kept, how long a list is. What there is more of than may be stays until it ends by
    /// itself: a user's connections, streams under way, bytes that wait. A request under way and the access of a connection
    /// stay as they are. Nothing may differ that needs a restart ([`Limits::restart_needed`]).
    fn handle_limits(&mut self, now: Now, limits: Arc<Limits>) {
        debug_assert!(
            self.ctx.limits.restart_needed(&limits).is_empty(),
            "connections hold numbers of these"
        );
        self.ctx.now = now;
        self.ctx.set_limits(limits);
        self.connections.limits_changed(&mut self.ctx);
        self.owner.limits_changed(&mut self.ctx);
        self.deliver_local();
    }

    /// Mail from another shard, oldest first.
    pub fn handle_mail(&mut self, now: Now, from: ShardId, mail: Vec<Mail>) {
        self.ctx.now = now;
        for mail in mail {
            self.receive(from, mail);
            self.deliver_local();
        }
        self.go_on();
    }

    /// Time has passed `poll_deadline`. Harmless at any other moment.
    pub fn handle_time(&mut self, now: Now) {
        self.ctx.now = now;
        while let Some(timer) = self.ctx.timers.pop(now.mono) {
            match timer {
                Timer::Connections(timer) => self.connections.timer(&mut self.ctx, timer),
                Timer::Owner(timer) => self.owner.timer(&mut self.ctx, timer),
            }
        }
        self.deliver_local();
    }

    /// The server stops: every WebSocket is told so, and every connection ends when it has got what is queued.
    pub fn handle_stop(&mut self, now: Now) {
        self.ctx.now = now;
        self.connections.stop(&mut self.ctx);
        self.deliver_local();
    }

    /// Sends one bounded slice of what is due; true if more is due at once.
    pub fn poll_flush(&mut self, now: Now, sockets: &mut impl Sockets) -> bool {
        self.ctx.now = now;
        let more = self.connections.flush(&mut self.ctx, sockets);
        if !self.connections.streams_wait(&self.ctx) {
            self.owner.give_chunks(&mut self.ctx);
            self.deliver_local();
            self.connections.go_on_streams(&mut self.ctx);
        }
        self.connections.settle(&mut self.ctx);
        if !more {
            let owed: Vec<(ShardId, usize)> = self.ctx.credit.settle().collect();
            for (shard, bytes) in owed {
                self.ctx.post(shard, Mail::Credit { bytes });
            }
        }
        self.deliver_local();
        self.go_on();
        more || self.connections.has_more(&self.ctx) || self.owner.owes_chunks()
    }

    /// The next thing to do to a socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.connections.poll_action()
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
        let Shard { ctx: Context { stats, encoder, .. }, connections, owner } = self;
        connections.count(stats);
        owner.count(stats);
        stats.encoded = encoder.count;
        stats
    }

    /// What it holds at the moment.
    pub fn inspect(&self) -> Inspection {
        let mut inspection = Inspection::default();
        self.connections.inspect(&mut inspection);
        self.owner.inspect(&mut inspection);
        inspection
    }

    /// Handles mail to this shard itself, and the lines of feeds that are there, until there is neither. All that a line
    /// sets off here is done before the next one.
    fn deliver_local(&mut self) {
        loop {
            while let Some(mail) = self.ctx.next_local() {
                self.receive(self.ctx.id, mail);
            }
            if !self.connections.next_line(&mut self.ctx) {
                return;
            }
        }
    }

    /// Goes on with the writes, feeds and imports that waited, where there is room again.
    fn go_on(&mut self) {
        // mail to oneself comes between, so that the owner sees how much is under way
        while self.owner.resume(&mut self.ctx) {
            self.deliver_local();
        }
        self.connections.go_on(&mut self.ctx);
        self.deliver_local();
    }

    fn receive(&mut self, from: ShardId, mail: Mail) {
        if from != self.ctx.id {
            self.ctx.credit.owe(from, mail.weight());
        }
        match mail {
            Mail::Clock { stamp } => self.ctx.stamps.observe(stamp),
            Mail::Credit { bytes } => self.ctx.credit.back(from, bytes),
            Mail::Owner(mail) => self.owner.handle(&mut self.ctx, from, mail),
            Mail::Connections(mail) => self.connections.handle(&mut self.ctx, from, mail),
            Mail::Sequencer(mail) => self.owner.handle_sequencer(&mut self.ctx, from, mail),
        }
    }
}
