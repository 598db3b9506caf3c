//! From one frame to many sockets: who gets what, and the sending of it.
//!
//! Frames for a pool gather until the plan under way is done; then they are joined to one run of shared bytes, and the
//! next plan holds one entry per member. It is carried out in slices, so that a broadcast to ten thousand sockets does
//! not keep anyone else waiting. What one connection alone is due (replies, snapshots, pongs) waits in its queue and
//! leaves before the plan goes on. Only a socket that refuses bytes ever costs memory or a count.

pub mod plan;
pub mod pool;
pub mod reach;
pub mod send_queue;
pub mod sockets;

use crate::base::bits::Bits;
use crate::flow::encode::frame::Frame;
use crate::flow::fanout::plan::{PlannedSend, Run, SendPlan};
use crate::flow::fanout::pool::{Newcomer, PoolId, PoolMember, Pools};
use crate::flow::fanout::reach::Reach;
use crate::flow::fanout::send_queue::{Budget, Queue, Waiting};
use crate::flow::fanout::sockets::{Came, Due, Short, Slices, Sockets};
use std::collections::VecDeque;

/// How many sends one slice holds: about 2 ms of kernel time.
const SLICE: usize = 512;
/// How many waiting frames of one connection leave in one send.
const RUNS: usize = 64;

/// What sending has brought to light about one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its socket is full: watch for when it is writable.
    Blocked(u32),
    /// It was full and has taken everything since.
    Drained(u32),
    /// Its queue would grow over the budget: what the pool had for it was left out, from behind there on.
    Behind(u32, PoolId, Reach),
    /// Its socket is broken.
    Broken(u32),
}

/// What has gone out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames due to connections: one for each frame and connection.
    pub deliveries: u64,
    /// Sends.
    pub sends: u64,
    /// Bytes that sockets have taken.
    pub bytes: u64,
}

impl Sent {
    fn count(&mut self, batch: &[Due<'_>], short: &[Short]) {
        let missing = |s: &Short| {
            let wanted = len(&batch[s.index as usize].bytes);
            wanted - if let Came::Part(n) = s.came { n } else { 0 }
        };
        let wanted: usize = batch.iter().map(|due| len(&due.bytes)).sum();
        self.sends += batch.len() as u64;
        self.bytes += (wanted - short.iter().map(missing).sum::<usize>()) as u64;
    }
}

#[derive(Debug, Default)]
struct SendState {
    /// Rises when the slot changes hands: entries of the one before are void.
    generation: u32,
    queue: Option<Box<Queue>>,
}

/// The sending side of a shard.
#[derive(Debug)]
pub struct Fanout {
    /// Who is in which pool.
    pub pools: Pools,
    /// What it has come to so far.
    pub sent: Sent,
    budget: Budget,
    states: Vec<SendState>,
    /// Sockets that refused bytes and have not been writable since.
    blocked: Bits,
    /// Connections that were blocked and have not caught up since.
    slow: Bits,
    /// Connections with an entry in the plan that is not sent yet.
    due: Bits,
    /// Connections with something in their queue that may leave.
    ready: VecDeque<u32>,
    listed: Bits,
    /// Connections whose queue waits for the plan to end.
    deferred: Vec<u32>,
    touched: Vec<PoolId>,
    backlog: usize,
    plan: SendPlan,
    short: Vec<Short>,
}

impl Fanout {
    /// Bytes that one connection takes here while nothing waits for it.
    pub const IDLE: usize = size_of::<SendState>();
    /// Bytes that one connection takes in a broadcast.
    pub const DUE: usize = size_of::<PlannedSend>();

    /// `budget`: what may wait for one connection.
    pub fn new(budget: Budget) -> Fanout {
        Fanout {
            pools: Pools::default(),
            sent: Sent::default(),
            budget,
            states: Vec::new(),
            blocked: Bits::default(),
            slow: Bits::default(),
            due: Bits::default(),
            ready: VecDeque::new(),
            listed: Bits::default(),
            deferred: Vec::new(),
            touched: Vec::new(),
            backlog: 0,
            plan: SendPlan::default(),
            short: Vec::new(),
        }
    }

    /// What may wait for one connection from now on.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Bytes of frames that wait for the plan under way to end, each counted once however many want it.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Connections whose socket is full.
    pub fn full(&self) -> usize {
        self.blocked.len()
    }

    /// Bytes that wait for this connection alone.
    pub fn queued(&self, slot: u32) -> usize {
        self.states.get(slot as usize).and_then(|p| p.queue.as_ref()).map_or(0, |q| q.bytes())
    }

    /// A new connection has the slot.
    pub fn open(&mut self, slot: u32) {
        if slot as usize >= self.states.len() {
            self.states.resize_with(slot as usize + 1, SendState::default);
        }
        debug_assert!(self.states[slot as usize].queue.is_none());
    }

