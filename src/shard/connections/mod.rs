//! The connections of this shard: their requests, their sockets, their subscriptions.

mod arrive;
mod channels;
mod documents;
mod events;
mod feeds;
pub mod hub;
mod imports;
mod members;
mod requests;
mod rounds;
mod routes;
mod sockets;
pub mod streams;
mod subs;

use crate::base::id::ConnId;
use crate::base::slab::Table;
use crate::base::time::SEC;
use crate::base::timers::Timers;
use crate::flow::conn::listing::Row;
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::conn::{Conn, Phase};
use crate::flow::encode::frame::Frame;
use crate::flow::fanout::plan::Fanout;
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::queue::Budget;
use crate::flow::limits::Access;
use crate::flow::request::write::SweepId;
use crate::flow::route::subject::Subject;
use crate::shard::connections::streams::Streams;
use crate::shard::context::Context;
use crate::shard::inspect::{ConnectionInspection, Inspection};
use crate::shard::io::{Action, Door};
use crate::shard::mail::question::ConnectionsQuestion;
use crate::wire::hub::{Class, write};
use crate::wire::ws::{self, Inflater};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many bytes of later requests may wait while one is being answered; more are not read.
const PIPELINE: usize = 64 << 10;

/// The close code for readers that are too slow; its range tells clients to come back.
const SLOW: u16 = 3008;

/// How long a peer that has got our last bytes may take to close its side.
const GRACE: u64 = 2 * SEC;

/// Why a connection was closed by us, or found closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer went, politely or not.
    Gone,
    /// It broke the protocol.
    Violation,
    /// It took no byte for `[conn] write_timeout`.
    WriteTimeout,
    /// It gave no sign of life for `[ooo] pong_timeout`.
    PingTimeout,
    /// Its request did not come in time.
    RequestTimeout,
    /// Replies piled up that it did not read.
    Slow,
    /// The server stops.
    Stopping,
    /// A streamed answer could not go on: its documents changed too much meanwhile.
    Aborted,
    /// Its user had as many connections as one may have.
    TooManyConnections,
}

impl Reason {
    /// All of them, each at its own number.
    pub const ALL: [Reason; 9] = [
        Reason::Gone,
        Reason::Violation,
        Reason::WriteTimeout,
        Reason::PingTimeout,
        Reason::RequestTimeout,
        Reason::Slow,
        Reason::Stopping,
        Reason::Aborted,
        Reason::TooManyConnections,
    ];
    /// What they are called in metrics.
    pub const LABELS: [&str; 9] = [
        "gone",
        "violation",
        "write_timeout",
        "ping_timeout",
        "request_timeout",
        "slow",
        "stopping",
        "aborted",
        "too_many_connections",
    ];
}

// a reason without a counter must not compile
const _: () = assert!(Reason::ALL.len() == Reason::TooManyConnections as usize + 1);

/// The connections.
#[derive(Debug)]
pub struct Clients {
    /// By slot.
    pub conns: Table<Conn>,
    /// The sending side.
    pub fanout: Fanout,
    /// What is to be done to sockets.
    pub actions: VecDeque<Action>,
    /// Feeds that wait until less is under way.
    pub held_feeds: Vec<ConnId>,
    /// Streamed answers.
    pub streams: Streams,
    /// Imports that can go on.
    pub(in crate::shard) held_imports: Vec<ConnId>,
    /// Connections whose replies pile up: to be let go.
    doomed: Vec<ConnId>,
    /// Connections whose last bytes are on their way.
    closing: Vec<ConnId>,
    /// Connections whose next request waits until they have read the responses so far.
    unread: Vec<ConnId>,
    /// Pools that hold frames back, and until when.
    pub(in crate::shard) pacing: Timers<PoolId>,
    tickets: u32,
    sweeps: u64,
    scratch: Vec<u8>,
    inflater: Inflater,
}

impl Clients {
    /// No connections.
    pub fn new(budget: Budget) -> Clients {
        Clients {
            conns: Table::default(),
            fanout: Fanout::new(budget),
            actions: VecDeque::new(),
            held_feeds: Vec::new(),
            streams: Streams::default(),
            held_imports: Vec::new(),
            doomed: Vec::new(),
            closing: Vec::new(),
            unread: Vec::new(),
            pacing: Timers::default(),
            tickets: 0,
            sweeps: 0,
            scratch: Vec::new(),
            inflater: Inflater::default(),
        }
    }

