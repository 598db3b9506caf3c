//! What shards say to each other.

/// One message from a shard to another.
pub enum Mail {}
