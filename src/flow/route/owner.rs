//! Which shard owns a name.

use crate::base::id::ShardId;
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// The shard that orders everything said under `name`: the same on every shard, spread evenly.
pub fn owner(name: &str, shards: u16) -> ShardId {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    // the high bits are the well mixed ones
    ShardId(((u128::from(hasher.finish()) * u128::from(shards)) >> 64) as u16)
}

/// The shard that owns a user.
pub fn owner_of_user(user: &str, shards: u16) -> ShardId {
    owner(&format!("$user/{user}"), shards)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn names_spread_evenly() {
        for shards in [1u16, 2, 3, 8] {
            let mut count = vec![0u32; shards as usize];
            for i in 0..8000 {
                count[owner(&format!("things/{i}"), shards).index()] += 1;
            }
            let fair = 8000 / u32::from(shards);
            assert!(count.iter().all(|&c| c > fair * 8 / 10 && c < fair * 12 / 10), "{shards}: {count:?}");
        }
    }
}
