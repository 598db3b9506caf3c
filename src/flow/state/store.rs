//! The documents of one owner, by key, and the memory of the ones deleted last.

use crate::flow::state::item::Item;
use crate::wire::key::{Key, Pattern};
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// How many deletions are remembered.
const GRAVES: usize = 10_000;

/// Documents by key.
#[derive(Debug, Default)]
pub struct Store {
    items: HashMap<Key, Arc<Item>>,
    /// The keys in order, for patterns; only a new key or a deleted one pays for it.
    keys: BTreeSet<Key>,
    graves: HashMap<Key, u64>,
    order: VecDeque<(Key, u64)>,
}

impl Store {
    /// The document, if there is one.
    pub fn get(&self, key: &str) -> Option<&Arc<Item>> {
        self.items.get(key)
    }

    /// The version at which the document was deleted, as far as that is remembered.
    pub fn deleted_at(&self, key: &str) -> Option<u64> {
        self.graves.get(key).copied()
    }

    /// Puts a document in place of what was there.
    pub fn put(&mut self, item: Arc<Item>) {
        self.graves.remove(item.key.as_str());
        let key = item.key.clone();
        if self.items.insert(key.clone(), item).is_none() {
            self.keys.insert(key);
        }
    }

    /// Deletes a document at `version`.
    pub fn remove(&mut self, key: &Key, version: u64) -> Option<Arc<Item>> {
        let item = self.items.remove(key)?;
        self.keys.remove(key);
        self.graves.insert(key.clone(), version);
        self.order.push_back((key.clone(), version));
        if self.order.len() > GRAVES
            && let Some((key, version)) = self.order.pop_front()
            && self.graves.get(&key) == Some(&version)
        {
            self.graves.remove(&key);
        }
        Some(item)
    }

    /// All documents that match, in the order of keys.
    pub fn matching<'a>(&'a self, pattern: &'a Pattern) -> impl Iterator<Item = &'a Arc<Item>> {
        let prefix = pattern.prefix();
        let range = self.keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let near = range.take_while(move |key| key.as_str().starts_with(prefix));
        near.filter(move |key| pattern.matches(key.as_str())).map(|key| &self.items[key])
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
