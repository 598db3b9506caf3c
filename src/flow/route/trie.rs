//! Patterns to values: one step per segment of the key, whatever the number of patterns.
//!
//! All edges lie in one hash table, keyed by parent and segment, so that a node costs no map of its own. With a million
//! patterns what costs is the memory that a step touches, so a node is one cache line, with a short segment and a single
//! value inside it, and an edge that cannot be there is not looked for.

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;
use std::hash::BuildHasher;

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
#[repr(align(64))]
struct TrieNode<T> {
    parent: u32,
    /// The child for `*`.
    star: u32,
    /// The child for a last `**`.
    deep: u32,
    /// How many other children there are.
    named: u32,
    segment: SmallVec<[u8; 16]>,
    values: SmallVec<[T; 1]>,
}

impl<T> TrieNode<T> {
    fn new(parent: u32, segment: &[u8]) -> TrieNode<T> {
        TrieNode {
            parent,
            star: NONE,
            deep: NONE,
            named: 0,
            segment: segment.into(),
            values: SmallVec::new(),
        }
    }
}

/// A set of `(pattern, value)` pairs, matched by key.
#[derive(Debug)]
pub struct Trie<T> {
    nodes: Vec<TrieNode<T>>,
    free: Vec<u32>,
    /// The named children of all nodes.
    edges: HashTable<u32>,
    /// Seeded, as segments come from strangers.
    hasher: DefaultHashBuilder,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        let nodes = vec![TrieNode::new(NONE, b"")];
        Trie { nodes, free: Vec::new(), edges: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

fn segments(pattern: &str) -> impl Iterator<Item = &[u8]> {
    pattern.as_bytes().split(|byte| *byte == b'/')
}

impl<T: PartialEq> Trie<T> {
    /// Adds `value` under `pattern`; a pair that is there already stays single.
    pub fn insert(&mut self, pattern: &str, value: T) {
        let mut at = ROOT;
        for segment in segments(pattern) {
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
        for segment in segments(pattern) {
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
        self.walk(ROOT, Some(key.as_bytes()), &mut found);
    }

    fn walk<'a>(&'a self, at: u32, rest: Option<&[u8]>, found: &mut impl FnMut(&'a T)) {
        let node = &self.nodes[at as usize];
        let Some(rest) = rest else { return node.values.iter().for_each(found) };
        let (segment, rest) = match rest.iter().position(|byte| *byte == b'/') {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        if node.deep != NONE {
            self.nodes[node.deep as usize].values.iter().for_each(&mut *found);
        }
        if node.star != NONE {
            self.walk(node.star, rest, found);
        }
        let exact = self.edge(at, segment);
        if exact != NONE {
            self.walk(exact, rest, found);
        }
    }

    fn hash(&self, parent: u32, segment: &[u8]) -> u64 {
        self.hasher.hash_one((parent, segment))
    }

    fn edge(&self, parent: u32, segment: &[u8]) -> u32 {
        if self.nodes[parent as usize].named == 0 {
            return NONE;
        }
        let is =
            |&n: &u32| self.nodes[n as usize].parent == parent && *self.nodes[n as usize].segment == *segment;
        self.edges.find(self.hash(parent, segment), is).copied().unwrap_or(NONE)
    }

    fn child(&self, parent: u32, segment: &[u8]) -> u32 {
        match segment {
            b"*" => self.nodes[parent as usize].star,
            b"**" => self.nodes[parent as usize].deep,
            _ => self.edge(parent, segment),
        }
    }

    fn grow(&mut self, parent: u32, segment: &[u8]) -> u32 {
        let node = TrieNode::new(parent, segment);
        let at = self.free.pop().unwrap_or(self.nodes.len() as u32);
        if at as usize == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[at as usize] = node;
        }
        match segment {
            b"*" => self.nodes[parent as usize].star = at,
            b"**" => self.nodes[parent as usize].deep = at,
            _ => {
                self.nodes[parent as usize].named += 1;
                let (nodes, hasher) = (&self.nodes, &self.hasher);
                let rehash =
                    |&n: &u32| hasher.hash_one((nodes[n as usize].parent, &*nodes[n as usize].segment));
                self.edges.insert_unique(self.hash(parent, segment), at, rehash);
            }
        }
        at
    }

    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            if node.named > 0 || node.star != NONE || node.deep != NONE || !node.values.is_empty() {
                return;
            }
            let (parent, segment) = (node.parent, std::mem::take(&mut node.segment));
            node.values = SmallVec::new();
            if self.nodes[parent as usize].star == at {
                self.nodes[parent as usize].star = NONE;
            } else if self.nodes[parent as usize].deep == at {
                self.nodes[parent as usize].deep = NONE;
            } else if let Ok(edge) = self.edges.find_entry(self.hash(parent, &segment), |&n| n == at) {
                edge.remove();
                self.nodes[parent as usize].named -= 1;
            }
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
        let mut path: Vec<&str> = (0..depth).map(|_| segment(rng)).collect();
        if star && rng.u8(0..5) == 0 {
            path.push("**");
        }
        path.join("/")
    }

    fn matches(pattern: &str, key: &str) -> bool {
        match Name::parse_native(pattern).unwrap() {
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

    #[test]
    fn a_node_is_one_cache_line() {
        assert_eq!(size_of::<super::TrieNode<[u32; 3]>>(), 64);
    }
}
