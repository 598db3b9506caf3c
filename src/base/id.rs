//! Ids of shards, and of connections within a shard.

/// One pinned core and everything that it owns; counts from 0 to the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard's index in a list of shards.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection of one shard. `slot` is its index in the tables of the shard and of the ring; `generation` tells it
/// from earlier connections in that slot, so that a late completion finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// The slot; may be used again after close.
    pub slot: u32,
    /// Rises by one with each connection in that slot; after [`ConnId::LAST_GENERATION`] comes 0 again.
    pub generation: u32,
}

impl ConnId {
    /// The last generation of a slot: 24 bits of it travel in completion tags.
    pub const LAST_GENERATION: u32 = (1 << 24) - 1;
}
