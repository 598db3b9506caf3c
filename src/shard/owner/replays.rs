//! What subscribers of a channel have missed: those who come back together have mostly missed the same, so it is made
//! once for all of them.

use crate::base::offset::Offset;
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::encode::hub;
use crate::flow::fanout::reach::Reach;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{HistoryBatch, Join, Joined};
use crate::shard::owner::catch_up::id_field;
use crate::shard::owner::channel::{Channel, Start};

use crate::wire::feed::Publish;
use crate::wire::hub::write::Placed;
use hashbrown::HashMap;
use std::sync::Arc;

/// How many are kept, and how many bytes of them; beyond it all are made anew. They are forgotten each second anyway.
const MOST: usize = 1024;
const MOST_BYTES: usize = 8 << 20;

/// One answer.
#[derive(Clone, Debug)]
struct Replay {
    /// What the channel had come through when it was made.
    revision: u64,
    at: Reach,
    count: u32,
    state: Frame,
    batch: Option<Box<HistoryBatch>>,
}

/// The latest answers.
#[derive(Debug, Default)]
pub struct Replays {
    kept: HashMap<(Subject, Variant, Offset), Replay>,
    bytes: usize,
}

impl Replays {
    /// What a subscriber of a channel is told first: what it has missed.
    pub fn joined(&mut self, ctx: &mut Context, channel: &Channel, join: &Join, name: &Arc<str>) -> Joined {
        let joined = join.joined(Reach::stamp(ctx.stamps.last()));
        let epoch = ctx.epoch.clone();
        if let Dialect::Change(route) = join.variant.dialect {
            let (has, unknown) = channel.resolve(ctx, name, &join.has, id_field(ctx, route));
            let last = channel.last_name(ctx, name, route).or_else(|| join.has.name());
            let Start { offset, gap, missed } = channel.start(&epoch, &has);
            let joined = Joined { at: Reach::offset(offset), gap: gap || unknown, ..joined };
            return missed_of(ctx, join, missed, last, joined);
        }
        let revision = channel.revision();
        self.find(ctx, revision, join, joined).unwrap_or_else(|joined| {
            let Start { offset, gap, missed } = channel.start(&epoch, &join.has);
            let joined = Joined { at: Reach::offset(offset), gap, ..joined };
            if missed.is_empty() {
                return joined;
            }
            let joined = missed_of(ctx, join, missed, None, joined);
            self.keep(revision, join, &joined);
            joined
        })
    }

    /// The answer to a join, if the same was given to another since the channel has changed last; else `joined` back.
    fn find(&self, ctx: &Context, revision: u64, join: &Join, joined: Joined) -> Result<Joined, Joined> {
        let Position::Offset(epoch, seen) = &join.has else { return Err(joined) };
        if **epoch != *ctx.epoch {
            return Err(joined);
        }
        match self.kept.get(&(join.subject.clone(), join.variant, *seen)) {
            Some(replay) if replay.revision == revision => {
                let Replay { at, count, state, batch, .. } = replay.clone();
                Ok(Joined { at, count, state: Some(state), batch, ..joined })
            }
            _ => Err(joined),
        }
    }

    /// Keeps an answer for the next ones.
    fn keep(&mut self, revision: u64, join: &Join, joined: &Joined) {
        let (Position::Offset(_, seen), Some(state)) = (&join.has, &joined.state) else { return };
        self.bytes += state.len();
        if self.kept.len() >= MOST || self.bytes > MOST_BYTES {
            self.forget();
            self.bytes = state.len();
        }
        let Joined { at, count, batch, .. } = joined;
        let replay = Replay { revision, at: *at, count: *count, state: state.clone(), batch: batch.clone() };
        self.kept.insert((join.subject.clone(), join.variant, *seen), replay);
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        (self.kept, self.bytes) = Default::default();
    }
}

/// What a subscriber of a channel has missed: all of it, or for those who get events, as much as they take at a time.
/// `last`: what the readers of a route call the last publication.
fn missed_of(
    ctx: &mut Context,
    join: &Join,
    missed: Vec<(Placed, &Publish)>,
    last: Option<Box<str>>,
    joined: Joined,
) -> Joined {
    let limits = ctx.limits.clone();
    let batches = matches!(join.variant.dialect, Dialect::Sse | Dialect::Change(_));
    let (mut run, mut marks) = (Vec::new(), Vec::new());
    let mut more = false;
    let mut at = joined.at;
    for (placed, publish) in missed {
        if batches && (marks.len() >= limits.sse.replay_limit || run.len() >= limits.queue_bytes) {
            more = true;
            break;
        }
        if let Subject::Chosen(_, filter) = &join.subject
            && !filter.allows(&publish.data)
        {
            continue;
        }
        let frame = hub::publication(&mut ctx.encoder, join.variant, publish, placed, &limits, &ctx.epoch);
        let frame = ctx.encoder.run(join.variant, std::iter::once(frame));
        run.extend_from_slice(&frame);
        at = Reach::offset(placed.sequence);
        marks.push((run.len(), placed.sequence));
    }
    let at = if more { at } else { joined.at };
    let count = marks.len() as u32;
    let batch = batches.then(|| Box::new(HistoryBatch { marks, last, more }));
    Joined { at, count, state: Some(run.into()), batch, ..joined }
}
