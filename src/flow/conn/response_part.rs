//! What responses are made of: the parts that the owners concerned answer with.

use crate::flow::conn::listing::Row;
use crate::flow::limits::route::RouteId;
use crate::flow::request::write::{Done, Refused};
use crate::flow::state::item::Item;
use crate::flow::state::room::Refusal;
use crate::wire::key::Key;
use std::sync::Arc;

/// What an owner, or another shard, adds to a response.
#[derive(Debug)]
pub enum ResponsePart {
    /// What a write led to.
    Wrote(Result<Done, Refused>),
    /// A document.
    Item(Option<Arc<Item>>),
    /// Documents, in the order of keys.
    Items(Vec<Arc<Item>>),
    /// Keys, in order.
    Keys(Vec<Key>),
    /// A place among the readers of that route, for that user: whether there is room.
    Entered(RouteId, Option<Arc<str>>, bool),
    /// To `SubscriptionChange`: what of it could not be done, or that there is no such connection.
    Changed(Option<Vec<String>>),
    /// What was published: JSON.
    History(Vec<u8>),
    /// What a room's owner says: the members of a JSON object.
    Room(Result<Vec<u8>, Refusal>),
    /// Rooms: their names, and the members of a JSON object about each.
    Rooms(Vec<(Arc<str>, Vec<u8>)>),
    /// Pools: what they are about, and how many connections they have.
    Pools(Vec<(Arc<str>, usize)>),
    /// Channels.
    Channels(Vec<Row>),
}