    /// A connection came in.
    pub fn open(&mut self, ctx: &mut Context, slot: u32, door: Door) -> ConnId {
        let now = ctx.now.mono;
        let access = match door {
            Door::Clients(n) => ctx.limits.anonymous[n as usize],
            Door::Feed => Access::Write,
        };
        let (phase, due) = match door {
            Door::Clients(_) => (Phase::Http(Box::default()), now + ctx.limits.handshake_timeout),
            Door::Feed => (Phase::Feed(Box::default()), u64::MAX),
        };
        ctx.stats.accepted[usize::from(door == Door::Feed)] += 1;
        let conn = Conn {
            access,
            phase,
            subs: SmallVec::new(),
            heard: now,
            due,
            stuck: 0,
            hub: None,
            paused: false,
            ended: false,
        };
        let generation = self.conns.insert(slot, conn);
        self.fanout.open(slot);
        ConnId { slot, generation }
    }

    /// The connection as it is now in a slot.
    pub fn id(&self, slot: u32) -> ConnId {
        ConnId { slot, generation: self.conns.generation(slot) }
    }

    /// The connection, if it is still there.
    pub fn get(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(conn.slot, conn.generation)
    }

    /// Bytes from a peer (the feed's are handled in `feeds`).
    pub fn bytes(&mut self, ctx: &mut Context, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.get(id) else { return };
        conn.heard = ctx.now.mono;
        match &mut conn.phase {
            Phase::Http(http) => {
                http.push(bytes);
                self.requests(ctx, id);
            }
            Phase::Socket(..) => self.messages(ctx, id, bytes),
            Phase::Events(_) | Phase::Feed(_) | Phase::Closing => {}
        }
    }

    /// A name for a new glob delete.
    pub fn next_sweep(&mut self, ctx: &Context) -> SweepId {
        self.sweeps += 1;
        SweepId { shard: ctx.id, count: self.sweeps }
    }

    /// Sends bytes to one connection, if it is still there; one that does not read its replies is let go.
    pub fn send(&mut self, id: ConnId, bytes: Frame) {
        if self.get(id).is_some() && !self.fanout.direct(id.slot, bytes) {
            // it cannot be told: its socket is full
            self.doomed.push(id);
        }
    }

    /// Sends an answer, beyond the budget if need be: no further request or line is handled while more than the budget
    /// waits, so what piles up is bounded by that and the answers under way.
    pub fn insist(&mut self, id: ConnId, answer: Frame) {
        if self.get(id).is_some() {
            self.fanout.insist(id.slot, answer);
        }
    }

    /// Closes a WebSocket with a code, a stream of events with the event that stands for it. Whoever understands it is
    /// told before, and what to do about it.
    pub fn close(&mut self, ctx: &mut Context, id: ConnId, code: Option<u16>, why: &str, reason: Reason) {
        if self.events(id).is_some() {
            let code = code.unwrap_or(1000);
            self.send(id, events::last(why, code, arrive::come_back(code)).into());
            return self.finish(ctx, id, reason);
        }
        if let Some(code) = code.filter(|_| reason != Reason::Gone && self.class(id) > Class::Plain) {
            self.say(ctx, id, |out| write::disconnect(why, code, arrive::come_back(code), out));
        }
        self.send(id, ws::encode_close(code, why).into());
        self.finish(ctx, id, reason);
    }

    /// Sends what is queued, however slowly it is read, then ends the connection.
    pub fn finish(&mut self, ctx: &mut Context, id: ConnId, reason: Reason) {
        self.take_stream(ctx, id);
        self.depart(ctx, id);
        self.exit_route(ctx, id);
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        conn.phase = Phase::Closing;
        conn.due = u64::MAX;
        if std::mem::replace(&mut conn.paused, false) {
            // bytes that nobody reads would make the kernel reset the connection, and the last response with it
            self.actions.push_back(Action::Resume(id));
        }
        for sub in std::mem::take(&mut conn.subs) {
            self.leave(ctx, &sub);
        }
        ctx.stats.ended[reason as usize] += 1;
        self.closing.push(id);
    }

