//! Connections with subscriptions, by dialect: how each is told that a state has come, that something was missed, that
//! the server is there still, and that the connection ends.

use crate::flow::encode::frame::Frame;
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::request::events::SubscriptionChange;
use crate::flow::request::position::Position;
use crate::shard::connections::close_code::{GOING_AWAY, SESSION_TAKEN, TOO_MANY_CONNECTIONS};
use crate::shard::connections::events::{self, EventsSession};
use crate::shard::connections::hub::HubSession;
use crate::shard::connections::memberships::{Memberships, give_back};
use crate::shard::connections::ooo::OooSession;
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::route::RouteSession;
use crate::shard::connections::view::View;
use crate::shard::end_reason::EndReason;
use crate::shard::mail::subscription::{JoinDenied, Joined};
use crate::shard::mail::user::{Departure, Reservation};
use std::sync::Arc;

/// A connection with subscriptions.
#[derive(Debug)]
pub enum Subscriber {
    /// A WebSocket of the ooo dialect.
    Ooo(OooSession),
    /// A WebSocket of the hub.
    Hub(HubSession),
    /// Server-sent events.
    Events(Box<EventsSession>),
    /// Server-sent events of a route.
    Route(Box<RouteSession>),
}

impl Subscriber {
    /// Bytes from the client. Who gets events says nothing.
    pub fn bytes(&mut self, view: &mut View<'_>, bytes: &[u8]) {
        match self {
            Subscriber::Ooo(session) => session.bytes(view, bytes),
            Subscriber::Hub(session) => session.bytes(view, bytes),
            Subscriber::Events(_) | Subscriber::Route(_) => {}
        }
    }

    /// The state of a subscription has come: from here on the connection follows.
    pub fn joined(&mut self, view: &mut View<'_>, joined: Joined) {
        if !view.subscriptions().waits_for(view.id.slot, joined.pool, joined.ticket) {
            return;
        }
        view.ctx.stats.joins[usize::from(joined.state.is_none())] += 1;
        match self {
            Subscriber::Ooo(session) => session.joined(view, joined),
            Subscriber::Hub(session) => session.joined(view, joined),
            Subscriber::Events(session) => session.joined(view, joined),
            Subscriber::Route(session) => session.joined(view, joined),
        }
        // one channel at a time: the next
        if view.shared.subscriptions.may_catch_up(view.id.slot) && !view.is_ending() {
            view.catch_up(|pool| self.missing(pool));
        }
    }

    /// The owner refuses a subscription.
    pub fn denied(&mut self, view: &mut View<'_>, denied: JoinDenied) {
        let JoinDenied { pool, ticket, refusal, .. } = denied;
        if !view.subscriptions().waits_for(view.id.slot, pool, ticket) {
            return;
        }
        let Some(subject) = view.subject(pool).cloned() else { return };
        view.unsubscribe(pool);
        match self {
            Subscriber::Ooo(_) => {}
            Subscriber::Hub(session) => session.denied(view, pool, subject, refusal),
            Subscriber::Events(session) => session.denied(view, pool, subject, refusal),
            Subscriber::Route(session) => session.denied(view, subject.name(), &Rejection::closed_channel()),
        }
    }

    /// What the client has of a state that is on its way, where that is more than how far it had come.
    pub fn missing(&self, pool: PoolId) -> Option<Position> {
        match self {
            Subscriber::Hub(session) => session.missing(pool),
            Subscriber::Events(session) => session.missing(pool),
            Subscriber::Ooo(_) | Subscriber::Route(_) => None,
        }
    }

    /// A frame of a pool whose members add their own place to it, which takes them from one position to another.
    pub fn deliver(&mut self, view: &mut View<'_>, pool: PoolId, frame: &Frame, step: (Reach, Reach)) {
        match self {
            Subscriber::Events(session) => session.deliver(view, pool, frame, step),
            // these share their bytes
            Subscriber::Ooo(_) | Subscriber::Hub(_) | Subscriber::Route(_) => {}
        }
    }

    /// The user holds too much: the connection, or one of its channels, is given up.
    pub fn quota_exceeded(&mut self, view: &mut View<'_>, channel: Option<Arc<str>>) {
        let Some(channel) = channel else {
            let why = "you have as many connections as you may have";
            return view.close(Some(TOO_MANY_CONNECTIONS), why, EndReason::TooManyConnections);
        };
        match self {
            Subscriber::Hub(session) => session.quota_exceeded(view, channel),
            Subscriber::Events(session) => session.quota_exceeded(view, channel),
            Subscriber::Ooo(_) | Subscriber::Route(_) => {}
        }
    }

