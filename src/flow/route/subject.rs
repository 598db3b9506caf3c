//! What a subscription is about, and who has its state.

use crate::base::id::ShardId;
use crate::flow::filter::Filter;
use crate::flow::route::owner::{owner, owner_of_user};
use crate::wire::key::{Key, Name, Pattern};
use std::sync::Arc;

/// What a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One document.
    Key(Key),
    /// The list of a pattern.
    List(Pattern),
    /// The documents of one owner that one of these names means (in order, at least one). A subscription of the native
    /// dialect has such a part at each owner.
    Part(Arc<[Name]>, ShardId),
    /// The publications of a channel.
    Channel(Arc<str>),
    /// Some of the publications of a channel.
    Chosen(Arc<str>, Arc<Filter>),
    /// The publications of all channels of one owner.
    Every(ShardId),
    /// What happens around a room beside its messages: members, presence, typing.
    Room(Arc<str>),
    /// How a user shows itself.
    User(Arc<str>),
    /// The time of day, once a second, as this shard tells it to its own connections.
    Clock(ShardId),
}

impl Subject {
    /// What a WebSocket of the ooo dialect is about, on a connection of the shard `here`: a document, a list, or the
    /// clock at the root.
    pub fn of(name: Option<Name>, here: ShardId) -> Subject {
        match name {
            None => Subject::Clock(here),
            Some(Name::Key(key)) => Subject::Key(key),
            Some(Name::Pattern(pattern)) => Subject::List(pattern),
        }
    }

    /// Whether it is about publications: each of them counts, and none makes up for another.
    pub fn is_channel(&self) -> bool {
        matches!(self, Subject::Channel(_) | Subject::Chosen(..) | Subject::Every(_))
    }

    /// What it is called; empty for the clock.
    pub fn name(&self) -> &str {
        match self {
            Subject::Key(key) => key.as_str(),
            Subject::List(pattern) => pattern.as_str(),
            Subject::Part(names, _) => names[0].as_str(),
            Subject::Channel(name) | Subject::Chosen(name, _) => name,
            Subject::Room(name) | Subject::User(name) => name,
            Subject::Every(_) => "*",
            Subject::Clock(_) => "",
        }
    }

    /// The shard that has its state.
    pub fn owner(&self, shards: u16) -> ShardId {
        match self {
            Subject::Key(_)
            | Subject::List(_)
            | Subject::Channel(_)
            | Subject::Chosen(..)
            | Subject::Room(_) => owner(self.name(), shards),
            Subject::User(name) => owner_of_user(name, shards),
            Subject::Part(_, owner) | Subject::Every(owner) | Subject::Clock(owner) => *owner,
        }
    }
}
