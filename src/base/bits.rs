//! A growing set of small numbers, one bit each: ten thousand connections fit in 1.25 KiB.

/// A set of `u32`s.
#[derive(Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Inserts `n`; true if it was absent.
    pub fn insert(&mut self, n: u32) -> bool {
        let word = n as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let was = self.0[word];
        self.0[word] = was | 1 << (n % 64);
        was != self.0[word]
    }

    /// Removes `n`; true if it was present.
    pub fn remove(&mut self, n: u32) -> bool {
        let Some(word) = self.0.get_mut(n as usize / 64) else { return false };
        let was = *word;
        *word = was & !(1 << (n % 64));
        was != *word
    }

    /// How many numbers are in the set; looks at every word.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether `n` is in the set.
    pub fn contains(&self, n: u32) -> bool {
        self.0.get(n as usize / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_set() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
        for _ in 0..20_000 {
            let n = rng.u32(0..500);
            match rng.u8(0..3) {
                0 => assert_eq!(bits.insert(n), set.insert(n)),
                1 => assert_eq!(bits.remove(n), set.remove(&n)),
                _ => assert_eq!(bits.contains(n), set.contains(&n)),
            }
            assert_eq!((bits.len(), bits.is_empty()), (set.len(), set.is_empty()));
        }
    }
}