    /// Lets those go that do not read their replies, goes on with those that have read them, and ends the writing to
    /// those that have got their last bytes: these have `GRACE` to say that they have read them.
    pub fn settle(&mut self, ctx: &mut Context) {
        for id in std::mem::take(&mut self.doomed) {
            self.drop_conn(ctx, id, Reason::Slow);
        }
        for id in std::mem::take(&mut self.unread) {
            self.requests(ctx, id);
        }
        for id in std::mem::take(&mut self.closing) {
            let queued = self.fanout.queued(id.slot) > 0;
            let Some(conn) = self.get(id) else { continue };
            if queued {
                self.closing.push(id);
            } else if conn.ended {
                self.drop_conn(ctx, id, Reason::Gone);
            } else {
                conn.due = ctx.now.mono + GRACE;
                self.actions.push_back(Action::Finish(id));
            }
        }
    }

    /// The peer says nothing more: what it has asked for is answered, then the connection ends.
    pub fn eof(&mut self, ctx: &mut Context, id: ConnId) {
        let queued = self.fanout.queued(id.slot) > 0;
        match self.get(id).map(|conn| &conn.phase) {
            Some(Phase::Http(_)) => self.requests(ctx, id),
            Some(Phase::Closing) if queued => {}
            _ => self.drop_conn(ctx, id, Reason::Gone),
        }
    }

    /// Forgets a connection at once.
    pub fn drop_conn(&mut self, ctx: &mut Context, id: ConnId, reason: Reason) {
        self.take_stream(ctx, id);
        self.depart(ctx, id);
        self.exit_route(ctx, id);
        let Some(conn) = self.get(id) else { return };
        if !matches!(conn.phase, Phase::Closing) {
            ctx.stats.ended[reason as usize] += 1;
        }
        let subs = std::mem::take(&mut self.get(id).expect("just seen").subs);
        for sub in &subs {
            self.leave(ctx, sub);
        }
        self.conns.remove(id.slot);
        self.fanout.forget(id.slot);
        self.actions.push_back(Action::Close(id));
    }

    /// What another shard's connection wants to know of these.
    pub fn asked(&mut self, ctx: &mut Context, question: ConnectionsQuestion) -> ResponsePart {
        match question {
            ConnectionsQuestion::Pools => ResponsePart::Pools(self.pools()),
            ConnectionsQuestion::Listeners => ResponsePart::Channels(self.listeners().collect()),
            ConnectionsQuestion::Change(change) => ResponsePart::Changed(self.change_events(ctx, *change)),
        }
    }

    /// How many connections each pool has.
    fn pools(&self) -> Vec<(Arc<str>, usize)> {
        let rows = self.fanout.pools.iter().map(|(_, pool)| {
            let connections = pool.members.len() + pool.waiting as usize;
            (pool.subject.name().into(), connections)
        });
        rows.collect()
    }

    /// How many connections are subscribed to each channel. Those that get every channel do not count.
    fn listeners(&self) -> impl Iterator<Item = Row> {
        self.fanout.pools.iter().filter_map(|(_, pool)| match &pool.subject {
            Subject::Channel(name) => {
                let subscribers = pool.members.len() + pool.waiting as usize;
                Some(Row { name: name.clone(), offset: None, subscribers })
            }
            _ => None,
        })
    }

    /// Shows what they hold.
    pub fn inspect(&self, inspection: &mut Inspection) {
        let all = (0..self.conns.bound()).filter_map(|slot| self.inspect_one(slot));
        inspection.connections = all.take(self.conns.len()).collect();
        inspection.streams = self.streams.len();
        inspection.waiting_imports = self.held_imports.len();
    }

    fn inspect_one(&self, slot: u32) -> Option<ConnectionInspection> {
        let conn = self.conns.at(slot)?;
        let held = conn.hub.as_ref().and_then(|hub| hub.held.as_ref());
        Some(ConnectionInspection {
            id: self.id(slot),
            queued: self.fanout.queued(slot),
            unhandled: held.map_or(0, Vec::len),
            stream: match &conn.phase {
                Phase::Http(http) => http.stream.as_ref().map(|stream| stream.held()),
                _ => None,
            },
            paused: conn.paused,
            closing: matches!(conn.phase, Phase::Closing),
        })
    }
}
