//! The lists that this shard owns: each follows the owners of its keys and brings its watchers up to date.

use crate::base::id::ShardId;
use crate::base::slab::{Id, Slab};
use crate::base::stamp::Stamp;
use crate::base::time::SEC;
use crate::flow::encode::ooo;
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::request::position::Position;
use crate::flow::request::write::SweepId;
use crate::flow::route::owner::owner;
use crate::flow::state::item::Item;
use crate::flow::state::list::{List, ListChange, ListStep};
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Joined, Mark};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;

use crate::shard::owner::watch::{Watch, Watcher};
use crate::wire::key::{Key, Pattern};
use hashbrown::HashMap;
use std::sync::Arc;

/// How long a list without watchers is kept, so that those who come back find its version.
const LINGER: u64 = 30 * SEC;

/// A list, and who wants it.
#[derive(Debug)]
struct Followed {
    list: List,
    watch: Watch,
    /// How many owners have not said yet what they have.
    missing: u16,
    /// Who waits for them.
    waiting: Vec<(ShardId, Join)>,
    /// Kept for its limit, watched or not.
    permanent: bool,
    /// Since when nobody watches.
    idle_since: Option<u64>,
}

/// A glob delete whose last part is yet to come.
#[derive(Debug, Default)]
struct Sweep {
    parts: u16,
    gone: Vec<(Key, Stamp)>,
}

/// All lists of a shard.
#[derive(Debug, Default)]
pub struct Lists {
    slab: Slab<Followed>,
    index: HashMap<Pattern, Id>,
    sweeps: HashMap<SweepId, Sweep>,
}

impl Lists {
    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Settings have changed: lists with a limit are always there, because they have that limit to keep.
    pub fn limits_changed(&mut self, ctx: &mut Context) {
        let limits = ctx.limits.clone();
        for (pattern, _) in limits.limited() {
            if owner(pattern.as_str(), ctx.shards) == ctx.id {
                self.enter(ctx, pattern);
            }
        }
        let ids: Vec<Id> = self.slab.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(followed) = self.slab.get_mut(id) else { continue };
            let limit = limits.list_limit(followed.list.pattern.as_str());
            let (mut steps, mut evicted) = (Vec::new(), Vec::new());
            followed.list.set_limit(limit, &mut steps, &mut evicted);
            followed.permanent = limit.is_some();
            if followed.watch.is_empty() && followed.waiting.is_empty() {
                followed.idle_since.get_or_insert(ctx.now.mono);
            }
            followed.changed(ctx, &steps, evicted);
        }
    }

    fn enter(&mut self, ctx: &mut Context, pattern: &Pattern) -> Id {
        if let Some(id) = self.index.get(pattern) {
            return *id;
        }
        let list = List::new(pattern.clone(), ctx.stamp(), ctx.limits.list_limit(pattern.as_str()));
        let (watch, waiting) = (Watch::default(), Vec::new());
        let followed =
            Followed { list, watch, missing: ctx.shards, waiting, permanent: false, idle_since: None };
        let id = self.slab.insert(followed);
        self.index.insert(pattern.clone(), id);
        ctx.post_to_all(|| ToOwner::Follow { list: id, pattern: pattern.clone() });
        id
    }

    /// A pool wants a list.
    pub fn join(&mut self, ctx: &mut Context, from: ShardId, join: Join, pattern: &Pattern) {
        let id = self.enter(ctx, pattern);
        let followed = self.slab.get_mut(id).expect("just entered");
        followed.idle_since = None;
        if followed.missing > 0 {
            followed.waiting.push((from, join));
        } else {
            followed.admit(ctx, from, join);
        }
    }

    /// A pool wants no more.
    pub fn leave(&mut self, ctx: &Context, from: ShardId, pool: PoolId, pattern: &Pattern) {
        let Some(followed) = self.index.get(pattern).and_then(|id| self.slab.get_mut(*id)) else { return };
        followed.waiting.retain(|(shard, join)| (*shard, join.pool) != (from, pool));
        if followed.watch.remove(from, pool) && followed.waiting.is_empty() {
            followed.idle_since = Some(ctx.now.mono);
        }
    }

    /// An owner says what it has.
    pub fn followed(&mut self, ctx: &mut Context, id: Id, items: Vec<Arc<Item>>) {
        let Some(followed) = self.slab.get_mut(id) else { return };
        for item in items {
            let change =
                ListChange { key: item.key.clone(), version: item.version(), item: Some(item), patch: None };
            followed.apply(ctx, vec![change]);
        }
        followed.missing -= 1;
        if followed.missing == 0 {
            for (from, join) in std::mem::take(&mut followed.waiting) {
                followed.admit(ctx, from, join);
            }
        }
    }

    /// Documents have changed, all at once.
    pub fn moved(&mut self, ctx: &mut Context, id: Id, changes: Vec<ListChange>) {
        if let Some(followed) = self.slab.get_mut(id) {
            followed.apply(ctx, changes);
        }
    }

    /// One owner's part of a glob delete. Lists change when the last part has come, all at once.
    pub fn swept(&mut self, ctx: &mut Context, sweep: SweepId, gone: &[(Key, Stamp)]) {
        let all = self.sweeps.entry(sweep).or_default();
        all.gone.extend_from_slice(gone);
        all.parts += 1;
        if all.parts < ctx.shards {
            return;
        }
        let gone = self.sweeps.remove(&sweep).unwrap_or_default().gone;
        let ids: Vec<Id> = self.slab.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(followed) = self.slab.get_mut(id) else { continue };
            let mine = gone.iter().filter(|(key, _)| followed.list.pattern.matches(key.as_str()));
            let change = |(key, version): &(Key, Stamp)| ListChange {
                key: key.clone(),
                version: *version,
                item: None,
                patch: None,
            };
            let changes = mine.map(change).collect();
            followed.apply(ctx, changes);
        }
    }

    /// Lets lists go that nobody has watched for a while.
    pub fn tidy(&mut self, ctx: &mut Context) {
        let old =
            |f: &Followed| !f.permanent && f.idle_since.is_some_and(|since| since + LINGER <= ctx.now.mono);
        let ids: Vec<Id> = self.slab.iter().filter(|(_, f)| old(f)).map(|(id, _)| id).collect();
        for id in ids {
            let Some(followed) = self.slab.remove(id) else { continue };
            self.index.remove(&followed.list.pattern);
            ctx.post_to_all(|| ToOwner::Unfollow { list: id, pattern: followed.list.pattern.clone() });
        }
    }
}

