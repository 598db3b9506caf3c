//! The owner's side: documents, channels, lists, rooms, users and sessions whose names fall to this shard.
//!
//! [`Owner`] hands mail to the values that it is made of. Whatever outlives the connections changes by
//! [`Owner::commit`] alone: a value decides, which changes nothing and comes to a record or a refusal; the record is
//! applied; then those who watch are told.

pub mod catch_up;
pub mod channel;
pub mod channels;
pub mod documents;
pub mod front;
pub mod lists;
pub mod occupancy;
pub mod partitions;
pub mod quotas;
pub mod record;
#[cfg(test)]
mod replay_tests;
pub mod replays;
pub mod room_questions;
pub mod rooms;
pub mod route_readers;
pub mod scan_queue;
pub mod sequencer;
pub mod sessions;
pub mod state;
pub mod users;
pub mod watch;
pub mod watchers;

use crate::base::id::ShardId;
use crate::base::time::SEC;
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::encode::frame::{Dialect, Encoder};
use crate::flow::encode::ooo;
use crate::flow::identity::Actor;
use crate::flow::request::position::Position;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::request::write::{Done, Refused, SweepId, Write};
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{ConnAddress, Status};
use crate::flow::state::room::{Refusal, RoomEvent};
use crate::shard::context::Context;
use crate::shard::inspect::{Inspection, RoomInspection, UserInspection};
use crate::shard::mail::answer::{Answer, WriteRefused};
use crate::shard::mail::question::{Question, Read, Ticket, UserQuestion};
use crate::shard::mail::subscription::{Join, Joined};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::{SEQUENCER, ToSequencer};
use crate::shard::mail::user::MembershipUpdate;
use crate::shard::owner::channel::{Channel, ChannelKind, Start};
use crate::shard::owner::documents::Documents;
use crate::shard::owner::front::{Eviction, FrontDoor};
use crate::shard::owner::lists::Lists;
use crate::shard::owner::occupancy::Occupancies;
use crate::shard::owner::record::{Deletion, Journal, Record};
use crate::shard::owner::replays::{Replays, missed_of};
use crate::shard::owner::room_questions::RoomQuestion;
use crate::shard::owner::route_readers::RouteReaders;
use crate::shard::owner::scan_queue::ScanQueue;
use crate::shard::owner::sequencer::Sequencer;
use crate::shard::owner::sessions::Sessions;
use crate::shard::owner::state::{Before, State};
use crate::shard::owner::users::Users;
use crate::shard::owner::watch::Watcher;
use crate::shard::owner::watchers::{ChangedDocument, Watchers};
use crate::shard::stats::Stats;
use crate::shard::timers::{OwnerTimer, Timer};
use crate::wire::hub::write::Placed;
use crate::wire::hub::{EVERYONE, RoomCommand};
use crate::wire::key::{Key, Pattern};
use std::sync::Arc;

/// Everything whose names fall to one shard.
#[derive(Debug, Default)]
pub struct Owner {
    /// What outlives the connections. Everything else is there for them.
    state: State,
    journal: Journal,
    watchers: Watchers,
    replays: Replays,
    lists: Lists,
    occupancies: Occupancies,
    users: Users,
    sessions: Sessions,
    readers: RouteReaders,
    scans: ScanQueue,
    front: FrontDoor,
    /// Of use on one shard only.
    sequencer: Sequencer,
}

impl Owner {
    /// An owner without anything, and with a timer for its first tick.
    pub fn new(ctx: &mut Context) -> Owner {
        let documents = Documents::new(ctx.stamp(), ctx.limits.stream.cut_bytes);
        let state = State { documents, ..State::default() };
        let mut owner = Owner { state, ..Owner::default() };
        owner.limits_changed(ctx);
        ctx.timers.push(ctx.now.mono, Timer::Owner(OwnerTimer::Tick));
        owner
    }

