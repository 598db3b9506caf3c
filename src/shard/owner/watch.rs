//! Who wants the changes of one subject, and the telling of them.

use crate::base::id::ShardId;
use crate::flow::encode::frame::{Encoder, Frame, Frames, Variant};
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::Limits;
use crate::flow::limits::documents::PatchMode;
use crate::shard::context::Context;
use crate::shard::mail::subscription::Mark;
use crate::shard::mail::to_connections::ToConnections;

use smallvec::SmallVec;

/// A pool somewhere that wants the changes of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// Its shard.
    pub shard: ShardId,
    /// Its name there.
    pub pool: PoolId,
    /// In which variant it wants them.
    pub variant: Variant,
}

/// Those who want the changes of one subject, and its state as a frame until it changes.
#[derive(Debug, Default)]
pub struct Watch {
    watchers: SmallVec<[Watcher; 1]>,
    state: Frames,
}

impl Watch {
    /// One more watcher; one that is there stays single.
    pub fn add(&mut self, watcher: Watcher) {
        if !self.watchers.contains(&watcher) {
            self.watchers.push(watcher);
        }
    }

    /// Takes a watcher out; true if nobody is left.
    pub fn remove(&mut self, shard: ShardId, pool: PoolId) -> bool {
        self.watchers.retain(|w| (w.shard, w.pool) != (shard, pool));
        self.watchers.is_empty()
    }

    /// Who they are.
    pub fn iter(&self) -> impl Iterator<Item = &Watcher> {
        self.watchers.iter()
    }

    /// Whether somebody may want a change as a patch.
    pub fn wants_patch(&self) -> bool {
        self.watchers.iter().any(|watcher| watcher.variant.patch != PatchMode::Never)
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// The state as a frame, made once until the next change.
    pub fn state(
        &mut self,
        encoder: &mut Encoder,
        variant: Variant,
        make: impl FnOnce(&mut Encoder) -> Option<Frame>,
    ) -> Option<Frame> {
        self.state.get(encoder, variant, make)
    }

    /// Sends one change to all watchers; each variant is made once.
    pub fn send(
        &mut self,
        ctx: &mut Context,
        mark: &Mark,
        mut make: impl FnMut(&mut Encoder, Variant) -> Option<Frame>,
    ) {
        self.send_from(ctx, &mut Frames::default(), mark, |encoder, _, _, variant| make(encoder, variant));
    }

    /// The same, where the frames of the change may be made already for the watchers of something else. `make` gets the
    /// limits and the epoch too: they are shared by all cores, and counted up by none of them for this.
    pub fn send_from(
        &mut self,
        ctx: &mut Context,
        frames: &mut Frames,
        mark: &Mark,
        mut make: impl FnMut(&mut Encoder, &Limits, &str, Variant) -> Option<Frame>,
    ) {
        self.state.clear();
        for watcher in &self.watchers {
            let (variant, Context { encoder, limits, epoch, .. }) = (watcher.variant, &mut *ctx);
            let make = |encoder: &mut Encoder| make(encoder, limits, epoch, variant);
            if let Some(frame) = frames.get(encoder, variant, make) {
                ctx.post(
                    watcher.shard,
                    ToConnections::Frame { pool: watcher.pool, frame, mark: mark.clone() },
                );
            }
        }
    }
}
