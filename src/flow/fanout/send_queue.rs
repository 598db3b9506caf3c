//! What waits for one connection: shared frames, the first perhaps half sent.

use crate::flow::encode::frame::Frame;
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::channels::Overflow;
use std::collections::VecDeque;

/// One run of bytes.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The bytes.
    pub bytes: Frame,
    /// How many frames that is.
    pub frames: u32,
    /// The pool that it came for; `None` for what concerns this connection alone.
    pub pool: Option<PoolId>,
    /// Whether it makes room for what may not be left out.
    pub yields: bool,
}

/// What may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes.
    pub bytes: usize,
    /// Frames of channels.
    pub frames: usize,
}

/// What became of a frame that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It waits, or goes.
    Taken,
    /// So many of its channel were left out, perhaps this one too.
    Dropped(u32),
    /// There is no room for it.
    Refused,
}

/// Frames that wait, oldest first. A connection without waiting bytes has none.
#[derive(Debug, Default)]
pub struct Queue {
    frames: VecDeque<Waiting>,
    /// How much of the first frame is gone already.
    sent: usize,
    bytes: usize,
    /// How many frames all that is.
    count: usize,
}

impl Queue {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether a frame of `len` bytes may be added under `budget`. One frame always may, or it would never go.
    pub fn takes(&self, len: usize, budget: usize) -> bool {
        self.frames.is_empty() || self.bytes + len <= budget
    }

    /// Adds what concerns this connection alone, at the end.
    pub fn push(&mut self, frame: Frame) {
        self.add(Waiting { bytes: frame, frames: 1, pool: None, yields: false });
    }

    fn add(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes.len();
        self.count += waiting.frames as usize;
        self.frames.push_back(waiting);
    }

    fn remove(&mut self, at: usize) -> Option<PoolId> {
        let waiting = self.frames.remove(at).expect("just found");
        self.bytes -= waiting.bytes.len();
        self.count -= waiting.frames as usize;
        waiting.pool
    }

    /// Adds so many frames of a pool under `budget`, as the pool's rule has it.
    pub fn offer(
        &mut self,
        run: &Frame,
        frames: u32,
        budget: Budget,
        pool: PoolId,
        overflow: Overflow,
    ) -> Offered {
        let most = match overflow {
            Overflow::Disconnect | Overflow::DropOldest => budget.frames,
            Overflow::Conflate | Overflow::Yield => usize::MAX,
        };
        let takes = |queue: &Queue| {
            queue.takes(run.len(), budget.bytes)
                && (queue.is_empty() || queue.count + frames as usize <= most)
        };
        let dropped = match overflow {
            Overflow::DropOldest => self.make_room(pool, takes),
            Overflow::Conflate | Overflow::Disconnect | Overflow::Yield => 0,
        };
        let fits = takes(self);
        if fits {
            let (bytes, yields) = (run.clone(), overflow == Overflow::Yield);
            self.add(Waiting { bytes, frames, pool: Some(pool), yields });
        }
        match (fits, overflow) {
            (true, _) if dropped == 0 => Offered::Taken,
            (_, Overflow::DropOldest) => Offered::Dropped(dropped + u32::from(!fits)),
            _ => Offered::Refused,
        }
    }

    /// Leaves out the oldest frames of `pool` that have not begun to go, until there is room; says how many.
    fn make_room(&mut self, pool: PoolId, is_room: impl Fn(&Queue) -> bool) -> u32 {
        let mut dropped = 0;
        while !is_room(self) {
            let begun = usize::from(self.sent > 0);
            let of_pool = |waiting: &Waiting| waiting.pool == Some(pool);
            let Some(at) = self.frames.iter().skip(begun).position(of_pool) else { break };
            self.remove(begun + at);
            dropped += 1;
        }
        dropped
    }

    /// Leaves out all that makes room for what may not be left out and has not begun to go; says of which pools.
    pub fn yield_room(&mut self) -> Vec<PoolId> {
        let begun = usize::from(self.sent > 0);
        let mut pools = Vec::new();
        while let Some(at) = self.frames.iter().skip(begun).position(|waiting| waiting.yields) {
            pools.extend(self.remove(begun + at));
        }
        pools.sort_unstable_by_key(|pool| (pool.index, pool.generation));
        pools.dedup();
        pools
    }

    /// Leaves out everything that has not begun to go.
    pub fn clear(&mut self) {
        self.frames.truncate(usize::from(self.sent > 0));
        let first = self.frames.front();
        self.bytes = first.map_or(0, |first| first.bytes.len() - self.sent);
        self.count = first.map_or(0, |first| first.frames as usize);
    }

