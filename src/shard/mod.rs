//! Floor 3: one core's whole world. `handle_*` takes what happened, `poll_*` gives what is to be done.

pub mod batches;
pub mod care;
pub mod catchup;
pub mod channels;
pub mod clients;
pub mod credit;
pub mod desk;
pub mod feeds;
pub mod imports;
pub mod io;
pub mod lists;
pub mod mail;
pub mod owner;
pub mod parts;
pub mod quotas;
pub mod replays;
pub mod room_asks;
pub mod rooms;
pub mod sessions;
#[cfg(test)]
mod sim;
pub mod stats;
pub mod streams;
pub mod users;
pub mod watch;

use crate::base::id::{ConnId, ShardId};
use crate::base::time::Now;
use crate::base::timers::Timers;
use crate::flow::conn::Phase;
use crate::flow::conn::ask::Tag;
use crate::flow::fanout::plan::Outcome;
use crate::flow::fanout::pool::Subject;
use crate::flow::fanout::queue::Budget;
use crate::flow::limits::Limits;
use crate::flow::route::owner::owner as owner_of;
use crate::wire::hub::Class;
use crate::wire::hub::write;
use batches::{Batches, Held};
use care::Chore;
use clients::{Clients, Reason};
use desk::Desk;
use io::{Action, Door, Sockets};
use lists::Lists;
use mail::Mail;
use owner::Owner;
use quotas::Quotas;
use rooms::Rooms;
use sessions::Sessions;
use stats::Stats;
use std::sync::Arc;
use users::Users;

/// One shard: its connections, pools, documents and routes. Call order within a turn: any number of `handle_*`, then
/// `poll_flush` (once, or again while it says that more is due), then `poll_action` and `poll_mail` until empty.
#[derive(Debug)]
pub struct Shard {
    desk: Desk,
    clients: Clients,
    owner: Owner,
    lists: Lists,
    batches: Batches,
    held: Held,
    quotas: Quotas,
    sessions: Sessions,
    users: Users,
    rooms: Rooms,
    chores: Timers<Chore>,
    /// The soonest moment for which a chore is set to let paced subscriptions go on.
    pacing: u64,
    outcomes: Vec<Outcome>,
}

impl Shard {
    /// Shard `id` of `shards`, at its first moment.
    pub fn new(id: ShardId, shards: u16, limits: Arc<Limits>, now: Now) -> Shard {
        let clients = Clients::new(Budget { bytes: limits.queue_bytes, frames: limits.hub.queue_frames });
        let mut desk = Desk::new(id, shards, limits.clone());
        desk.now = now;
        let owner = Owner::new(desk.stamp(), limits.stream.cut_bytes);
        let (lists, batches, held, quotas, sessions, users, rooms, chores) = Default::default();
        let mut shard = Shard {
            desk,
            clients,
            owner,
            lists,
            batches,
            held,
            quotas,
            sessions,
            users,
            rooms,
            chores,
            pacing: u64::MAX,
            outcomes: Vec::new(),
        };
        for (pattern, _) in limits.limited().filter(|(pattern, _)| owner_of(pattern.as_str(), shards) == id) {
            shard.lists.keep(&mut shard.desk, pattern);
        }
        shard.chores.push(now.mono, Chore::Tick);
        shard.chores.push(now.mono, Chore::Rounds);
        shard.deliver_local();
        shard
    }

    /// A connection was accepted at `door` into `slot`. The answer names it from now on.
    pub fn handle_open(&mut self, now: Now, slot: u32, door: Door) -> ConnId {
        self.desk.now = now;
        self.clients.open(&mut self.desk, slot, door)
    }

    /// A connection could not be taken in, because every place was taken.
    pub fn handle_refused(&mut self) {
        self.desk.stats.refused += 1;
    }

    /// Bytes from the peer, in order. Bytes for a connection that is gone are ignored.
    pub fn handle_bytes(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        self.desk.now = now;
        match self.clients.get(conn).map(|conn| &conn.phase) {
            Some(Phase::Feed(_)) => self.feed_bytes(conn, Some(bytes)),
            Some(_) => self.clients.bytes(&mut self.desk, conn, bytes),
            None => {}
        }
        self.deliver_local();
    }

    /// The peer will send nothing more. It may still read: what it has asked for is answered before the end.
    pub fn handle_eof(&mut self, now: Now, conn: ConnId) {
        self.desk.now = now;
        let Some(there) = self.clients.get(conn) else { return };
        there.ended = true;
        match there.phase {
            Phase::Feed(_) => self.feed_bytes(conn, None),
            _ => self.clients.eof(&mut self.desk, conn),
        }
        self.deliver_local();
    }

