//! The application's connection: its lines in order, and a bound on how many are under way.

use crate::flow::request::lines::LineBuffer;
use crate::flow::request::write::Write;

/// How many lines of one connection may wait for their owners.
pub const WINDOW: u32 = 1024;

/// A connection that feeds.
#[derive(Debug, Default)]
pub struct Feed {
    /// What it has said and is not handled yet.
    pub lines: LineBuffer,
    /// How many lines wait for their owners.
    pub in_flight: u32,
    /// A batch of several owners: goes out when nothing is in flight, and nothing goes before its answer.
    pub barrier: Option<Barrier>,
}

/// Writes that concern several owners.
#[derive(Debug)]
pub struct Barrier {
    /// Its line.
    pub line: u64,
    /// The `id` of its reply.
    pub id: Option<Box<str>>,
    /// What it asks for; empty once it is under way.
    pub writes: Vec<Write>,
    /// Whether it is a single write that all owners must do.
    pub one: bool,
}

impl Feed {
    /// Whether a line may be handled now.
    pub fn is_open(&self) -> bool {
        self.in_flight < WINDOW && self.barrier.is_none()
    }
}
