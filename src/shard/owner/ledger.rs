//! The state of an owner, which changes by records, and those who are told when it does.

use crate::base::stamp::Stamp;
use crate::flow::filter::select::Select;
use crate::flow::identity::Actor;
use crate::flow::request::write::{Done, Refused, SweepId, Write};
use crate::flow::route::subject::Subject;
use crate::flow::state::room::{Refusal, RoomEvent};
use crate::flow::state::scan::{Chunk, ScanId};
use crate::shard::context::Context;
use crate::shard::inspect::{Inspection, RoomInspection};
use crate::shard::mail::subscription::{Join, Joined};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::MembershipUpdate;
use crate::shard::owner::channel::{Channel, ChannelKind};
use crate::shard::owner::documents::Documents;
use crate::shard::owner::draft::Settled;
use crate::shard::owner::occupancy::Occupancies;
use crate::shard::owner::record::{Deletion, Journal, Record};
use crate::shard::owner::room_questions::{Decision, RoomQuestion};
use crate::shard::owner::state::{Before, State};
use crate::shard::owner::watch::Watcher;
use crate::shard::owner::watchers::{ChangedDocument, Watchers};
use crate::wire::hub::write::Placed;
use crate::wire::hub::{EVERYONE, RoomCommand};
use crate::wire::key::{Key, Pattern};
use hashbrown::HashSet;
use std::sync::Arc;

/// What outlives the connections, and who of them is told of it.
#[derive(Debug, Default)]
pub struct Ledger {
    state: State,
    journal: Journal,
    watchers: Watchers,
    occupancies: Occupancies,
}

impl Ledger {
    /// Without anything.
    pub fn new(ctx: &mut Context) -> Ledger {
        let documents = Documents::new(ctx.stamp(), ctx.limits.stream.cut_bytes);
        Ledger { state: State { documents, ..State::default() }, ..Ledger::default() }
    }

