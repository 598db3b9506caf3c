//! The rooms that this shard owns: who is a member of which, and who may do what. Each lives with its channel, which has
//! its messages.

use crate::flow::identity::Actor;
use crate::flow::request::write::Write;
use crate::flow::state::permission::Permission;
use crate::flow::state::room::{Refusal, Room, RoomEvent};
use crate::shard::context::Context;
use crate::shard::owner::channel::ChannelKind;
use crate::shard::owner::record::Record;
use crate::wire::hub::RoomProfile;
use hashbrown::HashMap;
use std::io::Write as _;
use std::sync::Arc;

/// All rooms of an owner.
#[derive(Debug, Default)]
pub struct Rooms {
    map: HashMap<Arc<str>, Room>,
}

impl Rooms {
    /// A room.
    pub fn get(&self, name: &str) -> Option<&Room> {
        self.map.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Room)> {
        self.map.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether somebody may get what is said in a channel: anybody, unless it is a room that is not open to all.
    ///
    /// # Errors
    /// `AccessDenied`, `Banned`.
    pub fn may_read(&self, name: &str, actor: &Actor, now: u64) -> Result<(), Refusal> {
        self.map.get(name).map_or(Ok(()), |room| room.may_read(actor, now))
    }

    /// Whether a write may be done: a publication into a room, if that allows it.
    ///
    /// # Errors
    /// `SendDenied`, `Muted`, `Banned`.
    pub fn may_write(&self, write: &Write, now: u64) -> Result<(), Refusal> {
        let Write::Publish(publish, actor) = write else { return Ok(()) };
        self.map.get(&publish.channel).map_or(Ok(()), |room| room.may_send(actor, now))
    }

    /// What the channel of that name is, as far as rooms know.
    pub fn kind(&self, name: &str) -> ChannelKind {
        match self.map.get(name) {
            None => ChannelKind::Open,
            Some(room) if room.is_private() => ChannelKind::PrivateRoom,
            Some(_) => ChannelKind::Room,
        }
    }

    /// Those that somebody may see.
    pub fn seen_by(&self, actor: &Actor) -> impl Iterator<Item = (&Arc<str>, &Room)> {
        let seen = |room: &Room| !room.is_private() || room.may(actor, Permission::Join);
        self.map.iter().filter(move |(_, room)| seen(room))
    }

    /// Somebody makes a room.
    ///
    /// # Errors
    /// `AlreadyExists`; `Forbidden` for those who may not write.
    pub fn create(
        &self,
        ctx: &Context,
        name: &Arc<str>,
        actor: &Actor,
        profile: Box<RoomProfile>,
    ) -> Result<Record, Refusal> {
        if self.map.contains_key(name) {
            return Err(Refusal::AlreadyExists);
        }
        let owner = match actor {
            Actor::Nobody => return Err(Refusal::Forbidden),
            Actor::App => None,
            Actor::User(user) => Some(user.clone()),
        };
        Ok(Record::RoomCreated { room: name.clone(), at: ctx.now.wall, profile, owner })
    }

    /// A user enters a room as a member, or is one.
    ///
    /// # Errors
    /// `Banned`, `AccessDenied` (private, or not there), `Limit`.
    pub fn enter(&self, ctx: &Context, name: &Arc<str>, user: &Arc<str>) -> Result<Vec<Record>, Refusal> {
        match self.map.get(name) {
            Some(room) => Ok(changes(name, room.join(user, ctx.now.wall)?)),
            // a name that was never used: whoever comes first owns the room
            None if ctx.limits.hub.auto_create_rooms => {
                self.create(ctx, name, &Actor::User(user.clone()), Box::default()).map(|record| vec![record])
            }
            // forge has no code of its own for a room that is not there
            None => Err(Refusal::AccessDenied),
        }
    }

    /// A room is made.
    pub fn insert(&mut self, name: &Arc<str>, room: Room) {
        self.map.insert(name.clone(), room);
    }

    /// Something has happened in a room.
    pub fn apply(&mut self, name: &str, event: &RoomEvent) {
        if let Some(room) = self.map.get_mut(name) {
            room.apply(event);
        }
    }

    /// A room is gone; what it was.
    pub fn remove(&mut self, name: &str) -> Option<Room> {
        self.map.remove(name)
    }

    /// Everything that records have made, as text.
    pub fn dump(&self, out: &mut Vec<u8>) {
        let mut all: Vec<_> = self.map.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        for (name, room) in all {
            let (profile, times) = (room.profile(), room.times());
            let (members, bans) = (room.members(), room.bans());
            writeln!(out, "room {name:?} {profile:?} {times:?} {members:?} {bans:?}")
                .expect("a Vec takes all");
        }
    }
}

/// The records of what happens in a room.
pub fn changes(name: &Arc<str>, events: Vec<RoomEvent>) -> Vec<Record> {
    events.into_iter().map(|event| Record::RoomChanged { room: name.clone(), event }).collect()
}
