//! Connections that get server-sent events: how they begin, come back, and are told apart.

use crate::base::id::ShardId;
use crate::base::stamp::Stamp;
use crate::base::time::MS;
use crate::flow::conn::events;
use crate::flow::encode::events as encode;
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::request::documents::DocumentRequest;
use crate::flow::request::events::{ConnName, EventsRequest, SubscriptionChange};
use crate::flow::request::position::Position;
use crate::flow::route::owner::owner;
use crate::flow::route::subject::Subject;
use crate::flow::state::room::Refusal;
use crate::shard::connections::channels::{ChannelRequest, ChannelSubscriptions};
use crate::shard::connections::close_code::retry_after_ms;
use crate::shard::connections::documents::{DocumentSubscriptions, MAX_NAMES};
use crate::shard::connections::memberships::{Memberships, Reserved};
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::view::View;
use crate::shard::mail::subscription::{HistoryBatch, Joined};
use crate::shard::mail::user::{QuotaChange, Reservation};
use crate::wire::cursor::{Cursor, KeyPosition};
use crate::wire::http::{Head, Response};
use crate::wire::hub::{EVERYONE, ReplyTo};
use crate::wire::key::Name;
use crate::wire::sse::{chunk, write_comment, write_id, write_retry};
use std::sync::Arc;

/// A connection that gets events.
#[derive(Debug)]
pub struct EventsSession {
    /// What it is called towards its client.
    name: ConnName,
    /// Whether it adds its own place to each event. Otherwise it has one channel, whose events hold their place.
    personal: bool,
    /// How far it has come.
    cursor: Cursor,
    /// It was told that what it missed cannot be made up for, and the new state is on its way.
    resyncing: bool,
    channels: ChannelSubscriptions,
    rooms: Memberships,
    documents: DocumentSubscriptions,
}

