//! One owner's share of the native subscriptions to documents: who wants which names, and what each lacks at first.

use crate::base::id::ShardId;
use crate::base::slab::{Id, Slab};
use crate::base::stamp::Stamp;
use crate::flow::encode::documents::{self, DocumentChange};
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::position::Position;
use crate::flow::route::owner::owner;
use crate::flow::state::store::Store;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Joined, Mark};

use crate::shard::owner::watch::{Watch, Watcher};
use crate::wire::key::{Key, Name};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// A state longer than this, in bytes, is not kept for those who join next.
const KEPT: usize = 1 << 20;

/// The documents that a set of names means, as far as they are this owner's.
#[derive(Debug, Default)]
struct Partition {
    watch: Watch,
    /// The whole state until the next change, in the variants that were asked for.
    state: SmallVec<[(Variant, Frame); 1]>,
    /// How many documents it has.
    count: u32,
}

/// All partitions of an owner.
#[derive(Debug, Default)]
pub struct Partitions {
    slab: Slab<Partition>,
    by_names: HashMap<Arc<[Name]>, Id>,
}

impl Partitions {
    /// One more watcher of a partition. Says what it is called, and whether it is new.
    pub fn watch(&mut self, names: &Arc<[Name]>, watcher: Watcher) -> (Id, bool) {
        let known = self.by_names.get(names).copied();
        let id = known.unwrap_or_else(|| self.slab.insert(Partition::default()));
        if known.is_none() {
            self.by_names.insert(names.clone(), id);
        }
        self.slab.get_mut(id).expect("just found or made").watch.add(watcher);
        (id, known.is_none())
    }

    /// A watcher less. The partition's name, if that was the last.
    pub fn leave(&mut self, names: &Arc<[Name]>, from: ShardId, pool: PoolId) -> Option<Id> {
        let id = *self.by_names.get(names)?;
        if !self.slab.get_mut(id)?.watch.remove(from, pool) {
            return None;
        }
        self.slab.remove(id);
        self.by_names.remove(names);
        Some(id)
    }

    /// Whether somebody who watches a partition may want a change as a patch.
    pub fn wants_patch(&self, id: Id) -> bool {
        self.slab.get(id).is_some_and(|partition| partition.watch.wants_patch())
    }

    /// Tells those who watch a partition of a change.
    pub fn changed(&mut self, ctx: &mut Context, id: Id, mode: PatchMode, change: DocumentChange<'_>) {
        let partition = self.slab.get_mut(id).expect("its interest is there");
        partition.state.clear();
        let mark = Mark { key: Some(change.key.clone()), at: Reach::stamp(change.version) };
        partition.watch.send(ctx, &mark, |encoder, variant| {
            Some(documents::change(encoder, variant.dialect, mode.with(variant.patch), change))
        });
    }

    /// The state, or what the subscriber lacks of it: a message for each key.
    pub fn state(&mut self, ctx: &mut Context, store: &Store, id: Id, names: &[Name], join: &Join) -> Joined {
        let joined = join.joined(Reach::stamp(ctx.stamps.last()));
        let partition = self.slab.get_mut(id).expect("it is watched");
        let dialect = join.variant.dialect;
        if let Position::Since { stamp, fresh, versions } = &join.has {
            let lacks = Lacks { dialect, stamp: *stamp, fresh: fresh.as_ref(), versions };
            let frames = lacks.frames(ctx, store, names);
            let state = (!frames.is_empty()).then(|| ctx.encoder.run(join.variant, frames.iter().cloned()));
            // a stamp that lies ahead is none of ours
            let gap = *stamp > Stamp::ZERO && *stamp < store.horizon() || *stamp > ctx.stamps.last();
            return Joined { count: frames.len() as u32, gap, state, ..joined };
        }
        if let Some((_, state)) = partition.state.iter().find(|(variant, _)| *variant == join.variant) {
            return Joined { count: partition.count, state: Some(state.clone()), ..joined };
        }
        let frames: Vec<Frame> =
            store.meant(names).map(|item| documents::snapshot(&mut ctx.encoder, dialect, item)).collect();
        let count = frames.len() as u32;
        let state = (count > 0).then(|| ctx.encoder.run(join.variant, frames.into_iter()));
        if let Some(state) = state.as_ref().filter(|state| state.len() <= KEPT) {
            partition.count = count;
            partition.state.push((join.variant, state.clone()));
        }
        Joined { count, state, ..joined }
    }
}

/// What a subscriber had, as told by itself or by its shard.
struct Lacks<'a> {
    dialect: Dialect,
    stamp: Stamp,
    fresh: Option<&'a Name>,
    versions: &'a HashMap<Key, Stamp>,
}

impl Lacks<'_> {
    /// The documents that changed, then the deletions.
    fn frames(&self, ctx: &mut Context, store: &Store, names: &[Name]) -> Vec<Frame> {
        let dialect = self.dialect;
        let meant = |key: &Key| names.iter().any(|name| name.covers(key.as_str()));
        let is_new = |key: &Key| {
            self.stamp == Stamp::ZERO || self.fresh.is_some_and(|fresh| fresh.covers(key.as_str()))
        };
        let changed = store.meant(names).filter(|item| {
            if is_new(&item.key) {
                self.versions.get(&item.key) != Some(&item.version())
            } else {
                item.version() > self.stamp
            }
        });
        let mut frames: Vec<Frame> =
            changed.map(|item| documents::snapshot(&mut ctx.encoder, dialect, item)).collect();
        let (shards, me, now) = (ctx.shards, ctx.id, ctx.stamps.last());
        let mine = |key: &Key| owner(key.as_str(), shards) == me && meant(key);
        for (key, version) in self.versions.iter().filter(|(key, _)| mine(key)) {
            if store.get(key.as_str()).is_none() {
                let gone = store.deleted_at(key.as_str()).unwrap_or(now);
                frames.push(documents::delete(&mut ctx.encoder, dialect, key, *version, gone));
            }
        }
        let known = |key: &Key| !self.versions.contains_key(key);
        let since = store.deleted_since(self.stamp).filter(|_| self.stamp > Stamp::ZERO);
        for (key, last, gone) in since.filter(|(key, _, _)| meant(key) && known(key)) {
            frames.push(documents::delete(&mut ctx.encoder, dialect, key, last, gone));
        }
        frames
    }
}
