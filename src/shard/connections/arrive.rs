//! Who comes to the hub, and what is left of it when it goes: identity, limits per user, sessions.

use crate::base::id::ConnId;
use crate::flow::conn::hub::Hub;
use crate::flow::request::documents::DocumentRequest;
use crate::flow::request::handshake::HubRequest;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::channels::too_many_channels;
use crate::shard::connections::events::is_ours;
use crate::shard::connections::{Clients, Reason};
use crate::shard::context::Context;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{QuotaChange, Session, SessionUpdate, session_name};
use crate::wire::cursor::BadCursor;
use crate::wire::hub::write::{self, Object, System};
use crate::wire::hub::{Class, EVERYONE, ReplyTo};
use std::sync::Arc;

/// The close code for one connection too many of a user. Those that it has may be dead and not found to be yet, so it
/// may come back, but not at once.
const CROWDED: u16 = 3009;
/// The close code for a connection whose session was taken up by another one; its range tells clients to stay away.
const TAKEN_OVER: u16 = 3510;

/// After how many milliseconds a client that was closed with that code may come back by itself, if at all. The ranges
/// are those of the protocol's page.
pub(super) fn come_back(code: u16) -> Option<u64> {
    match code {
        CROWDED => Some(10_000),
        1001 | 3000..=3499 => Some(1_000),
        _ => None,
    }
}

impl Clients {
    /// A connection has come to the hub's door.
    pub(super) fn arrive(&mut self, ctx: &mut Context, id: ConnId, arrival: HubRequest) {
        let HubRequest { channels, rooms, user, session, native, forge, cursor } = arrival;
        let class = match (native, forge) {
            (_, true) => Class::Forge,
            (true, false) => Class::Native,
            (false, false) => Class::Plain,
        };
        let Some(conn) = self.get(id) else { return };
        let lost = cursor.as_ref().is_some_and(|cursor| !cursor.as_ref().is_ok_and(|c| is_ours(c, ctx)));
        let cursor = cursor.filter(|_| !lost).and_then(Result::ok).map(Box::new);
        if user.is_some() || cursor.is_some() || class > Class::Plain {
            conn.hub = Some(Box::new(Hub { class, strict: native, user, cursor, ..Hub::default() }));
        }
        self.hold(ctx, id, QuotaChange::Connect);
        self.subscribe(ctx, id, Subject::Channel(EVERYONE.into()), Position::Nothing);
        if lost {
            self.say_resync(ctx, id);
        }
        if let Some(session) = session {
            self.want_session(ctx, id, session);
        }
        if channels.is_empty() && ctx.limits.hub.implicit_channels && class == Class::Plain {
            for shard in ctx.all() {
                self.subscribe(ctx, id, Subject::Every(shard), Position::Nothing);
            }
        }
        for channel in channels {
            let about = ReplyTo { channel: Some(channel.clone()), ..ReplyTo::default() };
            if self.channel_pool(id, &channel).is_some() {
                continue;
            }
            if self.channel_count(id) >= ctx.limits.hub.channels_per_user as usize {
                self.reject(ctx, id, &about, &too_many_channels());
                continue;
            }
            self.hold(ctx, id, QuotaChange::Subscribe(channel.clone()));
            let has = self.seen(ctx, id, &channel);
            self.subscribe(ctx, id, Subject::Channel(channel), has);
        }
        self.enter_rooms(ctx, id, rooms);
    }

    /// What a connection had seen of a channel when it was here before, by its cursor.
    pub(super) fn seen(&mut self, ctx: &Context, id: ConnId, channel: &str) -> Position {
        let offset = self.hub(id).and_then(|hub| hub.offset(channel));
        offset.map_or(Position::Nothing, |offset| Position::Offset((*ctx.epoch).into(), offset))
    }

    /// Tells whoever understands it that what was missed cannot be made up for.
    pub(super) fn say_resync(&mut self, ctx: &mut Context, id: ConnId) {
        if self.class(id) > Class::Plain {
            let why = BadCursor.to_string();
            self.say(ctx, id, |out| Object::frame("resync_required", out).text("reason", &why).end());
        }
    }

    /// Enters rooms that no frame asks for.
    pub(super) fn enter_rooms(&mut self, ctx: &mut Context, id: ConnId, rooms: Vec<Arc<str>>) {
        for room in rooms {
            let about = ReplyTo { room: Some(room.clone()), ..ReplyTo::default() };
            if let Err(rejection) = self.enter_room(ctx, id, room, &about) {
                self.reject(ctx, id, &about, &rejection);
            }
        }
    }