impl Followed {
    fn admit(&mut self, ctx: &mut Context, from: ShardId, join: Join) {
        self.watch.add(Watcher { shard: from, pool: join.pool, variant: join.variant });
        let make = |encoder: &mut _| Some(ooo::list(encoder, &self.list));
        let state = || self.watch.state(&mut ctx.encoder, join.variant, make);
        let has = matches!(join.has, Position::Version(has) if has == self.list.version);
        let state = (!has).then(state).flatten();
        let count = self.list.len() as u32;
        let joined = Joined { count, state, ..join.joined(Reach::stamp(self.list.version)) };
        ctx.post(from, ToConnections::Joined(joined));
    }

    /// Takes changes in and tells the watchers of all of them in one message.
    fn apply(&mut self, ctx: &mut Context, changes: Vec<ListChange>) {
        let (mut steps, mut evicted) = (Vec::new(), Vec::new());
        for change in changes {
            self.list.apply(change, &mut steps, &mut evicted);
        }
        self.changed(ctx, &steps, evicted);
    }

    /// Has evicted documents deleted, and tells the watchers of the steps.
    fn changed(&mut self, ctx: &mut Context, steps: &[ListStep], evicted: Vec<Arc<Item>>) {
        for item in evicted {
            ctx.post_to_owner(
                item.key.as_str(),
                ToOwner::Evict { key: item.key.clone(), version: item.version() },
            );
        }
        if steps.is_empty() {
            return;
        }
        self.list.version = ctx.stamp();
        let mode = ctx.limits.patch_mode(self.list.pattern.as_str());
        let Followed { list, watch, .. } = self;
        let mark = Mark { key: None, at: Reach::stamp(list.version) };
        watch.send(ctx, &mark, |encoder, _| Some(ooo::list_change(encoder, mode, list, steps)));
    }
}
