//! How the shards' threads are asked to leave.

use crate::base::id::ShardId;
use crate::runtime::notifier::Notifier;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops the shards, from any thread.
#[derive(Clone)]
pub struct Stopper {
    stopping: Arc<AtomicBool>,
    notifiers: Arc<[Arc<Notifier>]>,
}

impl Stopper {
    /// For the shards that have these notifiers, in their order.
    pub(super) fn new(notifiers: Arc<[Arc<Notifier>]>) -> Stopper {
        Stopper { stopping: Arc::default(), notifiers }
    }

    /// The notifiers, in the order of the shards.
    pub(super) fn notifiers(&self) -> &[Arc<Notifier>] {
        &self.notifiers
    }

    /// The notifier of one shard.
    pub(super) fn notifier(&self, shard: ShardId) -> Arc<Notifier> {
        self.notifiers[shard.index()].clone()
    }

    /// Whether the shards are to leave.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Asks all shards to leave; each closes its listeners and takes one last turn.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.notifiers.iter().for_each(|notifier| notifier.notify());
    }
}

/// Held by each shard's thread: when one leaves, for whatever reason, all do, so that the reason gets told.
pub(super) struct StopOnDrop(pub(super) Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