    /// What holds has changed.
    pub fn limits_changed(&mut self, ctx: &mut Context) {
        self.state.documents.scanned().scans.set_budget(ctx.limits.stream.cut_bytes);
        self.state.channels.limits_changed();
        self.lists.limits_changed(ctx);
    }

    /// Mail to this shard as an owner.
    pub fn handle(&mut self, ctx: &mut Context, from: ShardId, mail: ToOwner) {
        let Owner { state, watchers, users, occupancies, .. } = self;
        match mail {
            ToOwner::Ask(question) => self.asked(ctx, from, question),
            ToOwner::Forwarded { asker, question } => self.asked(ctx, asker, *question),
            ToOwner::Join(join) => self.join(ctx, from, *join),
            ToOwner::Leave { pool, subject: Subject::List(pattern) } => {
                self.lists.leave(ctx, from, pool, &pattern);
            }
            ToOwner::Leave { pool, subject } => watchers.remove(from, pool, &subject),
            ToOwner::LeaveRoute { route, user } => self.readers.exit(route, user),
            ToOwner::Quota { user, conn, change } => users.quota(ctx, watchers, &user, (from, conn), change),
            ToOwner::Session { session, user, conn, update } => {
                self.sessions.update(ctx, session, user, (from, conn), update);
            }
            ToOwner::Reserve { user, room, conn } => users.reserve(ctx, watchers, (user, room), (from, conn)),
            ToOwner::Membership { user, room, update } => {
                users.membership(ctx, watchers, (&user, &room), update);
            }
            ToOwner::Presence { room, user, shown } => {
                if state.rooms.get(&room).is_some_and(|room| room.member(&user).is_some()) {
                    occupancies.shows(ctx, &room, &user, shown);
                }
            }
            ToOwner::Absent { room, user, conn } => occupancies.exit(ctx, &room, &user, (from, conn)),
            ToOwner::Follow { list, pattern } => {
                watchers.follow(from, list, &pattern);
                ctx.post(from, ToOwner::Followed { list, items: state.documents.matching(&pattern) });
            }
            ToOwner::Unfollow { list, pattern } => watchers.unfollow(from, list, &pattern),
            ToOwner::Followed { list, items } => self.lists.followed(ctx, list, items),
            ToOwner::Moved { list, change } => self.lists.moved(ctx, list, change),
            ToOwner::Swept { sweep, gone } => self.lists.swept(ctx, sweep, &gone),
            ToOwner::Evict { key, version } => {
                if let Some(eviction) = self.front.admit_eviction(Eviction { key, version }) {
                    self.evict(ctx, eviction);
                }
            }
            ToOwner::OpenScan { scan, select, most } => {
                self.scans.open(ctx, &mut state.documents, scan, select, most)
            }
            ToOwner::NextChunk { scan, most } => self.scans.next(scan, most),
            ToOwner::CloseScan { scan } => state.documents.scanned().scans.close(scan),
            ToOwner::Prepare { part } => {
                let result = state.documents.check(&part);
                self.front.close(part);
                ctx.post(SEQUENCER, ToSequencer::Prepared { result });
            }
            ToOwner::Decide { commit } => self.decide(ctx, commit),
        }
    }

    /// Mail to this shard as the one that runs batches of several owners.
    pub fn handle_sequencer(&mut self, ctx: &mut Context, from: ShardId, mail: ToSequencer) {
        self.sequencer.handle(ctx, from, mail);
    }

    /// A moment has come.
    pub fn timer(&mut self, ctx: &mut Context, timer: OwnerTimer) {
        let now = ctx.now;
        match timer {
            OwnerTimer::Tick => {
                self.watchers.tell(ctx, &Subject::Clock(ctx.id), |encoder, _| ooo::clock(encoder, now.wall));
                self.lists.tidy(ctx);
                self.replays.forget();
                while let Some(record) = self.state.channels.next_idle(ctx, |name| self.watchers.hears(name))
                {
                    self.commit(ctx, record);
                }
                self.sessions.tidy(now.mono);
                ctx.timers.push(now.mono + SEC, Timer::Owner(OwnerTimer::Tick));
            }
            OwnerTimer::Rooms => self.occupancies.tick(ctx, &mut self.watchers),
            OwnerTimer::Users => self.users.missed(ctx, &mut self.watchers),
        }
    }