    /// Puts back a run whose first `sent` bytes are gone; it goes before everything else.
    pub fn put_back(&mut self, waiting: Waiting, sent: usize) {
        debug_assert_eq!(self.sent, 0, "two frames cannot be half sent");
        self.bytes += waiting.bytes.len() - sent;
        self.count += waiting.frames as usize;
        self.sent = sent;
        self.frames.push_front(waiting);
    }

    /// The waiting bytes, at most `most` runs of them.
    pub fn runs(&self, most: usize) -> impl Iterator<Item = &[u8]> {
        self.frames
            .iter()
            .take(most)
            .enumerate()
            .map(|(i, run)| if i == 0 { &run.bytes[self.sent..] } else { &run.bytes[..] })
    }

    /// `n` bytes went out.
    pub fn advance(&mut self, mut n: usize) {
        self.bytes -= n;
        n += self.sent;
        while let Some(first) = self.frames.front().filter(|first| first.bytes.len() <= n) {
            n -= first.bytes.len();
            self.count -= first.frames as usize;
            self.frames.pop_front();
        }
        self.sent = n;
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Offered, Queue};
    use crate::base::slab::Id;
    use crate::flow::limits::channels::Overflow;

    #[test]
    fn bytes_leave_once_and_in_order() {
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut queue, mut want, mut got, mut next) = (Queue::default(), Vec::new(), Vec::new(), 0u8);
        for _ in 0..5000 {
            if rng.bool() {
                let frame: Vec<u8> = (0..rng.usize(1..9))
                    .map(|_| {
                        next = next.wrapping_add(1);
                        next
                    })
                    .collect();
                want.extend_from_slice(&frame);
                queue.push(frame.into());
            } else {
                let out: Vec<u8> = queue.runs(3).flatten().copied().collect();
                let n = rng.usize(0..=out.len());
                got.extend_from_slice(&out[..n]);
                queue.advance(n);
            }
            assert_eq!(queue.bytes(), want.len() - got.len());
        }
        got.extend(queue.runs(usize::MAX).flatten());
        assert_eq!(got, want);
    }

    const POOLS: [Id; 3] =
        [Id { index: 0, generation: 0 }, Id { index: 1, generation: 0 }, Id { index: 2, generation: 0 }];

    fn offer(
        queue: &mut Queue,
        n: u8,
        len: usize,
        pool: Id,
        overflow: Overflow,
        budget: (usize, usize),
    ) -> Offered {
        let budget = Budget { bytes: budget.0, frames: budget.1 };
        queue.offer(&vec![n; len].into(), 1, budget, pool, overflow)
    }

    #[test]
    fn only_the_oldest_of_the_same_pool_make_room_and_never_what_has_begun() {
        let [a, b, _] = POOLS;
        let mut queue = Queue::default();
        for (n, pool) in [(1, a), (2, b), (3, a), (4, a)] {
            assert_eq!(offer(&mut queue, n, 4, pool, Overflow::DropOldest, (99, 99)), Offered::Taken);
        }
        queue.advance(1);
        assert_eq!(offer(&mut queue, 5, 4, a, Overflow::DropOldest, (15, 99)), Offered::Dropped(1));
        assert_eq!(queue.runs(9).map(|run| run[0]).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(offer(&mut queue, 6, 4, a, Overflow::DropOldest, (99, 3)), Offered::Dropped(2));
        assert_eq!(queue.runs(9).map(|run| run[0]).collect::<Vec<_>>(), [1, 2, 6]);
        assert_eq!(offer(&mut queue, 7, 100, a, Overflow::DropOldest, (15, 99)), Offered::Dropped(2));
        queue.clear();
        assert_eq!((queue.bytes(), queue.runs(9).count()), (3, 1));
    }

    #[test]
    fn what_yields_makes_room_for_what_may_not_be_left_out() {
        let [a, b, c] = POOLS;
        let mut queue = Queue::default();
        let rules = [(1, a, Overflow::Yield), (2, b, Overflow::Disconnect), (3, a, Overflow::Yield)];
        for (n, pool, overflow) in rules.into_iter().chain([(4, c, Overflow::Yield)]) {
            assert_eq!(
                offer(&mut queue, n, 4, pool, overflow, (99, 3)),
                Offered::Taken,
                "frames are of channels"
            );
        }
        assert_eq!(offer(&mut queue, 5, 4, b, Overflow::Disconnect, (99, 4)), Offered::Refused);
        queue.advance(1);
        assert_eq!(queue.yield_room(), [a, c], "but what has begun to go");
        assert_eq!(offer(&mut queue, 5, 4, b, Overflow::Disconnect, (99, 4)), Offered::Taken);
        assert_eq!(queue.runs(9).map(|run| run[0]).collect::<Vec<_>>(), [1, 2, 5]);
        assert!(queue.yield_room().is_empty());
    }
}
