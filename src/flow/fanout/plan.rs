//! The plan of a broadcast: which run of bytes goes to which connection.

use crate::flow::encode::frame::Frame;
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;

/// One run that is due to one connection.
#[derive(Clone, Copy, Debug)]
pub struct PlannedSend {
    /// The connection's slot.
    pub slot: u32,
    /// The slot's generation: the entry is void in another one.
    pub generation: u32,
    /// The run, by its place in the plan.
    pub run: u32,
}

/// A run of bytes that the members of a pool share.
#[derive(Debug)]
pub struct Run {
    /// The bytes.
    pub bytes: Frame,
    /// How many frames that is.
    pub frames: u32,
    /// The pool.
    pub pool: PoolId,
    /// How far the pool had come before.
    pub before: Reach,
}

/// What is due to whom.
#[derive(Debug, Default)]
pub struct SendPlan {
    /// One entry per connection.
    pub entries: Vec<PlannedSend>,
    /// The first entry that is not sent yet.
    pub next: usize,
    /// Second and further entries of connections that are in several pools.
    pub extras: Vec<PlannedSend>,
    /// The bytes.
    pub runs: Vec<Run>,
}

impl SendPlan {
    /// Adds a run of shared bytes; one frame is its own run.
    pub fn add_run(&mut self, frames: &[Frame], pool: PoolId, before: Reach) -> u32 {
        let bytes = match frames {
            [one] => one.clone(),
            many => Frame::from(many.concat()),
        };
        self.runs.push(Run { bytes, frames: frames.len() as u32, pool, before });
        self.runs.len() as u32 - 1
    }

    /// Whether everything is sent.
    pub fn is_done(&self) -> bool {
        self.next == self.entries.len()
    }

    /// The further entries of a connection.
    pub fn extras_of(&self, slot: u32) -> &[PlannedSend] {
        let from = self.extras.partition_point(|e| e.slot < slot);
        let len = self.extras[from..].partition_point(|e| e.slot == slot);
        &self.extras[from..from + len]
    }

    /// All runs of the connection of an entry, in order.
    pub fn runs_of(&self, entry: &PlannedSend) -> impl Iterator<Item = &Run> {
        let own = entry.generation;
        let extras = self.extras_of(entry.slot).iter().filter(move |e| e.generation == own);
        std::iter::once(*entry).chain(extras.copied()).map(|e| &self.runs[e.run as usize])
    }
}
