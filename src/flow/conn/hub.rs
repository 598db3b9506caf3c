//! What a connection of the hub has shown to be, beyond a plain listener to channels.

use crate::flow::conn::ask::Has;
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::PatchMode;
use crate::wire::key::{Key, Name};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The versions of documents that a client has.
pub type Versions = HashMap<Key, u64>;

/// What a connection has asked of documents, and how far that is.
#[derive(Debug, Default)]
pub struct Hub {
    /// Its document subscriptions. No two mean the same key: those that would are one.
    pub documents: Vec<Documents>,
    /// The one that is being brought up to date.
    pub syncing: Option<Syncing>,
    /// What it has asked meanwhile; done one after the other.
    pub waiting: VecDeque<Request>,
}

/// One subscription to documents: a pool at each owner.
#[derive(Debug)]
pub struct Documents {
    /// What it is about, in order.
    pub names: Arc<[Name]>,
    /// The pools.
    pub pools: Vec<PoolId>,
}

/// A subscription whose state is on its way.
#[derive(Debug)]
pub struct Syncing {
    /// What to say when it is complete, if anything is to be said.
    pub announce: Option<Name>,
    /// The owners' parts that are missing, and what the client had of them.
    pub missing: Vec<(PoolId, Has)>,
    /// Keys whose state was sent.
    pub count: u32,
}

/// What a client asks of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Subscribe, or change how it is subscribed.
    Subscribe {
        /// To what.
        name: Name,
        /// How changes are to come.
        patch: PatchMode,
        /// At most so many deliveries a second; 0: as they come.
        max_hz: u32,
        /// What the client has already.
        versions: Versions,
    },
    /// End a subscription.
    Unsubscribe(Name),
}
