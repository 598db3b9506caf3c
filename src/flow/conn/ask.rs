//! What a connection asks of the owners, and what they answer.

use crate::base::id::ConnId;
use crate::flow::conn::events::Change;
use crate::flow::conn::hub::Versions;
use crate::flow::conn::listing::Row;
use crate::flow::conn::seats::{RoomAsk, UserAsk};
use crate::flow::conn::views::Views;
use crate::flow::feed::{Done, Refused, Write};
use crate::flow::state::choice::Choice;
use crate::flow::state::item::Item;
use crate::flow::state::presence::Shown;
use crate::flow::state::room::{Actor, Refusal};
use crate::wire::hub::{About, Query};
use crate::wire::key::{Key, Name, Pattern};
use std::sync::Arc;

/// A question to an owner.
#[derive(Debug)]
pub enum Ask {
    /// Do this.
    Write(Write),
    /// Do all of these or none; all are yours.
    Batch(Vec<Write>),
    /// The document of a key.
    Get(Key),
    /// Your documents that match.
    List(Pattern),
    /// What was published into a channel, for somebody.
    History(Arc<str>, Box<(Actor, Query)>),
    /// Something about a room.
    Room(Box<RoomAsk>),
    /// Your rooms, as far as somebody may see them.
    Rooms(Actor),
    /// Something about a user.
    User(Arc<str>, Box<UserAsk>),
    /// All your keys.
    Keys,
    /// What somebody has missed of a channel, at once.
    Missed(Box<Missed>),
    /// What has happened in the views of a client, of that channel over that route.
    Views(Arc<str>, u8, Box<Views>),
    /// One more reader of that route, perhaps one user's.
    Enter(u8, Option<Arc<str>>),
    /// Change what a connection of yours gets as events.
    Change(Box<Change>),
    /// Your pools: what they are about and how many connections they have.
    Pools,
    /// Your channels, and which of your connections are subscribed to which.
    Channels,
}

/// The answer to a question.
#[derive(Debug)]
pub enum Answer {
    /// To a write or a batch.
    Wrote(Result<Done, Refused>),
    /// To `Get`.
    Item(Option<Arc<Item>>),
    /// To `List`, in the order of keys.
    Items(Vec<Arc<Item>>),
    /// To `Keys`, in order.
    Keys(Vec<Key>),
    /// To `Enter`: whether there is room.
    Entered(u8, Option<Arc<str>>, bool),
    /// To `Change`: what of it could not be done, or that there is no such connection.
    Changed(Option<Vec<String>>),
    /// To `History`, `Missed` and `Views`: JSON.
    History(Vec<u8>),
    /// To a question about a room, or about a user who says something: the members of a JSON object.
    Room(Result<Vec<u8>, Refusal>),
    /// To `Rooms`: their names, and the members of a JSON object about each.
    Rooms(Vec<(Arc<str>, Vec<u8>)>),
    /// How a user shows itself.
    User(Box<(Arc<str>, Shown)>),
    /// To `Pools`.
    Pools(Vec<(Arc<str>, usize)>),
    /// To `Channels`.
    Channels(Vec<Row>),
}

/// A question for what was published into a channel since.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The channel.
    pub channel: Arc<str>,
    /// The route over which it is asked.
    pub route: u8,
    /// What the client has.
    pub has: Has,
    /// Which publications it wants, if not all.
    pub choice: Option<Arc<Choice>>,
}

/// Whose question it was; travels with the question and comes back with the answer.
#[derive(Debug)]
pub struct Ticket {
    /// The connection, on the shard that asked.
    pub conn: ConnId,
    /// What on that connection.
    pub tag: Tag,
}

/// What a question was asked for.
#[derive(Debug)]
pub enum Tag {
    /// The request that the connection waits for.
    Request,
    /// An element of an import.
    Element,
    /// A frame of the hub.
    Frame(Box<About>),
    /// A frame about a room; whether the connection is not listened to until it is answered.
    Room(Box<About>, bool),
    /// The presence of watched users, by the number of the question.
    Look(u32),
    /// A line of the feed: its number, and the `id` of the reply if one is wanted.
    Line(u64, Option<Box<str>>),
}

/// What a subscriber has already of what it asks for.
#[derive(Clone, Debug, Default)]
pub enum Has {
    /// Nothing: it wants the state.
    #[default]
    Nothing,
    /// The publications of this epoch up to this offset: it wants those behind it.
    Offset(Box<str>, u64),
    /// The document at this version, if that is the present one; the state otherwise (`?v=` of the ooo dialect).
    Version(u64),
    /// Nothing of what is kept of a channel: it wants all of that.
    First,
    /// The publications up to that which it knows by this name, or up to a cursor.
    Named(Box<str>),
    /// All documents as they were at this stamp of their owner: it wants what changed since, deletions included. Of
    /// those that `fresh` means it has only the `versions`.
    Since {
        /// The stamp; 0: nothing.
        stamp: u64,
        /// What it had not subscribed to before.
        fresh: Option<Name>,
        /// What it has of that.
        versions: Arc<Versions>,
    },
}

impl Has {
    /// The name of what it has last, if it has said that by name.
    pub fn name(&self) -> Option<Box<str>> {
        match self {
            Has::Named(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Everything as it was at `stamp`.
    pub fn since(stamp: u64) -> Has {
        Has::Since { stamp, fresh: None, versions: Arc::default() }
    }
}
