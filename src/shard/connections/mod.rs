//! The connections of this shard. Each input is brought to the connection that it is for, once; what that means is the
//! affair of the protocol that the connection speaks.

mod channels;
mod close_code;
mod documents;
mod events;
#[cfg(test)]
mod expiry_tests;
mod feed;
mod http;
mod hub;
mod hub_client;
mod memberships;
mod ooo;
mod presence;
mod protocol;
mod rejection;
mod requests;
mod route;
mod shared;
mod stream;
mod stream_queue;
mod subscriber;
pub mod subscriptions;
mod table;
mod view;
mod websocket;

use crate::base::id::{ConnId, ShardId};
use crate::base::time::{MS, SEC};
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::encode::frame::Frame;
use crate::flow::fanout::Outcome;
use crate::flow::fanout::pool::PoolId;
use crate::shard::connections::feed::{FeedSession, Line};
use crate::shard::connections::http::HttpSession;
use crate::shard::connections::memberships::give_back;
use crate::shard::connections::presence::watched;
use crate::shard::connections::protocol::Protocol;
use crate::shard::connections::requests::leave_route;
use crate::shard::connections::stream_queue::TURN;
use crate::shard::connections::table::ConnectionTable;
use crate::shard::connections::view::Ending;
use crate::shard::context::Context;
use crate::shard::end_reason::EndReason;
use crate::shard::inspect::Inspection;
use crate::shard::io::{Action, Door, Sockets};
use crate::shard::mail::answer::Answer;
use crate::shard::mail::question::ConnectionsQuestion;
use crate::shard::mail::subscription::Mark;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::stats::Stats;
use crate::shard::timers::{ConnectionTimer, Timer};
use std::sync::Arc;

/// The connections of a shard.
#[derive(Debug)]
pub struct Connections {
    table: ConnectionTable,
    /// The soonest moment for which a timer is set to let paced subscriptions go on.
    pacing: u64,
    outcomes: Vec<Outcome>,
}

impl Connections {
    /// Bytes that one connection takes here, two subscriptions included.
    pub const PLACE: usize = ConnectionTable::PLACE;
    /// Bytes that a request takes that is coming in.
    pub const REQUEST: usize = size_of::<HttpSession>();
    /// Bytes that a feed takes.
    pub const FEED: usize = size_of::<FeedSession>();

    /// No connections yet.
    pub fn new(ctx: &mut Context) -> Connections {
        ctx.timers.push(ctx.now.mono, Timer::Connections(ConnectionTimer::Rounds));
        Connections { table: ConnectionTable::new(&ctx.limits), pacing: u64::MAX, outcomes: Vec::new() }
    }

    /// A connection came in.
    pub fn open(&mut self, ctx: &mut Context, slot: u32, door: Door) -> ConnId {
        self.table.open(ctx, slot, door)
    }

    /// Bytes from the peer, in order.
    pub fn bytes(&mut self, ctx: &mut Context, id: ConnId, bytes: &[u8]) {
        self.table.with(ctx, id, |protocol, view| {
            view.record.last_heard = view.ctx.now.mono;
            protocol.bytes(view, bytes);
        });
    }

    /// The peer says nothing more: what it has asked for is answered, then the connection ends.
    pub fn eof(&mut self, ctx: &mut Context, id: ConnId) {
        self.table.with(ctx, id, |protocol, view| {
            view.record.eof = true;
            protocol.eof(view);
        });
    }

    /// The socket is broken.
    pub fn broken(&mut self, ctx: &mut Context, id: ConnId) {
        self.table.end(ctx, id, Ending::Abort(EndReason::Gone));
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, id: ConnId) {
        if self.table.has(id) {
            self.table.shared.subscriptions.fanout.writable(id.slot);
        }
    }

