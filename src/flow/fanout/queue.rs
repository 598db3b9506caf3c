//! What waits for one connection: shared frames, the first perhaps half sent.

use crate::flow::encode::frame::Frame;
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::Overflow;
use std::collections::VecDeque;

/// One run of bytes, and the pool that it came for; `None` for what concerns this connection alone.
pub type Waiting = (Frame, Option<PoolId>);

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

    /// Adds a frame at the end.
    pub fn push(&mut self, frame: Frame, pool: Option<PoolId>) {
        self.bytes += frame.len();
        self.frames.push_back((frame, pool));
    }

    /// Adds a frame of a pool under `budget`, as the pool's rule has it.
    pub fn offer(&mut self, frame: &Frame, budget: usize, pool: PoolId, overflow: Overflow) -> Offered {
        let dropped = match overflow {
            Overflow::DropOldest => self.make_room(frame.len(), budget, pool),
            Overflow::Conflate | Overflow::Disconnect => 0,
        };
        let fits = self.takes(frame.len(), budget);
        if fits {
            self.push(frame.clone(), Some(pool));
        }
        match (fits, overflow) {
            (true, _) if dropped == 0 => Offered::Taken,
            (_, Overflow::DropOldest) => Offered::Dropped(dropped + u32::from(!fits)),
            _ => Offered::Refused,
        }
    }

    /// Leaves out the oldest frames of `pool` that have not begun to go, until `len` more bytes fit; says how many.
    pub fn make_room(&mut self, len: usize, budget: usize, pool: PoolId) -> u32 {
        let mut dropped = 0;
        while !self.takes(len, budget) {
            let begun = usize::from(self.sent > 0);
            let Some(at) = self.frames.iter().skip(begun).position(|(_, of)| *of == Some(pool)) else {
                break;
            };
            let (frame, _) = self.frames.remove(begun + at).expect("just found");
            self.bytes -= frame.len();
            dropped += 1;
        }
        dropped
    }

    /// Leaves out everything that has not begun to go.
    pub fn cut(&mut self) {
        self.frames.truncate(usize::from(self.sent > 0));
        self.bytes = self.frames.front().map_or(0, |(frame, _)| frame.len() - self.sent);
    }

    /// Puts back a frame whose first `sent` bytes are gone; it goes before everything else.
    pub fn put_back(&mut self, (frame, pool): Waiting, sent: usize) {
        debug_assert_eq!(self.sent, 0, "two frames cannot be half sent");
        self.bytes += frame.len() - sent;
        self.sent = sent;
        self.frames.push_front((frame, pool));
    }

    /// The waiting bytes, at most `most` runs of them.
    pub fn runs(&self, most: usize) -> impl Iterator<Item = &[u8]> {
        self.frames
            .iter()
            .take(most)
            .enumerate()
            .map(|(i, (f, _))| if i == 0 { &f[self.sent..] } else { &f[..] })
    }

    /// `n` bytes went out.
    pub fn advance(&mut self, mut n: usize) {
        self.bytes -= n;
        n += self.sent;
        while let Some(first) = self.frames.front().filter(|(f, _)| f.len() <= n) {
            n -= first.0.len();
            self.frames.pop_front();
        }
        self.sent = n;
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use crate::base::slab::Id;

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
                queue.push(frame.into(), None);
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

    #[test]
    fn only_the_oldest_of_the_same_pool_make_room_and_never_what_has_begun() {
        let (a, b) = (Id { index: 0, generation: 0 }, Id { index: 1, generation: 0 });
        let mut queue = Queue::default();
        for (frame, pool) in [([1; 4], a), ([2; 4], b), ([3; 4], a), ([4; 4], a)] {
            queue.push(frame.to_vec().into(), Some(pool));
        }
        queue.advance(1);
        assert_eq!((queue.make_room(4, 15, a), queue.bytes()), (1, 11));
        assert_eq!(queue.runs(9).map(|run| run[0]).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!((queue.make_room(100, 15, a), queue.bytes()), (1, 7));
        queue.cut();
        assert_eq!((queue.bytes(), queue.runs(9).count()), (3, 1));
    }
}