    /// The connection is gone; it is in no pool any more.
    pub fn forget(&mut self, slot: u32) {
        let state = &mut self.states[slot as usize];
        state.generation = state.generation.wrapping_add(1);
        state.queue = None;
        for bits in [&mut self.blocked, &mut self.slow, &mut self.due] {
            bits.remove(slot);
        }
    }

    /// Puts a connection into a pool that has come as far as `at`; it gets what is delivered from now on. Returns its
    /// place there.
    pub fn join(&mut self, id: PoolId, member: PoolMember, at: Reach) -> u32 {
        let pool = self.pools.get_mut(id).expect("joined by name");
        pool.at = pool.at.max(at);
        if !pool.frames.is_empty() {
            let skips = pool.frames.len() as u32;
            pool.newcomers.push(Newcomer { slot: member.slot, skips, at });
        }
        pool.members.push(member);
        pool.members.len() as u32 - 1
    }

    /// Takes a connection out of a pool; what is due to it and is not planned yet it does not get, so that nothing
    /// old ever arrives behind the state of a later subscription. Returns the member that has its place now.
    pub fn leave(&mut self, id: PoolId, place: u32) -> Option<PoolMember> {
        let pool = self.pools.get_mut(id).expect("left by name");
        let slot = pool.members.swap_remove(place as usize).slot;
        pool.newcomers.retain(|newcomer| newcomer.slot != slot);
        pool.members.get(place as usize).copied()
    }

    /// Gives a member that is about to leave a pool what is due to it there and not planned yet. False if there is no
    /// room for it.
    #[must_use]
    pub fn hand_over(&mut self, id: PoolId, slot: u32) -> bool {
        let Some(pool) = self.pools.get(id) else { return true };
        let from =
            pool.newcomers.iter().find(|newcomer| newcomer.slot == slot).map_or(0, |newcomer| newcomer.skips);
        let due: Vec<Frame> = pool.frames[from as usize..].to_vec();
        due.into_iter().all(|frame| self.try_send(slot, frame))
    }

    /// How far a member of a pool has surely come.
    pub fn position(&self, id: PoolId, slot: u32) -> Reach {
        self.pools.get(id).map_or(Reach::default(), |pool| pool.position(slot, self.due.contains(slot)))
    }

    /// A frame for every member, which brings the pool to `at`.
    pub fn deliver(&mut self, id: PoolId, frame: Frame, at: Reach) {
        let Some(pool) = self.pools.get_mut(id) else { return };
        let before = std::mem::replace(&mut pool.at, at);
        if pool.members.is_empty() {
            return;
        }
        if pool.frames.is_empty() {
            pool.before = before;
            self.touched.push(id);
        }
        self.backlog += frame.len();
        pool.frames.push(frame);
    }

    /// A frame has come that is offered to each member by itself: it counts as waiting until all that is due has gone.
    pub fn weigh(&mut self, frame: &Frame) {
        self.backlog += frame.len();
    }

    /// A frame for one connection. False if the connection is full to its budget; the frame is then left out.
    #[must_use]
    pub fn try_send(&mut self, slot: u32, frame: Frame) -> bool {
        self.sent.deliveries += 1;
        if self.blocked.contains(slot) && !self.has_room(slot, frame.len()) {
            return false;
        }
        self.force_send(slot, frame);
        true
    }

    /// A frame of a pool for one member only. False if no more may wait for it: nothing of that pool may follow then.
    #[must_use]
    pub fn offer(&mut self, slot: u32, frame: Frame) -> bool {
        self.sent.deliveries += 1;
        let takes = self.has_room(slot, frame.len());
        if takes {
            self.force_send(slot, frame);
        }
        takes
    }

    /// A frame for one connection, beyond its budget if need be: for whoever bounds by other means what waits.
    pub fn force_send(&mut self, slot: u32, frame: Frame) {
        let queue = self.states[slot as usize].queue.get_or_insert_default();
        queue.push(Waiting { bytes: frame, frames: 1 });
        if self.blocked.contains(slot) {
            return;
        }
        if self.due.contains(slot) {
            self.deferred.push(slot);
        } else if self.listed.insert(slot) {
            self.ready.push_back(slot);
        }
    }

    /// Says `Drained` once everything that waits for a connection is sent, whether its socket was full or not.
    pub fn tell_drained(&mut self, slot: u32) {
        self.slow.insert(slot);
    }

    /// Gives up what waits for a connection and has not begun to go.
    pub fn drop_queue(&mut self, slot: u32) {
        if let Some(queue) = &mut self.states[slot as usize].queue {
            queue.clear();
        }
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, slot: u32) {
        if self.blocked.remove(slot) && self.listed.insert(slot) {
            self.ready.push_back(slot);
        }
    }

