//! Scans: the documents of a name as they were at one moment, read batch by batch while writes go on.
//!
//! Nothing is copied when a scan opens. What a write replaces or deletes afterwards is kept for each scan that has yet to
//! come to that key; what is younger than the scan is passed over. So a scan costs what is written while it is open, and
//! that has a bound: beyond it the scan that holds most is broken, and its reader is told.

use crate::base::id::{ConnId, ShardId};
use crate::base::stamp::Stamp;
use crate::flow::filter::select::Select;
use crate::flow::state::item::Item;
use crate::wire::key::{Key, Name};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What a kept document costs beside its text: the two heads, its place in the map.
const KEPT: usize = 256;
/// What one batch may cost, in bytes of documents; the last one may go beyond. So neither the turn that gathers it nor the
/// reader that waits with it has more than that in hand, however large documents are.
const BATCH: usize = 1 << 20;
/// What a look at a key counts.
const KEY: usize = 64;
/// What a byte counts that has to be read because there are conditions.
const READ: usize = 4;

/// A scan's name, given by its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScanId {
    /// The reader's shard.
    pub shard: ShardId,
    /// The reader.
    pub conn: ConnId,
    /// Tells this scan from earlier ones of that connection.
    pub count: u32,
}

/// One batch of a scan.
#[derive(Debug)]
pub struct Chunk {
    /// The next documents, in the order of keys.
    pub items: Vec<Arc<Item>>,
    /// What comes after them.
    pub then: Then,
    /// How many documents the scan has in all, if that is known.
    pub total: Option<u64>,
}

/// What comes after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Perhaps more: ask.
    More,
    /// Nothing.
    End,
    /// The scan is broken: more was written meanwhile than may be kept.
    Broken,
}

#[derive(Debug)]
struct Scan {
    select: Arc<Select>,
    /// The owner's clock at the moment of the scan.
    stamp: Stamp,
    /// The last key that was looked at.
    after: Option<Key>,
    /// Documents behind that key as they were at the moment, where they are not so any more.
    kept: BTreeMap<Key, Arc<Item>>,
    bytes: usize,
    broken: bool,
}

/// Where a document lies.
#[derive(Clone, Copy, Debug)]
pub struct KeyEntry {
    /// Its place among the documents.
    pub at: u32,
    /// How many segments its key has: what a walk asks without a look at the key itself, which lies elsewhere.
    pub segments: u32,
}

impl KeyEntry {
    /// The place of a document of that key.
    pub fn new(at: u32, key: &str) -> KeyEntry {
        KeyEntry { at, segments: segments(key) }
    }
}

fn segments(name: &str) -> u32 {
    name.bytes().filter(|byte| *byte == b'/').count() as u32 + 1
}

/// The documents as they are now.
#[derive(Clone, Copy, Debug)]
pub struct StoreView<'a> {
    /// Their keys, in order, and where each one lies.
    pub keys: &'a BTreeMap<Key, KeyEntry>,
    /// The places.
    pub items: &'a [Option<Arc<Item>>],
}

/// The open scans of one owner.
#[derive(Debug, Default)]
pub struct Scans {
    open: HashMap<ScanId, Scan>,
    /// Bytes that all of them keep.
    bytes: usize,
    budget: usize,
}

impl Scans {
    /// None yet; together they may keep `budget` bytes.
    pub fn new(budget: usize) -> Scans {
        Scans { budget, ..Scans::default() }
    }

    /// Together they may keep `budget` bytes from now on.
    pub fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Opens a scan at `stamp`: what was written up to then is in it.
    pub fn open(&mut self, id: ScanId, select: Arc<Select>, stamp: Stamp) {
        let scan = Scan { select, stamp, after: None, kept: BTreeMap::new(), bytes: 0, broken: false };
        self.open.insert(id, scan);
    }

    /// Closes a scan that nobody reads any more.
    pub fn close(&mut self, id: ScanId) {
        if let Some(scan) = self.open.remove(&id) {
            self.bytes -= scan.bytes;
        }
    }

    /// A document is about to be replaced or deleted.
    pub fn keep(&mut self, old: &Arc<Item>) {
        for scan in self.open.values_mut() {
            let ahead = scan.after.as_ref().is_none_or(|after| *after < old.key);
            // what replaces it is younger than the scan, so each key is kept at most once
            if ahead
                && old.version() <= scan.stamp
                && !scan.broken
                && scan.select.name.covers(old.key.as_str())
            {
                let cost = old.text_len() + KEPT;
                scan.kept.insert(old.key.clone(), old.clone());
                scan.bytes += cost;
                self.bytes += cost;
            }
        }
        while self.bytes > self.budget {
            let Some(largest) = self.open.values_mut().max_by_key(|scan| scan.bytes) else { return };
            self.bytes -= std::mem::take(&mut largest.bytes);
            largest.kept.clear();
            largest.broken = true;
        }
    }

