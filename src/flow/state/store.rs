//! The documents of one owner, by key, and the memory of the ones deleted last.

use crate::base::stamp::Stamp;
use crate::flow::filter::select::Select;
use crate::flow::state::item::Item;
use crate::flow::state::scan::{Chunk, KeyEntry, ScanId, Scans, StoreView};
use crate::wire::key::{Key, Name, Pattern};
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

/// How many deletions are remembered.
const GRAVES: usize = 10_000;

/// Documents by key.
#[derive(Debug, Default)]
pub struct Store {
    /// Where each document lies.
    places: HashMap<Key, u32>,
    /// The same by key, for patterns: a walk looks nothing up. Only a new key or a deleted one pays for it.
    keys: BTreeMap<Key, KeyEntry>,
    /// The documents.
    items: Vec<Option<Arc<Item>>>,
    /// Places that are free.
    free: Vec<u32>,
    /// What was deleted: its last version, and the stamp of the deletion.
    tombstones: HashMap<Key, (Stamp, Stamp)>,
    /// The same in the order of deletion.
    order: VecDeque<(Key, Stamp)>,
    /// The stamp of the last deletion that is forgotten.
    forgotten: Stamp,
    /// How many documents stand directly under each parent, by the parent's hash: totals are wanted at once.
    counts: HashMap<u64, u32>,
    /// What is being read at the state of an earlier moment.
    scans: Scans,
}

impl Store {
    /// An empty one, whose scans may keep `cut_bytes`.
    pub fn new(cut_bytes: usize) -> Store {
        Store { scans: Scans::new(cut_bytes), ..Store::default() }
    }

    /// The document, if there is one.
    pub fn get(&self, key: &str) -> Option<&Arc<Item>> {
        self.places.get(key).map(|place| self.at(*place))
    }

    fn at(&self, place: u32) -> &Arc<Item> {
        self.items[place as usize].as_ref().expect("a key's place holds its document")
    }

    /// The version at which the document was deleted, as far as that is remembered.
    pub fn deleted_at(&self, key: &str) -> Option<Stamp> {
        self.tombstones.get(key).map(|(_, stamp)| *stamp)
    }

    /// What was deleted after a stamp and is still gone: key, last version, stamp of the deletion; latest first.
    pub fn deleted_since(&self, stamp: Stamp) -> impl Iterator<Item = (&Key, Stamp, Stamp)> {
        let since = self.order.iter().rev().take_while(move |(_, deleted)| *deleted > stamp);
        since.filter_map(|(key, deleted)| {
            let (last, stamp) = self.tombstones.get(key)?;
            (stamp == deleted).then_some((key, *last, *stamp))
        })
    }

    /// The stamp since which all deletions are remembered.
    pub fn horizon(&self) -> Stamp {
        self.forgotten
    }

    /// Puts a document in place of what was there, which it gives back.
    pub fn put(&mut self, item: Arc<Item>) -> Option<Arc<Item>> {
        self.tombstones.remove(item.key.as_str());
        if let Some(place) = self.places.get(item.key.as_str()) {
            let old = self.items[*place as usize].replace(item);
            self.scans.keep(old.as_ref().expect("a key's place holds its document"));
            return old;
        }
        let key = item.key.clone();
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).expect("documents are fewer than 2^32")
        });
        self.items[place as usize] = Some(item);
        *self.counts.entry(parent(key.as_str())).or_default() += 1;
        self.places.insert(key.clone(), place);
        let known = KeyEntry::new(place, key.as_str());
        self.keys.insert(key, known);
        None
    }

    /// Deletes a document at `version`.
    pub fn remove(&mut self, key: &Key, version: Stamp) -> Option<Arc<Item>> {
        let place = self.places.remove(key)?;
        let item = self.items[place as usize].take().expect("a key's place holds its document");
        self.free.push(place);
        self.scans.keep(&item);
        let parent = parent(key.as_str());
        if let Some(count) = self.counts.get_mut(&parent) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&parent);
            }
        }
        self.keys.remove(key);
        self.tombstones.insert(key.clone(), (item.version(), version));
        self.order.push_back((key.clone(), version));
        if self.order.len() > GRAVES
            && let Some((key, version)) = self.order.pop_front()
        {
            self.forgotten = version;
            if self.tombstones.get(&key).is_some_and(|(_, stamp)| *stamp == version) {
                self.tombstones.remove(&key);
            }
        }
        Some(item)
    }

    /// All documents that match, in the order of keys.
    pub fn matching<'a>(&'a self, pattern: &'a Pattern) -> impl Iterator<Item = &'a Arc<Item>> {
        let near = self.beginning_with(pattern.prefix());
        near.filter(move |(key, _)| pattern.matches(key.as_str())).map(|(_, place)| self.at(place.at))
    }

    /// All documents that one of the names means (there is at least one name), each once, in the order of keys.
    pub fn meant<'a>(&'a self, names: &'a [Name]) -> impl Iterator<Item = &'a Arc<Item>> {
        // a single key needs no walk, and several names mostly begin alike
        let single = matches!(names, [Name::Key(_)]);
        let prefix = names.iter().map(Name::prefix).reduce(common).unwrap_or("");
        let one = single.then(|| self.get(prefix)).flatten();
        let near = (!single).then(|| self.beginning_with(prefix)).into_iter().flatten();
        let walked = near.filter(|(key, _)| names.iter().any(|name| name.covers(key.as_str())));
        one.into_iter().chain(walked.map(|(_, place)| self.at(place.at)))
    }

    fn beginning_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a KeyEntry)> {
        let range = self.keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        range.take_while(move |(key, _)| key.as_str().starts_with(prefix))
    }

    /// How many documents have that name, where that is known without counting: for keys, and for patterns whose only
    /// `*` is the last segment.
    pub fn count(&self, name: &Name) -> Option<u64> {
        match name {
            Name::Key(key) => Some(self.places.contains_key(key).into()),
            Name::Pattern(pattern) => {
                let key = pattern.push("0")?;
                Some(self.counts.get(&parent(key.as_str())).copied().unwrap_or(0).into())
            }
        }
    }

    /// So many bytes may be kept for scans from now on.
    pub fn set_scan_budget(&mut self, bytes: usize) {
        self.scans.set_budget(bytes);
    }

    /// How many scans are open, and the bytes that are kept for them.
    pub fn scans(&self) -> (usize, usize) {
        (self.scans.len(), self.scans.bytes())
    }

    /// Opens a scan at `stamp`: what was written up to then is in it.
    pub fn open_scan(&mut self, id: ScanId, select: Arc<Select>, stamp: Stamp) {
        self.scans.open(id, select, stamp);
    }

    /// Closes a scan that nobody reads any more.
    pub fn close_scan(&mut self, id: ScanId) {
        self.scans.close(id);
    }

    /// The next batch of a scan, of at most `most` documents, and what it has cost.
    pub fn next_chunk(&mut self, id: ScanId, most: usize) -> Option<(Chunk, usize)> {
        let docs = StoreView { keys: &self.keys, items: &self.items };
        self.scans.next(docs, id, most)
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// What two texts begin with alike.
fn common<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    &a[..same]
}

/// The name under which a key is counted: everything before its last segment. A hash, because keys are many.
fn parent(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.rsplit_once('/').map(|(parent, _)| parent).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
impl Store {
    /// All documents of a name, in the order of keys.
    pub fn matching_name<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Arc<Item>> {
        let meant = self.keys.iter().filter(|(key, _)| name.covers(key.as_str()));
        meant.map(|(_, place)| self.at(place.at))
    }
}
