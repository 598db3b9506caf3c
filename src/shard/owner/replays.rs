//! What subscribers of a channel have missed: those who come back together have mostly missed the same, so it is made
//! once for all of them.

use crate::base::offset::Offset;
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::encode::hub;
use crate::flow::fanout::reach::Reach;
use crate::flow::limits::route::RouteId;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{HistoryBatch, Join, Joined};
use crate::shard::owner::catch_up::id_field;
use crate::shard::owner::channel::{Missed, Start};
use crate::shard::owner::channels::Channels;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// How many publications are looked at for one answer, so that no turn is long, however few of them a reader wants.
const MOST_SEEN: usize = 4096;
/// How many bytes of answers are kept that no reader holds any more, until the next second.
const MOST_BYTES: usize = 8 << 20;

/// One answer.
#[derive(Debug)]
struct Replay {
    /// What the channel's past had come through when it was made.
    revision: u64,
    /// Where the channel was then.
    at: Reach,
    count: u32,
    /// The bytes, as long as somebody holds them.
    state: Option<Weak<[u8]>>,
    batch: Arc<HistoryBatch>,
}

/// The channel, the language, and what was seen of it: answers to the same are the same.
type ReplayKey = (Subject, Variant, Offset);

/// The latest answers.
#[derive(Debug, Default)]
pub struct Replays {
    made: HashMap<ReplayKey, Replay>,
    /// The bytes of the latest ones.
    kept: VecDeque<(ReplayKey, Frame)>,
    bytes: usize,
}

impl Replays {
    /// What a subscriber of a channel is told first: what it has missed.
    pub fn joined(&mut self, ctx: &mut Context, channels: &Channels, join: &Join, name: &Arc<str>) -> Joined {
        let joined = join.joined(Reach::default());
        let (channel, tail) = (channels.visited(name), channels.tail());
        let (has, unknown) = match route_of(join) {
            Some(route) => channel.resolve(ctx, name, &join.has, id_field(ctx, route)),
            None => (join.has.clone(), false),
        };
        let joined = Joined { at: Reach::offset(channel.offset()), gap: unknown, ..joined };
        let epoch = ctx.epoch.clone();
        let Start { gap, missed, .. } = match has {
            Position::Late(seen) => channel.go_on(tail, seen),
            _ => channel.start(&epoch, &has),
        };
        let revision = channel.revision();
        let key = seen(ctx, &has).map(|seen| (join.subject.clone(), join.variant, seen));
        let key = key.filter(|_| !gap && !unknown);
        if let Some(replay) = key.as_ref().and_then(|key| self.made.get(key))
            && replay.revision == revision
            && (replay.batch.more || replay.at == joined.at)
        {
            let (state, count) = (replay.state.as_ref().map(Weak::upgrade), replay.count);
            if state != Some(None) {
                let batch = Some(replay.batch.clone());
                return Joined { count, state: state.flatten(), batch, ..joined };
            }
        }
        let last =
            route_of(join).map(|route| channel.last_name(ctx, name, route).or_else(|| join.has.name()));
        let joined = missed_of(ctx, join, missed, Joined { gap: gap || unknown, ..joined }, last);
        if let Some(key) = key {
            self.keep(key, revision, &joined);
        }
        joined
    }

    /// The same for a subscriber of all channels of this owner.
    pub fn joined_every(&mut self, ctx: &mut Context, channels: &Channels, join: &Join) -> Joined {
        let tail = channels.tail();
        let joined = join.joined(Reach::offset(tail.last()));
        let Position::Late(seen) = join.has else { return joined };
        let gap = seen < tail.start();
        let missed = tail.since(seen.max(tail.start())).into_iter().flatten();
        let missed = missed.map(|(at, placed, publish)| Missed { at, placed, publish });
        missed_of(ctx, join, Box::new(missed), Joined { gap, ..joined }, None)
    }

    /// Keeps an answer for the next ones.
    fn keep(&mut self, key: ReplayKey, revision: u64, joined: &Joined) {
        let Joined { at, count, state, batch: Some(batch), .. } = joined else { return };
        let weak = state.as_ref().map(Arc::downgrade);
        self.made.insert(
            key.clone(),
            Replay { revision, at: *at, count: *count, state: weak, batch: batch.clone() },
        );
        let Some(state) = state else { return };
        self.bytes += state.len();
        self.kept.push_back((key, state.clone()));
        while self.bytes > MOST_BYTES
            && let Some((key, oldest)) = self.kept.pop_front()
        {
            self.bytes -= oldest.len();
            // what only this remembers would stay in memory until the next second
            if Arc::strong_count(&oldest) == 1 {
                self.made.remove(&key);
            }
        }
    }

    /// Forgets all that no reader holds.
    pub fn forget(&mut self) {
        (self.kept, self.bytes) = Default::default();
        self.made.retain(|_, replay| replay.state.as_ref().is_some_and(|state| state.strong_count() > 0));
    }
}

fn route_of(join: &Join) -> Option<RouteId> {
    if let Dialect::Change(route) = join.variant.dialect { Some(route) } else { None }
}

/// What a subscriber has seen of a channel in this epoch.
fn seen(ctx: &Context, has: &Position) -> Option<Offset> {
    match has {
        Position::Offset(epoch, seen) if **epoch == *ctx.epoch => Some(*seen),
        Position::Late(seen) => Some(*seen),
        _ => None,
    }
}

/// What a subscriber has missed, as much as it takes at a time. `last`: what the readers of a route call the last
/// publication; they are told it even where nothing was missed.
fn missed_of<'a>(
    ctx: &mut Context,
    join: &Join,
    missed: Box<dyn Iterator<Item = Missed<'a>> + 'a>,
    joined: Joined,
    last: Option<Option<Box<str>>>,
) -> Joined {
    let limits = ctx.limits.clone();
    let most = match join.variant.dialect {
        Dialect::Sse | Dialect::Change(_) => limits.sse.replay_limit,
        Dialect::Hub | Dialect::Ooo => MOST_SEEN,
    };
    let (mut run, mut marks, mut more) = (Vec::new(), Vec::new(), false);
    let (mut reach, mut looked) = (None, 0);
    let mut missed = missed.peekable();
    let since = missed.peek().map(|first| Reach::offset(Offset::new(first.at.get() - 1)));
    for Missed { at, placed, publish } in missed {
        more = looked == MOST_SEEN || marks.len() == most;
        if more {
            break;
        }
        let wanted = match &join.subject {
            Subject::Chosen(_, filter) => filter.allows(&publish.data),
            _ => true,
        };
        if wanted {
            let frame =
                hub::publication(&mut ctx.encoder, join.variant, publish, placed, &limits, &ctx.epoch);
            let frame = ctx.encoder.run(join.variant, std::iter::once(frame));
            more = !run.is_empty() && run.len() + frame.len() > limits.queue_bytes;
            if more {
                break;
            }
            run.extend_from_slice(&frame);
            marks.push((run.len(), at));
        }
        looked += 1;
        reach = Some(Reach::offset(at));
    }
    let Some((since, reach)) = since.zip(reach).or_else(|| last.as_ref().map(|_| (joined.at, joined.at)))
    else {
        return joined;
    };
    let state = (!run.is_empty()).then(|| run.into());
    let batch = Arc::new(HistoryBatch { marks, since, reach, last: last.flatten(), more });
    Joined { count: batch.marks.len() as u32, state, batch: Some(batch), ..joined }
}
