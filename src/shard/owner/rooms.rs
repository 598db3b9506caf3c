//! The rooms that this shard owns: each lives with its channel, which has its messages. Entering a room, and what is
//! told around it; `room_asks` has what is asked of one.

use crate::base::id::ShardId;
use crate::base::time::MS;
use crate::flow::encode::rooms as encode;
use crate::flow::identity::Actor;
use crate::flow::request::write::Write;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{ConnAddress, News, Presence, Shown, Status};
use crate::flow::state::room::{Left, Refusal, Room, RoomEvent, RoomMember};
use crate::flow::state::typing::Typing;
use crate::shard::Shard;
use crate::shard::mail::subscription::{Denied, Join, Joined, Mark};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{Departure, MembershipUpdate};
use crate::shard::timers::{OwnerTimer, Timer};

use crate::shard::owner::watch::Watcher;
use crate::wire::hub::RoomProfile;
use crate::wire::hub::write::{self, Object};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// How often changes of presence and typing are told.
const TICK: u64 = 100 * MS;
/// Frames around a room have no offset.
const MARK: Mark = Mark { key: None, at: 0 };

/// One room and those who are in it.
#[derive(Debug)]
pub struct Place {
    /// Its members.
    pub room: Room,
    presence: Presence,
    typing: Typing,
    /// The connections that are in it, by user.
    lines: HashMap<Arc<str>, SmallVec<[ConnAddress; 1]>>,
    /// Whether it is among those that have something to tell.
    stirred: bool,
}

impl Place {
    /// The connections that are in it, with their users.
    pub fn lines(&self) -> impl Iterator<Item = (&Arc<str>, ConnAddress)> {
        self.lines.iter().flat_map(|(user, lines)| lines.iter().map(move |line| (user, *line)))
    }
}

/// The rooms of this shard.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: HashMap<Arc<str>, Place>,
    /// Those that have something to tell at the next tick.
    stirred: Vec<Arc<str>>,
    ticking: bool,
}

impl Rooms {
    /// A room.
    pub fn get(&self, name: &str) -> Option<&Place> {
        self.rooms.get(name)
    }

    /// A room, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Place> {
        self.rooms.get_mut(name)
    }

    /// All rooms.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Place)> {
        self.rooms.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// Whether somebody may get what is said in a channel: anybody, unless it is a room that is not open to all.
    ///
    /// # Errors
    /// `AccessDenied`, `Banned`.
    pub fn may_read(&self, name: &str, actor: &Actor, now: u64) -> Result<(), Refusal> {
        self.rooms.get(name).map_or(Ok(()), |place| place.room.may_read(actor, now))
    }

    /// Whether a write may be done: a client's publication into a room, if that allows it.
    ///
    /// # Errors
    /// `SendDenied`, `Muted`, `Banned`.
    pub fn may_write(&self, write: &Write, now: u64) -> Result<(), Refusal> {
        let Write::Publish(publish) = write else { return Ok(()) };
        let Some(place) = self.rooms.get(&publish.channel).filter(|_| publish.client) else { return Ok(()) };
        place.room.may_send(&publish.user_id.clone().map_or(Actor::App, Actor::User), now)
    }

    /// Whether a channel is a room that only members hear.
    pub fn is_private(&self, name: &str) -> bool {
        self.rooms.get(name).is_some_and(|place| place.room.is_private())
    }

    fn stir(&mut self, name: &Arc<str>) {
        let Some(place) = self.rooms.get_mut(name) else { return };
        if !std::mem::replace(&mut place.stirred, true) {
            self.stirred.push(name.clone());
        }
    }
}

/// The connection that has asked for something that happens.
pub type Asker = Option<ConnAddress>;

impl Shard {
    /// A user shows itself otherwise, as its owner says.
    pub(in crate::shard) fn present(&mut self, name: &Arc<str>, user: &Arc<str>, shown: Shown) {
        let Some(place) = self.rooms.rooms.get_mut(name) else { return };
        if place.room.member(user).is_some() && place.presence.set(user, shown) {
            self.rooms.stir(name);
        }
    }

