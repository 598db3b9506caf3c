//! One change of a list, from the change to the frame for its subscribers.

use super::Work;
use fanfare::base::stamp::Stamp;
use fanfare::flow::encode::frame::Encoder;
use fanfare::flow::encode::ooo;
use fanfare::flow::limits::documents::PatchMode;
use fanfare::flow::state::item::Item;
use fanfare::flow::state::list::{List, ListChange};
use fanfare::wire::json::Json;
use fanfare::wire::key::{Key, Name, Pattern};
use std::sync::Arc;

/// A list of `size` items and what is needed to change it.
struct Bench {
    list: List,
    keys: Vec<(Key, Stamp)>,
    value: Json,
    stamp: Stamp,
    encoder: Encoder,
    rng: fastrand::Rng,
}

fn pattern() -> Pattern {
    match Name::parse("things/*") {
        Ok(Name::Pattern(pattern)) => pattern,
        other => unreachable!("{other:?}"),
    }
}

impl Bench {
    fn new(size: usize, limit: Option<usize>) -> Bench {
        let mut bench = Bench {
            list: List::new(pattern(), Stamp::ZERO, limit),
            keys: Vec::new(),
            value: Json::string(&"x".repeat(100)),
            stamp: Stamp::ZERO,
            encoder: Encoder::default(),
            rng: fastrand::Rng::with_seed(1),
        };
        for _ in 0..size {
            bench.add();
        }
        bench
    }

    fn tick(&mut self) {
        self.stamp = Stamp::new(self.stamp.get() + 1);
    }

    fn apply(&mut self, key: Key, item: Option<Item>) -> usize {
        let change = ListChange { key, version: self.stamp, item: item.map(Arc::new), patch: None };
        let (mut steps, mut evicted) = (Vec::new(), Vec::new());
        self.list.apply(change, &mut steps, &mut evicted);
        assert!(!steps.is_empty());
        ooo::list_change(&mut self.encoder, PatchMode::Auto, &self.list, &steps).len()
    }

    fn add(&mut self) -> usize {
        self.tick();
        let key = Key::parse(&format!("things/{}", self.stamp)).expect("a key");
        self.keys.push((key.clone(), self.stamp));
        let item = Item::new(key.clone(), self.stamp, Stamp::ZERO, self.value.clone());
        self.apply(key, Some(item))
    }
}

pub fn update(size: usize) -> Work {
    let mut bench = Bench::new(size, None);
    Box::new(move || {
        bench.tick();
        let (key, created) = bench.keys[bench.rng.usize(..size)].clone();
        let item = Item::new(key.clone(), created, bench.stamp, bench.value.clone());
        bench.apply(key, Some(item))
    })
}

/// A new item at the top; the list is at its limit, so that the oldest leaves.
pub fn add(size: usize) -> Work {
    let mut bench = Bench::new(size, Some(size));
    Box::new(move || {
        bench.keys.clear();
        bench.add()
    })
}

/// Any item goes, and a new one comes.
pub fn remove(size: usize) -> Work {
    let mut bench = Bench::new(size, None);
    Box::new(move || {
        let at = bench.rng.usize(..size);
        let (key, _) = bench.keys.swap_remove(at);
        bench.tick();
        bench.apply(key, None) + bench.add()
    })
}

/// The whole list as a frame, as for the first subscriber after a change.
pub fn encode(size: usize) -> Work {
    let mut bench = Bench::new(size, None);
    Box::new(move || ooo::list(&mut bench.encoder, &bench.list).len())
}
