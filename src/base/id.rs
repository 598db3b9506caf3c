//! Names of places: shards, and connections within a shard.

/// One pinned core and everything that it owns; counts from 0 to the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard's place in a list of shards.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection of one shard. `slot` is its place in the shard's table and in the ring's table of registered files
/// alike; `generation` tells it from earlier connections in that place, so that a late completion finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// The place; the kernel gives it out at accept and may give it again after close.
    pub slot: u32,
    /// Rises by one with each connection in that place. Fits 24 bits (it travels in completion tags).
    pub generation: u32,
}
