//! The hub's WebSocket: frames both ways. What a client has shown and asked for is its `HubClient`.

use crate::flow::encode::frame::Dialect;
use crate::flow::fanout::pool::PoolId;
use crate::flow::request::handshake::{Handshake, HubRequest};
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::Shown;
use crate::flow::state::room::Refusal;
use crate::shard::connections::channels;
use crate::shard::connections::close_code::retry_after_ms;
use crate::shard::connections::hub_client::HubClient;
use crate::shard::connections::memberships::{Memberships, Reserved, give_back};
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::view::View;
use crate::shard::connections::websocket::Socket;
use crate::shard::end_reason::EndReason;
use crate::shard::mail::answer::Reply;
use crate::shard::mail::subscription::Joined;
use crate::shard::mail::user::{Reservation, Session};
use crate::wire::hub::{self, Class, ClientFrame, Command, EVERYONE, ReplyTo, write};
use std::sync::Arc;

/// A connection of the hub.
#[derive(Debug)]
pub struct HubSession {
    socket: Socket,
    /// `None` until it shows to be more than a plain listener.
    client: Option<Box<HubClient>>,
}

impl HubSession {
    /// A client has come to the hub's door.
    pub fn open(view: &mut View<'_>, handshake: Handshake, request: HubRequest) -> HubSession {
        let ping_interval = view.ctx.limits.hub.ping_interval;
        let socket = Socket::open(view, handshake, Dialect::Hub, ping_interval);
        let client = HubClient::open(view, request);
        HubSession { socket, client: (!client.is_plain_listener(view)).then(|| Box::new(client)) }
    }

    /// Bytes from the client.
    pub fn bytes(&mut self, view: &mut View<'_>, mut bytes: &[u8]) {
        let HubSession { socket, client } = self;
        let waits = |client: &Option<Box<HubClient>>| client.as_ref().is_some_and(|client| client.waits());
        if !waits(client) {
            socket.read(view, &mut bytes, |view, data| {
                message(client, view, data);
                !waits(client)
            });
        }
        if let Some(client) = client
            && client.waits()
        {
            client.hold(view, bytes);
        }
    }

    /// How many bytes are held that the client has said.
    pub fn held(&self) -> usize {
        self.client.as_ref().map_or(0, |client| client.held())
    }

    /// An answer has come for which the client was not listened to. What it has said meanwhile is handled now, if it
    /// waits for no other.
    pub fn stop_waiting(&mut self, view: &mut View<'_>) {
        if let Some(held) = self.client.as_mut().and_then(|client| client.stop_waiting()) {
            view.resume_reading();
            self.bytes(view, &held);
        }
    }

    /// Does something for a client. A plain listener has nothing to remember by it.
    fn with_client<R>(&mut self, act: impl FnOnce(&mut HubClient) -> R) -> R {
        match &mut self.client {
            Some(client) => act(client),
            None => act(&mut HubClient::default()),
        }
    }

    /// The state of a subscription.
    pub fn joined(&mut self, view: &mut View<'_>, joined: Joined) {
        if view.subject(joined.pool).is_some_and(Subject::is_channel) {
            return self.channel_joined(view, joined);
        }
        let Joined { pool, at, count, gap, state, .. } = joined;
        let client = &mut self.client;
        match (view.subject(pool).cloned(), &mut *client) {
            (Some(Subject::Room(room)), Some(client)) => client.rooms.joined(view, &room),
            // it may have become a stranger before it could be told
            (Some(Subject::User(user)), Some(client)) => client.presence.ask_again(view, vec![user]),
            _ => {}
        }
        match client {
            Some(client) if gap && client.has_cursor() => return client.resync(view),
            _ if gap => return view.close_slow("slow consumer: deletions that it has missed are forgotten"),
            _ => {}
        }
        if view.follow(pool, state, at)
            && let Some(client) = client
        {
            client.documents.joined(view, pool, count);
        }
    }

    /// What was missed of a channel, a stretch at a time.
    fn channel_joined(&mut self, view: &mut View<'_>, joined: Joined) {
        let Joined { pool, at, gap, state, batch, .. } = joined;
        let late = view.is_late(pool);
        if late && gap {
            let next = batch.as_ref().map_or(at, |batch| batch.since);
            if !view.goes_on_behind_gap(pool, next) {
                return;
            }
            if self.class() > Class::Plain {
                channels::send_gap(view, pool, next);
            }
        }
        if matches!(view.subject(pool), Some(Subject::Channel(name)) if **name != *EVERYONE) {
            channels::end_implicit(view);
        }
        if let Some(client) = self.client.as_mut().filter(|_| !late) {
            client.channels.joined(view, pool, at, gap);
        }
        view.follow_channel(pool, at, batch.as_deref().map(|batch| (state.unwrap_or_default(), batch)));
    }

    /// What the client has of a state that is on its way.
    pub fn missing(&self, pool: PoolId) -> Option<Position> {
        self.client.as_ref()?.documents.missing(pool)
    }

