//! Replies in the order of the lines, whichever owner answers first.

use std::collections::VecDeque;

/// What is to be said to one line.
#[derive(Debug)]
struct PendingLine {
    /// The line.
    number: u64,
    /// The reply, once there is one; empty if the line wanted none.
    reply: Option<Vec<u8>>,
}

/// The lines that are under way, oldest first.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    lines: VecDeque<PendingLine>,
}

impl ReplyQueue {
    /// How many lines are under way, or wait to be replied to behind one that is.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// A line is under way; its number is higher than those before.
    pub fn begin(&mut self, number: u64) {
        self.lines.push_back(PendingLine { number, reply: None });
    }

    /// A line is done, with that reply; empty: none. Gives it back if no earlier line holds it back.
    pub fn done(&mut self, number: u64, reply: Vec<u8>) -> Option<Vec<u8>> {
        if self.lines.front().is_some_and(|first| first.number == number) {
            self.lines.pop_front();
            return Some(reply);
        }
        let at = self.lines.partition_point(|line| line.number < number);
        self.lines[at].reply = Some(reply);
        None
    }

    /// The next reply that no earlier line holds back any more.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.lines.front_mut()?.reply.take().inspect(|_| drop(self.lines.pop_front()))
    }
}

#[cfg(test)]
mod tests {
    use super::ReplyQueue;
    use fastrand::Rng;

    #[test]
    fn replies_come_in_the_order_of_the_lines_however_they_are_done() {
        for seed in 0..100 {
            let (mut rng, mut queue) = (Rng::with_seed(seed), ReplyQueue::default());
            let (mut open, mut number, mut got) = (Vec::new(), 0u64, Vec::new());
            for _ in 0..200 {
                let mut next = None;
                if rng.bool() {
                    number += rng.u64(1..4);
                    queue.begin(number);
                    open.push(number);
                } else if !open.is_empty() {
                    let number = open.swap_remove(rng.usize(0..open.len()));
                    next = queue.done(number, number.to_be_bytes().to_vec());
                }
                while let Some(reply) = next.take().or_else(|| queue.pop()) {
                    got.push(u64::from_be_bytes(reply.try_into().expect("a number")));
                }
                assert!(got.is_sorted_by(|a, b| a < b));
                let least = open.iter().min();
                assert!(least.is_none_or(|least| got.last().is_none_or(|last| last < least)));
                assert_eq!(queue.is_empty(), open.is_empty());
            }
        }
    }
}
