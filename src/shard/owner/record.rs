//! What changes the state of an owner that outlives its connections: one record for each change, with everything that
//! the change needs. From its records alone an owner can be built again.

use crate::base::stamp::Stamp;
use crate::flow::limits::channels::Retention;
use crate::flow::state::item::Item;
use crate::flow::state::room::RoomEvent;
use crate::wire::feed::Publish;
use crate::wire::hub::RoomProfile;
use crate::wire::hub::write::Placed;
use crate::wire::json::Json;
use crate::wire::key::Key;
use std::sync::Arc;

/// One change. Stamps, offsets and moments are in it, so that nothing is asked of a clock or a setting when it is
/// applied again.
#[derive(Clone, Debug)]
pub enum Record {
    /// A document has a value.
    DocumentPut {
        /// The document as it is now.
        item: Arc<Item>,
    },
    /// A document is gone.
    DocumentDeleted {
        /// Which.
        key: Key,
        /// The version at which it went.
        version: Stamp,
        /// Why.
        cause: Deletion,
    },
    /// A channel has its first subscriber or reader, who is told its offset.
    ChannelOpened {
        /// Which.
        channel: Arc<str>,
    },
    /// A publication has its place in a channel, which is opened if need be.
    Published(Publication),
    /// A channel's history has lost what was too old, or too much.
    HistoryTrimmed {
        /// The channel.
        channel: Arc<str>,
        /// How much is kept.
        keep: Retention,
        /// When (wall clock).
        at: u64,
    },
    /// A channel that was idle for long is forgotten.
    ChannelForgotten {
        /// Which.
        channel: Arc<str>,
    },
    /// A message says something else.
    MessageEdited {
        /// Its channel.
        channel: Arc<str>,
        /// Its id.
        message: Stamp,
        /// What it says now.
        data: Json,
    },
    /// A message is deleted; it keeps its offset.
    MessageErased {
        /// Its channel.
        channel: Arc<str>,
        /// Its id.
        message: Stamp,
    },
    /// A user reacts to a message, or does so no more.
    Reaction {
        /// The message's channel.
        channel: Arc<str>,
        /// Its id.
        message: Stamp,
        /// With what.
        emoji: Arc<str>,
        /// Who.
        user: Arc<str>,
        /// Whether it does.
        added: bool,
    },
    /// A room is made of a channel, which is opened if need be.
    RoomCreated {
        /// Which.
        room: Arc<str>,
        /// When (wall clock).
        at: u64,
        /// What is said about it.
        profile: Box<RoomProfile>,
        /// The user who made it, its first owner.
        owner: Option<Arc<str>>,
    },
    /// Something has happened in a room.
    RoomChanged {
        /// Which.
        room: Arc<str>,
        /// What.
        event: RoomEvent,
    },
    /// A room is deleted, with what was said in it.
    RoomDeleted {
        /// Which.
        room: Arc<str>,
    },
}

/// Why a document is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// A write asks for it.
    Write,
    /// It is one of those that a glob delete takes; lists hear of all of them at once.
    Glob,
    /// A list with a limit has pushed it out.
    Limit,
}

/// A publication in its place.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its offset and its stamp.
    pub placed: Placed,
    /// How much of the channel's past is kept.
    pub keep: Retention,
    /// What is published.
    pub publish: Arc<Publish>,
}

/// Where records go once they are applied.
#[derive(Debug, Default)]
pub enum Journal {
    /// Nowhere.
    #[default]
    Off,
    /// They are kept in their order.
    Keep(Vec<Record>),
}

impl Journal {
    /// Takes the next record.
    pub fn write(&mut self, record: Record) {
        match self {
            Journal::Off => {}
            Journal::Keep(records) => records.push(record),
        }
    }
}
