//! The memory budget: the most memory that the settings allow, as a sum, for the log at start.

use std::fmt;

use bytesize::ByteSize;

use crate::control::admin::MAX_CONNECTIONS;
use crate::flow::limits::Limits;
use crate::runtime::places::FEEDS;
use crate::server::error::ServerError;

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

/// Files of the process itself: standard streams, the log, signals, what a library opens for a moment.
const OF_PROCESS: u64 = 64;
/// Files of a shard: rings and eventfds of ours and of the executor (seen: 10), sockets that are just closing.
const OF_SHARD: u64 = 16;
/// So many are kept at least.
const LEAST: u64 = 256;

/// Files that clients may not take: those of the process, of its shards and their listeners, of the feed's connections and
/// of the operators'.
fn kept_files(shards: u64, listeners: u64) -> u64 {
    let doors = u64::from(FEEDS) + MAX_CONNECTIONS as u64;
    (OF_PROCESS + doors + shards * (OF_SHARD + listeners)).max(LEAST)
}

impl MemoryBudget {
    /// The budget of so many shards with `open_files` files at most.
    ///
    /// # Errors
    /// Those are not enough for a single client.
    pub fn new(limits: &Limits, shards: usize, open_files: u64) -> Result<Self, ServerError> {
        let kept = kept_files(shards as u64, limits.anonymous.len() as u64);
        if open_files <= kept {
            return Err(ServerError::FewFiles { open_files, needed: kept + 1 });
        }
        Ok(Self {
            connections: open_files - kept,
            queued: limits.queue_bytes as u64,
            incoming: limits.max_message.max(limits.max_body) as u64,
            line: limits.max_line as u64,
        })
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

#[cfg(test)]
mod tests {
    use super::MemoryBudget;
    use crate::flow::limits::Limits;

    #[test]
    fn clients_get_the_files_that_nobody_else_needs_and_a_start_without_any_is_refused() {
        let budget = |shards, files| MemoryBudget::new(&Limits::default(), shards, files);
        assert_eq!(budget(2, 900).expect("enough").connections, 644);
        assert_eq!(budget(64, 4096).expect("enough").connections, 4096 - (64 + 128 + 64 * 17));
        assert_eq!(budget(1, 257).expect("enough").connections, 1);
        let refusal = budget(1, 256).expect_err("none is left").to_string();
        assert!(
            refusal.contains("256") && refusal.contains("257") && refusal.contains("ulimit"),
            "{refusal}"
        );
    }
}
