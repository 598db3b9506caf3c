//! What a connection has to do with rooms: its memberships, and what is asked of users.

use crate::flow::state::presence::Shown;
use crate::wire::hub::ReplyTo;
use std::sync::Arc;

/// Users whose presence is asked for at once, and the answers so far.
#[derive(Debug)]
pub struct Gather {
    /// Tells it from others of the connection.
    pub number: u32,
    /// How many answers are missing.
    pub left: usize,
    /// The frame that asked.
    pub about: Box<ReplyTo>,
    /// The answers.
    pub looks: Vec<(Arc<str>, Shown)>,
}

/// How far a connection is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipStage {
    /// A place is being reserved.
    Reserving,
    /// The room's owner has been asked.
    Entering,
    /// It is in.
    In,
}

/// One room that a connection is in.
#[derive(Debug)]
pub struct Membership {
    /// Which.
    pub room: Arc<str>,
    /// How far it is.
    pub stage: MembershipStage,
    /// The frame that waits for an answer.
    pub about: Option<Box<ReplyTo>>,
    /// Whether it listened to the room's channel before.
    pub listened: bool,
}

/// The rooms that a connection is in.
#[derive(Debug, Default)]
pub struct Memberships(Vec<Membership>);

impl Memberships {
    /// Its membership of a room.
    pub fn get(&self, room: &str) -> Option<&Membership> {
        self.0.iter().find(|membership| *membership.room == *room)
    }

    /// Its membership of a room.
    pub fn get_mut(&mut self, room: &str) -> Option<&mut Membership> {
        self.0.iter_mut().find(|membership| *membership.room == *room)
    }

    /// A new membership.
    pub fn push(&mut self, membership: Membership) {
        debug_assert!(self.get(&membership.room).is_none());
        self.0.push(membership);
    }

    /// Ends a membership.
    pub fn remove(&mut self, room: &str) -> Option<Membership> {
        let at = self.0.iter().position(|membership| *membership.room == *room)?;
        Some(self.0.swap_remove(at))
    }

    /// All memberships.
    pub fn iter(&self) -> impl Iterator<Item = &Membership> {
        self.0.iter()
    }
}
