//! Finding who wants a key among many patterns.

use super::Work;
use fanfare::base::id::ShardId;
use fanfare::base::slab::Id;
use fanfare::flow::route::trie::Trie;
use fanfare::shard::owner::watchers::Target;
use fastrand::Rng;

/// Keys looked up in one piece of work.
pub const ROUND: usize = 256;

/// The patterns of applications: an item's parts, a member's rooms, a name in any room.
fn pattern(i: usize) -> String {
    match i % 4 {
        0 => format!("users/{i}/*"),
        1 => format!("rooms/{i}/members/*"),
        2 => format!("rooms/*/names/{i}"),
        _ => format!("groups/{}/{i}/*", i % 1000),
    }
}

/// A key that pattern `i` matches.
fn key(i: usize) -> String {
    pattern(i).replace('*', "x1")
}

fn value(i: usize) -> Target {
    Target::List { owner: ShardId(0), list: Id { index: i as u32, generation: 0 } }
}

/// A trie of that many patterns.
pub fn filled(patterns: usize) -> Trie<Target> {
    let mut trie = Trie::default();
    for i in 0..patterns {
        trie.insert(&pattern(i), value(i));
    }
    trie
}

fn looked_up(patterns: usize, keys: Vec<String>) -> Work {
    let trie = filled(patterns);
    let mut rounds = (0..keys.len() / ROUND).cycle();
    Box::new(move || {
        let from = rounds.next().expect("it never ends") * ROUND;
        let mut found = 0;
        for key in &keys[from..from + ROUND] {
            trie.matches(key, |_| found += 1);
        }
        assert!(found >= ROUND);
        found
    })
}

/// The same 768 keys over and over, however many patterns there are: what an application changes often.
pub fn match_few(patterns: usize) -> Work {
    looked_up(patterns, (0..3 * ROUND).map(key).collect())
}

/// Any of the keys at random, up to 200,000 of them: hardly one is in the processor's caches.
pub fn match_any(patterns: usize) -> Work {
    let mut rng = Rng::with_seed(1);
    let keys = patterns.clamp(ROUND, 200_000);
    looked_up(patterns, (0..keys).map(|_| key(rng.usize(..patterns))).collect())
}

/// A subscription comes and goes.
pub fn subscribe(patterns: usize) -> Work {
    let mut trie = filled(patterns);
    let mut next = patterns;
    Box::new(move || {
        next += 1;
        let pattern = pattern(next);
        trie.insert(&pattern, value(next));
        usize::from(trie.remove(&pattern, &value(next)))
    })
}