    /// The user's owner says whether it may be in one more room.
    pub fn reserved(&mut self, view: &mut View<'_>, reservation: &Reservation) {
        match self {
            Subscriber::Hub(session) => session.reserved(view, reservation),
            Subscriber::Events(session) => session.reserved(view, reservation),
            Subscriber::Ooo(_) | Subscriber::Route(_) => give_back(view.ctx, reservation),
        }
    }

    /// The rooms that the connection is in, if it can be in any.
    fn rooms(&mut self) -> Option<&mut Memberships> {
        match self {
            Subscriber::Hub(session) => session.rooms(),
            Subscriber::Events(session) => Some(session.rooms()),
            Subscriber::Ooo(_) | Subscriber::Route(_) => None,
        }
    }

    /// The owner of a room says that the connection is in it no more.
    pub fn departed(&mut self, view: &mut View<'_>, room: &Arc<str>, departure: &Departure) {
        if let Some(rooms) = self.rooms() {
            rooms.departed(view, room, departure);
        }
    }

    /// Not everybody may hear a channel any more, or the connection's user may not: one that only listens to it asks
    /// again, from where it stands.
    pub fn access_changed(&mut self, view: &mut View<'_>, pool: PoolId, channel: &str) {
        if self.rooms().is_some_and(|rooms| !rooms.only_listens(channel)) {
            return;
        }
        let Some(subject) = view.subject(pool).cloned() else { return };
        let at = view.position(pool).unwrap_or_default();
        view.unsubscribe(pool);
        view.subscribe(&subject, Position::Offset((*view.ctx.epoch).into(), at.as_offset()));
    }

    /// Changes what the connection gets as events. Says what of it could not be done; `None` if it is not the one that
    /// is meant.
    pub fn change(&mut self, view: &mut View<'_>, change: SubscriptionChange) -> Option<Vec<String>> {
        match self {
            Subscriber::Events(session) => session.change(view, change),
            Subscriber::Ooo(_) | Subscriber::Hub(_) | Subscriber::Route(_) => None,
        }
    }

    /// The session of the connection goes on at another one.
    pub fn session_taken(&self, view: &mut View<'_>) {
        view.close(Some(SESSION_TAKEN), "the session goes on elsewhere", EndReason::Gone);
    }

    /// Other limits hold from now on. A client that was pinged at the old pace could not answer at the new one, so it
    /// counts as heard.
    pub fn limits_changed(&self, view: &mut View<'_>) {
        let limits = &view.ctx.limits;
        let pace = match self {
            Subscriber::Ooo(_) => limits.ping_interval,
            Subscriber::Hub(_) => limits.hub.ping_interval,
            Subscriber::Events(_) => limits.sse.keepalive,
            Subscriber::Route(session) => session.keepalive(limits),
        };
        view.record.last_heard = view.ctx.now.mono;
        view.due_within(pace);
    }

    /// A sign of life is due.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        match self {
            Subscriber::Ooo(session) => session.overdue(view),
            Subscriber::Hub(session) => session.overdue(view),
            Subscriber::Events(session) => session.overdue(view),
            Subscriber::Route(session) => session.overdue(view),
        }
    }

    /// The server stops.
    pub fn stop(&mut self, view: &mut View<'_>) {
        if let Subscriber::Hub(session) = self {
            session.send_shutdown(view);
        }
        view.close(Some(GOING_AWAY), "the server stops", EndReason::Stopping);
    }

    /// The last bytes, which say why.
    pub fn send_close(&mut self, view: &mut View<'_>, code: Option<u16>, why: &str, reason: EndReason) {
        match self {
            Subscriber::Ooo(session) => session.send_close(view, code, why),
            Subscriber::Hub(session) => session.send_close(view, code, why, reason),
            Subscriber::Events(_) | Subscriber::Route(_) => events::send_close(view, code, why),
        }
    }

    /// The connection ends; its subscriptions are still there.
    pub fn ended(&mut self, view: &mut View<'_>) {
        match self {
            Subscriber::Ooo(_) => {}
            Subscriber::Hub(session) => session.ended(view),
            Subscriber::Events(session) => session.ended(view),
            Subscriber::Route(session) => session.ended(view),
        }
    }
}
