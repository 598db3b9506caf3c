//! A list's items in the order of their creation, in short runs: a change of one item moves no more than its run,
//! however long the list is.

use crate::base::stamp::Stamp;
use crate::flow::state::item::Item;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most items in a run.
const RUN: usize = 256;

/// Where an item stands, or would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    run: usize,
    at: usize,
}

/// Items, oldest first. The creation stamps stand beside them, so that a search touches no item.
#[derive(Debug, Default)]
pub struct Order {
    /// None is empty.
    runs: Vec<VecDeque<(Stamp, Arc<Item>)>>,
    len: usize,
}

impl Order {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Item>> {
        self.runs.iter().flatten().map(|(_, item)| item)
    }

    /// The place of the item created at that stamp; if there is none, where it would stand.
    pub fn find(&self, created: Stamp) -> Result<Place, Place> {
        let run = self.runs.partition_point(|run| run[0].0 <= created).saturating_sub(1);
        let Some(items) = self.runs.get(run) else { return Err(Place { run: 0, at: 0 }) };
        let place = |at| Place { run, at };
        items.binary_search_by_key(&created, |(created, _)| *created).map(place).map_err(place)
    }

    /// The place of the oldest item, if there is one.
    pub fn oldest(&self) -> Option<Place> {
        (self.len > 0).then_some(Place { run: 0, at: 0 })
    }

    /// How many items are newer than the one at `place`.
    pub fn newer(&self, place: Place) -> usize {
        let later: usize = self.runs[place.run + 1..].iter().map(VecDeque::len).sum();
        later + self.runs[place.run].len() - 1 - place.at
    }

    /// The item at a place that was just found.
    pub fn get(&self, place: Place) -> &Arc<Item> {
        &self.runs[place.run][place.at].1
    }

    /// Puts another version of the item in its place; returns the old one.
    pub fn replace(&mut self, place: Place, item: Arc<Item>) -> Arc<Item> {
        std::mem::replace(&mut self.runs[place.run][place.at].1, item)
    }

    /// Puts an item where it belongs, which is no place of another; returns how many are newer.
    pub fn insert(&mut self, item: Arc<Item>) -> usize {
        let (Ok(Place { mut run, mut at }) | Err(Place { mut run, mut at })) = self.find(item.created);
        if self.runs.is_empty() {
            self.runs.push(VecDeque::new());
        }
        if self.runs[run].len() == RUN {
            // behind a full run a new one begins, so that runs which only grow at the end stay full
            let cut = if at == RUN { RUN } else { RUN / 2 };
            let rest = self.runs[run].split_off(cut);
            self.runs.insert(run + 1, rest);
            if at >= cut {
                (run, at) = (run + 1, at - cut);
            }
        }
        self.runs[run].insert(at, (item.created, item));
        self.len += 1;
        self.newer(Place { run, at })
    }

    /// Takes the item out of a place that was just found.
    pub fn remove(&mut self, place: Place) -> Arc<Item> {
        let Place { run, at } = place;
        let (_, item) = self.runs[run].remove(at).expect("a place that was just found");
        self.len -= 1;
        if self.runs[run].is_empty() {
            self.runs.remove(run);
        }
        // neighbours that have become short are joined, or there would be ever more runs
        for left in [run, run.saturating_sub(1)] {
            if let Some([a, b]) = self.runs.get(left..left + 2)
                && a.len() + b.len() <= RUN / 2
            {
                let right = self.runs.remove(left + 1);
                self.runs[left].extend(right);
            }
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, RUN};
    use crate::base::stamp::Stamp;
    use crate::flow::state::item::Item;
    use crate::wire::json::Json;
    use crate::wire::key::Key;
    use std::sync::Arc;

    /// Grows to many runs at both ends and in the middle, and shrinks again: always the order of a plain sorted list.
    #[test]
    fn agrees_with_a_sorted_list() {
        let (key, value) = (Key::parse("a").unwrap(), Json::parse(b"0").unwrap());
        let mut rng = fastrand::Rng::with_seed(2);
        let (mut order, mut model) = (Order::default(), Vec::<Stamp>::new());
        for round in 0..20_000_u64 {
            let grows = (round / 4000).is_multiple_of(2);
            if rng.u8(0..10) < if grows { 8 } else { 2 } {
                let created = Stamp::new(if rng.bool() { 1_000_000 + round } else { rng.u64(0..1_000_000) });
                if let Err(at) = model.binary_search(&created) {
                    model.insert(at, created);
                    let item = Arc::new(Item::new(key.clone(), created, Stamp::ZERO, value.clone()));
                    assert_eq!(order.insert(item), model.len() - 1 - at);
                }
            } else if !model.is_empty() {
                let at = rng.usize(..model.len());
                let place = order.find(model[at]).unwrap();
                assert_eq!((order.newer(place), order.get(place).created), (model.len() - 1 - at, model[at]));
                assert_eq!(order.remove(place).created, model.remove(at));
            }
            assert_eq!(order.len(), model.len());
            assert!(order.runs.iter().all(|run| (1..=RUN).contains(&run.len())));
            assert!(order.runs.len() <= 1 + 4 * model.len() / RUN + 1);
            if round % 500 == 0 {
                assert!(order.iter().map(|item| item.created).eq(model.iter().copied()));
                assert!(order.find(Stamp::new(3_000_000)).is_err());
            }
        }
    }
}
