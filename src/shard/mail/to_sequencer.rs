//! Mail to the shard that runs the batches of several owners, one after the other.

use crate::base::id::ShardId;
use crate::flow::request::write::{Refused, Write};
use crate::shard::mail::question::WriteTicket;

/// The shard that runs batches of several owners.
pub const SEQUENCER: ShardId = ShardId(0);

/// What the sequencer is told or asked.
#[derive(Debug)]
pub enum ToSequencer {
    /// Writes that concern several owners.
    Batch {
        /// Comes back with the answer.
        ticket: WriteTicket,
        /// The writes, in their order.
        writes: Vec<Write>,
        /// Whether it is a single write that concerns all owners, to be answered as such.
        single: bool,
    },
    /// An owner's part can be done, or why not.
    Prepared {
        /// The first refusal, with its place in the owner's part.
        result: Result<(), Refused>,
    },
    /// An owner has done its part, or forgotten it.
    Decided {
        /// How many documents were deleted by glob.
        swept: u32,
    },
}