    /// The owner refuses a subscription, which has ended.
    pub fn denied(&mut self, view: &mut View<'_>, pool: PoolId, subject: Subject, refusal: Refusal) {
        self.with_client(|client| match subject {
            Subject::Room(room) => {
                if let Some(reply_to) = client.rooms.denied(view, room) {
                    client.reject(view, &reply_to, &Rejection::refused(refusal, view.ctx.now.wall));
                }
            }
            // of a room that it wants to enter it hears by the other subscription
            Subject::Channel(name) | Subject::Chosen(name, _) if client.rooms.get(&name).is_none() => {
                for reply_to in client.channels.denied(view, pool, name) {
                    client.reject(view, &reply_to, &Rejection::closed_channel());
                }
            }
            _ => {}
        });
    }

    /// Its user has a channel too many: this one.
    pub fn quota_exceeded(&mut self, view: &mut View<'_>, channel: Arc<str>) {
        self.with_client(|client| {
            if let Some(reply_to) = client.channels.quota_exceeded(view, channel) {
                client.reject(view, &reply_to, &Rejection::too_many_channels());
            }
        });
    }

    /// An owner has answered a frame.
    pub fn answer(&mut self, view: &mut View<'_>, reply_to: &ReplyTo, reply: Reply) {
        self.with_client(|client| client.answer(view, reply_to, reply));
    }

    /// The user's owner says whether it may be in one more room.
    pub fn reserved(&mut self, view: &mut View<'_>, reservation: &Reservation) {
        let Some(client) = &mut self.client else { return give_back(view.ctx, reservation) };
        match client.rooms.reserved(view, reservation) {
            Reserved::Refused(Some(reply_to)) => {
                client.reject(view, &reply_to, &Rejection::refused(Refusal::Limit, view.ctx.now.wall));
            }
            Reserved::Unwanted | Reserved::Refused(None) | Reserved::Granted => {}
        }
        self.stop_waiting(view);
    }

    /// The rooms that it is in, if it has shown to be in any.
    pub fn rooms(&mut self) -> Option<&mut Memberships> {
        self.client.as_mut().map(|client| &mut client.rooms)
    }

    /// How one of the users that it has asked about is.
    pub fn presence(&mut self, view: &mut View<'_>, query: u32, shown: (Arc<str>, Option<Shown>)) {
        if let Some(client) = &mut self.client {
            client.presence.shown(view, query, shown);
        }
    }

    /// It may not know any more how these users are.
    pub fn ask_again(&mut self, view: &mut View<'_>, users: Vec<Arc<str>>) {
        if let Some(client) = &mut self.client {
            client.presence.ask_again(view, users);
        }
    }

    /// The answer to its wish for an earlier session.
    pub fn resumed(&mut self, view: &mut View<'_>, session: Option<Box<Session>>) {
        if let Some(client) = &mut self.client {
            client.resumed(view, session);
        }
    }

    fn class(&self) -> Class {
        self.client.as_ref().map_or(Class::Plain, |client| client.class())
    }

    /// A ping is due.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        let limits = &view.ctx.limits.hub;
        let (interval, timeout) = (limits.ping_interval, limits.pong_timeout());
        if self.socket.ping(view, interval, timeout) && self.class() == Class::Forge {
            let stamp = view.ctx.stamp();
            view.send_text(|out| write::ping(stamp, out));
        }
    }

    /// The server stops; the close frame follows.
    pub fn send_shutdown(&mut self, view: &mut View<'_>) {
        if self.class() == Class::Forge {
            let stamp = view.ctx.stamp();
            view.send_text(|out| write::shutdown(stamp, out));
        }
    }

    /// The last frame. Whoever understands it is told before, and what to do about it.
    pub fn send_close(&mut self, view: &mut View<'_>, code: Option<u16>, why: &str, reason: EndReason) {
        if let Some(code) = code.filter(|_| reason != EndReason::Gone && self.class() > Class::Plain) {
            view.send_text(|out| write::disconnect(why, code, retry_after_ms(code), out));
        }
        self.socket.close(view, code, why);
    }

    /// The connection ends; its subscriptions are still there.
    pub fn ended(&mut self, view: &mut View<'_>) {
        if let Some(client) = &mut self.client {
            client.ended(view);
        }
    }
}

/// A frame of a client.
fn message(client: &mut Option<Box<HubClient>>, view: &mut View<'_>, data: &[u8]) {
    let frame: ClientFrame = hub::parse(data);
    let listens = matches!(frame.command, Ok(Command::Subscribe(..) | Command::Unsubscribe(_)));
    match client {
        Some(client) => client.frame(view, frame, data.len()),
        // a plain listener leaves nothing to remember
        None if listens && frame.shows == Class::Plain => {
            HubClient::default().frame(view, frame, data.len());
        }
        None => client.get_or_insert_default().frame(view, frame, data.len()),
    }
}