    /// The connection is broken (reset, or any other error of the socket).
    pub fn handle_broken(&mut self, now: Now, conn: ConnId) {
        self.desk.now = now;
        self.clients.drop_conn(&mut self.desk, conn, Reason::Gone);
        self.deliver_local();
    }

    /// A socket that was watched (`Action::WatchWritable`) takes bytes again.
    pub fn handle_writable(&mut self, now: Now, conn: ConnId) {
        self.desk.now = now;
        if self.clients.get(conn).is_some() {
            self.clients.fanout.writable(conn.slot);
        }
    }

    /// Mail from another shard, oldest first.
    pub fn handle_mail(&mut self, now: Now, from: ShardId, mail: Vec<Mail>) {
        self.desk.now = now;
        for mail in mail {
            self.receive(from, mail);
            self.deliver_local();
        }
        self.feed_on();
    }

    /// Time has passed `poll_deadline`. Harmless at any other moment.
    pub fn handle_time(&mut self, now: Now) {
        self.desk.now = now;
        while let Some(chore) = self.chores.pop(now.mono) {
            self.chore(chore);
        }
        self.deliver_local();
    }

    /// The server stops: every WebSocket is told so, and every connection ends when it has got what is queued.
    pub fn handle_stop(&mut self, now: Now) {
        self.desk.now = now;
        for slot in 0..self.clients.conns.bound() {
            let id = self.clients.id(slot);
            match self.clients.conns.at(slot).map(|conn| &conn.phase) {
                Some(Phase::Socket(..) | Phase::Events(_)) => {
                    if self.clients.class(id) == Class::Forge {
                        let stamp = self.desk.stamp();
                        self.clients.say(&mut self.desk, id, |out| write::shutdown(stamp, out));
                    }
                    let why = "the server stops";
                    self.clients.close(&mut self.desk, id, Some(1001), why, Reason::Stopping);
                }
                Some(Phase::Http(_) | Phase::Feed(_)) => {
                    self.clients.finish(&mut self.desk, id, Reason::Stopping)
                }
                Some(Phase::Closing) | None => {}
            }
        }
        self.deliver_local();
    }

    /// Sends one bounded slice of what is due; true if more is due at once.
    pub fn poll_flush(&mut self, now: Now, sockets: &mut impl Sockets) -> bool {
        self.desk.now = now;
        let more = self.clients.fanout.flush(sockets, &mut self.outcomes);
        for outcome in std::mem::take(&mut self.outcomes) {
            self.clients.outcome(&mut self.desk, outcome);
        }
        if !self.clients.streams_wait(&self.desk) {
            self.owner.give_parts(&mut self.desk);
            self.deliver_local();
            self.clients.pump(&mut self.desk);
        }
        self.clients.settle(&mut self.desk);
        if let Some(at) = self.clients.pacing.next().filter(|at| *at < self.pacing) {
            self.pacing = at;
            self.chores.push(at, Chore::Pace);
        }
        if let Some(at) = self.clients.streams.deadline() {
            self.chores.push(at, Chore::Streams);
        }
        self.arrange_rooms();
        if !more {
            let owed: Vec<(ShardId, usize)> = self.desk.credit.settle().collect();
            for (shard, bytes) in owed {
                self.desk.post(shard, Mail::Credit(bytes));
            }
        }
        self.deliver_local();
        self.feed_on();
        let streams = self.clients.streams.is_ready() || self.owner.owes_parts();
        more || self.clients.fanout.has_more() || streams || self.can_import()
    }

