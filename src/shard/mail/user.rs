//! What shards tell each other about users: quotas, memberships, sessions.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::flow::limits::documents::PatchMode;
use crate::wire::key::Name;
use std::sync::Arc;

/// Something that a connection of a user takes or gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaChange {
    /// The connection itself.
    Connect,
    /// A subscription to a channel.
    Subscribe(Arc<str>),
    /// No more of that.
    Unsubscribe(Arc<str>),
    /// The connection is gone, and all that it held.
    Disconnect,
}

/// Where a user stands with a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipUpdate {
    /// A reservation was not used: the connection was gone before the answer came.
    Returned,
    /// The room has decided about a reservation.
    Settled {
        /// Whether the user is a member now.
        member: bool,
    },
    /// The room, of which it is a member, is one that everybody may read, or is so no more.
    Open(bool),
    /// The user is a member no more.
    Ended,
}

/// The answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The user.
    pub user: Arc<str>,
    /// The room.
    pub room: Arc<str>,
    /// Whether the user may be in one more room.
    pub granted: bool,
}

/// Why a connection is in a room no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Its user has left, on another connection.
    Left,
    /// Its user was put out, for that reason.
    Kicked(Option<Arc<str>>),
    /// Its user was put out and is kept out, for that reason.
    Banned(Option<Arc<str>>),
    /// The room was deleted.
    Deleted,
}

/// What comes back with a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Rooms that it was in.
    pub rooms: Vec<Arc<str>>,
    /// Channels, and the last publication of each that was sent.
    pub channels: Vec<(Arc<str>, Offset)>,
    /// Names of documents, and how their changes come.
    pub documents: Vec<(Name, PatchMode, u32)>,
}

/// What a connection says of a session to its owner.
#[derive(Debug)]
pub enum SessionUpdate {
    /// It has this one.
    Begins,
    /// It is gone; this is what it had.
    Ends(Box<Session>),
    /// It wants to take it up.
    Wanted,
}

/// The name by which a session's owner is found.
pub fn session_owner(session: Stamp) -> String {
    format!("$session/{session:x}")
}