    /// Mail from another shard, or from this one.
    pub fn handle(&mut self, ctx: &mut Context, from: ShardId, mail: ToConnections) {
        match mail {
            ToConnections::Answer(answer) => self.answered(ctx, answer),
            ToConnections::Ask { conn, question } => {
                let part = self.asked(ctx, question);
                ctx.post(from, ToConnections::Answer(Answer::Request { conn, part }));
            }
            ToConnections::Joined(joined) => {
                let id = joined.conn;
                self.table.with_subscriber(ctx, id, |subscriber, view| subscriber.joined(view, joined));
            }
            ToConnections::Denied(denied) => {
                let id = denied.conn;
                self.table.with_subscriber(ctx, id, |subscriber, view| subscriber.denied(view, *denied));
            }
            ToConnections::Frame { pool, frame, mark } => self.deliver(ctx, pool, frame, mark),
            ToConnections::AccessChanged { channel, user } => {
                self.access_changed(ctx, &channel, user.as_ref());
            }
            ToConnections::SightChanged { pool, user } => {
                for slot in self.table.shared.subscriptions.slots_of(pool) {
                    let users = vec![user.clone()];
                    self.table.with_hub(ctx, self.table.id(slot), |hub, view| hub.ask_again(view, users));
                }
            }
            ToConnections::RoomsChanged { conn } => {
                self.table.with_hub(ctx, conn, |hub, view| hub.ask_again(view, watched(view)));
            }
            ToConnections::QuotaExceeded { conn, channel } => {
                self.table
                    .with_subscriber(ctx, conn, |subscriber, view| subscriber.quota_exceeded(view, channel));
            }
            ToConnections::Resumed { conn, session } => {
                self.table.with_hub(ctx, conn, |hub, view| hub.resumed(view, session));
            }
            ToConnections::SessionTaken { conn } => {
                self.table.with_subscriber(ctx, conn, |subscriber, view| subscriber.session_taken(view));
            }
            ToConnections::Reserved { conn, reservation } => {
                let reserved = self
                    .table
                    .with_subscriber(ctx, conn, |subscriber, view| subscriber.reserved(view, &reservation));
                if reserved.is_none() {
                    give_back(ctx, &reservation);
                }
            }
            ToConnections::Departed { conn, room, departure } => {
                self.table.with_subscriber(ctx, conn, |subscriber, view| {
                    subscriber.departed(view, &room, &departure);
                });
            }
            ToConnections::Chunk { scan, chunk } => {
                self.table.with_http(ctx, scan.conn, |http, view| http.chunk(view, from, scan.count, *chunk));
            }
        }
    }

    fn answered(&mut self, ctx: &mut Context, answer: Answer) {
        match answer {
            Answer::Request { conn, part } => {
                let mut part = Some(part);
                self.table.with(ctx, conn, |protocol, view| {
                    protocol.with_http(view, |http, view| http.answer(view, &mut part));
                });
                // nobody is there to take it
                if let Some(ResponsePart::Entered(route, user, true)) = part {
                    leave_route(ctx, route, user);
                }
            }
            Answer::Frame { conn, reply_to, waited, reply } => {
                self.table.with_hub(ctx, conn, |hub, view| {
                    hub.answer(view, &reply_to, reply);
                    if waited {
                        hub.stop_waiting(view);
                    }
                });
            }
            Answer::Line { conn, number, id, result } => {
                ctx.stats.lines += u64::from(result.is_ok());
                self.table.with_feed(ctx, conn, |feed, view| feed.answer(view, Line { number, id }, result));
            }
            Answer::Element { conn } => self.table.with_http(ctx, conn, HttpSession::element_written),
            Answer::Presence { conn, query, shown } => {
                self.table.with_hub(ctx, conn, |hub, view| hub.presence(view, query, *shown));
            }
        }
    }

    /// What another shard's connection wants to know of these.
    fn asked(&mut self, ctx: &mut Context, question: ConnectionsQuestion) -> ResponsePart {
        match question {
            ConnectionsQuestion::Pools => ResponsePart::Pools(self.table.shared.subscriptions.pools()),
            ConnectionsQuestion::Listeners => {
                ResponsePart::Channels(self.table.shared.subscriptions.listeners())
            }
            ConnectionsQuestion::Change(change) => {
                let id = change.conn.conn;
                let changed =
                    self.table.with_subscriber(ctx, id, |subscriber, view| subscriber.change(view, *change));
                ResponsePart::Changed(changed.flatten())
            }
        }
    }

