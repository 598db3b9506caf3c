//! Who watches what this shard owns, and the telling of them.

use crate::base::id::ShardId;
use crate::base::offset::Offset;
use crate::base::slab::Id;
use crate::base::stamp::Stamp;
use crate::flow::encode::documents::DocumentChange;
use crate::flow::encode::frame::{Encoder, Frame, Frames, Variant};
use crate::flow::encode::{hub, ooo};
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::filter::Filter;
use crate::flow::limits::Limits;
use crate::flow::limits::documents::PatchMode;
use crate::flow::route::subject::Subject;
use crate::flow::route::trie::Trie;
use crate::flow::state::diff::diff;
use crate::flow::state::item::Item;
use crate::flow::state::list::ListChange;
use crate::flow::state::store::Store;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Joined, Mark};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::owner::partitions::Partitions;
use crate::shard::owner::record::Publication;
use crate::shard::owner::watch::{Watch, Watcher};
use crate::wire::key::{Key, Name, Pattern};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// Something that wants the documents of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A list.
    List {
        /// The shard that owns it.
        owner: ShardId,
        /// What it is called there.
        list: Id,
    },
    /// A partition of this owner.
    Partition {
        /// What it is called.
        partition: Id,
    },
}

/// Who wants the publications of a channel.
#[derive(Debug, Default)]
struct ChannelWatch {
    /// All of them.
    all: Watch,
    /// Those that a filter allows, by filter.
    filtered: Vec<(Arc<Filter>, Watch)>,
}

/// A document that has changed.
#[derive(Clone, Copy, Debug)]
pub struct ChangedDocument<'a> {
    /// Its key.
    pub key: &'a Key,
    /// What it was.
    pub old: Option<&'a Arc<Item>>,
    /// What it is.
    pub new: Option<&'a Arc<Item>>,
    /// The version of the change.
    pub version: Stamp,
    /// Whether lists hear of it by this; of a glob delete they hear at its end.
    pub lists: bool,
}

/// Everyone who watches.
#[derive(Debug, Default)]
pub struct Watchers {
    /// Who watches keys, rooms, users, all channels, and the clock.
    subjects: HashMap<Subject, Watch>,
    channels: HashMap<Arc<str>, ChannelWatch>,
    /// Who wants which keys, by pattern.
    interest: Trie<Target>,
    partitions: Partitions,
    /// What the lists will hear of the batch under way.
    held: Option<Vec<((ShardId, Id), ListChange)>>,
}

impl Watchers {
    /// One more watcher of a subject that is no list and no partition: its watch.
    pub fn add(&mut self, subject: &Subject, watcher: Watcher) -> &mut Watch {
        let watch = match subject {
            Subject::Channel(name) => &mut self.channels.entry_ref(name).or_default().all,
            Subject::Chosen(name, filter) => {
                let filtered = &mut self.channels.entry_ref(name).or_default().filtered;
                let at = filtered.iter().position(|(own, _)| own == filter).unwrap_or_else(|| {
                    filtered.push((filter.clone(), Watch::default()));
                    filtered.len() - 1
                });
                &mut filtered[at].1
            }
            subject => self.subjects.entry_ref(subject).or_default(),
        };
        watch.add(watcher);
        watch
    }

    /// A pool wants a partition's documents: it is registered, and gets what it lacks.
    pub fn add_partition(
        &mut self,
        ctx: &mut Context,
        store: &Store,
        join: &Join,
        names: &Arc<[Name]>,
        watcher: Watcher,
    ) -> Joined {
        let (partition, new) = self.partitions.watch(names, watcher);
        if new {
            for name in names.iter() {
                self.interest.insert(name.as_str(), Target::Partition { partition });
            }
        }
        self.partitions.state(ctx, store, partition, names, join)
    }

