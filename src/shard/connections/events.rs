//! Connections that get server-sent events: how they begin, come back, and are told apart.

use crate::base::id::ConnId;
use crate::base::time::MS;
use crate::flow::conn::events::{self, Events};
use crate::flow::conn::hub::Hub;
use crate::flow::conn::{Conn, Phase, Stage, pending};
use crate::flow::encode::events as encode;
use crate::flow::encode::frame::{Dialect, Frame};
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::queue::Offered;
use crate::flow::limits::route::Profile;
use crate::flow::request::documents::DocumentRequest;
use crate::flow::request::events::{ConnName, EventsRequest, SubscriptionChange};
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::Clients;
use crate::shard::connections::hub::{MAX_FOLLOWED, Rejection};
use crate::shard::context::Context;
use crate::shard::mail::subscription::HistoryBatch;
use crate::shard::mail::user::QuotaChange;
use crate::wire::cursor::{Cursor, KeyPosition};
use crate::wire::http::{Head, Response};
use crate::wire::hub::{EVERYONE, ReplyTo, write};
use crate::wire::sse::{
    LAST_CHUNK, chunk, write_comment, write_id, write_json, write_name, write_retry, write_text,
};

impl Clients {
    /// A stream of events begins, from where the client had come if it was here before.
    pub(super) fn open_events(&mut self, ctx: &mut Context, id: ConnId, head: &Head, wish: EventsRequest) {
        let limits = ctx.limits.clone();
        let (from, lost) = match wish.cursor {
            None => (None, false),
            Some(Ok(cursor)) if is_ours(&cursor, ctx) => (Some(cursor), false),
            Some(_) => (None, true),
        };
        if wish.channels.len() + wish.rooms.len() > limits.hub.channels_per_user as usize {
            let detail = "a client may be subscribed to fewer channels ([hub] channels_per_user)";
            let response = Response::problem(429, "channel_limit_reached", detail);
            return self.respond(ctx, id, &pending::dress(response, head, &limits));
        }
        let name = ConnName { shard: ctx.id, conn: id, stamp: ctx.stamp() };
        let mut bytes = events::response(head, &limits).encode();
        bytes.extend(chunk(|out| {
            write_retry(limits.sse.retry / MS, out);
            encode::write_connected(&name, from.is_some(), out);
        }));
        self.insist(id, bytes.into());
        let alone = wish.user.is_none() && wish.names.is_empty();
        let personal = !alone || wish.channels.len() + wish.rooms.len() != 1;
        let mut cursor = from.unwrap_or_default();
        cursor.epoch = Some((*ctx.epoch).into());
        cursor.channels.retain(|name, _| wish.channels.contains(name) || wish.rooms.contains(name));
        cursor.keys.retain(|name, _| wish.names.iter().any(|wanted| wanted.as_str() == &**name));
        let from = cursor.clone();
        let keepalive = limits.sse.keepalive;
        let events = Events {
            name,
            dialect: Dialect::Sse,
            entered: None,
            personal,
            cursor,
            resyncing: false,
            keepalive,
        };
        let Some(conn) = self.get(id) else { return };
        conn.due = ctx.now.mono + keepalive;
        conn.phase = Phase::Events(Box::new(events));
        // whoever says who it is enters its rooms; others only listen to those that are open
        let rooms = if wish.user.is_some() { wish.rooms.clone() } else { Vec::new() };
        if wish.user.is_some() {
            conn.hub = Some(Box::new(Hub { user: wish.user, ..Hub::default() }));
        }
        self.hold(ctx, id, QuotaChange::Connect);
        if lost {
            self.resync(ctx, id, false);
        }
        for channel in wish.channels.into_iter().chain(wish.rooms).chain([EVERYONE.into()]) {
            let has = from
                .channels
                .get(&channel)
                .map_or(Position::Nothing, |offset| Position::Offset((*ctx.epoch).into(), *offset));
            if *channel != *EVERYONE {
                self.hold(ctx, id, QuotaChange::Subscribe(channel.clone()));
            }
            self.subscribe(ctx, id, Subject::Channel(channel), has);
        }
        self.enter_rooms(ctx, id, rooms);
        for name in wish.names {
            let far = from.keys.get(name.as_str()).cloned();
            let (patch, max_hz, versions, request) = Default::default();
            let request = DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request };
            self.documents(ctx, id, request);
        }
    }

    pub(super) fn events(&mut self, id: ConnId) -> Option<&mut Events> {
        match self.get(id) {
            Some(Conn { phase: Phase::Events(events), .. }) => Some(events),
            _ => None,
        }
    }

    /// What the connection has missed cannot be made up for: it is told so, and gets the whole state of its documents;
    /// `anew`: even if it has been told already.
    pub(super) fn resync(&mut self, ctx: &mut Context, id: ConnId, anew: bool) {
        let Some(events) = self.events(id) else { return };
        let told = std::mem::replace(&mut events.resyncing, true);
        if !told {
            self.insist(id, chunk(encode::write_resync).into());
        }
        if anew || !told {
            self.events(id).expect("just seen").cursor.keys.clear();
            self.restart_documents(ctx, id);
        }
    }

    /// A state was sent: the connection stands there. Once nothing is on its way any more it is told its place, so that
    /// it knows it before anything happens.
    pub(super) fn events_joined(&mut self, ctx: &Context, id: ConnId, pool: PoolId, at: u64) {
        let Some(subject) = self.fanout.pools.get(pool).map(|pool| pool.subject.clone()) else { return };
        let Some(events) = self.events(id) else { return };
        if has_place(&subject) {
            events.stands(&subject, at, ctx.shards);
        }
        // where bytes are shared only its one channel tells a connection where it stands, and this is before all of them
        if events.dialect == Dialect::Sse && (events.personal || has_place(&subject)) {
            self.tell_place(id);
        }
    }

    /// Tells a connection its place, without an event, once nothing is on its way any more.
    fn tell_place(&mut self, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        let waits = conn.subs.iter().any(|sub| !matches!(sub.stage, Stage::Member(_)));
        let syncing = conn.hub.as_ref().is_some_and(|hub| hub.syncing.is_some());
        let Some(events) = self.events(id) else { return };
        if events.personal && (waits || syncing) {
            return;
        }
        events.resyncing = false;
        let place = chunk(|out| {
            write_id(&events.cursor.encode(), out);
            out.push(b'\n');
        });
        self.insist(id, place.into());
    }

    /// A channel is not open to the connection: it is told so, and goes on without it.
    pub(super) fn events_denied(&mut self, id: ConnId, channel: &str, why: &Rejection) {
        self.insist(id, chunk(|out| encode::write_denied(channel, why.code, &why.message, out)).into());
        if let Some(events) = self.events(id) {
            events.cursor.channels.remove(channel);
        }
        self.tell_place(id);
    }

    /// A stretch of history on its way to its reader. If there is more, it is asked for when this one is sent, and the
    /// answer is true.
    pub(super) fn replay(
        &mut self,
        ctx: &Context,
        id: ConnId,
        pool: PoolId,
        run: Frame,
        batch: &HistoryBatch,
    ) -> bool {
        let Some(subject) = self.fanout.pools.get(pool).map(|pool| pool.subject.clone()) else {
            return false;
        };
        let Some(events) = self.events(id) else { return false };
        let (mut bytes, mut from) = (Vec::new(), 0);
        for (end, at) in &batch.marks {
            events.stands(&subject, *at, ctx.shards);
            if events.personal {
                bytes.extend(chunk(|out| write_id(&events.cursor.encode(), out)));
            }
            bytes.extend_from_slice(&run[std::mem::replace(&mut from, *end)..*end]);
        }
        if !batch.more {
            self.caught_up(ctx, id, batch.last.as_deref(), &mut bytes);
        }
        if !bytes.is_empty() {
            self.insist(id, bytes.into());
        }
        if batch.more
            && let Some(sub) = self.get(id).and_then(|conn| conn.subs.iter_mut().find(|sub| sub.pool == pool))
        {
            sub.stage = Stage::Behind;
            sub.since = batch.marks.last().map_or(0, |(_, at)| *at);
            self.fanout.tell_drained(id.slot);
        }
        batch.more
    }

    /// A frame for the members of a pool whose connections add their own place to it.
    pub(super) fn deliver_each(&mut self, ctx: &mut Context, id: PoolId, frame: &Frame, at: u64) {
        let Some(pool) = self.fanout.pools.get_mut(id) else { return };
        let before = std::mem::replace(&mut pool.at, at);
        let subject = pool.subject.clone();
        let slots: Vec<u32> = pool.members.iter().map(|member| member.slot).collect();
        self.fanout.weigh(frame);
        ctx.backlog = self.fanout.backlog();
        for slot in slots {
            let Some(Conn { phase: Phase::Events(events), .. }) = self.conns.at_mut(slot) else { continue };
            if !has_place(&subject) {
                self.offer(ctx, slot, id, before, frame.clone());
                continue;
            }
            events.stands(&subject, at, ctx.shards);
            let mut bytes = chunk(|out| write_id(&events.cursor.encode(), out));
            bytes.extend_from_slice(frame);
            if !self.offer(ctx, slot, id, before, bytes.into())
                && let Some(events) = self.events(self.id(slot))
            {
                events.stands(&subject, before, ctx.shards);
            }
        }
    }

    /// Offers a frame to one member; false if it was refused. `before`: how far the member has come so far.
    fn offer(&mut self, ctx: &mut Context, slot: u32, id: PoolId, before: u64, frame: Frame) -> bool {
        match self.fanout.offer(slot, id, frame) {
            Offered::Taken => {}
            Offered::Dropped(count) => ctx.stats.dropped += u64::from(count),
            Offered::Refused => {
                self.fell_behind(ctx, slot, id, before);
                return false;
            }
        }
        true
    }

    /// Adds to what a connection gets, or takes away from it. Says what of it could not be done; `None` if there is no
    /// such connection, or it belongs to nobody or to somebody else.
    pub fn change_events(&mut self, ctx: &mut Context, change: SubscriptionChange) -> Option<Vec<String>> {
        let id = change.conn.conn;
        if self.events(id)?.name != change.conn {
            return None;
        }
        self.hub(id).filter(|hub| hub.user.is_some() && hub.user == change.user)?;
        let mut errors = change.errors;
        let rooms = change.rooms.clone();
        for channel in change.channels.into_iter().chain(change.rooms) {
            let about = ReplyTo::default();
            if !change.add {
                self.events(id)?.cursor.channels.remove(&channel);
                self.unsubscribe_channel(ctx, id, &channel, &about);
            } else if let Err(why) = self.subscribe_channel(ctx, id, channel.clone(), None, &about) {
                errors.push(format!("{channel}: {}", why.message));
            }
        }
        if change.add {
            self.enter_rooms(ctx, id, rooms);
        } else {
            rooms.iter().for_each(|room| self.stand_up(ctx, id, room));
        }
        for name in change.names {
            if !change.add {
                self.events(id)?.cursor.keys.remove(name.as_str());
            }
            if change.add && self.followed(id) >= MAX_FOLLOWED {
                errors.push(format!("{}: a connection may be subscribed to 1000 keys", name.as_str()));
                continue;
            }
            let request = if change.add {
                DocumentRequest::subscribe(name)
            } else {
                DocumentRequest::Unsubscribe(name, None)
            };
            self.documents(ctx, id, request);
        }
        Some(errors)
    }

    /// A sign of life, when one is due.
    pub fn keep_alive(&mut self, ctx: &Context, id: ConnId) {
        let Some(events) = self.events(id) else { return };
        let due = ctx.now.mono + events.keepalive;
        let dialect = events.dialect;
        if let Some(conn) = self.get(id) {
            conn.due = due;
        }
        self.send(id, chunk(|out| sign_of_life(ctx, dialect, out)).into());
    }
}