impl EventsSession {
    /// A stream of events begins, from where the client had come if it was here before.
    ///
    /// # Errors
    /// The response, if it asks for too much.
    pub fn open(
        view: &mut View<'_>,
        head: &Head,
        request: EventsRequest,
    ) -> Result<Box<EventsSession>, Response<'static>> {
        let limits = view.ctx.limits.clone();
        if request.channels.len() + request.rooms.len() > limits.hub.channels_per_user as usize {
            let detail = "a client may be subscribed to fewer channels ([hub] channels_per_user)";
            return Err(Response::problem(429, "channel_limit_reached", detail));
        }
        let (from, lost) = match &request.cursor {
            None => (None, false),
            Some(Ok(cursor)) if view.recognizes(cursor) => (Some(cursor.clone()), false),
            Some(_) => (None, true),
        };
        let name = ConnName { shard: view.ctx.id, conn: view.id, stamp: view.ctx.stamp() };
        let mut bytes = events::response(head).encode();
        bytes.extend(chunk(|out| {
            write_retry(limits.sse.retry / MS, out);
            encode::write_connected(&name, from.is_some(), out);
        }));
        view.force_send(bytes);
        let alone = view.user().is_none() && request.names.is_empty();
        let personal = !alone || request.channels.len() + request.rooms.len() != 1;
        let mut cursor = from.unwrap_or_default();
        cursor.epoch = Some((*view.ctx.epoch).into());
        cursor.channels.retain(|name, _| request.channels.contains(name) || request.rooms.contains(name));
        cursor.keys.retain(|name, _| request.names.iter().any(|wanted| wanted.as_str() == &**name));
        view.record.variant = Some(Variant { personal, ..Variant::plain(Dialect::Sse) });
        view.due_in(Some(limits.sse.keepalive));
        let (channels, rooms, documents) = Default::default();
        let mut session =
            Box::new(EventsSession { name, personal, cursor, resyncing: false, channels, rooms, documents });
        view.change_quota(QuotaChange::Connect);
        if lost {
            session.resync(view);
        }
        session.subscribe(view, request);
        Ok(session)
    }

    /// Subscribes to what the request asks for.
    fn subscribe(&mut self, view: &mut View<'_>, request: EventsRequest) {
        let from = self.cursor.clone();
        // whoever says who it is enters its rooms; others only listen to those that are open
        let rooms = if view.user().is_some() { request.rooms.clone() } else { Vec::new() };
        for channel in request.channels.into_iter().chain(request.rooms).chain([EVERYONE.into()]) {
            let offset = from.channels.get(&channel);
            let position = offset
                .map_or(Position::Nothing, |offset| Position::Offset((*view.ctx.epoch).into(), *offset));
            if *channel != *EVERYONE {
                view.change_quota(QuotaChange::Subscribe(channel.clone()));
            }
            view.subscribe(&Subject::Channel(channel), position);
        }
        self.enter_rooms(view, rooms);
        for name in request.names {
            let far = from.keys.get(name.as_str()).cloned();
            let (patch, max_hz, versions, request) = Default::default();
            let request = DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request };
            self.documents.request(view, request);
        }
    }

    fn enter_rooms(&mut self, view: &mut View<'_>, rooms: Vec<Arc<str>>) {
        for room in rooms {
            let reply_to = ReplyTo { room: Some(room.clone()), ..ReplyTo::default() };
            if let Err(why) = self.rooms.enter(view, room.clone(), reply_to) {
                self.reject(view, &room, &why);
            }
        }
    }

    /// What the connection has missed cannot be made up for: it is told so, and gets the whole state of its documents.
    fn resync(&mut self, view: &mut View<'_>) {
        if self.send_gap(view) {
            self.restart_documents(view);
        }
    }

    /// Tells it that something was missed; false if it has been told already, and has not caught up since.
    fn send_gap(&mut self, view: &mut View<'_>) -> bool {
        let told = std::mem::replace(&mut self.resyncing, true);
        if !told {
            view.force_send(chunk(encode::write_resync));
        }
        !told
    }

    fn restart_documents(&mut self, view: &mut View<'_>) {
        self.cursor.keys.clear();
        self.documents.restart(view);
    }

    /// The state of a subscription.
    pub fn joined(&mut self, view: &mut View<'_>, joined: Joined) {
        let Joined { pool, at, count, gap, state, batch, .. } = joined;
        let Some(subject) = view.subject(pool).cloned() else { return };
        if let Subject::Room(room) = &subject {
            self.rooms.joined(view, room);
        }
        if subject.is_channel() {
            let next = batch.as_ref().map_or(at, |batch| batch.since);
            match gap {
                true if !view.is_late(pool) => self.resync(view),
                true if !view.goes_on_behind_gap(pool, next) => return,
                true => drop(self.send_gap(view)),
                false => {}
            }
            let run = state.unwrap_or_default();
            let missed = batch.as_deref().map(|batch| (self.history(view, &subject, &run, batch), batch));
            if !view.follow_channel(pool, at, missed) {
                self.advance(&subject, next, view.ctx.shards);
            }
            if !view.is_member(pool) {
                return;
            }
        } else if gap {
            self.send_gap(view);
            return self.restart_documents(view);
        } else if !view.follow(pool, state, at) {
            return;
        }
        self.documents.joined(view, pool, count);
        self.advance(&subject, at, view.ctx.shards);
        // where bytes are shared only its one channel tells a connection where it stands, and this is before all of them
        if self.personal || has_position(&subject) {
            self.send_cursor(view);
        }
    }

    /// A stretch of history as its reader gets it, who has come to its end by that.
    fn history(&mut self, view: &View<'_>, subject: &Subject, run: &Frame, batch: &HistoryBatch) -> Frame {
        if !self.personal {
            self.advance(subject, batch.reach, view.ctx.shards);
            return run.clone();
        }
        let (mut bytes, mut from) = (Vec::new(), 0);
        for (end, at) in &batch.marks {
            self.advance(subject, Reach::offset(*at), view.ctx.shards);
            bytes.extend(chunk(|out| write_id(&self.cursor.encode(), out)));
            bytes.extend_from_slice(&run[std::mem::replace(&mut from, *end)..*end]);
        }
        self.advance(subject, batch.reach, view.ctx.shards);
        bytes.into()
    }

    /// A frame of a pool whose members add their own place to it. `before`: how far the pool had come before.
    pub fn deliver(
        &mut self,
        view: &mut View<'_>,
        pool: PoolId,
        frame: &Frame,
        (before, at): (Reach, Reach),
    ) {
        let Some(subject) = view.subject(pool).filter(|subject| has_position(subject)).cloned() else {
            view.offer(pool, frame.clone(), before);
            return;
        };
        self.advance(&subject, at, view.ctx.shards);
        let mut bytes = chunk(|out| write_id(&self.cursor.encode(), out));
        bytes.extend_from_slice(frame);
        if !view.offer(pool, bytes.into(), before) {
            self.advance(&subject, before, view.ctx.shards);
        }
    }

    /// The connection has everything of a subject up to `at`.
    fn advance(&mut self, subject: &Subject, at: Reach, shards: u16) {
        match subject {
            Subject::Channel(name) if **name != *EVERYONE => {
                self.cursor.channels.insert(name.clone(), at.as_offset());
            }
            Subject::Part(names, shard) => {
                let stamp = at.as_stamp();
                names.iter().for_each(|name| advance_name(&mut self.cursor, name, *shard, stamp, shards));
            }
            _ => {}
        }
    }

    /// Tells the connection its place, without an event, once nothing is on its way any more, so that it knows it before
    /// anything happens.
    fn send_cursor(&mut self, view: &mut View<'_>) {
        let waits = !view.subscriptions().follows_all(view.id.slot) || self.documents.is_syncing();
        if self.personal && waits {
            return;
        }
        self.resyncing = false;
        view.force_send(chunk(|out| {
            write_id(&self.cursor.encode(), out);
            out.push(b'\n');
        }));
    }

    /// A channel or room is not open to the connection: it is told so, and goes on without it.
    fn reject(&mut self, view: &mut View<'_>, channel: &str, why: &Rejection) {
        view.ctx.stats.reject_frame(why.code);
        view.force_send(chunk(|out| encode::write_denied(channel, why.code, &why.message, out)));
        self.cursor.channels.remove(channel);
        self.send_cursor(view);
    }

    /// What the client has of a state that is on its way.
    pub fn missing(&self, pool: PoolId) -> Option<Position> {
        self.documents.missing(pool)
    }

    /// The owner refuses a subscription, which has ended.
    pub fn denied(&mut self, view: &mut View<'_>, pool: PoolId, subject: Subject, refusal: Refusal) {
        match subject {
            Subject::Room(room) if self.rooms.denied(view, room.clone()).is_some() => {
                self.reject(view, &room, &Rejection::refused(refusal, view.ctx.now.wall));
            }
            // of a room that it wants to enter it hears by the other subscription
            Subject::Channel(name) if self.rooms.get(&name).is_none() => {
                self.channels.denied(view, pool, name.clone());
                self.reject(view, &name, &Rejection::closed_channel());
            }
            _ => {}
        }
    }

    /// Its user has a channel too many: this one.
    pub fn quota_exceeded(&mut self, view: &mut View<'_>, channel: Arc<str>) {
        if self.channels.quota_exceeded(view, channel.clone()).is_some() {
            self.reject(view, &channel, &Rejection::too_many_channels());
        }
    }

    /// The user's owner says whether it may be in one more room.
    pub fn reserved(&mut self, view: &mut View<'_>, reservation: &Reservation) {
        if let Reserved::Refused(Some(_)) = self.rooms.reserved(view, reservation) {
            let why = Rejection::refused(Refusal::Limit, view.ctx.now.wall);
            self.reject(view, &reservation.room, &why);
        }
    }

    /// The rooms that it is in.
    pub fn rooms(&mut self) -> &mut Memberships {
        &mut self.rooms
    }

    /// Adds to what the connection gets, or takes away from it. Says what of it could not be done; `None` if it goes by
    /// another name, or belongs to nobody or to somebody else.
    pub fn change(&mut self, view: &mut View<'_>, change: SubscriptionChange) -> Option<Vec<String>> {
        if self.name != change.conn || change.user.is_none() || view.user() != change.user.as_ref() {
            return None;
        }
        let mut errors = change.errors;
        let rooms = change.rooms.clone();
        for channel in change.channels.into_iter().chain(change.rooms) {
            if !change.add {
                self.cursor.channels.remove(&channel);
                self.channels.unsubscribe(view, &channel);
                continue;
            }
            let (name, position) = (channel.clone(), Position::Nothing);
            let request = ChannelRequest { channel, position, reply_to: None };
            if let Err(why) = self.channels.subscribe(view, &self.rooms, request) {
                errors.push(format!("{name}: {}", why.message));
            }
        }
        if change.add {
            self.enter_rooms(view, rooms);
        } else {
            rooms.iter().for_each(|room| self.rooms.exit(view, room));
        }
        for name in change.names {
            if !change.add {
                self.cursor.keys.remove(name.as_str());
                self.documents.request(view, DocumentRequest::Unsubscribe(name, None));
            } else if self.documents.count() >= MAX_NAMES {
                errors.push(format!("{}: a connection may be subscribed to 1000 keys", name.as_str()));
            } else {
                self.documents.request(view, DocumentRequest::subscribe(name));
            }
        }
        Some(errors)
    }

    /// A sign of life is due.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        view.due_in(Some(view.ctx.limits.sse.keepalive));
        view.try_send(chunk(|out| write_comment("ping", out)));
    }

    /// The connection ends; its subscriptions are still there.
    pub fn ended(&mut self, view: &mut View<'_>) {
        self.rooms.end(view);
        view.change_quota(QuotaChange::Disconnect);
    }
}

/// The end of a stream of events, and why.
pub fn send_close(view: &mut View<'_>, code: Option<u16>, why: &str) {
    let code = code.unwrap_or(1000);
    view.try_send(encode::last(why, code, retry_after_ms(code)));
}

/// Whether a cursor says how far a connection has come with a subject.
fn has_position(subject: &Subject) -> bool {
    match subject {
        Subject::Channel(name) => **name != *EVERYONE,
        Subject::Part(..) => true,
        _ => false,
    }
}

/// A cursor has everything of a name that `shard` owns, up to `stamp`.
fn advance_name(cursor: &mut Cursor, name: &Name, shard: ShardId, stamp: Stamp, shards: u16) {
    match name {
        Name::Key(key) if owner(key.as_str(), shards) == shard => {
            cursor.keys.insert(key.as_str().into(), KeyPosition::Version(stamp));
        }
        Name::Key(_) => {}
        Name::Pattern(pattern) => {
            let nowhere = || KeyPosition::Owners(vec![Stamp::ZERO; usize::from(shards)]);
            let position = cursor.keys.entry(pattern.as_str().into()).or_insert_with(nowhere);
            if let KeyPosition::Owners(stamps) = position {
                stamps[shard.index()] = stamp;
            }
        }
    }
}
