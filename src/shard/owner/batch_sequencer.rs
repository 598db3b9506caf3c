//! Writes that concern several owners: all or nothing, one batch after the other, so that no two can block each other.
//!
//! One shard runs them. It asks every owner concerned whether its part can be done; while an owner waits for the
//! decision it does nothing else to its documents. When all can, all do; when one cannot, none does.

use crate::base::id::ShardId;
use crate::flow::request::write::{Done, Refused, Write};
use crate::flow::route::owner::owner;
use crate::shard::context::Context;
use crate::shard::mail::answer::WriteRefused;
use crate::shard::mail::question::WriteTicket;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::ToSequencer;
use std::collections::VecDeque;

/// A batch as it was asked for.
#[derive(Debug)]
struct Batch {
    asker: ShardId,
    ticket: WriteTicket,
    writes: Vec<Write>,
    /// Whether it is a single write that concerns all owners, to be answered as such.
    single: bool,
}

/// The batch under way.
#[derive(Debug)]
struct Running {
    batch: Batch,
    /// The owners concerned, each with the places of its writes in the batch.
    owners: Vec<(ShardId, Vec<usize>)>,
    missing: usize,
    refused: Option<Refused>,
    swept: u32,
}

/// The batches that wait, and the one under way.
#[derive(Debug, Default)]
pub struct Sequencer {
    waiting: VecDeque<Batch>,
    running: Option<Running>,
}

impl Sequencer {
    /// Mail of an asker, or of an owner concerned.
    pub fn handle(&mut self, ctx: &mut Context, from: ShardId, mail: ToSequencer) {
        match mail {
            ToSequencer::Batch { ticket, writes, single } => {
                self.waiting.push_back(Batch { asker: from, ticket, writes, single });
                self.start(ctx);
            }
            ToSequencer::Prepared { result } => self.prepared(ctx, from, result),
            ToSequencer::Decided { swept } => self.decided(ctx, swept),
        }
    }

    fn start(&mut self, ctx: &mut Context) {
        if self.running.is_some() {
            return;
        }
        let Some(mut batch) = self.waiting.pop_front() else { return };
        let mut parts: Vec<(Vec<usize>, Vec<Write>)> = ctx.all().map(|_| Default::default()).collect();
        for (place, write) in std::mem::take(&mut batch.writes).into_iter().enumerate() {
            let homes = match write.name().map(|name| owner(name, ctx.shards)) {
                Some(home) => home.index()..home.index() + 1,
                None => 0..parts.len(),
            };
            for (places, part) in &mut parts[homes] {
                places.push(place);
                part.push(write.clone());
            }
        }
        let mut owners = Vec::new();
        for (shard, (places, part)) in ctx.all().zip(parts).filter(|(_, (_, part))| !part.is_empty()) {
            owners.push((shard, places));
            ctx.post(shard, ToOwner::Prepare { part });
        }
        self.running = Some(Running { batch, missing: owners.len(), owners, refused: None, swept: 0 });
    }

    /// An owner says whether its part can be done. Of several refusals the first of the batch is told.
    fn prepared(&mut self, ctx: &mut Context, from: ShardId, result: Result<(), Refused>) {
        let Some(running) = &mut self.running else { return };
        running.missing -= 1;
        let mine = running.owners.iter().find(|(shard, _)| *shard == from);
        let refused = result.err().zip(mine).map(|(refused, (_, places))| match refused {
            Refused::Batch(at, why) => Refused::Batch(places[at], why),
            other => other,
        });
        let place = |refused: &Refused| if let Refused::Batch(at, _) = refused { *at } else { 0 };
        running.refused = running.refused.take().into_iter().chain(refused).min_by_key(place);
        if running.missing == 0 {
            running.missing = running.owners.len();
            for (shard, _) in &running.owners {
                ctx.post(*shard, ToOwner::Decide { commit: running.refused.is_none() });
            }
        }
    }

    /// An owner has done its part.
    fn decided(&mut self, ctx: &mut Context, swept: u32) {
        let Some(running) = &mut self.running else { return };
        running.missing -= 1;
        running.swept += swept;
        if running.missing > 0 {
            return;
        }
        let Some(Running { batch, refused, swept, .. }) = self.running.take() else { return };
        let done = if batch.single { Done::Swept(swept) } else { Done::Batch };
        let answer =
            batch.ticket.answer(refused.map_or(Ok(done), |refused| Err(WriteRefused::Invalid(refused))));
        ctx.post(batch.asker, ToConnections::Answer(answer));
        self.start(ctx);
    }
}
