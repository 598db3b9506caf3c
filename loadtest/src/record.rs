//! What a run writes down: the counters at its marks, and what happened in between.

use crate::measure::Tally;
use crate::proc::{Cpu, Machine};
use crate::reader::Reading;
use hdrhistogram::Histogram;
use serde::Serialize;

/// All counters at one moment of a run.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// Nanoseconds of the run's clock.
    pub at: u64,
    /// The server's CPU time so far.
    pub cpu: Cpu,
    /// The server's memory.
    pub rss: u64,
    /// CPU use of the whole machine.
    pub machine: Machine,
    /// Publications handed over.
    pub published: u64,
    /// Publications that every subscriber has received.
    pub completed: u64,
    /// Counters of each client thread.
    pub threads: Vec<Tally>,
    /// CPU seconds of each client thread.
    pub busy: Vec<f64>,
}

impl Mark {
    /// The counters of all client threads together.
    pub fn tally(&self) -> Tally {
        self.threads.iter().copied().fold(Tally::default(), Tally::plus)
    }
}

/// One point of the plots.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Nanoseconds of the run's clock.
    pub at: u64,
    /// Deliveries so far.
    pub delivered: u64,
    /// The server's resident bytes.
    pub rss: u64,
}

/// Everything that a run recorded.
#[derive(Debug)]
pub struct Record {
    /// Before the first connection.
    pub before: Mark,
    /// All connections up.
    pub connected: Mark,
    /// A moment later.
    pub settled: Mark,
    /// The part before the stream begins (`stream`).
    pub calm: Mark,
    /// The measured part begins.
    pub started: Mark,
    /// The publisher is done.
    pub stopped: Mark,
    /// What it published has arrived.
    pub drained: Mark,
    /// For the plots.
    pub samples: Vec<Sample>,
    /// How late the publisher handed publications over, through its own fault; nanoseconds.
    pub lag: Histogram<u64>,
    /// Publications that waited because the server did not accept them.
    pub pushed_back: u64,
    /// The server never accepted all publications that were due.
    pub unsent: bool,
    /// Times that a window was full of lost publications.
    pub stalls: u64,
    /// Seconds that each storm took; NaN: not all reconnected.
    pub storms: Vec<f64>,
    /// The count of `stated` at which the current storm is over.
    pub stated_due: u64,
    /// Publications that the server refused.
    pub refused: u64,
    /// The reason of the first refusal.
    pub refusal: Option<String>,
    /// What the reader of the stream received (`stream`).
    pub reading: Option<Reading>,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            before: Mark::default(),
            connected: Mark::default(),
            settled: Mark::default(),
            calm: Mark::default(),
            started: Mark::default(),
            stopped: Mark::default(),
            drained: Mark::default(),
            samples: Vec::new(),
            lag: crate::measure::histogram(),
            pushed_back: 0,
            unsent: false,
            stalls: 0,
            storms: Vec::new(),
            stated_due: 0,
            refused: 0,
            refusal: None,
            reading: None,
        }
    }
}
