//! Commit stamps: nanoseconds that strictly rise, on one shard and along every chain of cause and effect.

use crate::base::id::ShardId;
use crate::base::stamp::Stamp;

/// The low bits that tell the shards of a node apart, so that no two of them ever give the same stamp.
const SHARD_BITS: u32 = 8;
/// The bits above them that tell nodes apart. Together they are 4 microseconds: a shard that commits 244,000 times a
/// second for long runs ahead of its wall clock, so there is no room for more.
const NODE_BITS: u32 = 4;
/// From one stamp of a shard to its next, at least.
const STEP: u64 = 1 << (NODE_BITS + SHARD_BITS);

/// The clock of one shard. It takes the wall clock where that has moved on, and otherwise counts; it also moves on to
/// every stamp it hears of, so that what was done after the sight of a stamp has a higher one.
#[derive(Debug)]
pub struct Stamps {
    last: Stamp,
    /// The node and the shard, in the low bits.
    origin: u64,
}

impl Stamps {
    /// The clock of `shard` on `node`.
    pub fn new(node: u8, shard: ShardId) -> Stamps {
        assert!(node < 1 << NODE_BITS, "at most 16 nodes");
        assert!(u32::from(shard.0) < 1 << SHARD_BITS, "at most 256 shards");
        Stamps { last: Stamp::ZERO, origin: u64::from(node) << SHARD_BITS | u64::from(shard.0) }
    }

    /// The next stamp at `wall` nanoseconds.
    pub fn next(&mut self, wall: u64) -> Stamp {
        let number = (wall.max(self.last.get() + STEP) & !(STEP - 1)) | self.origin;
        self.last = Stamp::new(number);
        self.last
    }

    /// The last stamp given or heard of.
    pub fn last(&self) -> Stamp {
        self.last
    }

    /// Another shard has come this far.
    pub fn observe(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::Stamps;
    use crate::base::id::ShardId;
    use crate::base::stamp::Stamp;

    #[test]
    fn stamps_rise_and_are_unique_however_the_clock_jumps() {
        let mut rng = fastrand::Rng::with_seed(3);
        let each = (0..3).flat_map(|node| (0..2).map(move |shard| Stamps::new(node, ShardId(shard))));
        let mut clocks: Vec<_> = each.collect();
        let (mut seen, mut last) = (std::collections::HashSet::new(), [Stamp::ZERO; 6]);
        for _ in 0..10_000 {
            let i = rng.usize(0..6);
            if rng.bool() {
                let heard = clocks[rng.usize(0..6)].last();
                clocks[i].observe(heard);
            }
            let heard = clocks[i].last();
            let stamp = clocks[i].next(rng.u64(1_000_000..2_000_000));
            assert!(stamp > last[i] && stamp > heard && seen.insert(stamp));
            last[i] = stamp;
        }
    }
}