    /// Settings have changed.
    pub fn limits_changed(&mut self, ctx: &Context) {
        self.state.documents.set_scan_budget(ctx.limits.stream.cut_bytes);
        self.state.channels.limits_changed(&ctx.limits);
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A stream reads documents from here on as they are now, whatever is written meanwhile.
    pub fn open_scan(&mut self, ctx: &Context, scan: ScanId, select: Arc<Select>) {
        self.state.documents.open_scan(scan, select, ctx.stamps.last());
    }

    /// The next batch of a scan, of at most `most` documents, and what it has cost.
    pub fn next_chunk(&mut self, scan: ScanId, most: usize) -> Option<(Chunk, usize)> {
        self.state.documents.next_chunk(scan, most)
    }

    /// A stream reads no more.
    pub fn close_scan(&mut self, scan: ScanId) {
        self.state.documents.close_scan(scan);
    }

    /// Who watches.
    pub fn watchers(&mut self) -> &mut Watchers {
        &mut self.watchers
    }

    /// Who is in the rooms.
    pub fn occupancies(&self) -> &Occupancies {
        &self.occupancies
    }

    /// Who is in the rooms, to be changed.
    pub fn occupancies_mut(&mut self) -> &mut Occupancies {
        &mut self.occupancies
    }

    /// Shows what it holds.
    pub fn inspect(&self, inspection: &mut Inspection) {
        (inspection.scans, inspection.scan_bytes) = self.state.documents.store().scans();
        let rooms = self.state.rooms.iter().map(|(name, room)| RoomInspection {
            name: name.clone(),
            members: room.members().into_iter().map(|(user, _)| user.clone()).collect(),
            connections: self.occupancies.connections(name).map(|(_, conn)| conn).collect(),
        });
        inspection.rooms = rooms.collect();
    }

    /// Keeps the records of all changes from now on.
    pub fn keep_records(&mut self) {
        self.journal = Journal::Keep(Vec::new());
    }

    /// The records since they were kept or taken last.
    pub fn take_records(&mut self) -> Vec<Record> {
        match &mut self.journal {
            Journal::Off => Vec::new(),
            Journal::Keep(records) => std::mem::take(records),
        }
    }

    /// Takes in changes of another life; nobody is told.
    pub fn replay(&mut self, records: &[Record]) {
        for record in records {
            self.state.apply(record);
        }
    }

    /// Everything that records have made, as text: two owners with the same dump have the same state.
    pub fn dump(&self) -> Vec<u8> {
        self.state.dump()
    }

    /// The one way in which anything changes that outlives its connections: the record is applied, counted, and those who
    /// watch are told.
    pub fn commit(&mut self, ctx: &mut Context, record: Record) {
        let before = self.state.apply(&record);
        let old = if let Before::Document(old) = &before { Some(old) } else { None };
        match &record {
            Record::DocumentPut { item } => {
                ctx.stats.written += 1;
                let (key, new, version) = (&item.key, Some(item), item.version());
                self.watchers.document_changed(ctx, ChangedDocument { key, old, new, version, lists: true });
            }
            Record::DocumentDeleted { key, version, cause } => {
                ctx.stats.deleted += 1;
                let (new, version, lists) = (None, *version, *cause != Deletion::Glob);
                self.watchers.document_changed(ctx, ChangedDocument { key, old, new, version, lists });
            }
            Record::Published(publication) => {
                ctx.stats.published += 1;
                let name = &publication.publish.channel;
                // who gets every channel gets those that are open
                let every = ctx.limits.hub.implicit_channels
                    && **name != *EVERYONE
                    && self.state.rooms.kind(name) != ChannelKind::PrivateRoom;
                let place = every.then(|| self.state.channels.tail().last());
                self.watchers.published(ctx, publication, place);
            }
            Record::RoomCreated { room, .. } => self.close_to_strangers(ctx, room),
            Record::RoomChanged { room, event } => {
                if let RoomEvent::Updated { profile, .. } = event {
                    self.close_to_strangers(ctx, room);
                    if profile.private.is_some() {
                        self.tell_members_owners(ctx, room);
                    }
                }
                if let Some(is) = self.state.rooms.get(room) {
                    self.occupancies.changed(ctx, &mut self.watchers, room, is, event);
                }
            }
            Record::RoomDeleted { room } => {
                if let Before::Room(was) = &before {
                    self.occupancies.deleted(ctx, room, was);
                }
            }
            Record::ChannelOpened { .. }
            | Record::HistoryTrimmed { .. }
            | Record::ChannelForgotten { .. }
            | Record::MessageEdited { .. }
            | Record::MessageErased { .. }
            | Record::Reaction { .. } => {}
        }
        self.journal.write(record);
    }

    /// Where a channel has become a private room, those who only listened to it hear no more.
    fn close_to_strangers(&self, ctx: &mut Context, name: &Arc<str>) {
        if self.state.rooms.kind(name) == ChannelKind::PrivateRoom {
            ctx.post_to_all(|| ToConnections::AccessChanged { channel: name.clone(), user: None });
        }
    }

    /// Whether everybody may read a room decides who may know how its members show themselves.
    fn tell_members_owners(&self, ctx: &mut Context, name: &Arc<str>) {
        let Some(room) = self.state.rooms.get(name) else { return };
        let update = MembershipUpdate::Open(!room.is_private());
        for (user, _) in room.members() {
            ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: name.clone(), update });
        }
    }

    /// A channel that may not be there, as it is at this moment.
    pub fn consulted(&mut self, ctx: &mut Context, name: &Arc<str>) -> Option<&Channel> {
        if let Some(record) = self.state.channels.consult(ctx, name) {
            self.commit(ctx, record);
        }
        self.state.channels.get(name)
    }

    /// Somebody subscribes to a channel or reads it: it is opened if need be, and what is too old is gone.
    pub fn visit(&mut self, ctx: &mut Context, name: &Arc<str>) {
        if let Some(record) = self.state.channels.visit(ctx, name) {
            self.commit(ctx, record);
        }
    }

    /// Forgets channels that have been idle for long, and what has been in the tail for long.
    pub fn forget_idle(&mut self, ctx: &mut Context) {
        self.state.channels.tick(ctx.now.mono);
        while let Some(record) = self.state.channels.next_idle(ctx, |name| self.watchers.hears(name)) {
            self.commit(ctx, record);
        }
    }

    /// Does one write.
    ///
    /// # Errors
    /// It does not fit what is there.
    pub fn write(&mut self, ctx: &mut Context, write: Write) -> Result<Done, Refused> {
        let documents = &self.state.documents;
        let (key, record) = match write {
            Write::Set(key, value, asked) => (key.clone(), documents.put(ctx, key, value, asked)),
            Write::Merge(key, part, rule) => (key.clone(), documents.merge(ctx, key, &part, rule)?),
            Write::Patch(key, patch) => (key.clone(), documents.patch(ctx, key, &patch)?),
            Write::Del(key) => {
                let record = documents.delete(ctx, &key, Deletion::Write)?;
                (key, record)
            }
            Write::Sweep(pattern, sweep) => {
                return Ok(Done::Swept(self.sweep(ctx, &pattern, sweep, &HashSet::new())));
            }
            Write::Publish(publish, _) => {
                let publication = self.state.channels.next(ctx, publish);
                let Placed { sequence, stamp, .. } = publication.placed;
                let done = Done::Channel(publication.publish.channel.clone(), sequence, stamp);
                self.commit(ctx, Record::Published(publication));
                return Ok(done);
            }
        };
        let version = ctx.stamps.last();
        self.commit(ctx, record);
        Ok(Done::Document(key, version))
    }

    /// Does a batch: one change for each key, which a list shows all at once. Returns how many documents were deleted by
    /// glob.
    pub fn write_settled(&mut self, ctx: &mut Context, batch: Settled) -> u32 {
        self.watchers.hold_lists();
        for write in batch.writes {
            self.write(ctx, write).expect("it was checked, and nothing came between");
        }
        self.watchers.tell_lists(ctx);
        batch.sweeps.into_iter().map(|(pattern, sweep)| self.sweep(ctx, &pattern, sweep, &batch.kept)).sum()
    }

    /// This owner's part of a glob delete, which leaves the keys `kept`; how many documents it deleted.
    fn sweep(&mut self, ctx: &mut Context, pattern: &Pattern, sweep: SweepId, kept: &HashSet<Key>) -> u32 {
        let matching = self.state.documents.store().matching(pattern).map(|item| &item.key);
        let keys: Vec<Key> = matching.filter(|key| !kept.contains(*key)).cloned().collect();
        let mut gone = Vec::with_capacity(keys.len());
        for key in keys {
            if let Ok(record) = self.state.documents.delete(ctx, &key, Deletion::Glob) {
                self.commit(ctx, record);
                gone.push((key, ctx.stamps.last()));
            }
        }
        let count = gone.len() as u32;
        let gone: Arc<[(Key, Stamp)]> = gone.into();
        // every list hears of every part, so that it can wait for the last one and change once
        ctx.post_to_all(|| ToOwner::Swept { sweep, gone: gone.clone() });
        count
    }

    /// Deletes a document that a limited list has pushed out, if it still is at this version.
    pub fn evict(&mut self, ctx: &mut Context, key: &Key, version: Stamp) {
        if let Some(record) = self.state.documents.evict(ctx, key, version) {
            self.commit(ctx, record);
        }
    }

    /// Tells what has changed around rooms.
    pub fn tick_rooms(&mut self, ctx: &mut Context) {
        self.occupancies.tick(ctx, &mut self.watchers);
    }

    /// What a command about a room comes to. `most`: the members that are named in an answer.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decide(
        &self,
        ctx: &mut Context,
        name: &Arc<str>,
        actor: &Actor,
        most: usize,
        command: RoomCommand,
    ) -> Result<Decision, Refusal> {
        let State { rooms, channels, .. } = &self.state;
        RoomQuestion { rooms, channels, name, actor, most }.decide(ctx, command)
    }

    /// A pool wants a subject of documents: it is registered, and gets what it lacks of the state.
    pub fn watch_documents(&mut self, ctx: &mut Context, watcher: Watcher, join: &Join) -> Joined {
        let Ledger { state, watchers, .. } = self;
        match &join.subject {
            Subject::Part(names, _) => {
                watchers.add_partition(ctx, state.documents.store(), join, names, watcher)
            }
            subject => {
                let watch = watchers.add(subject, watcher);
                state.documents.joined(ctx, watch, join)
            }
        }
    }

    /// A pool wants what happens around a room.
    ///
    /// # Errors
    /// `AccessDenied`: there is none.
    pub fn watch_room(
        &mut self,
        ctx: &mut Context,
        watcher: Watcher,
        join: &Join,
        name: &Arc<str>,
    ) -> Result<Joined, Refusal> {
        let Ledger { state, watchers, occupancies, .. } = self;
        let room = state.rooms.get(name).ok_or(Refusal::AccessDenied)?;
        Ok(occupancies.state(ctx, watchers.add(&join.subject, watcher), join, name, room))
    }
}
