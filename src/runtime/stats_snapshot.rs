//! A shard's counters, where other threads read them.

use crate::shard::stats::Stats;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one shard in the order of `METRICS`, as they were within the last second or two. Written by the
/// shard, read by any thread; all copies are the same counters.
#[derive(Clone, Debug)]
pub struct StatsSnapshot(Arc<[AtomicU64]>);

impl StatsSnapshot {
    /// All zeroes.
    pub fn new() -> StatsSnapshot {
        StatsSnapshot(iter::repeat_with(AtomicU64::default).take(Stats::VALUES).collect())
    }

    /// Writes the counters as they are now.
    pub(super) fn write(&self, stats: &Stats) {
        for (place, value) in self.0.iter().zip(stats.values()) {
            place.store(value, Ordering::Relaxed);
        }
    }
}

impl Default for StatsSnapshot {
    fn default() -> StatsSnapshot {
        StatsSnapshot::new()
    }
}

impl AsRef<[AtomicU64]> for StatsSnapshot {
    fn as_ref(&self) -> &[AtomicU64] {
        &self.0
    }
}
