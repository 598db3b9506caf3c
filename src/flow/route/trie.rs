//! Patterns to values: one step per segment of the key, whatever the number of patterns.
//!
//! All edges lie in one hash table, keyed by parent and segment, so that a node costs no map of its own.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<T> {
    parent: u32,
    segment: Box<str>,
    star: u32,
    children: u32,
    values: Vec<T>,
}

/// A set of `(pattern, value)` pairs, matched by key.
#[derive(Debug)]
pub struct Trie<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    edges: HashTable<u32>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        let root = Node { parent: NONE, segment: "".into(), star: NONE, children: 0, values: Vec::new() };
        Trie { nodes: vec![root], free: Vec::new(), edges: HashTable::new() }
    }
}

fn hash(parent: u32, segment: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u32(parent);
    hasher.write(segment.as_bytes());
    hasher.finish()
}

impl<T: PartialEq> Trie<T> {
    /// Adds `value` under `pattern`; a pair that is there already stays single.
    pub fn insert(&mut self, pattern: &str, value: T) {
        let mut at = ROOT;
        for segment in pattern.split('/') {
            at = match self.child(at, segment) {
                NONE => self.grow(at, segment),
                next => next,
            };
        }
        let values = &mut self.nodes[at as usize].values;
        if !values.contains(&value) {
            values.push(value);
        }
    }

    /// Takes `value` from under `pattern`, and every node that then leads nowhere.
    pub fn remove(&mut self, pattern: &str, value: &T) -> bool {
        let mut at = ROOT;
        for segment in pattern.split('/') {
            at = self.child(at, segment);
            if at == NONE {
                return false;
            }
        }
        let values = &mut self.nodes[at as usize].values;
        let Some(place) = values.iter().position(|v| v == value) else { return false };
        values.swap_remove(place);
        self.prune(at);
        true
    }

    /// Calls `found` with each value whose pattern matches `key`.
    pub fn matches<'a>(&'a self, key: &str, mut found: impl FnMut(&'a T)) {
        self.walk(ROOT, Some(key), &mut found);
    }

    fn walk<'a>(&'a self, at: u32, rest: Option<&str>, found: &mut impl FnMut(&'a T)) {
        let node = &self.nodes[at as usize];
        let Some(rest) = rest else { return node.values.iter().for_each(found) };
        let (segment, rest) = rest.split_once('/').map_or((rest, None), |(s, r)| (s, Some(r)));
        if node.star != NONE {
            self.walk(node.star, rest, found);
        }
        let exact = self.edge(at, segment);
        if exact != NONE {
            self.walk(exact, rest, found);
        }
    }

    fn edge(&self, parent: u32, segment: &str) -> u32 {
        let is =
            |&n: &u32| self.nodes[n as usize].parent == parent && *self.nodes[n as usize].segment == *segment;
        self.edges.find(hash(parent, segment), is).copied().unwrap_or(NONE)
    }

    fn child(&self, parent: u32, segment: &str) -> u32 {
        if segment == "*" { self.nodes[parent as usize].star } else { self.edge(parent, segment) }
    }

    fn grow(&mut self, parent: u32, segment: &str) -> u32 {
        let node = Node { parent, segment: segment.into(), star: NONE, children: 0, values: Vec::new() };
        let at = self.free.pop().unwrap_or(self.nodes.len() as u32);
        if at as usize == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[at as usize] = node;
        }
        self.nodes[parent as usize].children += 1;
        if segment == "*" {
            self.nodes[parent as usize].star = at;
        } else {
            let nodes = &self.nodes;
            let rehash = |&n: &u32| hash(nodes[n as usize].parent, &nodes[n as usize].segment);
            self.edges.insert_unique(hash(parent, segment), at, rehash);
        }
        at
    }

    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            if node.children > 0 || !node.values.is_empty() {
                return;
            }
            let (parent, segment) = (node.parent, std::mem::take(&mut node.segment));
            node.values = Vec::new();
            if self.nodes[parent as usize].star == at {
                self.nodes[parent as usize].star = NONE;
            } else if let Ok(edge) = self.edges.find_entry(hash(parent, &segment), |&n| n == at) {
                edge.remove();
            }
            self.nodes[parent as usize].children -= 1;
            self.free.push(at);
            at = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trie;
    use crate::wire::key::Name;

    fn random_path(rng: &mut fastrand::Rng, star: bool) -> String {
        let depth = rng.usize(1..5);
        let segment = |rng: &mut fastrand::Rng| match rng.u8(0..if star { 5 } else { 3 }) {
            0 => "a",
            1 => "b",
            2 => "c",
            _ => "*",
        };
        (0..depth).map(|_| segment(rng)).collect::<Vec<_>>().join("/")
    }

    fn matches(pattern: &str, key: &str) -> bool {
        match Name::parse(pattern).unwrap() {
            Name::Key(k) => k.as_str() == key,
            Name::Pattern(p) => p.matches(key),
        }
    }

    #[test]
    fn agrees_with_trying_every_pattern() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut trie, mut naive) = (Trie::default(), Vec::<(String, u32)>::new());
        for _ in 0..4_000 {
            let (path, value) = (random_path(&mut rng, true), rng.u32(0..3));
            let place = naive.iter().position(|(p, v)| (p, *v) == (&path, value));
            if rng.bool() {
                trie.insert(&path, value);
                if place.is_none() {
                    naive.push((path, value));
                }
            } else {
                assert_eq!(trie.remove(&path, &value), place.map(|i| naive.swap_remove(i)).is_some());
            }
            let key = random_path(&mut rng, false);
            let mut got = Vec::new();
            trie.matches(&key, |v| got.push(*v));
            let mut want: Vec<_> = naive.iter().filter(|(p, _)| matches(p, &key)).map(|(_, v)| *v).collect();
            got.sort();
            want.sort();
            assert_eq!(got, want, "{key}");
        }
        for (path, value) in naive {
            assert!(trie.remove(&path, &value));
        }
        assert_eq!(
            (trie.edges.len(), trie.nodes.len() - trie.free.len()),
            (0, 1),
            "an empty trie keeps no node"
        );
    }
}
