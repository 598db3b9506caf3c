//! Back-pressure between shards: nobody takes more from the application than the others send on.

use crate::base::id::ShardId;

/// What other shards have been sent and have not sent on yet.
#[derive(Debug)]
pub struct Credit {
    /// By shard: bytes of frames, and of changes for its lists, sent to it and not given back.
    given: Vec<usize>,
    /// By shard: the same received from it and not given back.
    owed: Vec<usize>,
}

impl Credit {
    /// Nothing is under way.
    pub fn new(shards: u16) -> Credit {
        Credit { given: vec![0; shards as usize], owed: vec![0; shards as usize] }
    }

    /// Something goes to a shard.
    pub fn give(&mut self, to: ShardId, bytes: usize) {
        self.given[to.index()] += bytes;
    }

    /// A shard has sent on what it got.
    pub fn back(&mut self, from: ShardId, bytes: usize) {
        self.given[from.index()] -= bytes;
    }

    /// Something came from a shard.
    pub fn owe(&mut self, from: ShardId, bytes: usize) {
        self.owed[from.index()] += bytes;
    }

    /// What is owed to each shard, when everything has been sent on.
    pub fn settle(&mut self) -> impl Iterator<Item = (ShardId, usize)> {
        let owed = self.owed.iter_mut().enumerate().filter(|(_, bytes)| **bytes > 0);
        owed.map(|(shard, bytes)| (ShardId(shard as u16), std::mem::take(bytes)))
    }

    /// Whether more than `limit` bytes are under way to some shard.
    pub fn exceeds(&self, limit: usize) -> bool {
        self.given.iter().any(|bytes| *bytes > limit)
    }
}
