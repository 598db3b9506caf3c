//! What the connections of a shard share: subscriptions, work that waits, scratch buffers.

use crate::base::id::{ConnId, ShardId};
use crate::flow::identity::Identity;
use crate::flow::limits::{Access, Limits};
use crate::flow::request::write::SweepId;
use crate::shard::connections::stream_queue::StreamQueue;
use crate::shard::connections::subscriptions::Subscriptions;
use crate::shard::io::{Action, Door};
use crate::wire::ws::Inflater;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the connections of a shard share.
#[derive(Debug)]
pub struct Shared {
    /// What they are subscribed to, and what goes out to them.
    pub subscriptions: Subscriptions,
    /// What is to be done to sockets.
    pub actions: VecDeque<Action>,
    /// Streamed answers.
    pub streams: StreamQueue,
    /// Feeds whose next line may be handled now.
    pub ready_feeds: VecDeque<ConnId>,
    /// Feeds that wait until less is under way.
    pub held_feeds: Vec<ConnId>,
    /// Imports that can go on.
    pub imports: Vec<ConnId>,
    /// Connections whose next request waits until they have read the responses so far.
    pub unread: Vec<ConnId>,
    /// Connections that do not read what they are sent: to be let go.
    pub overflowed: Vec<ConnId>,
    /// The payload of a WebSocket's frame.
    pub scratch: Vec<u8>,
    /// For compressed messages.
    pub inflater: Inflater,
    /// Who the anonymous clients of each listener are, in the order of `--listen`.
    anonymous: Vec<Arc<Identity>>,
    /// Who the feed's connections are.
    application: Arc<Identity>,
    sweeps: u64,
}

impl Shared {
    /// Nothing yet.
    pub fn new(limits: &Limits) -> Shared {
        Shared {
            subscriptions: Subscriptions::new(limits),
            actions: VecDeque::new(),
            streams: StreamQueue::default(),
            ready_feeds: VecDeque::new(),
            held_feeds: Vec::new(),
            imports: Vec::new(),
            unread: Vec::new(),
            overflowed: Vec::new(),
            scratch: Vec::new(),
            inflater: Inflater::default(),
            anonymous: anonymous(limits),
            application: Identity::anonymous(Access::Write),
            sweeps: 0,
        }
    }

    /// Who somebody is that came in at a door and has not said more.
    pub fn identity(&self, door: Door) -> &Arc<Identity> {
        match door {
            Door::Clients(listener) => &self.anonymous[usize::from(listener)],
            Door::Feed => &self.application,
        }
    }

    /// The anonymous clients of the first listener are this one from now on.
    #[cfg(test)]
    pub fn set_anonymous(&mut self, identity: Identity) {
        self.anonymous = vec![Arc::new(identity)];
    }

    /// Other limits hold from now on.
    pub fn limits_changed(&mut self, limits: &Limits) {
        self.anonymous = anonymous(limits);
        self.subscriptions.limits_changed(limits);
    }

    /// A name for a new glob delete.
    pub fn next_sweep(&mut self, shard: ShardId) -> SweepId {
        self.sweeps += 1;
        SweepId { shard, count: self.sweeps }
    }
}

fn anonymous(limits: &Limits) -> Vec<Arc<Identity>> {
    limits.anonymous.iter().map(|access| Identity::anonymous(*access)).collect()
}

/// Adds a connection to a list of those that wait, once.
pub fn list_once(list: &mut Vec<ConnId>, id: ConnId) {
    if !list.contains(&id) {
        list.push(id);
    }
}
