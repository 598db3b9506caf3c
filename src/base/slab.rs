//! Slabs: values in slots, found by index and generation, so that a stale key finds nothing.

use crate::base::id::ConnId;

/// The key of a value in a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The slot.
    pub index: u32,
    /// Which of the values that this slot has held, counted up.
    pub generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// A slab that chooses its own slots.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Inserts a value; returns its key.
    pub fn insert(&mut self, value: T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, value: None });
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        entry.value = Some(value);
        Id { index, generation: entry.generation }
    }

    /// Removes a value; its key is stale from now on.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let entry = self.entries.get_mut(id.index as usize).filter(|e| e.generation == id.generation)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    /// The value of that key.
    pub fn get(&self, id: Id) -> Option<&T> {
        self.entries.get(id.index as usize).filter(|e| e.generation == id.generation)?.value.as_ref()
    }

    /// The value of that key.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.entries.get_mut(id.index as usize).filter(|e| e.generation == id.generation)?.value.as_mut()
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.entries.iter().enumerate().filter_map(|(i, e)| {
            let id = Id { index: i as u32, generation: e.generation };
            e.value.as_ref().map(|value| (id, value))
        })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const PAGE: usize = 1024;

/// A slab whose slots the caller chooses (for connections, the ring does). Grows by pages, so that it never moves
/// and never doubles.
#[derive(Debug)]
pub struct Table<T> {
    pages: Vec<Box<[Entry<T>]>>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { pages: Vec::new(), len: 0 }
    }
}

impl<T> Table<T> {
    /// Bytes that one slot takes.
    pub const PLACE: usize = size_of::<Entry<T>>();

    fn entry(&self, slot: u32) -> Option<&Entry<T>> {
        self.pages.get(slot as usize / PAGE).map(|page| &page[slot as usize % PAGE])
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.pages.get_mut(slot as usize / PAGE).map(|page| &mut page[slot as usize % PAGE])
    }

    /// Inserts a value at `slot`, which must be free; returns its generation.
    pub fn insert(&mut self, slot: u32, value: T) -> u32 {
        while slot as usize / PAGE >= self.pages.len() {
            self.pages.push((0..PAGE).map(|_| Entry { generation: 0, value: None }).collect());
        }
        let entry = self.entry_mut(slot).expect("the page was just made");
        assert!(entry.value.is_none(), "slot {slot} was given out twice");
        entry.value = Some(value);
        let generation = entry.generation;
        self.len += 1;
        generation
    }

    /// Removes the value at `slot`.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.entry_mut(slot)?;
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & ConnId::LAST_GENERATION;
        self.len -= 1;
        Some(value)
    }

    /// The value at `slot`, whatever its generation.
    pub fn at(&self, slot: u32) -> Option<&T> {
        self.entry(slot)?.value.as_ref()
    }

    /// The value at `slot`, whatever its generation.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entry_mut(slot)?.value.as_mut()
    }

    /// The value at `slot` if it has that generation.
    pub fn get_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        self.entry_mut(slot).filter(|e| e.generation == generation)?.value.as_mut()
    }

    /// The current generation of `slot`.
    pub fn generation(&self, slot: u32) -> u32 {
        self.entry(slot).map_or(0, |e| e.generation)
    }

    /// Every slot below this bound may be in use.
    pub fn bound(&self) -> u32 {
        (self.pages.len() * PAGE) as u32
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Slab, Table};
    use crate::base::id::ConnId;

    #[test]
    fn a_stale_name_finds_nothing() {
        let mut slab = Slab::default();
        let a = slab.insert("a");
        assert_eq!(slab.remove(a), Some("a"));
        let b = slab.insert("b");
        assert_eq!((a.index, slab.get(a), slab.get(b)), (b.index, None, Some(&"b")));
        assert_eq!((slab.remove(a), slab.len()), (None, 1));
    }

    #[test]
    fn a_slot_tells_its_generations_apart() {
        let mut table = Table::default();
        let first = table.insert(3000, 'a');
        assert_eq!(table.remove(3000), Some('a'));
        let second = table.insert(3000, 'b');
        assert_ne!(first, second);
        assert_eq!((table.get_mut(3000, first).is_some(), table.at(3000)), (false, Some(&'b')));
    }

    #[test]
    fn the_generations_of_a_slot_are_those_that_completion_tags_can_tell() {
        let mut table = Table::default();
        table.insert(0, ());
        table.entry_mut(0).unwrap().generation = ConnId::LAST_GENERATION;
        assert_eq!((table.remove(0), table.insert(0, ())), (Some(()), 0));
        assert!(table.get_mut(0, 0).is_some());
    }
}