    /// A connection is in a room no more.
    pub(in crate::shard) fn absent(&mut self, name: &Arc<str>, user: &Arc<str>, line: ConnAddress) {
        let Some(place) = self.rooms.rooms.get_mut(name) else { return };
        if let Some(lines) = place.lines.get_mut(user) {
            lines.retain(|own| *own != line);
            if lines.is_empty() {
                place.lines.remove(user);
                place.typing.stop(user);
                self.rooms.stir(name);
            }
        }
    }

    /// A connection wants what happens around a room; where it enters, it becomes a member in the same step.
    pub(in crate::shard) fn join_room(&mut self, from: ShardId, join: Join, name: &Arc<str>) {
        let Join { pool, conn, ticket, .. } = join;
        let result = match &join.who {
            Some(user) if join.enter => self.enter(name, user, (from, conn)),
            _ if self.rooms.get(name).is_none() => Err(Refusal::AccessDenied),
            _ => Ok(()),
        };
        if let Err(refusal) = result {
            let denied = Denied { pool, conn, ticket, refusal };
            return self.ctx.post(from, ToConnections::Denied(Box::new(denied)));
        }
        let place = self.rooms.rooms.get(name).expect("it was just entered, or looked up");
        let most = self.ctx.limits.hub.presence_list;
        let watch = self.owner.watches.entry(join.subject.clone()).or_default();
        watch.add(Watcher { shard: from, pool, variant: join.variant });
        let (encoder, stamps, dialect) = (&mut self.ctx.encoder, &mut self.ctx.stamps, join.variant.dialect);
        let sync = if join.enter {
            let sync = |out: &mut Vec<u8>| encode::sync(name, &place.presence, None, out);
            watch.state(encoder, join.variant, |encoder| Some(encode::text(encoder, dialect, sync)))
        } else {
            // it fell behind, and may have missed who came and went
            let missed = Some((&place.room, most));
            let sync = |out: &mut Vec<u8>| encode::sync(name, &place.presence, missed, out);
            Some(encode::text(encoder, dialect, sync))
        };
        let mut state = sync.expect("there always is a state").to_vec();
        for user in place.typing.told() {
            let stamp = stamps.next(self.ctx.now.wall);
            let typing = encode::text(encoder, dialect, |out| write::typing(name, user, true, stamp, out));
            state.extend_from_slice(&typing);
        }
        let state = Some(state.into());
        let joined = Joined { pool, conn, ticket, at: 0, count: 0, gap: false, state, batch: None };
        self.ctx.post(from, ToConnections::Joined(joined));
    }

    /// A connection wants the publications of a channel: of a room, only whoever may hear it.
    pub(in crate::shard) fn join_channel(&mut self, from: ShardId, join: Join, name: &Arc<str>) {
        let actor = join.who.clone().map_or(Actor::Nobody, Actor::User);
        match self.rooms.may_read(name, &actor, self.ctx.now.wall) {
            Ok(()) => self.owner.join(&mut self.ctx, from, join),
            Err(refusal) => {
                let Join { pool, conn, ticket, .. } = join;
                let denied = Denied { pool, conn, ticket, refusal };
                self.ctx.post(from, ToConnections::Denied(Box::new(denied)));
            }
        }
    }

    /// A user becomes a member of a room, or is one, and sits in it with one more connection. Its owner, who has
    /// reserved the place, is told how that ended.
    fn enter(&mut self, name: &Arc<str>, user: &Arc<str>, line: ConnAddress) -> Result<(), Refusal> {
        let now = self.ctx.now.wall;
        if self.rooms.get(name).is_none() && self.ctx.limits.hub.auto_create_rooms {
            // a name that was never used: whoever comes first owns the room
            self.create(name, &Actor::User(user.clone()), RoomProfile::default()).expect("a user may create");
        }
        let result = match self.rooms.rooms.get_mut(name) {
            Some(place) => place.room.join(user, now),
            // forge has no code of its own for a room that is not there
            None => Err(Refusal::AccessDenied),
        };
        let result = result.map(|events| {
            self.happened(name, events, None, None);
            let place = self.rooms.rooms.get_mut(name).expect("just seen");
            let lines = place.lines.entry(user.clone()).or_default();
            if !lines.contains(&line) {
                lines.push(line);
            }
            // whoever enters is there; its owner says in what way
            let online = Shown { status: Status::Online, custom: None, since: now };
            if !place.presence.knows(user) && place.presence.set(user, online) {
                self.rooms.stir(name);
            }
        });
        self.settled(name, user);
        result
    }