/// A comment, or what takes its place on a route.
pub(super) fn sign_of_life(ctx: &Context, dialect: Dialect, out: &mut Vec<u8>) {
    match dialect {
        Dialect::Change(route)
            if ctx.limits.route(route).is_some_and(|route| route.profile == Profile::Cella) =>
        {
            write_name("ping", out);
            write_text("pong", out);
        }
        _ => write_comment("ping", out),
    }
}

/// The end of a stream of events, and why.
pub(super) fn last(why: &str, code: u16, again: Option<u64>) -> Vec<u8> {
    let mut bytes = chunk(|out| {
        write_name("disconnect", out);
        write_json(out, |out| write::disconnect(why, code, again, out));
    });
    bytes.extend_from_slice(LAST_CHUNK);
    bytes
}

/// Whether a cursor says how far a connection has come with a subject.
fn has_place(subject: &Subject) -> bool {
    match subject {
        Subject::Channel(name) => **name != *EVERYONE,
        Subject::Part(..) => true,
        _ => false,
    }
}

/// Whether a cursor is of this server's histories, as far as it says.
pub(super) fn is_ours(cursor: &Cursor, ctx: &Context) -> bool {
    let shards = usize::from(ctx.shards);
    cursor.epoch.as_deref().is_none_or(|epoch| *epoch == *ctx.epoch)
        && cursor.keys.values().all(|far| match far {
            KeyPosition::Version(_) => true,
            KeyPosition::Owners(stamps) => stamps.len() == shards,
        })
}
