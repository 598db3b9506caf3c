//! Commit stamps: nanoseconds that strictly rise, on one shard and along every chain of cause and effect.

use crate::base::id::ShardId;

/// The low bits that tell shards apart, so that no two shards ever give the same stamp.
const SHARD_BITS: u32 = 8;

/// The clock of one shard. It takes the wall clock where that has moved on, and otherwise counts; it also moves on to
/// every stamp it hears of, so that what was done after the sight of a stamp has a higher one.
#[derive(Debug)]
pub struct Stamps {
    last: u64,
    shard: u64,
}

impl Stamps {
    /// The clock of `shard`.
    pub fn new(shard: ShardId) -> Stamps {
        assert!(u32::from(shard.0) < 1 << SHARD_BITS, "at most 256 shards");
        Stamps { last: 0, shard: u64::from(shard.0) }
    }

    /// The next stamp at `wall` nanoseconds.
    pub fn next(&mut self, wall: u64) -> u64 {
        let step = 1 << SHARD_BITS;
        self.last = (wall.max(self.last + step) & !(step - 1)) | self.shard;
        self.last
    }

    /// The last stamp given or heard of.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Another shard has come this far.
    pub fn observe(&mut self, stamp: u64) {
        self.last = self.last.max(stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::Stamps;
    use crate::base::id::ShardId;

    #[test]
    fn stamps_rise_and_are_unique_however_the_clock_jumps() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut clocks: Vec<_> = (0..4).map(|s| Stamps::new(ShardId(s))).collect();
        let (mut seen, mut last) = (std::collections::HashSet::new(), [0; 4]);
        for _ in 0..10_000 {
            let i = rng.usize(0..4);
            if rng.bool() {
                let heard = clocks[rng.usize(0..4)].last();
                clocks[i].observe(heard);
            }
            let heard = clocks[i].last();
            let stamp = clocks[i].next(rng.u64(1_000_000..2_000_000));
            assert!(stamp > last[i] && stamp > heard && seen.insert(stamp));
            last[i] = stamp;
        }
    }
}
