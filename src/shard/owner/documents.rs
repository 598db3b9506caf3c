//! The owner's side: the documents of this shard, who watches them, and what each change leads to.

use crate::base::id::ShardId;
use crate::base::slab::Id;
use crate::flow::encode::documents::DocumentChange;
use crate::flow::encode::frame::{Dialect, Frames};
use crate::flow::encode::{hub, ooo, rooms};
use crate::flow::fanout::pool::PoolId;
use crate::flow::filter::Filter;
use crate::flow::filter::select::Select;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::position::Position;
use crate::flow::request::write::{Done, Refused, SweepId, Write};
use crate::flow::route::subject::Subject;
use crate::flow::route::trie::Trie;
use crate::flow::state::apply::apply;
use crate::flow::state::diff::diff;
use crate::flow::state::item::Item;
use crate::flow::state::list::ListChange as Move;
use crate::flow::state::merge::merge;
use crate::flow::state::scan::{Chunk, ScanId};
use crate::flow::state::store::Store;
use crate::shard::connections::EVERYONE;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Joined, Mark};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::owner::channels::{Channels, Start};
use crate::shard::owner::route_readers::Readers;

use crate::shard::owner::partitions::Parts;
use crate::shard::owner::replays::{Replays, missed_of};
use crate::shard::owner::watch::{Watch, Watcher};
use crate::wire::feed::Publish;
use crate::wire::hub::Query;
use crate::wire::hub::write;
use crate::wire::json::Json;
use crate::wire::key::{Key, Pattern};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// Something that wants the documents of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A list, at its owner.
    List(ShardId, Id),
    /// A part of this owner.
    Part(Id),
}

/// What gathering documents for streams may cost in one turn: bytes of documents, those counted several times that have to
/// be read. A small part of a millisecond.
const PARTS: usize = 512 << 10;

/// The documents and channels that this shard owns.
#[derive(Debug, Default)]
pub struct Owner {
    store: Store,
    pub(in crate::shard) watches: HashMap<Subject, Watch>,
    /// Who wants which keys, by pattern.
    interest: Trie<Target>,
    /// The native subscriptions.
    parts: Parts,
    /// The channels.
    pub(in crate::shard) channels: Channels,
    /// What of their past was asked for last.
    replays: Replays,
    /// Which choices of which channels are watched.
    choices: HashMap<Arc<str>, Vec<Arc<Filter>>>,
    /// The readers of routes.
    pub(in crate::shard) readers: Readers,
    /// Batches that streams have asked for: of which cut, how many documents, and the total if it is the first one.
    asked: VecDeque<(ScanId, u32, Option<u64>)>,
    /// The version of everything that never was.
    born: u64,
}

impl Owner {
    /// An owner without documents, whose cuts may keep `cut_bytes`.
    pub fn new(born: u64, cut_bytes: usize) -> Owner {
        Owner { born, store: Store::new(cut_bytes), ..Owner::default() }
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.store.len()
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels.count()
    }

    /// A document, if there is one.
    pub fn document(&self, key: &str) -> Option<&Arc<Item>> {
        self.store.get(key)
    }