    /// Tells the owner of a connection's user, if it has one.
    pub(super) fn hold(&mut self, ctx: &mut Context, id: ConnId, what: QuotaChange) {
        let Some(user) = self.hub(id).and_then(|hub| hub.user.clone()) else { return };
        ctx.post_to_owner(&format!("$user/{user}"), ToOwner::Quota { user, conn: id, change: what });
    }

    /// A user holds too much: the connection, or one of its channels, is given up.
    pub(in crate::shard) fn over(&mut self, ctx: &mut Context, id: ConnId, channel: Option<Arc<str>>) {
        let Some(channel) = channel else {
            let why = "you have as many connections as you may have";
            return self.close(ctx, id, Some(CROWDED), why, Reason::TooManyConnections);
        };
        if let Some(pool) = self.channel_pool(id, &channel) {
            self.unsubscribe(ctx, id, pool);
            let asked = self.hub(id).and_then(|hub| hub.take_replies(pool).pop()).map(|asked| asked.about);
            let about = asked.unwrap_or(ReplyTo { channel: Some(channel), ..ReplyTo::default() });
            self.reject(ctx, id, &about, &too_many_channels());
        }
    }

    /// A connection asks for a session, and perhaps for an earlier one back. Both belong to its user.
    fn want_session(&mut self, ctx: &mut Context, id: ConnId, earlier: Option<u64>) {
        if ctx.limits.hub.session_ttl == 0 {
            return;
        }
        let session = ctx.stamp();
        let Some(hub) = self.hub(id) else { return };
        let Some(user) = hub.user.clone() else { return };
        hub.session = Some(session);
        let lives = ToOwner::Session { session, user: user.clone(), conn: id, update: SessionUpdate::Begins };
        ctx.post_to_owner(&session_name(session), lives);
        match earlier {
            Some(earlier) => {
                let wanted =
                    ToOwner::Session { session: earlier, user, conn: id, update: SessionUpdate::Wanted };
                ctx.post_to_owner(&session_name(earlier), wanted);
            }
            None => self.resumed(ctx, id, None),
        }
    }

    /// The answer to the wish for an earlier session. The connection is told by what name it can come back.
    pub(in crate::shard) fn resumed(&mut self, ctx: &mut Context, id: ConnId, earlier: Option<Box<Session>>) {
        let Some(session) = self.hub(id).and_then(|hub| hub.session) else { return };
        let (mut data, stamp) = (Vec::new(), ctx.stamp());
        Object::new(&mut data).id("session_id", session).flag("resumed", earlier.is_some()).end();
        let told = System { event: "session", room: None, user: "", data: &data };
        self.say(ctx, id, |out| write::system(&told, stamp, out));
        let Some(earlier) = earlier else { return };
        for (channel, offset) in earlier.channels {
            if self.channel_pool(id, &channel).is_none() {
                self.hold(ctx, id, QuotaChange::Subscribe(channel.clone()));
                let has = Position::Offset((*ctx.epoch).into(), offset);
                self.subscribe(ctx, id, Subject::Channel(channel), has);
            }
        }
        // its user is a member still, or hears why not
        self.enter_rooms(ctx, id, earlier.rooms);
        for (name, patch, max_hz) in earlier.documents {
            let (versions, far, request) = Default::default();
            self.documents(
                ctx,
                id,
                DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request },
            );
        }
    }

    /// Another connection takes up the session of this one.
    pub(in crate::shard) fn yield_session(&mut self, ctx: &mut Context, id: ConnId) {
        self.close(ctx, id, Some(TAKEN_OVER), "the session goes on elsewhere", Reason::Gone);
    }

    /// A connection is about to end: its user holds less, and its session is kept. Before its subscriptions are.
    pub(super) fn depart(&mut self, ctx: &mut Context, id: ConnId) {
        let rooms = self.leave_rooms(ctx, id);
        self.hold(ctx, id, QuotaChange::Disconnect);
        let Some(hub) = self.hub(id) else { return };
        let Some((user, session)) = hub.user.take().zip(hub.session.take()) else { return };
        let documents = hub.wishes().collect();
        let mut channels = Vec::new();
        for (channel, pool) in self.channels_of(id) {
            if self.is_member(id, pool) {
                channels.push((channel, self.fanout.position(pool, id.slot)));
            }
        }
        let ended = SessionUpdate::Ends(Box::new(Session { rooms, channels, documents }));
        ctx.post_to_owner(
            &session_name(session),
            ToOwner::Session { session, user, conn: id, update: ended },
        );
    }
}
