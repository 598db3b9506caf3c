//! The list of a pattern: all matching items in one document, newest first, the same for every subscriber.
//!
//! It is the only thing that needs one document for a whole pattern, so it has an owner of its own, which follows the
//! owners of the keys. Positions come from the creation stamp, which is unique, so a change finds its place by a
//! search for the stamp and never compares the rest.

use crate::base::stamp::Stamp;
use crate::flow::state::diff::Patch;
use crate::flow::state::item::Item;
use crate::flow::state::order::{Order, Place};
use crate::wire::key::{Key, Pattern};
use hashbrown::HashMap;
use std::sync::Arc;

/// What happened to one key, as its owner tells those who follow it.
#[derive(Clone, Debug)]
pub struct ListChange {
    /// The key.
    pub key: Key,
    /// When, by its owner.
    pub version: Stamp,
    /// What stands there now; nothing if it was deleted.
    pub item: Option<Arc<Item>>,
    /// How the value changed, where both sides exist and somebody wants to know.
    pub patch: Option<Arc<Patch>>,
}

impl ListChange {
    /// The bytes of what stands there now.
    pub fn weight(&self) -> usize {
        self.item.as_ref().map_or(0, |item| item.text_len())
    }
}

/// One step of a list's document. Positions count from the newest, 0, and hold when the steps before are done.
#[derive(Clone, Debug)]
pub enum ListStep {
    /// A new item stands at this place.
    Add(usize, Arc<Item>),
    /// The item at this place changed, and how.
    Change(usize, Arc<Item>, Option<Arc<Patch>>),
    /// The item at this place is gone.
    Remove(usize),
}

/// A materialised list.
#[derive(Debug)]
pub struct List {
    /// The keys meant.
    pub pattern: Pattern,
    /// The stamp of the last change.
    pub version: Stamp,
    limit: Option<usize>,
    items: Order,
    /// Where each key stands, by its creation stamp.
    places: HashMap<Key, Stamp>,
    text_len: usize,
}

impl List {
    /// An empty list.
    pub fn new(pattern: Pattern, version: Stamp, limit: Option<usize>) -> List {
        List { pattern, version, limit, items: Order::default(), places: HashMap::new(), text_len: 0 }
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.iter().rev()
    }

    /// The length of the document as JSON text.
    pub fn text_len(&self) -> usize {
        2 + self.text_len + self.items.len().saturating_sub(1)
    }

    /// Takes one change in and returns the steps that bring a copy up to date. Items that leave because of the limit
    /// are put into `evicted`.
    pub fn apply(&mut self, change: ListChange, steps: &mut Vec<ListStep>, evicted: &mut Vec<Arc<Item>>) {
        let old = self.place(change.key.as_str());
        let Some(new) = change.item else {
            if let Some(at) = old.filter(|&at| self.items.get(at).version() <= change.version) {
                steps.push(ListStep::Remove(self.items.newer(at)));
                self.take(at);
            }
            return;
        };
        match old {
            Some(at) if self.items.get(at).version() >= new.version() => {}
            Some(at) if self.items.get(at).created == new.created => {
                steps.push(ListStep::Change(self.items.newer(at), new.clone(), change.patch));
                self.text_len += new.text_len();
                self.text_len -= self.items.replace(at, new).text_len();
            }
            Some(at) => {
                // deleted and made anew before we heard of either
                steps.push(ListStep::Remove(self.items.newer(at)));
                self.take(at);
                self.add(new, steps, evicted);
            }
            None => self.add(new, steps, evicted),
        }
    }

    fn add(&mut self, item: Arc<Item>, steps: &mut Vec<ListStep>, evicted: &mut Vec<Arc<Item>>) {
        if self.limit.is_some_and(|limit| self.items.len() >= limit) {
            let older = |&at: &Place| self.items.get(at).created < item.created;
            let Some(oldest) = self.items.oldest().filter(older) else { return evicted.push(item) };
            // the oldest leaves in the same breath; said first, as the copy must never be over the limit
            evicted.push(self.take(oldest));
            steps.push(ListStep::Remove(self.items.len()));
        }
        self.text_len += item.text_len();
        self.places.insert(item.key.clone(), item.created);
        steps.push(ListStep::Add(self.items.insert(item.clone()), item));
    }