    /// The next batch, of at most `most` documents, and what it has cost: the bytes of the documents that were looked at,
    /// and a few for each key. A scan that has ended or is broken is closed with it.
    pub fn next(&mut self, docs: StoreView<'_>, id: ScanId, most: usize) -> Option<(Chunk, usize)> {
        let scan = self.open.get_mut(&id)?;
        let (chunk, cost) = match scan.broken {
            true => (Chunk { items: Vec::new(), then: Then::Broken, total: None }, 0),
            false => scan.next(docs, most),
        };
        self.bytes -= scan.release();
        if chunk.then != Then::More {
            self.close(id);
        }
        Some((chunk, cost))
    }
}

impl Scan {
    fn next(&mut self, docs: StoreView<'_>, most: usize) -> (Chunk, usize) {
        let select = &*self.select;
        let prefix = select.name.prefix();
        let start = self.after.as_ref().map_or(Bound::Included(prefix), |key| Bound::Excluded(key.as_str()));
        // what begins with `a/` comes before `a0`, as `0` is the character behind `/`
        let behind = prefix.strip_suffix('/').map(|stem| format!("{stem}0"));
        let end = match (&select.name, &behind) {
            (Name::Key(key), _) => Bound::Included(key.as_str()),
            (Name::Pattern(_), Some(behind)) => Bound::Excluded(behind.as_str()),
            (Name::Pattern(_), None) => Bound::Unbounded,
        };
        let live = docs.keys.range::<str, _>((start, end));
        // most patterns are a prefix and one more segment
        let depth = match &select.name {
            Name::Pattern(pattern) if pattern.push("0").is_some() => Some(segments(pattern.as_str())),
            _ => None,
        };
        let covers = |key: &Key, place: KeyEntry| match depth {
            Some(depth) => place.segments == depth,
            None => select.name.covers(key.as_str()),
        };
        let (mut live, mut kept) = (live.peekable(), self.kept.iter().peekable());
        let (mut found, mut cost, mut then, mut last) = (Vec::new(), 0, Then::More, None);
        let weight = if select.conditions.is_empty() { 1 } else { READ };
        while found.len() < most && cost < BATCH {
            let next_is_kept = match (live.peek(), kept.peek()) {
                (None, None) => {
                    then = Then::End;
                    break;
                }
                // the living one of the same key comes next, and is too young
                (Some((living, _)), Some((old, _))) => old <= living,
                (living, _) => living.is_none(),
            };
            let next = if next_is_kept {
                kept.next().map(|(key, item)| (key, Some(item)))
            } else {
                live.next().map(|(key, place)| {
                    let item = covers(key, *place).then(|| docs.items[place.at as usize].as_ref()).flatten();
                    (key, item.filter(|item| item.version() <= self.stamp))
                })
            };
            let (key, item) = next.expect("just peeked");
            last = Some(key);
            cost += KEY;
            let Some(item) = item else { continue };
            cost += weight * item.text_len();
            if select.passes(&item.value) {
                found.push(item.clone());
            }
        }
        if let Some(last) = last.cloned() {
            self.after = Some(last);
        }
        (Chunk { items: found, then, total: None }, cost)
    }

