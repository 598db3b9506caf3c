//! What waits for one connection: shared frames, the first perhaps half sent.

use crate::flow::encode::frame::Frame;
use std::collections::VecDeque;

/// Frames that wait, oldest first. A connection without waiting bytes has none.
#[derive(Debug, Default)]
pub struct Queue {
    frames: VecDeque<Frame>,
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
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Puts back a frame whose first `sent` bytes are gone; it goes before everything else.
    pub fn put_back(&mut self, frame: Frame, sent: usize) {
        debug_assert_eq!(self.sent, 0, "two frames cannot be half sent");
        self.bytes += frame.len() - sent;
        self.sent = sent;
        self.frames.push_front(frame);
    }

    /// The waiting bytes, at most `most` runs of them.
    pub fn runs(&self, most: usize) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().take(most).enumerate().map(|(i, f)| if i == 0 { &f[self.sent..] } else { &f[..] })
    }

    /// `n` bytes went out.
    pub fn advance(&mut self, mut n: usize) {
        self.bytes -= n;
        n += self.sent;
        while let Some(first) = self.frames.front().filter(|f| f.len() <= n) {
            n -= first.len();
            self.frames.pop_front();
        }
        self.sent = n;
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

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
}
