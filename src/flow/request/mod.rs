//! The first step: what comes in at a door, from bytes or a request's head to a value that says what is asked.

pub mod catchup;
pub mod documents;
pub mod events;
pub mod handshake;
pub mod lines;
pub mod pages;
pub mod paging;
pub mod position;
mod query;
pub mod refusals;
pub mod rest;
pub mod rooms;
pub mod router;
pub mod stream;
pub mod views;
pub mod write;

use crate::base::stamp::Stamp;
use crate::flow::identity::Actor;
use crate::flow::limits::route::RouteId;
use crate::flow::request::catchup::RouteRequest;
use crate::flow::request::events::{EventsRequest, SubscriptionChange};
use crate::flow::request::handshake::{Handshake, HubRequest};
use crate::flow::request::paging::Page;
use crate::flow::request::rooms::RoomRequest;
use crate::flow::request::stream::StreamRequest;
use crate::flow::request::views::Views;
use crate::flow::request::write::Write;
use crate::wire::http::Response;
use crate::wire::json::Json;
use crate::wire::key::{Key, Name, Pattern};
use std::sync::Arc;

/// What a request over HTTP asks for.
#[derive(Debug)]
pub enum Request {
    /// The response is known.
    Respond(Response<'static>),
    /// The document of this key.
    Get(Key),
    /// A write, of this key's owner.
    Write(Key, Write, ResponseKind),
    /// A new item under this pattern; its key is still to be made.
    Push(Pattern, Json),
    /// Delete everything that matches; all owners are to be asked.
    Sweep(Pattern),
    /// All owners are to be asked.
    Gather(ResponseKind),
    /// Something about rooms.
    Room(RoomRequest),
    /// A streamed answer.
    Stream(Box<StreamRequest>),
    /// A WebSocket on a name, or on the clock; the version that the client has.
    Follow(Option<Name>, Handshake, Option<Stamp>),
    /// A stream with a catch-up, over a route.
    Route(Box<RouteRequest>),
    /// What has happened in the views of a client, of that channel over that route.
    Views(Arc<str>, RouteId, Box<Views>),
    /// Server-sent events.
    Events(Box<EventsRequest>),
    /// A change of what a connection gets as events.
    Change(Box<SubscriptionChange>),
    /// A WebSocket of the hub.
    Hub(Handshake, Box<HubRequest>),
}

/// What the response is made of, once the owners have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// The key of a written document.
    Index(String),
    /// That it is gone.
    Gone,
    /// One item.
    Item,
    /// All items that match, newest first.
    Items(Pattern),
    /// All keys, as the JavaScript client asks for them.
    AllKeys,
    /// One page of keys.
    Keys(Page),
    /// One page of channels.
    Channels(Page),
    /// The pools.
    Pools,
    /// What a room's owner says, with that status.
    Room(u16),
    /// The rooms that somebody may see.
    Rooms(Actor),
    /// What has become of a change of subscriptions.
    Change,
    /// What was missed of a channel.
    Missed,
    /// A place among the readers of a route.
    Enter(Box<RouteRequest>),
}
