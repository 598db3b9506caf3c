//! Questions that connections ask, each with whose it is; `answer` has what comes back.

use crate::base::id::ConnId;
use crate::flow::identity::Actor;
use crate::flow::limits::route::RouteId;
use crate::flow::request::catchup::MissedQuery;
use crate::flow::request::events::SubscriptionChange;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::request::views::Views;
use crate::flow::request::write::Write;
use crate::flow::state::presence::{Status, Viewer};
use crate::wire::hub::{Query, ReplyTo};
use crate::wire::key::{Key, Pattern};
use std::sync::Arc;

/// A question to an owner.
#[derive(Debug)]
pub enum Question {
    /// Do this.
    Write {
        /// What is to be done.
        write: Write,
        /// Whose question it is.
        ticket: WriteTicket,
    },
    /// Do all of these or none; all are yours.
    Batch {
        /// What is to be done, in this order.
        writes: Vec<Write>,
        /// Whose question it is.
        ticket: WriteTicket,
    },
    /// Something that a response is made of.
    Read {
        /// The connection that waits for the response.
        conn: ConnId,
        /// What it needs.
        read: Read,
    },
    /// What was published into a channel.
    History {
        /// The channel.
        channel: Arc<str>,
        /// Who asks.
        actor: Actor,
        /// Which publications.
        query: Box<Query>,
        /// Whose question it is.
        ticket: Ticket,
    },
    /// Something about a room.
    Room {
        /// What.
        ask: Box<RoomAsk>,
        /// Whose question it is.
        ticket: Ticket,
    },
    /// Something about a user.
    User {
        /// The user.
        user: Arc<str>,
        /// What.
        question: UserQuestion,
    },
}

/// What an owner adds to a response.
#[derive(Debug)]
pub enum Read {
    /// The document of a key.
    Document(Key),
    /// Your documents that match.
    Documents(Pattern),
    /// All your keys.
    Keys,
    /// Your channels.
    Channels,
    /// Your rooms, as far as somebody may see them.
    Rooms(Actor),
    /// What somebody has missed of a channel, at once.
    Missed(Box<MissedQuery>),
    /// What has happened in the views of a client.
    Views {
        /// The channel.
        channel: Arc<str>,
        /// Who asks.
        actor: Actor,
        /// The route over which it is asked.
        route: RouteId,
        /// What the client looks at.
        views: Box<Views>,
    },
    /// A place among the readers of a route.
    EnterRoute {
        /// The route.
        route: RouteId,
        /// The reader's user.
        user: Option<Arc<str>>,
    },
}

/// What is asked of, or said by, a user.
#[derive(Debug)]
pub enum UserQuestion {
    /// The user says how it is.
    Status {
        /// Its status.
        status: Status,
        /// Its own words.
        custom: Option<Arc<str>>,
        /// Whose frame it was.
        ticket: Ticket,
    },
    /// A place in a room, for whoever asks about it: the question goes on to the room's owner.
    Forward {
        /// What is asked of the room.
        ask: Box<RoomAsk>,
        /// Whose question it is.
        ticket: Ticket,
    },
    /// How the user shows itself, to those who may know.
    Presence {
        /// The connection that asks.
        conn: ConnId,
        /// Its number for the question.
        query: u32,
        /// Who wants to know.
        viewer: Viewer,
    },
    /// How others show themselves to the user: the question goes on to their owners, with the rooms that it is in.
    Watch {
        /// The others.
        users: Vec<Arc<str>>,
        /// The connection that asks.
        conn: ConnId,
        /// Its number for the question.
        query: u32,
    },
}

/// A question to a shard about its connections.
#[derive(Debug)]
pub enum ConnectionsQuestion {
    /// Your pools: what they are about and how many connections they have.
    Pools,
    /// How many of your connections are subscribed to which channel.
    Listeners,
    /// Change what a connection of yours gets as events.
    Change(Box<SubscriptionChange>),
}

/// Whose question it was; comes back with the answer.
#[derive(Debug)]
pub struct Ticket {
    /// The connection, on the shard that asked.
    pub conn: ConnId,
    /// What it said.
    pub origin: Origin,
}

/// What on a connection asked.
#[derive(Debug)]
pub enum Origin {
    /// The request that the connection waits for.
    Request,
    /// A frame of the hub.
    Frame {
        /// What the reply says of it.
        reply_to: Box<ReplyTo>,
        /// Whether the connection is not listened to until it is answered.
        waits: bool,
    },
}

/// Whose write it was; comes back with the answer.
#[derive(Debug)]
pub struct WriteTicket {
    /// The connection, on the shard that asked.
    pub conn: ConnId,
    /// What it said.
    pub origin: WriteOrigin,
}

/// What on a connection writes.
#[derive(Debug)]
pub enum WriteOrigin {
    /// The request that the connection waits for.
    Request,
    /// A frame of the hub; what the reply says of it.
    Frame(Box<ReplyTo>),
    /// An element of an import.
    Element,
    /// A line of the feed.
    Line {
        /// Its number.
        number: u64,
        /// The `id` of the reply, if one is wanted.
        id: Option<Box<str>>,
    },
}
