//! What a connection of the hub has shown to be, beyond a plain listener to channels.

use crate::flow::conn::bucket::Bucket;
use crate::flow::conn::memberships::{Gather, Memberships};
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::documents::DocumentRequest;
use crate::flow::request::position::Position;
use crate::wire::cursor::{Cursor, KeyPosition};
use crate::wire::hub::{Class, ReplyTo};
use crate::wire::key::Name;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a connection has shown of itself, and what it has asked of documents and how far that is.
#[derive(Debug, Default)]
pub struct Hub {
    /// What it has shown to be.
    pub class: Class,
    /// Whether it speaks our own dialect by agreement: then it is told of what forge leaves without an answer.
    pub strict: bool,
    /// Who it is.
    pub user: Option<Arc<str>>,
    /// Its session, if it wants to be able to take it up again.
    pub session: Option<u64>,
    /// How fast it sends frames that others get.
    pub frames: Bucket,
    /// How many of them wait for their owners' answers.
    pub in_flight: u32,
    /// How fast it subscribes.
    pub subscribing: Bucket,
    /// Subscriptions to channels whose beginning it waits to be told.
    pub replies: Vec<Beginning>,
    /// The rooms that it is in.
    pub memberships: Memberships,
    /// What it has said and is not listened to yet, while it waits for answers.
    pub held: Option<Vec<u8>>,
    /// How many answers it waits for.
    pub waits: u32,
    /// Users whose presence it has asked for at once.
    pub gathers: Vec<Gather>,
    /// How often it has done that.
    pub gathered: u32,
    /// Its document subscriptions. No two mean the same key: those that would are one.
    pub documents: Vec<DocumentSubscription>,
    /// The one that is being brought up to date.
    pub syncing: Option<Syncing>,
    /// What it has asked meanwhile; done one after the other.
    pub waiting: VecDeque<DocumentRequest>,
    /// How far it had come on an earlier connection, with what it has not subscribed to again yet.
    pub cursor: Option<Box<Cursor>>,
}

impl Hub {
    /// The names of documents that it is subscribed to, and how their changes come.
    pub fn wishes(&self) -> impl Iterator<Item = (Name, PatchMode, u32)> {
        self.documents.iter().flat_map(|documents| {
            let (patch, max_hz) = documents.manner;
            documents.names.iter().map(move |name| (name.clone(), patch, max_hz))
        })
    }

    /// What the client says from now on is not listened to until one more answer has come.
    pub fn wait(&mut self) {
        self.waits += 1;
        self.held.get_or_insert_default();
    }

    /// How far the client had come with a name, by its cursor; only its first subscription counts.
    pub fn far(&mut self, name: &Name) -> Option<KeyPosition> {
        self.cursor.as_mut()?.keys.remove(name.as_str())
    }

    /// The same for a channel.
    pub fn offset(&mut self, channel: &str) -> Option<u64> {
        self.cursor.as_mut()?.channels.remove(channel)
    }

    /// Takes out what is to be told of the beginning of a subscription.
    pub fn take_replies(&mut self, pool: PoolId) -> Vec<Beginning> {
        self.replies.extract_if(.., |beginning| beginning.pool == pool).collect()
    }
}

/// A subscription to a channel that is to be told when it begins.
#[derive(Debug)]
pub struct Beginning {
    /// Its pool.
    pub pool: PoolId,
    /// The frame that asked for it.
    pub about: ReplyTo,
    /// Whether that said what was seen last.
    pub recovers: bool,
}

/// One subscription to documents: a pool at each owner.
#[derive(Debug)]
pub struct DocumentSubscription {
    /// What it is about, in order.
    pub names: Arc<[Name]>,
    /// How changes come, and at most how often a second (0: as they come).
    pub manner: (PatchMode, u32),
    /// The pools.
    pub pools: Vec<PoolId>,
}

/// What is announced, and the `request_id` that asked for it.
pub type Announced = (Name, Option<Box<str>>);

/// A subscription whose state is on its way.
#[derive(Debug)]
pub struct Syncing {
    /// What is to be announced when it is complete.
    pub announce: Option<Announced>,
    /// The owners' parts that are missing, and what the client had of them.
    pub missing: Vec<(PoolId, Position)>,
    /// Keys whose state was sent.
    pub count: u32,
}