    /// Sends one slice. True if more is due at once.
    pub fn flush(&mut self, sockets: &mut impl Sockets, outcomes: &mut Vec<Outcome>) -> bool {
        self.send_queues(sockets, outcomes);
        if self.plan.is_done() && self.ready.is_empty() {
            self.start_plan();
        }
        self.send_slice(sockets, outcomes);
        self.has_more()
    }

    /// Whether something is due at once.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty() || self.is_broadcasting()
    }

    /// Whether frames for pools are due that have not been sent to everyone yet.
    pub fn is_broadcasting(&self) -> bool {
        !self.plan.is_done() || !self.touched.is_empty()
    }

    fn start_plan(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            self.plan_pool(id);
        }
        self.touched = touched;
        self.backlog = 0;
        // stable: the runs of one connection stay in the order in which they came
        self.plan.extras.sort_by_key(|e| e.slot);
    }

    /// Joins what is due to a pool to one run, and plans it for every member.
    fn plan_pool(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(id) else { return };
        let frames = std::mem::take(&mut pool.frames);
        let mut newcomers = std::mem::take(&mut pool.newcomers);
        newcomers.sort_unstable_by_key(|newcomer| newcomer.slot);
        self.sent.deliveries += (frames.len() * pool.members.len()) as u64;
        let before = pool.before;
        pool.planned = Some(before);
        let whole = self.plan.add_run(&frames, id, before);
        for member in &pool.members {
            let run = match newcomers.binary_search_by_key(&member.slot, |newcomer| newcomer.slot) {
                Ok(found) => match &frames[newcomers[found].skips as usize..] {
                    [] => continue,
                    since => self.plan.add_run(since, id, newcomers[found].at),
                },
                Err(_) => whole,
            };
            let generation = self.states[member.slot as usize].generation;
            let entry = PlannedSend { slot: member.slot, generation, run };
            let first = self.due.insert(member.slot);
            if first { &mut self.plan.entries } else { &mut self.plan.extras }.push(entry);
        }
    }

    fn send_queues(&mut self, sockets: &mut impl Sockets, outcomes: &mut Vec<Outcome>) {
        if self.ready.is_empty() {
            return;
        }
        let mut slots = Vec::with_capacity(self.ready.len().min(SLICE));
        let mut runs: Vec<&[u8]> = Vec::with_capacity(slots.capacity());
        while slots.len() < SLICE
            && let Some(slot) = self.ready.pop_front()
        {
            self.listed.remove(slot);
            let Some(queue) = &self.states[slot as usize].queue else { continue };
            if !self.blocked.contains(slot) && !queue.is_empty() {
                runs.extend(queue.runs(RUNS));
                slots.push((slot, runs.len()));
            }
        }
        let mut from = 0;
        let due = |&(slot, end): &(u32, usize)| {
            let parts = &runs[from..end];
            from = end;
            Due { slot, bytes: if let [one] = parts { Slices::One(one) } else { Slices::Many(parts) } }
        };
        let batch: Vec<Due<'_>> = slots.iter().map(due).collect();
        self.short.clear();
        sockets.send(&batch, &mut self.short);
        self.sent.count(&batch, &self.short);
        let lens: Vec<usize> = batch.iter().map(|d| len(&d.bytes)).collect();
        let mut short = self.short.iter().peekable();
        for (i, (&(slot, _), &len)) in slots.iter().zip(&lens).enumerate() {
            let queue = self.states[slot as usize].queue.as_mut().expect("it was just read");
            match short.next_if(|s| s.index as usize == i).map(|s| s.came) {
                Some(Came::Broken) => outcomes.push(Outcome::Broken(slot)),
                Some(Came::Part(n)) => {
                    queue.advance(n);
                    self.blocked.insert(slot);
                    self.slow.insert(slot);
                    outcomes.push(Outcome::Blocked(slot));
                }
                None => {
                    queue.advance(len);
                    if !queue.is_empty() {
                        self.listed.insert(slot);
                        self.ready.push_back(slot);
                        continue;
                    }
                    self.states[slot as usize].queue = None;
                    if self.slow.remove(slot) {
                        outcomes.push(Outcome::Drained(slot));
                    }
                }
            }
        }
    }

    fn send_slice(&mut self, sockets: &mut impl Sockets, outcomes: &mut Vec<Outcome>) {
        if self.plan.is_done() {
            return;
        }
        let from = self.plan.next;
        self.plan.next = (from + SLICE).min(self.plan.entries.len());
        let plan = std::mem::take(&mut self.plan);
        let slice = &plan.entries[from..plan.next];
        let mut batch = Vec::with_capacity(slice.len());
        let mut sent = Vec::with_capacity(slice.len());
        let queued = !self.ready.is_empty();
        let doubles = self.doubles(&plan, slice, queued);
        let mut next_double = doubles.iter();
        for entry in slice {
            if self.states[entry.slot as usize].generation != entry.generation || !self.due.remove(entry.slot)
            {
                continue;
            }
            // what waits for it goes first: it was full until now, or there was more for others than fits in a slice
            if self.blocked.contains(entry.slot) || queued && self.listed.contains(entry.slot) {
                self.queue_up(&plan, entry, outcomes);
                continue;
            }
            let bytes = if !plan.extras.is_empty() && !plan.extras_of(entry.slot).is_empty() {
                Slices::Many(next_double.next().expect("one for each"))
            } else {
                Slices::One(&plan.runs[entry.run as usize].bytes)
            };
            batch.push(Due { slot: entry.slot, bytes });
            sent.push(*entry);
        }
        self.short.clear();
        sockets.send(&batch, &mut self.short);
        self.sent.count(&batch, &self.short);
        for short in std::mem::take(&mut self.short).drain(..) {
            let entry = &sent[short.index as usize];
            match short.came {
                Came::Broken => outcomes.push(Outcome::Broken(entry.slot)),
                Came::Part(n) => {
                    self.keep_rest(&plan, entry, n);
                    outcomes.push(Outcome::Blocked(entry.slot));
                }
            }
        }
        drop(batch);
        self.plan = plan;
        if self.plan.is_done() {
            self.end_plan();
        }
    }

    /// The runs of each connection of the slice that has several and takes them, in order.
    fn doubles<'a>(&self, plan: &'a SendPlan, slice: &[PlannedSend], queued: bool) -> Vec<Vec<&'a [u8]>> {
        if plan.extras.is_empty() {
            return Vec::new();
        }
        let current = |e: &&PlannedSend| {
            self.states[e.slot as usize].generation == e.generation
                && self.due.contains(e.slot)
                && !self.blocked.contains(e.slot)
                && !(queued && self.listed.contains(e.slot))
                && !plan.extras_of(e.slot).is_empty()
        };
        let runs = |e: &PlannedSend| plan.runs_of(e).map(|run| &run.bytes[..]).collect();
        slice.iter().filter(current).map(runs).collect()
    }

    /// The connection's socket is full: its runs wait, within the budget.
    fn queue_up(&mut self, plan: &SendPlan, entry: &PlannedSend, outcomes: &mut Vec<Outcome>) {
        let queue = self.states[entry.slot as usize].queue.get_or_insert_default();
        let mut behind = Vec::new();
        for run in plan.runs_of(entry) {
            // nothing may follow what was left out
            if !behind.contains(&run.pool) && queue.takes(run.bytes.len(), run.frames, self.budget) {
                queue.push(Waiting { bytes: run.bytes.clone(), frames: run.frames });
            } else if !behind.contains(&run.pool) {
                behind.push(run.pool);
                outcomes.push(Outcome::Behind(entry.slot, run.pool, run.before));
            }
        }
    }

    /// Whether so many bytes more may wait for a connection.
    pub fn has_room(&self, slot: u32, bytes: usize) -> bool {
        self.states[slot as usize].queue.as_ref().is_none_or(|queue| queue.takes(bytes, 1, self.budget))
    }

    /// The socket took `n` bytes of the connection's runs and is full now.
    fn keep_rest(&mut self, plan: &SendPlan, entry: &PlannedSend, mut n: usize) {
        let mut rest = Vec::new();
        for Run { bytes, frames, .. } in plan.runs_of(entry) {
            if n < bytes.len() {
                rest.push((Waiting { bytes: bytes.clone(), frames: *frames }, n));
            }
            n = n.saturating_sub(bytes.len());
        }
        let queue = self.states[entry.slot as usize].queue.get_or_insert_default();
        for (run, sent) in rest.into_iter().rev() {
            queue.put_back(run, sent);
        }
        self.blocked.insert(entry.slot);
        self.slow.insert(entry.slot);
    }

    fn end_plan(&mut self) {
        self.plan.entries.clear();
        self.plan.extras.clear();
        for run in self.plan.runs.drain(..) {
            if let Some(pool) = self.pools.get_mut(run.pool) {
                pool.planned = None;
            }
        }
        self.plan.next = 0;
        for slot in std::mem::take(&mut self.deferred) {
            if !self.blocked.contains(slot)
                && self.states[slot as usize].queue.is_some()
                && self.listed.insert(slot)
            {
                self.ready.push_back(slot);
            }
        }
    }
}

fn len(parts: &Slices<'_>) -> usize {
    match parts {
        Slices::One(run) => run.len(),
        Slices::Many(runs) => runs.iter().map(|r| r.len()).sum(),
    }
}
