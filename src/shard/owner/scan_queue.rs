//! The scans of an owner's documents, by streams: chunk by chunk, as much in a turn as a turn can bear.

use crate::flow::filter::select::Select;
use crate::flow::state::scan::{Chunk, ScanId};
use crate::shard::context::Context;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::owner::ledger::Ledger;
use std::collections::VecDeque;
use std::sync::Arc;

/// What gathering documents for streams may cost in one turn: bytes of documents, those counted several times that have to
/// be read. A small part of a millisecond.
const TURN: usize = 512 << 10;

/// A chunk that a stream has asked for.
#[derive(Debug)]
struct Wanted {
    scan: ScanId,
    /// How many documents it has at most.
    most: u32,
    /// How many the scan has in all, if this is its first chunk and that is known.
    total: Option<u64>,
}

/// The chunks that are asked for and not given yet.
#[derive(Debug, Default)]
pub struct ScanQueue {
    wanted: VecDeque<Wanted>,
}

impl ScanQueue {
    /// A stream wants documents: from here on it sees them as they are now.
    pub fn open(&mut self, ctx: &Context, ledger: &mut Ledger, scan: ScanId, select: Arc<Select>, most: u32) {
        let counted = ledger.state().documents.store().count(&select.name);
        let total = counted.filter(|_| select.conditions.is_empty());
        ledger.open_scan(ctx, scan, select);
        self.wanted.push_back(Wanted { scan, most, total });
    }

    /// A stream wants the next chunk.
    pub fn next(&mut self, scan: ScanId, most: u32) {
        self.wanted.push_back(Wanted { scan, most, total: None });
    }

    /// Gives the chunks that were asked for, as many as fit in a turn.
    pub fn give(&mut self, ctx: &mut Context, ledger: &mut Ledger) {
        let mut spent = 0;
        while spent < TURN
            && let Some(Wanted { scan, most, total }) = self.wanted.pop_front()
        {
            if let Some((chunk, cost)) = ledger.next_chunk(scan, most as usize) {
                spent += cost;
                let chunk = Box::new(Chunk { total, ..chunk });
                ctx.post(scan.shard, ToConnections::Chunk { scan, chunk });
            }
        }
    }

    /// Whether chunks wait for the next turn.
    pub fn is_owing(&self) -> bool {
        !self.wanted.is_empty()
    }
}
