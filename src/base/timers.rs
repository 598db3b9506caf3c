//! Timers: keys with deadlines, soonest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of deadlines. Timers cannot be cancelled: when one fires, its receiver checks whether there is still something to do.
#[derive(Debug)]
pub struct Timers<K: Ord>(BinaryHeap<Reverse<(u64, K)>>);

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Timers(BinaryHeap::new())
    }
}

impl<K: Ord> Timers<K> {
    /// Sets a timer for `key` at `at` (nanoseconds, monotonic).
    pub fn push(&mut self, at: u64, key: K) {
        self.0.push(Reverse((at, key)));
    }

    /// The next key whose deadline has passed.
    pub fn pop(&mut self, now: u64) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, key))| key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;

    #[test]
    fn pops_in_order_and_not_before_time() {
        let mut timers = Timers::default();
        for (at, key) in [(30, 'c'), (10, 'a'), (20, 'b')] {
            timers.push(at, key);
        }
        assert_eq!((timers.pop(9), timers.next()), (None, Some(10)));
        assert_eq!((timers.pop(20), timers.pop(20), timers.pop(20)), (Some('a'), Some('b'), None));
    }
}
