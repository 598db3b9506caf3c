//! What waits for one connection: shared frames, the first perhaps half sent.

use crate::flow::encode::frame::Frame;
use std::collections::VecDeque;

/// One run of bytes.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The bytes.
    pub bytes: Frame,
    /// How many frames that is.
    pub frames: u32,
}

/// What may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes.
    pub bytes: usize,
    /// Frames.
    pub frames: usize,
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

    /// Whether so many bytes and frames may be added under `budget`. One run always may, or it would never go.
    pub fn takes(&self, bytes: usize, frames: u32, budget: Budget) -> bool {
        self.frames.is_empty()
            || self.bytes + bytes <= budget.bytes && self.count + frames as usize <= budget.frames
    }

    /// Adds a run at the end.
    pub fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes.len();
        self.count += waiting.frames as usize;
        self.frames.push_back(waiting);
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
    use super::{Budget, Queue, Waiting};

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
                queue.push(Waiting { bytes: frame.into(), frames: 1 });
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
    fn a_run_waits_within_the_budget_of_bytes_and_of_frames() {
        let mut queue = Queue::default();
        let budget = Budget { bytes: 10, frames: 3 };
        assert!(queue.takes(99, 99, budget), "one run always may");
        queue.push(Waiting { bytes: vec![1; 4].into(), frames: 2 });
        for (bytes, frames, takes) in [(6, 1, true), (7, 1, false), (6, 2, false), (0, 1, true)] {
            assert_eq!(queue.takes(bytes, frames, budget), takes, "{bytes} bytes, {frames} frames");
        }
        queue.advance(1);
        assert!(queue.takes(7, 1, budget), "what is gone does not count");
        queue.push(Waiting { bytes: vec![2; 7].into(), frames: 1 });
        queue.clear();
        assert_eq!((queue.bytes(), queue.runs(9).count()), (3, 1), "what has begun to go stays");
    }
}