    /// A pool wants no more.
    pub fn remove(&mut self, shard: ShardId, pool: PoolId, subject: &Subject) {
        match subject {
            Subject::Channel(name) | Subject::Chosen(name, _) => {
                let Some(channel) = self.channels.get_mut(name) else { return };
                if let Subject::Chosen(_, filter) = subject {
                    channel.filtered.retain_mut(|(own, watch)| own != filter || !watch.remove(shard, pool));
                } else {
                    channel.all.remove(shard, pool);
                }
                if channel.all.is_empty() && channel.filtered.is_empty() {
                    self.channels.remove(name);
                }
            }
            Subject::Part(names, _) => {
                if let Some(partition) = self.partitions.leave(names, shard, pool) {
                    for name in names.iter() {
                        self.interest.remove(name.as_str(), &Target::Partition { partition });
                    }
                }
            }
            subject => {
                if self.subjects.get_mut(subject).is_some_and(|watch| watch.remove(shard, pool)) {
                    self.subjects.remove(subject);
                }
            }
        }
    }

    /// A list wants the changes of a pattern's documents.
    pub fn follow(&mut self, owner: ShardId, list: Id, pattern: &Pattern) {
        self.interest.insert(pattern.as_str(), Target::List { owner, list });
    }

    /// A list wants no more.
    pub fn unfollow(&mut self, owner: ShardId, list: Id, pattern: &Pattern) {
        self.interest.remove(pattern.as_str(), &Target::List { owner, list });
    }

    /// Whether somebody is subscribed to a channel.
    pub fn hears(&self, channel: &str) -> bool {
        self.channels.contains_key(channel)
    }

    /// Tells those who watch a subject that is no document and no channel.
    pub fn tell(
        &mut self,
        ctx: &mut Context,
        subject: &Subject,
        mut make: impl FnMut(&mut Encoder, Variant) -> Frame,
    ) {
        if let Some(watch) = self.subjects.get_mut(subject) {
            watch.send(ctx, &Mark { key: None, at: Reach::default() }, |encoder, variant| {
                Some(make(encoder, variant))
            });
        }
    }

    /// Tells those who watch a user that they may have to know of it no more.
    pub fn doubt(&self, ctx: &mut Context, user: &Arc<str>) {
        let watch = self.subjects.get(&Subject::User(user.clone()));
        for watcher in watch.into_iter().flat_map(Watch::iter) {
            ctx.post(watcher.shard, ToConnections::SightChanged { pool: watcher.pool, user: user.clone() });
        }
    }

    /// Tells everyone who wants to know of a document: its own watchers, partitions, lists.
    pub fn document_changed(&mut self, ctx: &mut Context, change: ChangedDocument<'_>) {
        let ChangedDocument { key, old, new, version, lists } = change;
        let mut followers: SmallVec<[(ShardId, Id); 4]> = SmallVec::new();
        let mut partitions: SmallVec<[Id; 4]> = SmallVec::new();
        self.interest.matches(key.as_str(), |target| match target {
            Target::List { owner, list } if lists => followers.push((*owner, *list)),
            Target::Partition { partition } if !partitions.contains(partition) => partitions.push(*partition),
            Target::List { .. } | Target::Partition { .. } => {}
        });
        let watch = self.subjects.get_mut(&Subject::Key(key.clone()));
        if watch.is_none() && followers.is_empty() && partitions.is_empty() {
            return;
        }
        let mode = ctx.limits.patch_mode(key.as_str());
        let wants_patch = |partition: &Id| self.partitions.wants_patch(*partition);
        let wanted = mode != PatchMode::Never
            && (watch.is_some() || !followers.is_empty() || partitions.iter().any(wants_patch));
        let patch = match (old, new) {
            (Some(old), Some(new)) if wanted => Some(Arc::new(diff(&old.value, &new.value))),
            _ => None,
        };
        if let Some(watch) = watch {
            watch.send(ctx, &Mark { key: None, at: Reach::stamp(version) }, |encoder, _| {
                Some(ooo::item_change(encoder, mode, version, new.map(|new| &**new), patch.as_deref()))
            });
        }
        for partition in partitions {
            let from = old.map(|old| old.version());
            let (new, patch) = (new.map(|new| &**new), patch.as_deref());
            self.partitions.changed(ctx, partition, mode, DocumentChange { key, from, version, new, patch });
        }
        for (owner, list) in followers {
            let change = ListChange { key: key.clone(), version, item: new.cloned(), patch: patch.clone() };
            match &mut self.held {
                Some(held) => held.push(((owner, list), change)),
                None => ctx.post(owner, ToOwner::Moved { list, change }),
            }
        }
    }