    /// Lets go of what is kept for keys that have been looked at; returns how many bytes that were.
    fn release(&mut self) -> usize {
        let Some(after) = self.after.as_ref().filter(|_| !self.kept.is_empty()) else { return 0 };
        let ahead = self.kept.split_off(after.as_str());
        let mut gone = std::mem::replace(&mut self.kept, ahead);
        gone.extend(self.kept.remove_entry(after.as_str()));
        let bytes = gone.values().map(|item| item.text_len() + KEPT).sum();
        self.bytes -= bytes;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{ScanId, Then};
    use crate::base::id::{ConnId, ShardId};
    use crate::base::stamp::Stamp;
    use crate::flow::filter::select::Select;
    use crate::flow::state::item::Item;
    use crate::flow::state::store::Store;
    use crate::wire::json::Json;
    use crate::wire::key::{Key, Name};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn id(count: u32) -> ScanId {
        ScanId { shard: ShardId(0), conn: ConnId { slot: 1, generation: 1 }, count }
    }

    fn put(store: &mut Store, key: &str, stamp: Stamp) {
        let key = Key::parse(key).unwrap();
        let created = store.get(key.as_str()).map_or(stamp, |old| old.created);
        let value = Json::parse(stamp.to_string().as_bytes()).unwrap();
        drop(store.put(Arc::new(Item::new(
            key,
            created,
            if created == stamp { Stamp::ZERO } else { stamp },
            value,
        ))));
    }

    #[test]
    fn a_scan_is_the_store_at_its_moment_whatever_is_written_meanwhile() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut store, mut stamp) = (Store::new(1 << 20), Stamp::ZERO);
            let names = ["a/*", "*/3", "*", "b/1", "*/*", "zz/*"];
            type Rows = Vec<(String, Stamp)>;
            let mut open: Vec<(ScanId, Rows, Rows)> = Vec::new();
            for step in 0..400u32 {
                let key = match rng.u8(0..8) {
                    0 => format!("s{}", rng.u8(0..3)),
                    n => format!("{}/{}", if n & 1 == 0 { "a" } else { "b" }, rng.u8(0..30)),
                };
                stamp = Stamp::new(stamp.get() + 1);
                match rng.u8(0..10) {
                    0..5 => put(&mut store, &key, stamp),
                    5..7 => drop(store.remove(&Key::parse(&key).unwrap(), stamp)),
                    7 if open.len() < 4 => {
                        let name = Name::parse(rng.choice(names).unwrap()).unwrap();
                        let all =
                            store.matching_name(&name).map(|i| (i.key.as_str().to_owned(), i.version()));
                        let all: Vec<_> = all.collect();
                        if let Some(count) = store.count(&name) {
                            assert_eq!(count, all.len() as u64, "{name:?}");
                        }
                        let select = Select { name, conditions: Vec::new() };
                        store.open_scan(id(step), Arc::new(select), stamp);
                        open.push((id(step), all, Vec::new()));
                    }
                    _ if !open.is_empty() => {
                        let at = rng.usize(0..open.len());
                        let (id, want, got) = &mut open[at];
                        let most = rng.usize(1..6);
                        let (chunk, _) = store.next_chunk(*id, most).expect("it is open");
                        assert!(chunk.items.len() <= most);
                        got.extend(chunk.items.iter().map(|i| (i.key.as_str().to_owned(), i.version())));
                        if chunk.then == Then::End {
                            assert_eq!(got, want, "seed {seed}");
                            open.remove(at);
                        }
                    }
                    _ => {}
                }
            }
            for (id, ..) in open {
                store.close_scan(id);
            }
            assert_eq!(store.scans(), (0, 0));
        }
    }

    #[test]
    fn a_scan_that_keeps_too_much_is_broken_and_says_so() {
        let mut store = Store::new(10_000);
        (0..100).for_each(|i| put(&mut store, &format!("a/{i}"), Stamp::new(i + 1)));
        let select = Arc::new(Select { name: Name::parse("a/*").unwrap(), conditions: Vec::new() });
        store.open_scan(id(1), select, Stamp::new(100));
        assert_eq!(store.next_chunk(id(1), 50).unwrap().0.then, Then::More);
        (0..100).for_each(|i| put(&mut store, &format!("a/{i}"), Stamp::new(i + 101)));
        assert_eq!(store.scans().1, 0);
        assert_eq!(store.next_chunk(id(1), 50).unwrap().0.then, Then::Broken);
        assert!(store.next_chunk(id(1), 50).is_none() && store.scans() == (0, 0));
    }

    #[test]
    fn counts_follow_the_keys() {
        let (mut store, mut rng) = (Store::new(0), fastrand::Rng::with_seed(4));
        let mut model: BTreeMap<String, ()> = BTreeMap::new();
        for stamp in (1..2000).map(Stamp::new) {
            let key = ["x/y/", "x/", ""][rng.usize(0..3)].to_owned() + &rng.u8(0..20).to_string();
            if rng.bool() {
                put(&mut store, &key, stamp);
                model.insert(key, ());
            } else {
                store.remove(&Key::parse(&key).unwrap(), stamp);
                model.remove(&key);
            }
        }
        for (name, prefix, slashes) in [("x/y/*", "x/y/", 2), ("x/*", "x/", 1), ("*", "", 0)] {
            let is = |k: &&String| k.starts_with(prefix) && k.matches('/').count() == slashes;
            let want = model.keys().filter(is).count() as u64;
            assert_eq!(store.count(&Name::parse(name).unwrap()), Some(want), "{name}");
        }
        assert_eq!(store.count(&Name::parse("*/y/*").unwrap()), None);
    }
}
