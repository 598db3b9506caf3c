//! What a connection has to do with rooms: where it sits, and what it asks of them.

use crate::flow::state::presence::{Shown, Status};
use crate::flow::state::room::Actor;
use crate::wire::hub::{About, RoomWant};
use std::sync::Arc;

/// A question about a room, to its owner.
#[derive(Debug)]
pub struct RoomAsk {
    /// Which.
    pub room: Arc<str>,
    /// Who asks.
    pub actor: Actor,
    /// What.
    pub want: RoomWant,
    /// For whom a place was reserved with the user's owner, who is to be told how that ended.
    pub reserved: Option<Arc<str>>,
}

impl RoomAsk {
    /// Who may become a member by this, which is to be reserved first.
    pub fn newcomer(&self) -> Option<&Arc<str>> {
        use crate::wire::hub::MemberWant::Role;
        match &self.want {
            RoomWant::Create(_) => self.actor.user(),
            RoomWant::Member(user, Role(_)) => Some(user),
            _ => None,
        }
    }
}

/// What a user's owner is told or asked.
#[derive(Debug)]
pub enum UserAsk {
    /// How the user is.
    Says(Status, Option<Arc<str>>),
    /// A place in a room, for whoever asks about it: the question goes on to the room's owner.
    Forward(Box<RoomAsk>),
    /// How it shows itself.
    Look,
}

/// Users whose presence is asked for at once, and the answers so far.
#[derive(Debug)]
pub struct Gather {
    /// Tells it from others of the connection.
    pub number: u32,
    /// How many answers are missing.
    pub left: usize,
    /// The frame that asked.
    pub about: Box<About>,
    /// The answers.
    pub looks: Vec<(Arc<str>, Shown)>,
}

/// How far a connection is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A place is being reserved.
    Reserving,
    /// The room's owner has been asked.
    Entering,
    /// It is in.
    In,
}

/// One room that a connection is in.
#[derive(Debug)]
pub struct Seat {
    /// Which.
    pub room: Arc<str>,
    /// How far it is.
    pub stage: Stage,
    /// The frame that waits for an answer.
    pub about: Option<Box<About>>,
    /// Whether it listened to the room's channel before.
    pub listened: bool,
}

/// The rooms that a connection is in.
#[derive(Debug, Default)]
pub struct Seats(Vec<Seat>);

impl Seats {
    /// Its place in a room.
    pub fn get(&self, room: &str) -> Option<&Seat> {
        self.0.iter().find(|seat| *seat.room == *room)
    }

    /// Its place in a room.
    pub fn get_mut(&mut self, room: &str) -> Option<&mut Seat> {
        self.0.iter_mut().find(|seat| *seat.room == *room)
    }

    /// A new place.
    pub fn push(&mut self, seat: Seat) {
        debug_assert!(self.get(&seat.room).is_none());
        self.0.push(seat);
    }

    /// Gives a place up.
    pub fn remove(&mut self, room: &str) -> Option<Seat> {
        let at = self.0.iter().position(|seat| *seat.room == *room)?;
        Some(self.0.swap_remove(at))
    }

    /// All places.
    pub fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.0.iter()
    }
}