    /// Answers one question that has waited, if that is possible; true if it was: mail to oneself comes before the next.
    pub fn resume(&mut self, ctx: &mut Context) -> bool {
        let next = self.front.next(ctx);
        let waited = next.is_some();
        if let Some((from, question)) = next {
            self.answer(ctx, from, question);
        }
        waited
    }

    /// Gives the chunks that streams have asked for, as many as fit in a turn.
    pub fn give_chunks(&mut self, ctx: &mut Context) {
        self.scans.give(ctx, &mut self.state.documents);
    }

    /// Whether chunks wait for the next turn.
    pub fn owes_chunks(&self) -> bool {
        self.scans.is_owing()
    }

    /// Counts what there is.
    pub fn count(&self, stats: &mut Stats) {
        stats.documents = self.state.documents.store().len() as u64;
        stats.channels = self.state.channels.len() as u64;
        stats.lists = self.lists.len() as u64;
        stats.users = self.users.connected() as u64;
        stats.rooms = self.state.rooms.len() as u64;
        stats.sessions = self.sessions.count() as u64;
    }

    /// Shows what it holds.
    pub fn inspect(&self, inspection: &mut Inspection) {
        let scans = &self.state.documents.store().scans;
        (inspection.scans, inspection.scan_bytes) = (scans.len(), scans.bytes());
        let rooms = self.state.rooms.iter().map(|(name, room)| RoomInspection {
            name: name.clone(),
            members: room.members().into_iter().map(|(user, _)| user.clone()).collect(),
            connections: self.occupancies.connections(name).map(|(_, conn)| conn).collect(),
        });
        inspection.rooms = rooms.collect();
        let users = self.users.iter().map(|(name, user)| UserInspection {
            name: name.clone(),
            rooms: user.rooms().cloned().collect(),
            online: user.shown().status != Status::Offline,
        });
        inspection.users = users.collect();
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
    fn commit(&mut self, ctx: &mut Context, record: Record) {
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
                self.watchers.published(ctx, publication, every);
            }
            Record::RoomCreated { room, .. } => self.close_to_strangers(ctx, room),
            Record::RoomChanged { room, event } => {
                if let RoomEvent::Updated { .. } = event {
                    self.close_to_strangers(ctx, room);
                }
                if let Some(is) = self.state.rooms.get(room) {
                    self.occupancies.changed(ctx, &mut self.watchers, (room, is), event);
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

    /// A question of a connection.
    fn asked(&mut self, ctx: &mut Context, from: ShardId, question: Question) {
        if let Some(question) = self.front.admit(ctx, from, question) {
            self.answer(ctx, from, question);
        }
    }

    fn answer(&mut self, ctx: &mut Context, asker: ShardId, question: Question) {
        let answer = match question {
            Question::Write { write, ticket } => {
                let allowed =
                    self.state.rooms.may_write(&write, ctx.now.wall).map_err(WriteRefused::Forbidden);
                let done = allowed.and_then(|()| self.write(ctx, write).map_err(WriteRefused::Invalid));
                ticket.answer(done)
            }
            Question::Batch { writes, ticket } => {
                let checked = self.state.documents.check(&writes).map_err(WriteRefused::Invalid);
                ticket.answer(checked.map(|()| {
                    self.write_checked(ctx, writes);
                    Done::Batch
                }))
            }
            Question::Read { conn, read } => Answer::Request { conn, part: self.read(ctx, read) },
            Question::History { channel, actor, query, ticket } => {
                let allowed = self.state.rooms.may_read(&channel, &actor, ctx.now.wall);
                ticket.answer_history(
                    allowed.map(|()| room_questions::history(self.consulted(ctx, &channel), &query)),
                )
            }
            Question::Room { ask, ticket } => self.room_asked(ctx, asker, ticket, *ask),
            Question::User { user, question } => match self.user_asked(ctx, asker, &user, question) {
                Some(answer) => answer,
                // the owner of a room answers
                None => return,
            },
        };
        ctx.post(asker, ToConnections::Answer(answer));
    }

    fn read(&mut self, ctx: &mut Context, read: Read) -> ResponsePart {
        let history = |answer: Result<Vec<u8>, Refusal>| match answer {
            Ok(answer) => ResponsePart::History(answer),
            Err(refusal) => ResponsePart::Room(Err(refusal)),
        };
        let nobody = Actor::Nobody;
        match read {
            Read::Document(key) => {
                ResponsePart::Item(self.state.documents.store().get(key.as_str()).cloned())
            }
            Read::Documents(pattern) => ResponsePart::Items(self.state.documents.matching(&pattern)),
            Read::Keys => ResponsePart::Keys(self.state.documents.store().keys().cloned().collect()),
            Read::Channels => ResponsePart::Channels(self.state.channels.rows().collect()),
            Read::Rooms(actor) => {
                let seen = self.state.rooms.seen_by(&actor);
                let seen = seen.map(|(name, room)| (name.clone(), room_questions::profile(name, room)));
                ResponsePart::Rooms(seen.collect())
            }
            Read::Missed(query) => {
                let allowed = self.state.rooms.may_read(&query.channel, &nobody, ctx.now.wall);
                history(allowed.map(|()| {
                    let channel = self.visited(ctx, &query.channel);
                    catch_up::missed(ctx, channel, &query)
                }))
            }
            Read::Views { channel, route, views } => {
                let allowed = self.state.rooms.may_read(&channel, &nobody, ctx.now.wall);
                history(allowed.map(|()| {
                    let visited = self.visited(ctx, &channel);
                    catch_up::views(ctx, visited, &channel, route, &views)
                }))
            }
            Read::EnterRoute { route, user } => {
                let room = self.readers.enter(ctx, route, user.as_ref());
                ResponsePart::Entered(route, user, room)
            }
        }
    }

    /// A channel that may not be there, as it is at this moment.
    fn consulted(&mut self, ctx: &mut Context, name: &Arc<str>) -> Option<&Channel> {
        if let Some(record) = self.state.channels.consult(ctx, name) {
            self.commit(ctx, record);
        }
        self.state.channels.get(name)
    }

    /// A channel that somebody subscribes to or reads, as it is at this moment.
    fn visited(&mut self, ctx: &mut Context, name: &Arc<str>) -> &Channel {
        if let Some(record) = self.state.channels.visit(ctx, name) {
            self.commit(ctx, record);
        }
        self.state.channels.open(name)
    }

    /// Does one write.
    fn write(&mut self, ctx: &mut Context, write: Write) -> Result<Done, Refused> {
        let documents = &self.state.documents;
        let (key, record) = match write {
            Write::Set(key, value) => (key.clone(), documents.put(ctx, key, value)),
            Write::Merge(key, part) => (key.clone(), documents.merge(ctx, key, &part)?),
            Write::Patch(key, patch) => (key.clone(), documents.patch(ctx, key, &patch)?),
            Write::Del(key) => {
                let record = documents.delete(ctx, &key, Deletion::Write)?;
                (key, record)
            }
            Write::Sweep(pattern, sweep) => return Ok(self.sweep(ctx, &pattern, sweep)),
            Write::Publish(publish) => {
                let publication = self.state.channels.next(ctx, publish);
                let Placed { sequence, stamp, .. } = publication.placed;
                let done = Done::Channel(publication.publish.channel.clone(), sequence, stamp);
                self.commit(ctx, Record::Published(publication));
                return Ok(done);
            }
        };
        self.commit(ctx, record);
        let version = self.state.documents.version(&key);
        Ok(Done::Document(key, version))
    }

    /// Does writes that have been checked; returns how many documents were deleted by glob.
    fn write_checked(&mut self, ctx: &mut Context, writes: Vec<Write>) -> u32 {
        let mut swept = 0;
        for write in writes {
            match self.write(ctx, write).expect("it was checked, and nothing came between") {
                Done::Swept(count) => swept += count,
                Done::Document(..) | Done::Channel(..) | Done::Batch => {}
            }
        }
        swept
    }

    /// This owner's part of a glob delete.
    fn sweep(&mut self, ctx: &mut Context, pattern: &Pattern, sweep: SweepId) -> Done {
        let matching = self.state.documents.store().matching(pattern);
        let keys: Vec<Key> = matching.map(|item| item.key.clone()).collect();
        let mut gone = Vec::with_capacity(keys.len());
        for key in keys {
            if let Ok(record) = self.state.documents.delete(ctx, &key, Deletion::Glob) {
                self.commit(ctx, record);
                gone.push((key, ctx.stamps.last()));
            }
        }
        let count = gone.len() as u32;
        let gone: Arc<[(Key, u64)]> = gone.into();
        // every list hears of every part, so that it can wait for the last one and change once
        ctx.post_to_all(|| ToOwner::Swept { sweep, gone: gone.clone() });
        Done::Swept(count)
    }

    fn evict(&mut self, ctx: &mut Context, eviction: Eviction) {
        if let Some(record) = self.state.documents.evict(ctx, &eviction.key, eviction.version) {
            self.commit(ctx, record);
        }
    }

    /// The decision about this owner's part of a batch.
    fn decide(&mut self, ctx: &mut Context, go: bool) {
        let (part, evictions) = self.front.open();
        let swept = if go { self.write_checked(ctx, part) } else { 0 };
        ctx.post(SEQUENCER, ToSequencer::Decided { swept });
        for eviction in evictions {
            self.evict(ctx, eviction);
        }
    }

    /// A pool wants a subject: it is registered, and gets the state in the same breath.
    fn join(&mut self, ctx: &mut Context, from: ShardId, join: Join) {
        let watcher = Watcher { shard: from, pool: join.pool, variant: join.variant };
        let joined = match &join.subject {
            Subject::List(pattern) => {
                let pattern = pattern.clone();
                return self.lists.join(ctx, from, join, &pattern);
            }
            Subject::Key(key) => {
                let version = self.state.documents.version(key);
                let item = self.state.documents.store().get(key.as_str());
                let watch = self.watchers.add(&join.subject, watcher);
                let make =
                    |encoder: &mut Encoder| Some(ooo::item(encoder, version, item.map(|item| &**item)));
                let state = || watch.state(&mut ctx.encoder, join.variant, make);
                let has = matches!(join.has, Position::Version(has) if has == version);
                let state = (!has).then(state).flatten();
                Ok(Joined { state, ..join.joined(ctx.stamps.last()) })
            }
            Subject::Part(names, _) => {
                let store = self.state.documents.store();
                Ok(self.watchers.add_partition(ctx, store, &join, (names, watcher)))
            }
            Subject::Channel(name) | Subject::Chosen(name, _) => {
                let actor = join.who.clone().map_or(Actor::Nobody, Actor::User);
                let allowed = self.state.rooms.may_read(name, &actor, ctx.now.wall);
                allowed.map(|()| self.join_channel(ctx, watcher, &join, name))
            }
            Subject::Room(name) => self.join_room(ctx, watcher, &join, name),
            Subject::Every(_) | Subject::User(_) => {
                self.watchers.add(&join.subject, watcher);
                Ok(join.joined(ctx.stamps.last()))
            }
            Subject::Clock(_) => {
                self.watchers.add(&join.subject, watcher);
                let state = Some(ooo::clock(&mut ctx.encoder, ctx.now.wall));
                Ok(Joined { state, ..join.joined(0) })
            }
        };
        match joined {
            Ok(joined) => ctx.post(from, ToConnections::Joined(joined)),
            Err(refusal) => ctx.post(from, ToConnections::Denied(Box::new(join.denied(refusal)))),
        }
    }

    /// A pool wants the publications of a channel; its connection, what it has missed.
    fn join_channel(&mut self, ctx: &mut Context, watcher: Watcher, join: &Join, name: &Arc<str>) -> Joined {
        self.watchers.add(&join.subject, watcher);
        self.visited(ctx, name);
        let channel = self.state.channels.open(name);
        let joined = join.joined(ctx.stamps.last());
        let Dialect::Change(route) = join.variant.dialect else {
            let revision = channel.revision();
            return self.replays.find(ctx, revision, join, joined).unwrap_or_else(|joined| {
                let Start { offset: at, gap, missed } = channel.start(&ctx.epoch, &join.has);
                let joined = Joined { at, gap, ..joined };
                if missed.is_empty() {
                    return joined;
                }
                let joined = missed_of(ctx, join, missed, None, joined);
                self.replays.keep(revision, join, &joined);
                joined
            });
        };
        let (has, unknown) = channel.resolve(ctx, name, &join.has, catch_up::id_field(ctx, route));
        let last = channel.last_name(ctx, name, route).or_else(|| join.has.name());
        let epoch = ctx.epoch.clone();
        let Start { offset: at, gap, missed } = channel.start(&epoch, &has);
        missed_of(ctx, join, missed, last, Joined { at, gap: gap || unknown, ..joined })
    }

    /// A connection wants what happens around a room; where it enters, it becomes a member in the same step.
    fn join_room(
        &mut self,
        ctx: &mut Context,
        watcher: Watcher,
        join: &Join,
        name: &Arc<str>,
    ) -> Result<Joined, Refusal> {
        if let Some(user) = join.who.as_ref().filter(|_| join.enter) {
            self.enter(ctx, name, user, (watcher.shard, join.conn))?;
        }
        let room = self.state.rooms.get(name).ok_or(Refusal::AccessDenied)?;
        let watch = self.watchers.add(&join.subject, watcher);
        Ok(self.occupancies.state(ctx, watch, join, (name, room)))
    }

    /// A user becomes a member of a room, or is one, and is in it with one more connection. Its owner, who has reserved
    /// the place, is told how that ended.
    fn enter(
        &mut self,
        ctx: &mut Context,
        name: &Arc<str>,
        user: &Arc<str>,
        conn: ConnAddress,
    ) -> Result<(), Refusal> {
        let result = self.state.rooms.enter(ctx, name, user).map(|records| {
            for record in records {
                self.commit(ctx, record);
            }
            self.occupancies.enter(ctx, name, user, conn);
        });
        self.settled(ctx, name, user);
        result
    }

    /// Tells a user's owner how a reservation ended.
    fn settled(&self, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>) {
        let member = self.state.rooms.get(name).is_some_and(|room| room.member(user).is_some());
        let update = MembershipUpdate::Settled { member };
        ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: name.clone(), update });
    }

    /// A question to the owner of a room.
    fn room_asked(&mut self, ctx: &mut Context, from: ShardId, ticket: Ticket, ask: RoomAsk) -> Answer {
        let RoomAsk { room, actor, want, reserved } = ask;
        let asker = (!ticket.is_request()).then_some((from, ticket.conn));
        let forge = matches!(want, RoomCommand::Message(_) | RoomCommand::Typing(_)) && asker.is_some();
        let told = match want {
            RoomCommand::Typing(on) => self.typing(ctx, &room, &actor, on),
            want => self.command(ctx, (&room, &actor), asker, want),
        };
        // forge has no code of its own for a room that is not there
        let told = told.map_err(|r| if forge && r == Refusal::NotFound { Refusal::AccessDenied } else { r });
        if let Some(user) = reserved {
            self.settled(ctx, &room, &user);
        }
        ticket.answer_room(told)
    }

    /// A command about a room. `asker`: the connection, if it speaks by a frame.
    fn command(
        &mut self,
        ctx: &mut Context,
        (name, actor): (&Arc<str>, &Actor),
        asker: Option<ConnAddress>,
        command: RoomCommand,
    ) -> Result<Vec<u8>, Refusal> {
        self.consulted(ctx, name);
        let most = if asker.is_some() { ctx.limits.hub.presence_list } else { usize::MAX };
        let says = matches!(command, RoomCommand::Message(_));
        let leaves = matches!(command, RoomCommand::Leave);
        let upon = if let RoomCommand::Member(user, _) = &command { Some(user.clone()) } else { None };
        let State { rooms, channels, .. } = &mut self.state;
        let decision = RoomQuestion { rooms, channels, name, actor, most }.decide(ctx, command)?;
        if let Some(user) = actor.user().filter(|_| says) {
            self.occupancies.types(ctx, name, user, false);
        }
        let left = actor.user().filter(|_| leaves && !decision.records.is_empty()).zip(asker);
        if let Some((user, conn)) = left {
            // the answer tells it; the user's other connections are told
            self.occupancies.exit(ctx, name, user, conn);
        }
        for record in decision.records {
            self.commit(ctx, record);
        }
        // whoever leaves by itself may listen by another connection, that was never in the room
        let left = left.filter(|_| self.state.rooms.kind(name) == ChannelKind::PrivateRoom);
        let out = |user: &Arc<str>| {
            self.state.rooms.may_read(name, &Actor::User(user.clone()), ctx.now.wall).is_err()
        };
        if let Some(user) = left.map(|(user, _)| user).or(upon.as_ref().filter(|user| out(user))) {
            ctx.post_to_all(|| ToConnections::AccessChanged {
                channel: name.clone(),
                user: Some(user.clone()),
            });
        }
        decision.reply.write(&self.state.rooms, &self.state.channels, name)
    }

    /// A member types, or has stopped.
    fn typing(
        &mut self,
        ctx: &mut Context,
        name: &Arc<str>,
        actor: &Actor,
        on: bool,
    ) -> Result<Vec<u8>, Refusal> {
        self.state.rooms.get(name).ok_or(Refusal::NotFound)?.may_send(actor, ctx.now.wall)?;
        // perhaps by another connection: forge's generated clients have one for typing alone
        let user = actor.user().filter(|user| self.occupancies.is_in(name, user));
        self.occupancies.types(ctx, name, user.ok_or(Refusal::SendDenied)?, on);
        Ok(Vec::new())
    }

    /// Where a channel has become a private room, those who only listened to it hear no more.
    fn close_to_strangers(&self, ctx: &mut Context, name: &Arc<str>) {
        if self.state.rooms.kind(name) == ChannelKind::PrivateRoom {
            ctx.post_to_all(|| ToConnections::AccessChanged { channel: name.clone(), user: None });
        }
    }

    /// A question to the owner of a user; no answer if the owner of a room gives it.
    fn user_asked(
        &mut self,
        ctx: &mut Context,
        asker: ShardId,
        name: &Arc<str>,
        question: UserQuestion,
    ) -> Option<Answer> {
        let Owner { users, watchers, .. } = self;
        match question {
            UserQuestion::Presence { conn, query } => {
                let shown = Box::new((name.clone(), users.shown(ctx, name)));
                Some(Answer::Presence { conn, query, shown })
            }
            UserQuestion::Status { status, custom, ticket } => {
                users.set_status(ctx, watchers, (name, (asker, ticket.conn)), (status, custom));
                Some(ticket.answer_room(Ok(Vec::new())))
            }
            UserQuestion::Forward { ask, ticket } => {
                if !users.reserve_for(ctx, watchers, name, &ask.room) {
                    return Some(ticket.answer_room(Err(Refusal::Limit)));
                }
                let room = ask.room.clone();
                let ask = Box::new(RoomAsk { reserved: Some(name.clone()), ..*ask });
                let question = Box::new(Question::Room { ask, ticket });
                ctx.post_to_owner(&room, ToOwner::Forwarded { asker, question });
                None
            }
        }
    }
}