    /// A frame for all members of a pool.
    fn deliver(&mut self, ctx: &mut Context, id: PoolId, frame: Frame, mark: Mark) {
        let fanout = &mut self.table.shared.subscriptions.fanout;
        let Some(pool) = fanout.pools.get_mut(id) else { return };
        if !pool.variant.personal {
            return self.table.shared.subscriptions.deliver(ctx, id, frame, mark);
        }
        // each member adds its own place to it
        let before = std::mem::replace(&mut pool.at, mark.at);
        let slots: Vec<u32> = pool.members.iter().map(|member| member.slot).collect();
        fanout.weigh(&frame);
        ctx.backlog = fanout.backlog();
        for slot in slots {
            self.table.with_subscriber(ctx, self.table.id(slot), |subscriber, view| {
                subscriber.deliver(view, id, &frame, (before, mark.at));
            });
        }
    }

    /// Not everybody may hear a channel any more, or that user may not.
    fn access_changed(&mut self, ctx: &mut Context, channel: &Arc<str>, user: Option<&Arc<str>>) {
        for (pool, slot) in self.table.shared.subscriptions.members_of(channel) {
            self.table.with_subscriber(ctx, self.table.id(slot), |subscriber, view| {
                if user.is_none() || view.user() == user {
                    subscriber.access_changed(view, pool, channel);
                }
            });
        }
    }

    /// A moment has come.
    pub fn timer(&mut self, ctx: &mut Context, timer: ConnectionTimer) {
        match timer {
            ConnectionTimer::Streams => self.table.shared.streams.timer_came(),
            ConnectionTimer::Pace => {
                self.pacing = u64::MAX;
                self.table.shared.subscriptions.pace(ctx);
            }
            ConnectionTimer::Rounds => {
                for slot in 0..self.table.bound() {
                    self.table.check(ctx, slot);
                }
                let next = ctx.now.mono + rounds_every(ctx);
                ctx.timers.push(next, Timer::Connections(ConnectionTimer::Rounds));
            }
        }
    }

    /// Takes the next line of a feed, if one may be handled now; false if there is none. What it sets off on this shard
    /// is to be done before the next one.
    pub fn next_line(&mut self, ctx: &mut Context) -> bool {
        let Some(id) = self.table.shared.ready_feeds.pop_front() else { return false };
        self.table.with_feed(ctx, id, |feed, view| {
            if feed.next_line(view) {
                view.shared.ready_feeds.push_front(id);
            }
        });
        true
    }

    /// Lets feeds and imports that waited go on, if there is room again.
    pub fn go_on(&mut self, ctx: &mut Context) {
        if ctx.is_behind() {
            return;
        }
        for id in std::mem::take(&mut self.table.shared.imports) {
            self.table.with(ctx, id, |protocol, view| protocol.with_http(view, HttpSession::go_on_import));
        }
        self.table.shared.ready_feeds.extend(self.table.shared.held_feeds.drain(..));
    }

    /// Sends one bounded slice of what is due; true if more is due at once.
    pub fn flush(&mut self, ctx: &mut Context, sockets: &mut impl Sockets) -> bool {
        let fanout = &mut self.table.shared.subscriptions.fanout;
        let more = fanout.flush(sockets, &mut self.outcomes);
        ctx.backlog = fanout.backlog();
        for outcome in std::mem::take(&mut self.outcomes) {
            self.handle_outcome(ctx, outcome);
        }
        more
    }

    /// What sending has brought to light.
    fn handle_outcome(&mut self, ctx: &mut Context, outcome: Outcome) {
        match outcome {
            Outcome::Broken(slot) => self.broken(ctx, self.table.id(slot)),
            Outcome::Blocked(slot) => {
                self.table.with(ctx, self.table.id(slot), |_, view| {
                    view.record.blocked_since = view.ctx.now.mono;
                    view.ctx.stats.blocked += 1;
                    view.shared.actions.push_back(Action::WatchWritable(view.id));
                });
            }
            Outcome::Behind(slot, pool, since) => {
                let id = self.table.id(slot);
                self.table.with_subscriber(ctx, id, |_, view| view.fell_behind(pool, since));
            }
            Outcome::Drained(slot) => {
                self.table.with(ctx, self.table.id(slot), |protocol, view| {
                    view.record.blocked_since = 0;
                    view.ctx.stats.drained += 1;
                    protocol.drained(view);
                });
            }
        }
    }