    /// Tells a user's owner how a reservation ended.
    pub(in crate::shard) fn settled(&mut self, name: &Arc<str>, user: &Arc<str>) {
        let member = self.rooms.get(name).is_some_and(|place| place.room.member(user).is_some());
        let update = MembershipUpdate::Settled { member };
        self.ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: name.clone(), update });
    }

    /// A new room.
    pub(in crate::shard) fn create(
        &mut self,
        name: &Arc<str>,
        actor: &Actor,
        about: RoomProfile,
    ) -> Result<(), Refusal> {
        if self.rooms.get(name).is_some() {
            return Err(Refusal::AlreadyExists);
        }
        let room = Room::new(actor, self.ctx.now.wall, about)?;
        let (presence, typing, lines) = Default::default();
        let place = Place { room, presence, typing, lines, stirred: false };
        self.rooms.rooms.insert(name.clone(), place);
        self.close_to_strangers(name);
        Ok(())
    }

    /// Deletes a room and what was said in it.
    pub(in crate::shard) fn delete(&mut self, name: &Arc<str>) {
        let Some(place) = self.rooms.rooms.remove(name) else { return };
        for (user, _) in place.room.members() {
            let update = MembershipUpdate::Ended;
            let mail = ToOwner::Membership { user: user.clone(), room: name.clone(), update };
            self.ctx.post_to_user(user, mail);
        }
        for (shard, conn) in place.lines.into_values().flatten() {
            self.ctx.post(
                shard,
                ToConnections::Departed { conn, room: name.clone(), departure: Box::new(Departure::Deleted) },
            );
        }
        self.owner.channels.set_room(&self.ctx, name, false, false);
    }

    /// Where a channel has become a private room, those who only listened to it hear no more.
    pub(in crate::shard) fn close_to_strangers(&mut self, name: &Arc<str>) {
        let private = self.rooms.is_private(name);
        self.owner.channels.set_room(&self.ctx, name, true, private);
        if private {
            self.ctx.post_to_all(|| ToConnections::AccessChanged { channel: name.clone(), user: None });
        }
    }

    /// A user may not hear a room's channel any more, and may do so by connections that are not in the room.
    pub(in crate::shard) fn close_to(&mut self, name: &Arc<str>, user: &Arc<str>) {
        self.ctx
            .post_to_all(|| ToConnections::AccessChanged { channel: name.clone(), user: Some(user.clone()) });
    }

    /// Tells everyone around a room; `write` gets a stamp to name and date the frame by.
    pub(in crate::shard) fn around(&mut self, name: &Arc<str>, write: impl Fn(u64, &mut Vec<u8>)) {
        let stamp = self.ctx.stamp();
        if let Some(watch) = self.owner.watches.get_mut(&Subject::Room(name.clone())) {
            watch.send(&mut self.ctx, &MARK, |encoder, variant| {
                Some(encode::text(encoder, variant.dialect, |out| write(stamp, out)))
            });
        }
    }

    /// Something has happened in a room: those in it are told, and those concerned.
    pub(in crate::shard) fn happened(
        &mut self,
        name: &Arc<str>,
        events: Vec<RoomEvent>,
        asker: Asker,
        reason: Option<Arc<str>>,
    ) {
        for event in events {
            match event {
                RoomEvent::Joined(user, member) => {
                    if self.is_small(name) {
                        self.around(name, |_, out| encode::member_joined(name, &user, &member, out));
                    }
                }
                RoomEvent::Left(user, member, how) => self.left(name, (&user, member, how), asker, &reason),
                RoomEvent::Role(user, role) => {
                    self.told(name, "member.role", |out| encode::role(&user, role, out))
                }
                RoomEvent::Muted(user, until) => {
                    if let Some(place) = self.rooms.get_mut(name) {
                        place.typing.stop(&user);
                    }
                    self.rooms.stir(name);
                    self.told(name, "member.muted", |out| encode::muted(&user, until, out));
                }
                RoomEvent::Updated => {
                    self.close_to_strangers(name);
                    let mut data = Vec::new();
                    let place = self.rooms.get(name).expect("it was just changed");
                    encode::about(Object::new(&mut data), name, &place.room).end();
                    self.told(name, "room.updated", |out| out.extend_from_slice(&data));
                }
            }
        }
    }

    /// Tells something about a room as an event of the system.
    fn told(&mut self, name: &Arc<str>, event: &str, data: impl Fn(&mut Vec<u8>)) {
        let mut text = Vec::new();
        data(&mut text);
        self.around(name, |stamp, out| {
            write::system(&write::System { event, room: Some(name), user: "", data: &text }, stamp, out);
        });
    }

    /// Whether a room names its members one by one.
    fn is_small(&self, name: &str) -> bool {
        self.rooms.get(name).is_some_and(|place| place.room.len() <= self.ctx.limits.hub.presence_list)
    }

    /// A member is one no more: its connections leave, and the others are told.
    fn left(
        &mut self,
        name: &Arc<str>,
        (user, member, how): (&Arc<str>, RoomMember, Left),
        asker: Asker,
        reason: &Option<Arc<str>>,
    ) {
        let now = self.ctx.now.wall;
        let small = self.is_small(name);
        let Some(place) = self.rooms.rooms.get_mut(name) else { return };
        place.typing.stop(user);
        place.presence.set(user, Shown::offline(now));
        let lines = place.lines.remove(user).unwrap_or_default();
        self.rooms.stir(name);
        for (shard, conn) in lines.into_iter().filter(|line| Some(*line) != asker) {
            let departure = match how {
                Left::Left => Departure::Left,
                Left::Kicked => Departure::Kicked(reason.clone()),
                Left::Banned => Departure::Banned(reason.clone()),
            };
            self.ctx.post(
                shard,
                ToConnections::Departed { conn, room: name.clone(), departure: Box::new(departure) },
            );
        }
        let update = MembershipUpdate::Ended;
        self.ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: name.clone(), update });
        // whoever leaves by itself may listen by another connection, that was never in the room
        if asker.is_some() && self.rooms.is_private(name) {
            self.close_to(name, user);
        }
        if small {
            self.around(name, |_, out| encode::member_left(name, user, &member, out));
        }
    }

    /// A member types, or has stopped.
    pub(in crate::shard) fn types(&mut self, name: &Arc<str>, user: &Arc<str>, on: bool) {
        let until = self.ctx.now.mono + self.ctx.limits.hub.typing_timeout;
        let Some(place) = self.rooms.rooms.get_mut(name) else { return };
        if on {
            place.typing.start(user, until);
        } else {
            place.typing.stop(user);
        }
        self.rooms.stir(name);
    }

    /// Whether somebody sits in a room.
    pub(in crate::shard) fn sits(&self, name: &str, user: &str) -> bool {
        self.rooms.get(name).is_some_and(|place| place.lines.contains_key(user))
    }

    /// When the rooms want to tell something, if that is not arranged already (monotonic).
    pub(in crate::shard) fn arrange_rooms(&mut self) {
        if !self.rooms.stirred.is_empty() && !std::mem::replace(&mut self.rooms.ticking, true) {
            let at = self.ctx.now.mono + TICK;
            self.ctx.timers.push(at, Timer::Owner(OwnerTimer::Rooms));
        }
    }

    /// A tick: every room that has something to tell tells it.
    pub(in crate::shard) fn rooms_tick(&mut self) {
        self.rooms.ticking = false;
        let (mono, most) = (self.ctx.now.mono, self.ctx.limits.hub.presence_list);
        for name in std::mem::take(&mut self.rooms.stirred) {
            let Some(place) = self.rooms.rooms.get_mut(&name) else { continue };
            place.stirred = false;
            let typing = place.typing.tick(mono);
            let news = place.presence.tick(most);
            if !place.typing.is_idle() {
                self.rooms.stir(&name);
            }
            for (user, on) in typing {
                self.around(&name, |stamp, out| write::typing(&name, &user, on, stamp, out));
            }
            match news {
                None => {}
                Some(News::Users(changes)) => {
                    for (user, shown) in changes {
                        self.around(&name, |_, out| encode::presence(&user, &shown, Some(&name), out));
                    }
                }
                Some(News::Count(_) | News::Whole) => {
                    let mut text = Vec::new();
                    let place = self.rooms.get(&name).expect("just seen");
                    encode::sync(&name, &place.presence, None, &mut text);
                    self.around(&name, |_, out| out.extend_from_slice(&text));
                }
            }
        }
    }
}