    /// A batch begins: lists hear of its changes together.
    pub fn hold_lists(&mut self) {
        self.held = Some(Vec::new());
    }

    /// The batch is done: each list hears of all its changes.
    pub fn tell_lists(&mut self, ctx: &mut Context) {
        let mut held = self.held.take().unwrap_or_default();
        // a stable order: the changes of one list stay as they came
        held.sort_by_key(|(list, _)| *list);
        for changes in held.chunk_by(|(a, _), (b, _)| a == b) {
            let ((owner, list), _) = changes[0];
            let changes = changes.iter().map(|(_, change)| change.clone()).collect();
            ctx.post(owner, ToOwner::MovedTogether { list, changes });
        }
    }

    /// Tells those who hear a channel. `every`: its place in the tail, if it goes to those who get every channel, too.
    pub fn published(&mut self, ctx: &mut Context, publication: &Publication, every: Option<Offset>) {
        let Publication { placed, publish, .. } = publication;
        let mut channel = self.channels.get_mut(&publish.channel);
        if channel.is_none() && every.is_none() {
            return;
        }
        let make = |encoder: &mut Encoder, limits: &Limits, epoch: &str, variant| {
            Some(hub::publication(encoder, variant, publish, *placed, limits, epoch))
        };
        let mark = Mark { key: None, at: Reach::offset(placed.sequence) };
        let mut frames = Frames::default();
        if let Some(channel) = &mut channel {
            channel.all.send_from(ctx, &mut frames, &mark, make);
        }
        if let Some(place) = every
            && let Some(watch) = self.subjects.get_mut(&Subject::Every(ctx.id))
        {
            watch.send_from(ctx, &mut frames, &Mark { key: None, at: Reach::offset(place) }, make);
        }
        let filtered = channel.into_iter().flat_map(|channel| &mut channel.filtered);
        for (_, watch) in filtered.filter(|(filter, _)| filter.allows(&publish.data)) {
            watch.send_from(ctx, &mut frames, &mark, make);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Watchers;
    use crate::base::id::ShardId;
    use crate::base::slab::Id;
    use crate::flow::encode::frame::{Dialect, Variant};
    use crate::flow::filter::Filter;
    use crate::flow::route::subject::Subject;
    use crate::shard::owner::watch::Watcher;
    use fastrand::Rng;
    use std::sync::Arc;

    #[test]
    fn nothing_is_left_of_those_who_have_gone_in_any_order() {
        let filter = |kinds| Arc::new(Filter::read("kind", kinds).expect("a filter"));
        let room: Arc<str> = "r".into();
        let subjects = [
            Subject::Channel(room.clone()),
            Subject::Chosen(room.clone(), filter("a")),
            Subject::Chosen(room.clone(), filter("b")),
            Subject::Room(room.clone()),
            Subject::User("ann".into()),
            Subject::Every(ShardId(0)),
        ];
        for seed in 0..200 {
            let (mut rng, mut watchers) = (Rng::with_seed(seed), Watchers::default());
            let mut there = Vec::new();
            for index in 0..30 {
                let (subject, pool) = (rng.choice(&subjects).unwrap(), Id { index, generation: 0 });
                let watcher = Watcher { shard: ShardId(0), pool, variant: Variant::plain(Dialect::Hub) };
                watchers.add(subject, watcher);
                there.push((subject, pool));
            }
            rng.shuffle(&mut there);
            while let Some((subject, pool)) = there.pop() {
                let hears = |s: &&Subject| matches!(s, Subject::Channel(_) | Subject::Chosen(..));
                assert!(!hears(&subject) || watchers.hears(&room));
                watchers.remove(ShardId(0), pool, subject);
                assert_eq!(watchers.hears(&room), there.iter().any(|(s, _)| hears(s)), "seed {seed}");
            }
            assert!(watchers.subjects.is_empty() && watchers.channels.is_empty(), "seed {seed}");
        }
    }
}
