//! The streamed answers of a shard: which of them go on, in which order, and when.

use crate::base::id::ConnId;
use crate::base::time::MS;
use std::collections::VecDeque;

/// What the chunks of one turn may cost, all streams together, in bytes copied: a small part of a millisecond.
pub const TURN: usize = 512 << 10;
/// How long streams wait, at most, for broadcasts that are under way.
const PATIENCE: u64 = 5 * MS;

/// The streams of a shard.
#[derive(Debug)]
pub struct StreamQueue {
    /// In the order in which they go on.
    open: VecDeque<ConnId>,
    opened: u32,
    /// There is something to do that nobody has looked at yet.
    ready: bool,
    /// When they last went on.
    last_turn: u64,
    /// When a paced stream goes on, if that has not been said yet.
    wake: Option<u64>,
    /// The soonest moment for which a timer is set.
    timer: u64,
}

impl Default for StreamQueue {
    fn default() -> Self {
        StreamQueue {
            open: VecDeque::new(),
            opened: 0,
            ready: false,
            last_turn: 0,
            wake: None,
            timer: u64::MAX,
        }
    }
}

impl StreamQueue {
    /// A stream begins; its number tells it from earlier ones of the connection.
    pub fn open(&mut self, id: ConnId) -> u32 {
        self.opened = self.opened.wrapping_add(1);
        self.open.push_back(id);
        self.opened
    }

    /// A stream has ended.
    pub fn close(&mut self, id: ConnId) {
        self.open.retain(|open| *open != id);
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Something has come that lets a stream go on.
    pub fn wake(&mut self) {
        self.ready = true;
    }

    /// A stream goes on at that moment.
    pub fn wake_at(&mut self, at: u64) {
        self.wake = Some(self.wake.map_or(at, |soonest| soonest.min(at)));
    }

    /// Whether there is something to be done at once.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether streams wait a little longer for a broadcast that is under way.
    pub fn may_wait(&self, now: u64) -> bool {
        now < self.last_turn + PATIENCE
    }

    /// A turn of the streams begins; returns how many there are to look at.
    pub fn begin_turn(&mut self, now: u64) -> usize {
        (self.ready, self.last_turn) = (false, now);
        self.open.len()
    }

    /// The stream whose turn it is; it is the last one after that.
    pub fn next(&mut self) -> Option<ConnId> {
        self.open.rotate_left(1.min(self.open.len()));
        self.open.back().copied()
    }

    /// When paced streams want to be looked at, if no timer is set for it yet.
    pub fn deadline(&mut self) -> Option<u64> {
        let at = self.wake.take().filter(|at| *at < self.timer)?;
        self.timer = at;
        Some(at)
    }

    /// The timer has come.
    pub fn timer_came(&mut self) {
        self.timer = u64::MAX;
        self.ready = true;
    }
}