    /// Whether what is done for streams, here and as an owner, waits for a broadcast under way.
    pub fn streams_wait(&self, ctx: &Context) -> bool {
        self.table.shared.subscriptions.fanout.is_broadcasting()
            && self.table.shared.streams.may_wait(ctx.now.mono)
    }

    /// Lets streams go on whose readers have taken everything: as many as fit in a turn, the others in the next ones.
    pub fn go_on_streams(&mut self, ctx: &mut Context) {
        let mut spent = 0;
        for _ in 0..self.table.shared.streams.begin_turn(ctx.now.mono) {
            let Some(id) = self.table.shared.streams.next() else { return };
            if self.table.shared.subscriptions.fanout.queued(id.slot) == 0 {
                self.table.with(ctx, id, |protocol, view| {
                    protocol.with_http(view, |http, view| http.go_on_stream(view, &mut spent));
                });
            }
            if spent >= TURN {
                return self.table.shared.streams.wake();
            }
        }
    }

    /// Lets those go that do not read their replies, goes on with those that have read them, and ends the writing to
    /// those that have got their last bytes: these have `GRACE` to say that they have read them.
    pub fn settle(&mut self, ctx: &mut Context) {
        for id in std::mem::take(&mut self.table.shared.overflowed) {
            self.table.end(ctx, id, Ending::Abort(EndReason::Slow));
        }
        for id in std::mem::take(&mut self.table.shared.unread) {
            self.table.with(ctx, id, |protocol, view| protocol.with_http(view, HttpSession::go_on));
        }
        self.table.end_closing(ctx);
        if let Some(at) = self.table.shared.subscriptions.next_pace().filter(|at| *at < self.pacing) {
            self.pacing = at;
            ctx.timers.push(at, Timer::Connections(ConnectionTimer::Pace));
        }
        if let Some(at) = self.table.shared.streams.deadline() {
            ctx.timers.push(at, Timer::Connections(ConnectionTimer::Streams));
        }
    }

    /// Adds what there is at the moment.
    pub fn inspect(&self, inspection: &mut Inspection) {
        self.table.inspect(inspection);
    }

    /// Whether something is to be done at once.
    pub fn has_more(&self, ctx: &Context) -> bool {
        self.table.shared.subscriptions.fanout.has_more()
            || self.table.shared.streams.is_ready()
            || !self.table.shared.imports.is_empty() && !ctx.is_behind()
    }

    /// Other limits hold from now on. Everything else reads them when it uses them.
    pub fn limits_changed(&mut self, ctx: &mut Context) {
        self.table.shared.limits_changed(&ctx.limits);
        for slot in 0..self.table.bound() {
            self.table.with(ctx, self.table.id(slot), Protocol::limits_changed);
        }
    }

    /// The server stops: every WebSocket is told so, and every connection ends when it has got what is queued.
    pub fn stop(&mut self, ctx: &mut Context) {
        for slot in 0..self.table.bound() {
            self.table.with(ctx, self.table.id(slot), Protocol::stop);
        }
    }

    /// The next thing to do to a socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.table.shared.actions.pop_front()
    }

    /// Writes down what there is.
    pub fn count(&self, stats: &mut Stats) {
        let fanout = &self.table.shared.subscriptions.fanout;
        stats.sent = fanout.sent;
        stats.open = self.table.count() as u64;
        stats.full = fanout.full() as u64;
        stats.backlog = fanout.backlog() as u64;
        stats.pools = fanout.pools.len() as u64;
    }

    /// How many streamed answers and imports are under way or can go on.
    pub fn bulk_work(&self) -> usize {
        self.table.shared.streams.count() + self.table.shared.imports.len()
    }
}

/// How often every connection is looked at: well within the shortest time that matters to one.
fn rounds_every(ctx: &Context) -> u64 {
    let limits = &ctx.limits;
    let pings = limits.ping_interval.min(limits.hub.ping_interval).min(limits.sse.keepalive);
    let shortest = pings.min(limits.pong_timeout).min(limits.handshake_timeout).min(limits.write_timeout);
    (shortest / 4).clamp(10 * MS, SEC)
}
