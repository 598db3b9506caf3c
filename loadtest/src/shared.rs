//! What the client threads of one run share: the plan, the commands of the main thread, and the progress of each.

use crate::measure::Tally;
use crate::scenario::Plan;
use crate::wire::Wire;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

/// Publications whose completion is watched at the same time; more are in flight only if the server is far behind.
const SLOTS: usize = 1 << 16;

/// Shared by all threads of a run.
pub struct Shared {
    clock: Instant,
    /// The plan of the run.
    pub plan: Plan,
    /// How to reach the server, and its protocol.
    pub wire: Wire,
    /// Source addresses, taken in turn; empty: the kernel's choice.
    pub sources: Vec<IpAddr>,
    /// Client threads.
    pub threads: usize,
    /// Publications handed over so far; set before the publication leaves.
    pub published: AtomicU64,
    /// Publications that every subscriber has received.
    pub completed: AtomicU64,
    /// First publication after the connections were up.
    pub primed: AtomicU64,
    /// First publication that is measured for comparison, before the stream begins.
    pub calm_from: AtomicU64,
    /// First publication that is measured.
    pub measured_from: AtomicU64,
    /// Connections may be opened.
    pub go: AtomicBool,
    /// Slow connections do not read now.
    pub hold: AtomicBool,
    /// Connections are being replaced now.
    pub churning: AtomicBool,
    /// Reconnect storms so far: how often all connections were to drop.
    pub storms: AtomicU32,
    /// When the last storm began.
    pub storm_at: AtomicU64,
    /// The run is over; everything here is final.
    pub stop: AtomicBool,
    /// The document that every checked copy must equal at the end; set before `stop`.
    pub document: OnceLock<Value>,
    /// Per topic: threads that have a subscriber of it.
    holders: Vec<AtomicU32>,
    /// Per publication in flight: threads that are not done with it.
    open: Vec<AtomicU32>,
    tallies: Vec<Mutex<Tally>>,
}

impl Shared {
    /// The state before the first connection.
    pub fn new(plan: Plan, wire: Wire, sources: Vec<IpAddr>, threads: usize) -> Shared {
        let counters = |n: usize| (0..n).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
        Shared {
            clock: Instant::now(),
            holders: counters(plan.topics),
            open: counters(SLOTS),
            tallies: (0..threads).map(|_| Mutex::default()).collect(),
            plan,
            wire,
            sources,
            threads,
            published: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            primed: AtomicU64::new(0),
            calm_from: AtomicU64::new(u64::MAX),
            measured_from: AtomicU64::new(u64::MAX),
            go: AtomicBool::new(false),
            hold: AtomicBool::new(false),
            churning: AtomicBool::new(false),
            storms: AtomicU32::new(0),
            storm_at: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            document: OnceLock::new(),
        }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// Takes the next sequence number, and counts the threads that must receive it.
    pub fn open_publication(&self) -> u64 {
        let seq = self.published.load(Ordering::Relaxed);
        let holders = self.holders[seq as usize % self.plan.topics].load(Ordering::Relaxed);
        self.open[seq as usize % SLOTS].store(holders, Ordering::Relaxed);
        if holders == 0 {
            self.completed.fetch_add(1, Ordering::Relaxed);
        }
        self.published.store(seq + 1, Ordering::Release);
        seq
    }

    /// A thread has received everything it expects of `seq`. True for the last thread.
    pub fn close_publication(&self, seq: u64) -> bool {
        let last = self.open[seq as usize % SLOTS].fetch_sub(1, Ordering::Relaxed) == 1;
        if last {
            self.completed.fetch_add(1, Ordering::Relaxed);
        }
        last
    }

    /// A thread has its first subscriber of a topic.
    pub fn hold_topic(&self, topic: usize) {
        self.holders[topic].fetch_add(1, Ordering::Relaxed);
    }

    /// How many publications a topic has had.
    pub fn published_on(&self, topic: usize) -> u64 {
        let (published, topics) = (self.published.load(Ordering::Acquire), self.plan.topics as u64);
        (published + topics - 1 - topic as u64) / topics
    }

    /// Publishes a thread's counters.
    pub fn post(&self, thread: usize, tally: Tally) {
        *self.tallies[thread].lock().expect("no thread panics while it holds a tally") = tally;
    }

    /// The counters of every thread.
    pub fn tallies(&self) -> Vec<Tally> {
        self.tallies
            .iter()
            .map(|tally| *tally.lock().expect("no thread panics while it holds a tally"))
            .collect()
    }

    /// The sum of all threads' counters.
    pub fn tally(&self) -> Tally {
        self.tallies().into_iter().fold(Tally::default(), Tally::plus)
    }
}