    /// The documents that match, in the order of keys.
    pub fn matching(&self, pattern: &Pattern) -> Vec<Arc<Item>> {
        self.store.matching(pattern).cloned().collect()
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<Key> {
        self.store.keys().cloned().collect()
    }

    /// Does one write.
    pub fn write(&mut self, ctx: &mut Context, write: Write) -> Result<Done, Refused> {
        match write {
            Write::Publish(publish) => Ok(self.publish(ctx, publish)),
            Write::Sweep(pattern, sweep) => Ok(self.sweep(ctx, &pattern, sweep)),
            Write::Del(key) => {
                let version = self.delete(ctx, &key).ok_or_else(|| Refused::NotFound(key.clone()))?;
                Ok(Done::Document(key, version))
            }
            write => {
                let current = |key: &str| self.store.get(key).map(|item| item.value.clone());
                let (key, value) = next_value(current, write)?;
                let version = self.put(ctx, &key, value);
                Ok(Done::Document(key, version))
            }
        }
    }

    /// Deletes a document that a limited list has pushed out, if it still is at this version.
    pub fn evict(&mut self, ctx: &mut Context, key: &Key, version: u64) {
        if self.store.get(key.as_str()).is_some_and(|item| item.version() == version) {
            self.delete(ctx, key);
        }
    }

    /// Does all writes or none.
    pub fn batch(&mut self, ctx: &mut Context, writes: Vec<Write>) -> Result<Done, Refused> {
        self.check(&writes)?;
        self.commit(ctx, writes);
        Ok(Done::Batch)
    }

    /// Whether all writes could be done, one after the other.
    pub fn check(&self, writes: &[Write]) -> Result<(), Refused> {
        let mut draft: HashMap<Key, Option<Json>> = HashMap::new();
        for (i, write) in writes.iter().enumerate() {
            let refused = |why| Refused::Batch(i, Box::new(why));
            let current = |draft: &HashMap<Key, Option<Json>>, key: &str| {
                let stored = || self.store.get(key).map(|item| item.value.clone());
                draft.get(key).cloned().unwrap_or_else(stored)
            };
            match write {
                Write::Publish(_) => {}
                Write::Sweep(pattern, _) => {
                    let gone = self.store.matching(pattern).map(|item| item.key.clone());
                    let gone: Vec<Key> =
                        gone.chain(draft.keys().filter(|k| pattern.matches(k.as_str())).cloned()).collect();
                    draft.extend(gone.into_iter().map(|key| (key, None)));
                }
                Write::Del(key) => {
                    current(&draft, key.as_str()).ok_or_else(|| refused(Refused::NotFound(key.clone())))?;
                    draft.insert(key.clone(), None);
                }
                write => {
                    let (key, value) =
                        next_value(|key| current(&draft, key), write.clone()).map_err(refused)?;
                    draft.insert(key, Some(value));
                }
            }
        }
        Ok(())
    }

    /// Does writes that have been checked; returns how many documents were deleted by glob.
    pub fn commit(&mut self, ctx: &mut Context, writes: Vec<Write>) -> u32 {
        let mut swept = 0;
        for write in writes {
            match self.write(ctx, write).expect("it was checked, and nothing came between") {
                Done::Swept(count) => swept += count,
                Done::Document(..) | Done::Channel(..) | Done::Batch => {}
            }
        }
        swept
    }

    fn put(&mut self, ctx: &mut Context, key: &Key, value: Json) -> u64 {
        let stamp = ctx.stamp();
        let old = self.store.get(key.as_str()).cloned();
        let (created, updated) = old.as_ref().map_or((stamp, 0), |old| (old.created, stamp));
        let new = Arc::new(Item::new(key.clone(), created, updated, value));
        self.store.put(new.clone());
        ctx.stats.written += 1;
        self.changed(ctx, key, old, Some(new), stamp, true);
        stamp
    }

    fn delete(&mut self, ctx: &mut Context, key: &Key) -> Option<u64> {
        let stamp = ctx.stamp();
        let old = self.store.remove(key, stamp)?;
        ctx.stats.deleted += 1;
        self.changed(ctx, key, Some(old), None, stamp, true);
        Some(stamp)
    }

    fn sweep(&mut self, ctx: &mut Context, pattern: &Pattern, sweep: SweepId) -> Done {
        let items: Vec<Arc<Item>> = self.store.matching(pattern).cloned().collect();
        let mut gone = Vec::with_capacity(items.len());
        for item in items {
            let stamp = ctx.stamp();
            let key = item.key.clone();
            self.store.remove(&key, stamp);
            ctx.stats.deleted += 1;
            self.changed(ctx, &key, Some(item), None, stamp, false);
            gone.push((key, stamp));
        }
        let count = gone.len() as u32;
        let gone: Arc<[(Key, u64)]> = gone.into();
        // every list hears of every part, so that it can wait for the last one and change once
        ctx.post_to_all(|| ToOwner::Swept { sweep, gone: gone.clone() });
        Done::Swept(count)
    }

    /// Tells everyone who wants to know. `lists`: whether lists are told here and now.
    fn changed(
        &mut self,
        ctx: &mut Context,
        key: &Key,
        old: Option<Arc<Item>>,
        new: Option<Arc<Item>>,
        stamp: u64,
        lists: bool,
    ) {
        let mut followers: SmallVec<[(ShardId, Id); 4]> = SmallVec::new();
        let mut parts: SmallVec<[Id; 4]> = SmallVec::new();
        self.interest.matches(key.as_str(), |target| match target {
            Target::List(shard, list) if lists => followers.push((*shard, *list)),
            Target::Part(part) if !parts.contains(part) => parts.push(*part),
            Target::List(..) | Target::Part(_) => {}
        });
        let watch = self.watches.get_mut(&Subject::Key(key.clone()));
        if watch.is_none() && followers.is_empty() && parts.is_empty() {
            return;
        }
        let mode = ctx.limits.patch_mode(key.as_str());
        let wanted = mode != PatchMode::Never
            && (watch.is_some() || !followers.is_empty() || parts.iter().any(|p| self.parts.wants_patch(*p)));
        let patch = match (&old, &new) {
            (Some(old), Some(new)) if wanted => Some(Arc::new(diff(&old.value, &new.value))),
            _ => None,
        };
        if let Some(watch) = watch {
            watch.send(ctx, &Mark { key: None, at: stamp }, |encoder, _| {
                Some(ooo::item_change(encoder, mode, stamp, new.as_deref(), patch.as_deref()))
            });
        }
        for part in parts {
            let from = old.as_ref().map(|old| old.version());
            let (new, patch) = (new.as_deref(), patch.as_deref());
            self.parts.changed(ctx, part, mode, DocumentChange { key, from, version: stamp, new, patch });
        }
        for (shard, list) in followers {
            let change = Move { key: key.clone(), version: stamp, item: new.clone(), patch: patch.clone() };
            ctx.post(shard, ToOwner::Moved { list, change });
        }
    }

    pub(in crate::shard) fn publish(&mut self, ctx: &mut Context, publish: Box<Publish>) -> Done {
        let Owner { channels, watches, choices, .. } = self;
        let channel = channels.open(ctx, &publish.channel);
        let placed = channel.place(ctx, &publish);
        let mark = Mark { key: None, at: placed.sequence };
        let mut frames = Frames::default();
        let implicit = ctx.limits.hub.implicit_channels && *publish.channel != *EVERYONE;
        // who gets every channel gets those that are open
        let every = (implicit && !channel.is_private()).then_some(Subject::Every(ctx.id));
        let limits = ctx.limits.clone();
        let epoch = ctx.epoch.clone();
        let chosen = choices.get(&publish.channel).into_iter().flatten();
        let chosen = chosen.filter(|choice| choice.allows(&publish.data));
        let chosen = chosen.map(|choice| Subject::Chosen(publish.channel.clone(), choice.clone()));
        let whole = [Subject::Channel(publish.channel.clone())].into_iter().chain(every);
        for subject in whole.chain(chosen) {
            if let Some(watch) = watches.get_mut(&subject) {
                watch.send_from(ctx, &mut frames, &mark, |encoder, variant| {
                    Some(hub::publication(encoder, variant, &publish, placed, &limits, &epoch))
                });
            }
        }
        let done = Done::Channel(publish.channel.clone(), placed.sequence, placed.stamp);
        channel.remember(placed, publish);
        done
    }

    /// What was published into a channel, as the list of a reply.
    pub(in crate::shard) fn history(&mut self, ctx: &Context, channel: &str, query: &Query) -> Vec<u8> {
        let mut out = vec![b'['];
        let channel = self.channels.get(channel);
        for (placed, entry) in channel.into_iter().flat_map(|channel| channel.query(ctx, query)) {
            if out.len() > 1 {
                out.push(b',');
            }
            write::publication(&entry.publish, placed, &mut out);
            rooms::fate(entry, &mut out);
        }
        out.push(b']');
        out
    }

    /// Tells the time to the connections of this shard that want to know.
    pub fn tell_time(&mut self, ctx: &mut Context) {
        let wall = ctx.now.wall;
        if let Some(watch) = self.watches.get_mut(&Subject::Clock(ctx.id)) {
            watch.send(ctx, &Mark { key: None, at: 0 }, |encoder, _| Some(ooo::clock(encoder, wall)));
        }
    }

    /// Forgets what nobody needs any more.
    pub fn tidy(&mut self, ctx: &Context) {
        self.replays.forget();
        let watches = &self.watches;
        let choices = &self.choices;
        let whole = |name: &Arc<str>| watches.contains_key(&Subject::Channel(name.clone()));
        self.channels.tidy(ctx, |name| whole(name) || choices.contains_key(name));
    }

    /// A pool wants documents or a channel: it is registered, and gets the state in the same breath.
    pub fn join(&mut self, ctx: &mut Context, from: ShardId, join: Join) {
        let watcher = Watcher { shard: from, pool: join.pool, variant: join.variant };
        let Join { pool, conn, ticket, .. } = join;
        let nothing = Joined {
            pool,
            conn,
            ticket,
            at: ctx.stamps.last(),
            count: 0,
            gap: false,
            state: None,
            batch: None,
        };
        let joined = match &join.subject {
            Subject::Key(key) => {
                let watch = self.watches.entry(join.subject.clone()).or_default();
                watch.add(watcher);
                let item = self.store.get(key.as_str());
                let version = item
                    .map(|item| item.version())
                    .or(self.store.deleted_at(key.as_str()))
                    .unwrap_or(self.born);
                let make = |encoder: &mut _| Some(ooo::item(encoder, version, item.map(|item| &**item)));
                let state = || watch.state(&mut ctx.encoder, join.variant, make);
                let has = matches!(join.has, Position::Version(has) if has == version);
                Joined { state: (!has).then(state).flatten(), ..nothing }
            }
            Subject::Part(names, _) => {
                let (part, new) = self.parts.watch(names, watcher);
                if new {
                    for name in names.iter() {
                        self.interest.insert(name.as_str(), Target::Part(part));
                    }
                }
                self.parts.state(ctx, &self.store, part, names, &join, nothing)
            }
            Subject::Channel(name) => self.join_channel(ctx, watcher, &join, name, nothing),
            Subject::Chosen(name, choice) => {
                let choices = self.choices.entry(name.clone()).or_default();
                if !choices.contains(choice) {
                    choices.push(choice.clone());
                }
                self.join_channel(ctx, watcher, &join, name, nothing)
            }
            Subject::Every(_) => {
                self.watches.entry(join.subject.clone()).or_default().add(watcher);
                nothing
            }
            Subject::User(_) => {
                self.watches.entry(join.subject.clone()).or_default().add(watcher);
                nothing
            }
            Subject::Clock(_) => {
                self.watches.entry(join.subject.clone()).or_default().add(watcher);
                Joined { at: 0, state: Some(ooo::clock(&mut ctx.encoder, ctx.now.wall)), ..nothing }
            }
            Subject::List(_) | Subject::Room(_) => {
                unreachable!("lists and rooms are joined elsewhere")
            }
        };
        ctx.post(from, ToConnections::Joined(joined));
    }

    /// A pool wants the publications of a channel; its connection, what it has missed.
    fn join_channel(
        &mut self,
        ctx: &mut Context,
        watcher: Watcher,
        join: &Join,
        name: &Arc<str>,
        nothing: Joined,
    ) -> Joined {
        self.watches.entry(join.subject.clone()).or_default().add(watcher);
        let channel = self.channels.open(ctx, name);
        let Dialect::Change(route) = join.variant.dialect else {
            let revision = channel.revision();
            return self.replays.find(ctx, revision, join, nothing).unwrap_or_else(|nothing| {
                let Start { offset: at, gap, missed } = channel.start(ctx, &join.has);
                let joined = Joined { at, gap, ..nothing };
                if missed.is_empty() {
                    return joined;
                }
                let joined = missed_of(ctx, join, missed, None, joined);
                self.replays.keep(revision, join, &joined);
                joined
            });
        };
        let limits = ctx.limits.clone();
        let id_field = limits.routes[usize::from(route)].id_field.as_deref();
        let (has, unknown) = channel.placed_at(ctx, name, &join.has, id_field);
        let last = channel.last_name(ctx, name, route).or_else(|| join.has.name());
        let Start { offset: at, gap, missed } = channel.start(ctx, &has);
        missed_of(ctx, join, missed, last, Joined { at, gap: gap || unknown, ..nothing })
    }

    /// A reader of a route is gone.
    pub fn exit(&mut self, route: u8, user: Option<Arc<str>>) {
        self.readers.exit(route, user);
    }

    /// A pool wants no more.
    pub fn leave(&mut self, from: ShardId, pool: PoolId, subject: &Subject) {
        let Subject::Part(names, _) = subject else {
            if self.watches.get_mut(subject).is_some_and(|watch| watch.remove(from, pool)) {
                self.watches.remove(subject);
                if let Subject::Chosen(name, choice) = subject
                    && let Some(choices) = self.choices.get_mut(name)
                {
                    choices.retain(|other| other != choice);
                    if choices.is_empty() {
                        self.choices.remove(name);
                    }
                }
            }
            return;
        };
        if let Some(part) = self.parts.leave(names, from, pool) {
            for name in names.iter() {
                self.interest.remove(name.as_str(), &Target::Part(part));
            }
        }
    }

    /// A stream wants documents: from here on it sees them as they are now.
    pub fn open_cut(&mut self, ctx: &mut Context, cut: ScanId, select: Arc<Select>, most: u32) {
        let total = if select.conditions.is_empty() { self.store.count(&select.name) } else { None };
        self.store.scans.open(cut, select, ctx.stamps.last());
        self.asked.push_back((cut, most, total));
    }

    /// A stream wants the next batch.
    pub fn more(&mut self, cut: ScanId, most: u32) {
        self.asked.push_back((cut, most, None));
    }

    /// Gives the batches that were asked for, as many as fit in a turn.
    pub fn give_parts(&mut self, ctx: &mut Context) {
        let mut spent = 0;
        while spent < PARTS
            && let Some((cut, most, total)) = self.asked.pop_front()
        {
            if let Some((part, cost)) = self.store.next_chunk(cut, most as usize) {
                spent += cost;
                ctx.post(
                    cut.shard,
                    ToConnections::Chunk { scan: cut, chunk: Box::new(Chunk { total, ..part }) },
                );
            }
        }
    }

    /// Whether batches wait for the next turn.
    pub fn owes_parts(&self) -> bool {
        !self.asked.is_empty()
    }

    /// How many cuts are open, and the bytes that they keep.
    pub fn cuts(&self) -> (usize, usize) {
        (self.store.scans.len(), self.store.scans.bytes())
    }

    /// A stream is over.
    pub fn shut(&mut self, cut: ScanId) {
        self.store.scans.close(cut);
    }

    /// A list wants the documents of a pattern: it is registered, and gets them in the same breath.
    pub fn follow(&mut self, ctx: &mut Context, from: ShardId, list: Id, pattern: &Pattern) {
        self.interest.insert(pattern.as_str(), Target::List(from, list));
        let items = self.store.matching(pattern).cloned().collect();
        ctx.post(from, ToOwner::Followed { list, items });
    }

    /// A list wants no more.
    pub fn unfollow(&mut self, from: ShardId, list: Id, pattern: &Pattern) {
        self.interest.remove(pattern.as_str(), &Target::List(from, list));
    }
}

/// The value that a set, merge or patch leads to.
fn next_value(current: impl Fn(&str) -> Option<Json>, write: Write) -> Result<(Key, Json), Refused> {
    let old = |key: &Key| current(key.as_str()).ok_or_else(|| Refused::NotFound(key.clone()));
    Ok(match write {
        Write::Set(key, value) => (key, value),
        Write::Merge(key, value) => {
            let value = merge(&old(&key)?, &value).map_err(|e| Refused::Merge(e.to_string()))?;
            (key, value)
        }
        Write::Patch(key, patch) => {
            let value = apply(&old(&key)?, &patch).map_err(|e| Refused::Patch(e.to_string()))?;
            (key, value)
        }
        Write::Del(_) | Write::Sweep(..) | Write::Publish(_) => {
            unreachable!("these set no value")
        }
    })
}