    /// The next thing to do to a socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.clients.actions.pop_front()
    }

    /// Everything waiting for shard `to`, oldest first; `None` if nothing.
    pub fn poll_mail(&mut self, to: ShardId) -> Option<Vec<Mail>> {
        self.desk.take(to)
    }

    /// When `handle_time` is next wanted (`Now::mono`).
    pub fn poll_deadline(&self) -> Option<u64> {
        self.chores.next()
    }

    /// What has been counted so far, and what there is.
    pub fn stats(&mut self) -> &Stats {
        let Shard {
            desk: Desk { stats, encoder, .. }, clients, owner, lists, quotas, sessions, rooms, ..
        } = self;
        let fanout = &clients.fanout;
        (stats.sent, stats.encoded) = (fanout.sent, encoder.count);
        stats.open = clients.conns.len() as u64;
        stats.full = fanout.full() as u64;
        stats.backlog = fanout.backlog() as u64;
        stats.pools = fanout.pools.len() as u64;
        stats.documents = owner.documents() as u64;
        stats.channels = owner.channels() as u64;
        stats.lists = lists.len() as u64;
        stats.users = quotas.count() as u64;
        stats.rooms = rooms.count() as u64;
        stats.sessions = sessions.count() as u64;
        stats
    }

    /// Handles mail to this shard itself until there is none.
    fn deliver_local(&mut self) {
        while let Some(mail) = self.desk.next_local() {
            self.receive(self.desk.id, mail);
        }
    }

    fn receive(&mut self, from: ShardId, mail: Mail) {
        let Shard { desk, clients, owner, lists, batches, sessions, .. } = self;
        if from != desk.id {
            desk.credit.owe(from, mail.weight());
        }
        match mail {
            Mail::Stamp(stamp) => desk.stamps.observe(stamp),
            Mail::Ask(ticket, ask) => self.asked(from, ticket, ask),
            Mail::Forwarded(from, question) => self.asked(from, question.0, question.1),
            Mail::Answer(ticket, answer) => match ticket.tag {
                Tag::Request => clients.answer(desk, ticket.conn, answer),
                Tag::Frame(about) => clients.frame_answer(desk, ticket.conn, &about, answer),
                Tag::Room(about, waited) => clients.room_answer(desk, ticket.conn, &about, waited, answer),
                Tag::Look(number) => clients.look(desk, ticket.conn, number, answer),
                Tag::Element => clients.import_written(ticket.conn),
                Tag::Line(line, id) => self.feed_answer(ticket.conn, (line, id), answer),
            },
            Mail::Join(join) => match &join.subject {
                Subject::List(pattern) => {
                    let pattern = pattern.clone();
                    lists.join(desk, from, *join, &pattern);
                }
                Subject::Room(room) => {
                    let room = room.clone();
                    self.join_room(from, *join, &room);
                }
                Subject::Channel(name) | Subject::Chosen(name, _) => {
                    let name = name.clone();
                    self.join_channel(from, *join, &name);
                }
                _ => owner.join(desk, from, *join),
            },
            Mail::Denied(denied) => clients.denied(desk, *denied),
            Mail::User(user, mail) => self.user_mail(from, &user, mail),
            Mail::Room(room, mail) => self.room_mail(from, &room, mail),
            Mail::Reserved(conn, told) => clients.reserved(desk, conn, &told.0, &told.1, told.2),
            Mail::Out(conn, room, out) => clients.out(desk, conn, &room, &out),
            Mail::Closed(name, user) => clients.closed(desk, &name, user.as_ref()),
            Mail::Hold(user, conn, what) => self.held(from, &user, conn, what),
            Mail::Over(conn, channel) => clients.over(desk, conn, channel),
            Mail::Session(session, user, conn, what) => sessions.told(desk, from, session, user, conn, what),
            Mail::Resumed(conn, session) => clients.resumed(desk, conn, session),
            Mail::Yield(conn) => clients.yield_session(desk, conn),
            Mail::Joined(joined) => clients.joined(desk, joined),
            Mail::Leave(pool, Subject::List(pattern)) => lists.leave(desk, from, pool, &pattern),
            Mail::Leave(pool, subject) => owner.leave(from, pool, &subject),
            Mail::Exit(route, user) => owner.exit(route, user),
            Mail::Frame(pool, frame, mark) => clients.deliver(desk, pool, frame, mark),
            Mail::Credit(bytes) => desk.credit.back(from, bytes),
            Mail::Follow(list, pattern) => owner.follow(desk, from, list, &pattern),
            Mail::Followed(list, items) => lists.followed(desk, list, items),
            Mail::Unfollow(list, pattern) => owner.unfollow(from, list, &pattern),
            Mail::Moved(list, change) => lists.moved(desk, list, change),
            Mail::Swept(sweep, gone) => lists.swept(desk, sweep, &gone),
            Mail::Open(cut, select, most) => owner.open_cut(desk, cut, select, most),
            Mail::More(cut, most) => owner.more(cut, most),
            Mail::Part(cut, part) => clients.part(from, cut, *part),
            Mail::Shut(cut) => owner.shut(cut),
            Mail::Evict(key, version) => self.evict(key, version),
            Mail::Batch(ticket, writes, one) => batches.push(desk, from, ticket, writes, one),
            Mail::Prepare(part) => self.prepare(part),
            Mail::Prepared(result) => batches.prepared(desk, from, result),
            Mail::Decide(go) => self.decide(go),
            Mail::Decided(swept) => batches.decided(desk, swept),
        }
    }
}
