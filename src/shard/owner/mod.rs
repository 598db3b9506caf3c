//! The owner's side: documents, channels, lists, rooms, users and sessions whose names fall to this shard.
//!
//! [`Owner`] hands mail to the values that it is made of. Whatever outlives the connections changes by
//! [`Ledger::commit`] alone: a value decides, which changes nothing and comes to a record or a refusal; the record is
//! applied; then those who watch are told.

pub mod batch_sequencer;
pub mod catch_up;
pub mod channel;
pub mod channels;
pub mod documents;
pub mod draft;
pub mod front_door;
pub mod ledger;
pub mod lists;
pub mod occupancy;
pub mod partitions;
pub mod quotas;
pub mod record;
#[cfg(test)]
mod replay_tests;
pub mod replays;
pub mod room_commands;
pub mod room_questions;
pub mod rooms;
pub mod route_readers;
pub mod scan_queue;
pub mod sessions;
pub mod state;
pub mod users;
pub mod watch;
pub mod watchers;

use crate::base::id::ShardId;
use crate::base::time::SEC;
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::encode::ooo;
use crate::flow::fanout::reach::Reach;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::request::write::{Done, Write};
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::Viewer;
use crate::flow::state::room::Refusal;
use crate::shard::context::Context;
use crate::shard::inspect::Inspection;
use crate::shard::mail::answer::{Answer, WriteRefused};
use crate::shard::mail::question::{Question, Read, UserQuestion};
use crate::shard::mail::subscription::{Join, Joined};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::{SEQUENCER, ToSequencer};
use crate::shard::owner::batch_sequencer::Sequencer;
use crate::shard::owner::draft::Settled;
use crate::shard::owner::front_door::{Eviction, FrontDoor};
use crate::shard::owner::ledger::Ledger;
use crate::shard::owner::lists::Lists;
use crate::shard::owner::replays::Replays;
use crate::shard::owner::route_readers::RouteReaders;
use crate::shard::owner::scan_queue::ScanQueue;
use crate::shard::owner::sessions::Sessions;
use crate::shard::owner::users::Users;
use crate::shard::owner::watch::Watcher;
use crate::shard::stats::Stats;
use crate::shard::timers::{OwnerTimer, Timer};
use std::sync::Arc;

