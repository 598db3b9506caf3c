//! The memory budget: the most memory that the settings allow, as a sum, for the log at start.

use std::fmt;

use bytesize::ByteSize;

use crate::flow::limits::Limits;

/// The most memory that connections can hold, by what holds it. Documents and mail come on top: their size is what
/// the application feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Clients at once, over all cores: one file each.
    pub connections: u64,
    /// Bytes that may wait for one of them.
    pub queued: u64,
    /// Bytes of an unfinished message or body of one of them.
    pub incoming: u64,
    /// Bytes of a feed connection's unfinished line.
    pub line: u64,
}

/// Files that are not clients: standard streams, rings, event loops, listeners, feeds.
const OTHER_FILES: u64 = 256;

impl MemoryBudget {
    /// The budget with `open_files` files at most.
    pub fn new(limits: &Limits, open_files: u64) -> Self {
        Self {
            connections: open_files.saturating_sub(OTHER_FILES).max(1),
            queued: limits.queue_bytes as u64,
            incoming: limits.max_message.max(limits.max_body) as u64,
            line: limits.max_line as u64,
        }
    }

    /// All of it at once, in bytes; one feed connection.
    pub fn sum(&self) -> u64 {
        self.connections.saturating_mul(self.queued + self.incoming).saturating_add(self.line)
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, queued, incoming, line } = *self;
        let [queued, incoming, line, sum] = [queued, incoming, line, self.sum()].map(ByteSize);
        write!(
            to,
            "at most {connections} connections x ({queued} waiting + {incoming} arriving) + {line} per feed line = {sum}, \
             documents not counted"
        )
    }
}
