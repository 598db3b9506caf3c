//! Floor 5: the control plane. One ordinary tokio thread beside the cores; no shard ever waits for it.

pub mod admin;
pub mod metrics;
pub mod shards;