/// Everything whose names fall to one shard.
#[derive(Debug, Default)]
pub struct Owner {
    /// What outlives the connections, and who watches it. Everything else is there for the connections.
    ledger: Ledger,
    replays: Replays,
    lists: Lists,
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
        let mut owner = Owner { ledger: Ledger::new(ctx), ..Owner::default() };
        owner.limits_changed(ctx);
        ctx.timers.push(ctx.now.mono, Timer::Owner(OwnerTimer::Tick));
        owner
    }

    /// What holds has changed.
    pub fn limits_changed(&mut self, ctx: &mut Context) {
        self.ledger.limits_changed(ctx);
        self.lists.limits_changed(ctx);
    }

    /// Mail to this shard as an owner.
    pub fn handle(&mut self, ctx: &mut Context, from: ShardId, mail: ToOwner) {
        let Owner { ledger, users, .. } = self;
        match mail {
            ToOwner::Ask(question) => self.asked(ctx, from, question),
            ToOwner::Forwarded { asker, question } => self.asked(ctx, asker, *question),
            ToOwner::Join(join) => self.join(ctx, from, *join),
            ToOwner::Leave { pool, subject: Subject::List(pattern) } => {
                self.lists.leave(ctx, from, pool, &pattern);
            }
            ToOwner::Leave { pool, subject } => ledger.watchers().remove(from, pool, &subject),
            ToOwner::LeaveRoute { route, user } => self.readers.exit(route, user),
            ToOwner::Quota { user, conn, change } => {
                users.quota(ctx, ledger.watchers(), &user, (from, conn), change);
            }
            ToOwner::Session { session, user, conn, update } => {
                self.sessions.update(ctx, session, user, (from, conn), update);
            }
            ToOwner::Reserve { user, room, conn } => {
                users.reserve(ctx, ledger.watchers(), user, room, (from, conn));
            }
            ToOwner::Membership { user, room, update } => {
                users.membership(ctx, ledger.watchers(), &user, &room, update);
            }
            ToOwner::Presence { room, user, shown } => {
                if ledger.state().rooms.get(&room).is_some_and(|room| room.member(&user).is_some()) {
                    ledger.occupancies_mut().shows(ctx, &room, &user, shown);
                }
            }
            ToOwner::Absent { room, user, conn } => {
                ledger.occupancies_mut().exit(ctx, &room, &user, (from, conn));
            }
            ToOwner::Follow { list, pattern } => {
                ledger.watchers().follow(from, list, &pattern);
                let items = ledger.state().documents.matching(&pattern);
                ctx.post(from, ToOwner::Followed { list, items });
            }
            ToOwner::Unfollow { list, pattern } => ledger.watchers().unfollow(from, list, &pattern),
            ToOwner::Followed { list, items } => self.lists.followed(ctx, list, items),
            ToOwner::Moved { list, change } => self.lists.moved(ctx, list, vec![change]),
            ToOwner::MovedTogether { list, changes } => self.lists.moved(ctx, list, changes),
            ToOwner::Swept { sweep, gone } => self.lists.swept(ctx, sweep, &gone),
            ToOwner::Evict { key, version } => {
                if let Some(eviction) = self.front.admit_eviction(Eviction { key, version }) {
                    ledger.evict(ctx, &eviction.key, eviction.version);
                }
            }
            ToOwner::OpenScan { scan, select, most } => {
                self.scans.open(ctx, ledger, scan, select, most);
            }
            ToOwner::NextChunk { scan, most } => self.scans.next(scan, most),
            ToOwner::CloseScan { scan } => ledger.close_scan(scan),
            ToOwner::Prepare { part } => self.prepare(ctx, part),
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
                let clock = Subject::Clock(ctx.id);
                self.ledger.watchers().tell(ctx, &clock, |encoder, _| ooo::clock(encoder, now.wall));
                self.lists.tidy(ctx);
                self.replays.forget();
                self.ledger.forget_idle(ctx);
                self.sessions.tidy(now.mono);
                ctx.timers.push(now.mono + SEC, Timer::Owner(OwnerTimer::Tick));
            }
            OwnerTimer::Rooms => self.ledger.tick_rooms(ctx),
            OwnerTimer::Users => self.users.missed(ctx, self.ledger.watchers()),
        }
    }

    /// Answers one question that has waited, if that is possible; true if it was: mail to oneself comes before the next.
    pub fn resume(&mut self, ctx: &mut Context) -> bool {
        let Some((from, question)) = self.front.next(ctx) else { return false };
        self.answer(ctx, from, question);
        true
    }

    /// Gives the chunks that streams have asked for, as many as fit in a turn.
    pub fn give_chunks(&mut self, ctx: &mut Context) {
        // mostly there are none, and every turn asks
        if self.scans.is_owing() {
            self.scans.give(ctx, &mut self.ledger);
        }
    }

    /// Whether chunks wait for the next turn.
    pub fn owes_chunks(&self) -> bool {
        self.scans.is_owing()
    }

    /// Counts what there is.
    pub fn count(&self, stats: &mut Stats) {
        let state = self.ledger.state();
        stats.documents = state.documents.store().len() as u64;
        stats.channels = state.channels.len() as u64;
        stats.lists = self.lists.len() as u64;
        stats.users = self.users.connected() as u64;
        stats.rooms = state.rooms.len() as u64;
        stats.sessions = self.sessions.count() as u64;
    }

    /// What outlives the connections, and who of them watches.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The same, to keep records or to take some in.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Shows what it holds.
    pub fn inspect(&self, inspection: &mut Inspection) {
        self.ledger.inspect(inspection);
        self.users.inspect(inspection);
    }

    /// A question of a connection.
    fn asked(&mut self, ctx: &mut Context, from: ShardId, question: Question) {
        if self.front.holds(ctx, &question) {
            self.front.hold(from, question);
        } else {
            self.answer(ctx, from, question);
        }
    }

    fn answer(&mut self, ctx: &mut Context, asker: ShardId, question: Question) {
        let Owner { ledger, .. } = self;
        let wall = ctx.now.wall;
        let answer = match question {
            Question::Write { write, ticket } => {
                let allowed = ledger.state().rooms.may_write(&write, wall).map_err(WriteRefused::Forbidden);
                ticket.answer(allowed.and_then(|()| ledger.write(ctx, write).map_err(WriteRefused::Invalid)))
            }
            Question::Batch { writes, ticket } => {
                let settled = Settled::new(&ledger.state().documents, writes);
                ticket.answer(settled.map_err(WriteRefused::Invalid).map(|settled| {
                    ledger.write_settled(ctx, settled);
                    Done::Batch
                }))
            }
            Question::Read { conn, read } => Answer::Request { conn, part: self.read(ctx, read) },
            Question::History { channel, actor, query, ticket } => {
                let allowed = ledger.state().rooms.may_read(&channel, &actor, wall);
                ticket.answer_history(
                    allowed.map(|()| room_questions::history(ledger.consulted(ctx, &channel), &query)),
                )
            }
            Question::Room { ask, ticket } => room_commands::asked(ledger, ctx, asker, ticket, *ask),
            Question::User { user, question } => match self.user_asked(ctx, asker, &user, question) {
                Some(answer) => answer,
                // another owner answers
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
        let wall = ctx.now.wall;
        let Owner { ledger, .. } = self;
        let state = ledger.state();
        match read {
            Read::Document(key) => ResponsePart::Item(state.documents.store().get(key.as_str()).cloned()),
            Read::Documents(pattern) => ResponsePart::Items(state.documents.matching(&pattern)),
            Read::Keys => ResponsePart::Keys(state.documents.store().keys().cloned().collect()),
            Read::Channels => ResponsePart::Channels(state.channels.rows().collect()),
            Read::Rooms(actor) => {
                let seen = state.rooms.seen_by(&actor);
                let seen = seen.map(|(name, room)| (name.clone(), room_questions::profile(name, room)));
                ResponsePart::Rooms(seen.collect())
            }
            Read::Missed(query) => {
                let allowed = state.rooms.may_read(&query.channel, &query.actor, wall);
                history(allowed.map(|()| {
                    ledger.visit(ctx, &query.channel);
                    catch_up::missed(ctx, ledger.state().channels.visited(&query.channel), &query)
                }))
            }
            Read::Views { channel, actor, route, views } => {
                let allowed = state.rooms.may_read(&channel, &actor, wall);
                history(allowed.map(|()| {
                    ledger.visit(ctx, &channel);
                    let visited = ledger.state().channels.visited(&channel);
                    catch_up::views(ctx, visited, &channel, route, &views)
                }))
            }
            Read::EnterRoute { route, user } => {
                let room = self.readers.enter(ctx, route, user.as_ref());
                ResponsePart::Entered(route, user, room)
            }
        }
    }

    /// This owner's part of a batch: can it be done?
    fn prepare(&mut self, ctx: &mut Context, part: Vec<Write>) {
        let (part, result) = match Settled::new(&self.ledger.state().documents, part) {
            Ok(settled) => (settled, Ok(())),
            Err(why) => (Settled::default(), Err(why)),
        };
        self.front.close(part);
        ctx.post(SEQUENCER, ToSequencer::Prepared { result });
    }

    /// The decision about this owner's part of a batch.
    fn decide(&mut self, ctx: &mut Context, go: bool) {
        let (part, evictions) = self.front.open();
        let swept = if go { self.ledger.write_settled(ctx, part) } else { 0 };
        ctx.post(SEQUENCER, ToSequencer::Decided { swept });
        for eviction in evictions {
            self.ledger.evict(ctx, &eviction.key, eviction.version);
        }
    }

    /// A pool wants a subject: it is registered, and gets the state in the same breath.
    fn join(&mut self, ctx: &mut Context, from: ShardId, join: Join) {
        let watcher = Watcher { shard: from, pool: join.pool, variant: join.variant };
        let Owner { ledger, .. } = self;
        let joined = match &join.subject {
            Subject::List(pattern) => {
                let pattern = pattern.clone();
                return self.lists.join(ctx, from, join, &pattern);
            }
            Subject::Key(_) | Subject::Part(..) => Ok(ledger.watch_documents(ctx, watcher, &join)),
            Subject::Channel(name) | Subject::Chosen(name, _) => {
                ledger.state().rooms.may_read(name, &join.actor, ctx.now.wall).map(|()| {
                    ledger.watchers().add(&join.subject, watcher);
                    ledger.visit(ctx, name);
                    self.replays.joined(ctx, &ledger.state().channels, &join, name)
                })
            }
            Subject::Room(name) => room_commands::join(ledger, ctx, watcher, &join, name),
            Subject::Every(_) => {
                ledger.watchers().add(&join.subject, watcher);
                Ok(self.replays.joined_every(ctx, &ledger.state().channels, &join))
            }
            Subject::User(_) => {
                ledger.watchers().add(&join.subject, watcher);
                Ok(join.joined(Reach::stamp(ctx.stamps.last())))
            }
            Subject::Clock(_) => {
                ledger.watchers().add(&join.subject, watcher);
                let state = Some(ooo::clock(&mut ctx.encoder, ctx.now.wall));
                Ok(Joined { state, ..join.joined(Reach::default()) })
            }
        };
        match joined {
            Ok(joined) => ctx.post(from, ToConnections::Joined(joined)),
            Err(refusal) => ctx.post(from, ToConnections::Denied(Box::new(join.denied(refusal)))),
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
        let (users, watchers) = (&mut self.users, self.ledger.watchers());
        match question {
            UserQuestion::Presence { conn, query, viewer } => {
                let shown = Box::new((name.clone(), users.shown_to(ctx, name, &viewer)));
                Some(Answer::Presence { conn, query, shown })
            }
            UserQuestion::Watch { users: others, conn, query } => {
                let viewer = Viewer::User(name.clone(), users.rooms_of(name));
                for user in others {
                    let question = UserQuestion::Presence { conn, query, viewer: viewer.clone() };
                    let question = Box::new(Question::User { user: user.clone(), question });
                    ctx.post_to_user(&user, ToOwner::Forwarded { asker, question });
                }
                None
            }
            UserQuestion::Status { status, custom, ticket } => {
                users.set_status(ctx, watchers, name, (asker, ticket.conn), (status, custom));
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