    /// Another limit holds from now on. What is over it leaves, as [`List::apply`] would have it.
    pub fn set_limit(
        &mut self,
        limit: Option<usize>,
        steps: &mut Vec<ListStep>,
        evicted: &mut Vec<Arc<Item>>,
    ) {
        self.limit = limit;
        while limit.is_some_and(|limit| self.items.len() > limit)
            && let Some(oldest) = self.items.oldest()
        {
            evicted.push(self.take(oldest));
            steps.push(ListStep::Remove(self.items.len()));
        }
    }

    fn place(&self, key: &str) -> Option<Place> {
        self.items.find(*self.places.get(key)?).ok()
    }

    fn take(&mut self, at: Place) -> Arc<Item> {
        let item = self.items.remove(at);
        self.places.remove(&item.key);
        self.text_len -= item.text_len();
        item
    }
}

#[cfg(test)]
mod tests {
    use super::{List, ListChange, ListStep};
    use crate::base::stamp::Stamp;
    use crate::flow::state::item::Item;
    use crate::wire::json::Json;
    use crate::wire::key::{Key, Name};
    use std::sync::Arc;

    fn text(item: &Item) -> String {
        let mut out = Vec::new();
        item.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn play(copy: &mut Vec<String>, steps: &[ListStep]) {
        for step in steps {
            match step {
                ListStep::Add(at, item) => copy.insert(*at, text(item)),
                ListStep::Change(at, item, _) => copy[*at] = text(item),
                ListStep::Remove(at) => drop(copy.remove(*at)),
            }
        }
    }

    #[test]
    fn a_lower_limit_takes_the_oldest_out_and_says_so() {
        let Ok(Name::Pattern(pattern)) = Name::parse("t/*") else { panic!() };
        let (mut list, mut copy) = (List::new(pattern, Stamp::ZERO, None), Vec::new());
        let (mut steps, mut evicted) = (Vec::new(), Vec::new());
        for n in 1..9 {
            let key = Key::parse(&format!("t/{n}")).unwrap();
            let stamp = Stamp::new(n);
            let item = Arc::new(Item::new(key.clone(), stamp, Stamp::ZERO, Json::parse(b"0").unwrap()));
            let change = ListChange { key, version: stamp, item: Some(item), patch: None };
            list.apply(change, &mut steps, &mut evicted);
        }
        list.set_limit(Some(3), &mut steps, &mut evicted);
        play(&mut copy, &steps);
        assert_eq!(copy, list.newest_first().map(|i| text(i)).collect::<Vec<_>>());
        assert_eq!(evicted.iter().map(|item| item.created.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    /// Random sets and deletes, heard in order or late: a copy that follows the steps is the list, newest first.
    #[test]
    fn steps_bring_a_copy_up_to_date() {
        for (seed, limit) in (0..40).map(|s| (s, (s % 2 == 1).then_some(5))) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let Ok(Name::Pattern(pattern)) = Name::parse("t/*") else { panic!() };
            let (mut list, mut copy) = (List::new(pattern, Stamp::ZERO, limit), Vec::new());
            let mut live: Vec<(Key, Stamp)> = Vec::new();
            for stamp in (1..400).map(Stamp::new) {
                let key = Key::parse(&format!("t/{}", rng.u8(0..12))).unwrap();
                let at = live.iter().position(|(k, _)| *k == key);
                let delete = at.is_some() && rng.u8(0..3) == 0;
                let created = at.map_or(stamp, |i| live[i].1);
                match at {
                    Some(i) if delete => drop(live.remove(i)),
                    None => live.push((key.clone(), created)),
                    _ => {}
                }
                let updated = if created == stamp { Stamp::ZERO } else { stamp };
                let item = (!delete)
                    .then(|| Arc::new(Item::new(key.clone(), created, updated, Json::parse(b"0").unwrap())));
                let (mut steps, mut evicted) = (Vec::new(), Vec::new());
                list.apply(ListChange { key, version: stamp, item, patch: None }, &mut steps, &mut evicted);
                play(&mut copy, &steps);
                let want: Vec<_> = list.newest_first().map(|i| text(i)).collect();
                assert_eq!(copy, want);
                assert_eq!(list.text_len(), format!("[{}]", want.join(",")).len());
                live.retain(|(k, _)| !evicted.iter().any(|e| e.key == *k));
                let mut keys: Vec<_> = live.clone();
                keys.sort_by_key(|(_, created)| std::cmp::Reverse(*created));
                assert_eq!(
                    list.newest_first().map(|i| i.key.clone()).collect::<Vec<_>>(),
                    keys.into_iter().map(|k| k.0).collect::<Vec<_>>()
                );
                assert!(limit.is_none_or(|l| list.len() <= l));
            }
        }
    }
}
