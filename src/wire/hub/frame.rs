//! What clients of the hub send, as values: frames and what they ask for.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::wire::feed::is_channel;
use crate::wire::json::Json;
use crate::wire::key::{Key, Name};
use crate::wire::time::parse_time;
use hashbrown::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// The channel whose publications go to every connection of the hub.
pub const EVERYONE: &str = "*";
/// The longest name of a room, a user, a role, an emoji; the longest id that is given back. In bytes.
pub const MAX_NAME: usize = 256;
/// The longest reason, description or search term, in bytes.
pub const MAX_TEXT: usize = 1024;
/// How many users, versions or publications one frame may name or ask for.
pub const MAX_LIST: usize = 1000;
/// Publications that a history query gives unless it says.
pub const DEFAULT_LIMIT: usize = 100;

/// What a reply to a frame, or its rejection, says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// Its `request_id` as written: a JSON string or number.
    pub request: Option<Box<str>>,
    /// Its `id` as written.
    pub id: Option<Box<str>>,
    /// The room that it names.
    pub room: Option<Arc<str>>,
    /// The channel that it names.
    pub channel: Option<Arc<str>>,
}

/// What a client said.
#[derive(Debug, PartialEq)]
pub struct ClientFrame {
    /// What an answer says of it.
    pub reply_to: ReplyTo,
    /// What it shows of its sender.
    pub shows: Class,
    /// What it asks for.
    pub command: Result<Command, FrameFault>,
}

/// What a frame shows of its sender, or what a connection has shown of itself: each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Perhaps a plain hub client, which wants publications and nothing else.
    #[default]
    Plain,
    /// It understands replies and errors.
    Native,
    /// It speaks forge's language: it wants JSON pings as well.
    Forge,
}

/// What a frame asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The publications of a channel, and what was missed since a place.
    Subscribe(Arc<str>, Option<Recover>),
    /// No more of them.
    Unsubscribe(Arc<str>),
    /// The documents of a key or pattern; said again it changes how they come.
    Follow(Box<Follow>),
    /// No more of them.
    Unfollow(Name),
    /// A publication into a channel: `publish`, as whoever may write, or a forge `message`, as a subscriber.
    Publish(Arc<str>, Box<NewMessage>, As),
    /// What was published into a channel.
    History(Arc<str>, Box<Query>),
    /// Something about a room.
    Room(Arc<str>, RoomCommand),
    /// The sender's status.
    Presence(Box<StatusUpdate>),
    /// The status of these users from now on; nobody: of none any more.
    Watch(Vec<Arc<str>>),
    /// No more status of these users.
    Unwatch(Vec<Arc<str>>),
    /// The sender is still there.
    Heartbeat,
}

/// As whom a client publishes into a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// Whoever may write may.
    Writer,
    /// Whoever is subscribed and may write may.
    Subscriber,
}

/// What a frame asks of a room.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomCommand {
    /// Become a member, or be there again.
    Join,
    /// Be a member no more.
    Leave,
    /// Say something.
    Message(Box<NewMessage>),
    /// Begin or end to type.
    Typing(bool),
    /// What was said.
    History(Box<Query>),
    /// Who is a member.
    Members,
    /// What is said about it.
    Describe,
    /// Make it.
    Create(Box<RoomProfile>),
    /// Say something else about it.
    Update(Box<RoomProfile>),
    /// Delete it.
    Delete,
    /// Something about a member.
    Member(Arc<str>, MemberCommand),
    /// Another text for a message.
    Edit(Stamp, Json),
    /// Delete a message.
    Erase(Stamp),
    /// Add (true) or take away a reaction to a message.
    React(Stamp, Arc<str>, bool),
}

impl RoomCommand {
    /// Whether it asks for a change.
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            RoomCommand::History(_) | RoomCommand::Members | RoomCommand::Describe | RoomCommand::Typing(_)
        )
    }
}

/// What a frame asks about a member of a room.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberCommand {
    /// Give this role, to a member or to somebody who becomes one.
    Role(Arc<str>),
    /// Put out, for a reason.
    Kick(Option<Arc<str>>),
    /// Put out and keep out (true), or let in again.
    Ban(bool, Option<Arc<str>>),
    /// Let say nothing for so many milliseconds; `None`: until further notice; 0: let speak again.
    Mute(Option<u64>),
}

/// A place in a channel's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recover {
    /// Which life of the server's memory.
    pub epoch: Box<str>,
    /// The last publication that was received.
    pub offset: Offset,
}

/// How documents are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Follow {
    /// Which.
    pub name: Name,
    /// `auto`, `snapshot` or `patch`.
    pub mode: Mode,
    /// At most so many times a second; 0: every change.
    pub max_hz: u32,
    /// What the client has: key and version.
    pub versions: HashMap<Key, Stamp>,
}

/// How changes of documents come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As the server sees fit.
    #[default]
    Auto,
    /// Always whole.
    Snapshot,
    /// Always as a patch, once there is a value.
    Patch,
}

/// What a client publishes.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// The payload.
    pub data: Json,
    /// Its own kind of event.
    pub event: Option<Arc<str>>,
    /// More about it: an object.
    pub metadata: Option<Json>,
    /// The thread that it belongs to.
    pub thread: Option<Arc<str>>,
}

/// A user's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// `online`, `away`, `busy` or `offline`.
    pub status: &'static str,
    /// In the user's own words.
    pub custom: Option<Arc<str>>,
}

/// The four words for a status.
pub const STATUSES: [&str; 4] = ["online", "away", "busy", "offline"];

/// What is said of a room; what is missing stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomProfile {
    /// Its name for people.
    pub name: Option<Arc<str>>,
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// Whether only those who are invited get in.
    pub private: Option<bool>,
    /// At most so many members; 0: any number.
    pub max_members: Option<u64>,
    /// More about it: an object.
    pub metadata: Option<Json>,
}

/// Which publications of the past are wanted, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// At most so many.
    pub limit: usize,
    /// Up to here, this one included.
    pub before: Option<Bound>,
    /// From here on, this one included.
    pub after: Option<Bound>,
    /// Of this thread only.
    pub thread: Option<Arc<str>>,
    /// Of this user only.
    pub user: Option<Arc<str>>,
    /// With this in their data, in whatever case.
    pub search: Option<Arc<str>>,
}

impl Default for Query {
    fn default() -> Self {
        Query { limit: DEFAULT_LIMIT, before: None, after: None, thread: None, user: None, search: None }
    }
}

/// A place in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A sequence number.
    Sequence(u64),
    /// A moment, in nanoseconds since 1970.
    Time(u64),
}

impl Bound {
    /// A sequence number or an RFC 3339 time.
    pub fn parse(text: &str) -> Option<Bound> {
        text.parse().map(Bound::Sequence).ok().or_else(|| parse_time(text).map(Bound::Time))
    }
}

/// Why a frame asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameFault {
    /// A type that does not exist, or nothing to whom a frame is addressed: forge's clients are not told.
    #[error("{0}")]
    Idle(&'static str),
    /// A field is missing or of the wrong type.
    #[error("{0}")]
    Field(&'static str),
}

impl FrameFault {
    /// The code of the error frame.
    pub fn code(self) -> &'static str {
        "invalid_message"
    }
}

/// Whether a text can be the name of a room. Every room is a channel; `*` is everybody's channel and hence none.
pub fn is_room(name: &str) -> bool {
    is_channel(name) && name.len() <= MAX_NAME && name != "*" && !name.contains(char::is_control)
}

/// Whether a text can be the name of a user.
pub fn is_user(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control)
}
