//! The connections of this shard: their requests, their sockets, their subscriptions.

use crate::base::id::ConnId;
use crate::base::slab::Table;
use crate::base::time::SEC;
use crate::flow::conn::ask::{Answer, Ask, Tag, Ticket};
use crate::flow::conn::feed::Feed;
use crate::flow::conn::http::Progress;
use crate::flow::conn::rest::{self, Call, Hello, Pending, Want as Wanted};
use crate::flow::conn::{Conn, Phase, Stage, Sub};
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::fanout::plan::{Fanout, Outcome};
use crate::flow::fanout::pool::{Member, PoolId, Subject};
use crate::flow::feed::{SweepId, Write};
use crate::flow::limits::Overflow;
use crate::shard::desk::Desk;
use crate::shard::io::{Action, Door};
use crate::shard::mail::{Join, Mail};
use crate::shard::streams::Streams;
use crate::wire::http::{BadRequest, CONTINUE, Response};
use crate::wire::hub::Want;
use crate::wire::ws::{self, Compression, Decoder, Event, Inflater, Violation};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// How many bytes of later requests may wait while one is being answered; more are not read.
const PIPELINE: usize = 64 << 10;

/// The close code for readers that are too slow; its range tells clients to come back.
const SLOW: u16 = 3008;
/// The channel whose publications go to every connection of the hub.
const EVERYONE: &str = "*";

/// How long a peer that has got our last bytes may take to close its side.
const GRACE: u64 = 2 * SEC;

/// Why a connection was closed by us, or found closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer went, politely or not.
    Gone,
    /// It broke the protocol.
    Violation,
    /// It took no byte for `[conn] write_timeout`.
    Stuck,
    /// It gave no sign of life for `[ooo] pong_timeout`.
    Silent,
    /// Its request did not come in time.
    Late,
    /// Replies piled up that it did not read.
    Slow,
    /// The server stops.
    Stopping,
    /// A streamed answer could not go on: its documents changed too much meanwhile.
    Aborted,
}

impl Reason {
    /// All of them, each at its own number.
    pub const ALL: [Reason; 8] = [
        Reason::Gone,
        Reason::Violation,
        Reason::Stuck,
        Reason::Silent,
        Reason::Late,
        Reason::Slow,
        Reason::Stopping,
        Reason::Aborted,
    ];
    /// What they are called in metrics.
    pub const LABELS: [&str; 8] =
        ["gone", "violation", "stuck", "silent", "late", "slow", "stopping", "aborted"];
}

// a reason without a counter must not compile
const _: () = assert!(Reason::ALL.len() == Reason::Aborted as usize + 1);

/// The connections.
#[derive(Debug)]
pub struct Clients {
    /// By slot.
    pub conns: Table<Conn>,
    /// The sending side.
    pub fanout: Fanout,
    /// What is to be done to sockets.
    pub actions: VecDeque<Action>,
    /// Feeds that wait until less is under way.
    pub held_feeds: Vec<ConnId>,
    /// Streamed answers.
    pub streams: Streams,
    /// Imports that can go on.
    pub(super) held_imports: Vec<ConnId>,
    /// Connections whose replies pile up: to be let go.
    doomed: Vec<ConnId>,
    /// Connections whose last bytes are on their way.
    closing: Vec<ConnId>,
    /// Connections whose next request waits until they have read the responses so far.
    unread: Vec<ConnId>,
    tickets: u32,
    sweeps: u64,
    scratch: Vec<u8>,
    inflater: Inflater,
}

impl Clients {
    /// No connections.
    pub fn new(queue_bytes: usize) -> Clients {
        Clients {
            conns: Table::default(),
            fanout: Fanout::new(queue_bytes),
            actions: VecDeque::new(),
            held_feeds: Vec::new(),
            streams: Streams::default(),
            held_imports: Vec::new(),
            doomed: Vec::new(),
            closing: Vec::new(),
            unread: Vec::new(),
            tickets: 0,
            sweeps: 0,
            scratch: Vec::new(),
            inflater: Inflater::default(),
        }
    }

    /// A connection came in.
    pub fn open(&mut self, desk: &mut Desk, slot: u32, door: Door) -> ConnId {
        let now = desk.now.mono;
        let access = match door {
            Door::Clients(n) => desk.limits.anonymous[n as usize],
            Door::Feed => crate::flow::limits::Access::Write,
        };
        let (phase, due) = match door {
            Door::Clients(_) => (Phase::Http(Box::default()), now + desk.limits.handshake_timeout),
            Door::Feed => (Phase::Feed(Box::default()), u64::MAX),
        };
        desk.stats.accepted[usize::from(door == Door::Feed)] += 1;
        let conn = Conn {
            access,
            phase,
            subs: SmallVec::new(),
            heard: now,
            due,
            stuck: 0,
            paused: false,
            ended: false,
        };
        let generation = self.conns.insert(slot, conn);
        self.fanout.open(slot);
        ConnId { slot, generation }
    }

    /// The connection as it is now in a slot.
    pub fn id(&self, slot: u32) -> ConnId {
        ConnId { slot, generation: self.conns.generation(slot) }
    }

    /// The connection, if it is still there.
    pub fn get(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(conn.slot, conn.generation)
    }

    /// Bytes from a peer (the feed's are handled in `feeds`).
    pub fn bytes(&mut self, desk: &mut Desk, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.get(id) else { return };
        conn.heard = desk.now.mono;
        match &mut conn.phase {
            Phase::Http(http) => {
                http.push(bytes);
                self.requests(desk, id);
            }
            Phase::Socket(..) => self.messages(desk, id, bytes),
            Phase::Feed(_) | Phase::Closing => {}
        }
    }

    /// Handles requests until bytes are missing, or one must wait: for an answer, or for the peer to read.
    fn requests(&mut self, desk: &mut Desk, id: ConnId) {
        loop {
            let unread = self.fanout.queued(id.slot) > desk.limits.queue_bytes;
            let conn = self.conns.get_mut(id.slot, id.generation);
            let Some(Conn { phase: Phase::Http(http), paused, ended, access, due, .. }) = conn else {
                return;
            };
            if unread && !self.unread.contains(&id) {
                self.unread.push(id);
            }
            let importing = http.import.is_some();
            if unread || http.is_busy() {
                if http.held() > PIPELINE && !std::mem::replace(paused, true) {
                    self.actions.push_back(Action::Pause(id));
                }
                if importing {
                    self.import_ready(id);
                }
                return;
            }
            if std::mem::replace(paused, false) {
                self.actions.push_back(Action::Resume(id));
            }
            let access = *access;
            match http.poll(desk.limits.max_body) {
                Ok(Progress::Partial) if *ended => return self.finish(desk, id, Reason::Gone),
                Ok(Progress::Partial) => {
                    if http.is_idle() {
                        *due = desk.now.mono + desk.limits.handshake_timeout;
                    }
                    return;
                }
                Ok(Progress::Continue) => self.send(id, CONTINUE.into()),
                Ok(Progress::Import(head, body, waits)) => {
                    desk.stats.requests += 1;
                    if waits {
                        self.send(id, CONTINUE.into());
                    }
                    self.open_import(desk, id, head, body);
                }
                Ok(Progress::Whole(head, body)) => {
                    *due = u64::MAX;
                    desk.stats.requests += 1;
                    let call = rest::call(&head, &body, access, &desk.limits);
                    self.carry_out(desk, id, head, call);
                }
                Err(BadRequest::BodyTooLarge) => {
                    let response = Response::text(413, "Request Entity Too Large").closing();
                    return self.respond(desk, id, &response);
                }
                Err(bad) => return self.respond(desk, id, &bad.response()),
            }
        }
    }

    fn carry_out(&mut self, desk: &mut Desk, id: ConnId, head: crate::wire::http::Head, call: Call) {
        let shards = desk.shards;
        let pending = |want, left| Some(Pending::new(head.clone(), want, left));
        let wait = match &call {
            Call::Respond(_) | Call::Follow(..) | Call::Hub(..) | Call::Stream(_) => None,
            Call::Ask(_, _, want) => pending(want.clone(), 1),
            Call::Push(..) => None,
            Call::Sweep(_) => pending(Wanted::Gone, shards),
            Call::Gather(want) => pending(want.clone(), shards),
        };
        let ticket = || Ticket { conn: id, tag: Tag::Request };
        match call {
            Call::Respond(response) => {
                return self.respond(desk, id, &rest::dress(response, &head, &desk.limits));
            }
            Call::Follow(subject, hello, has) => {
                self.upgrade(desk, id, hello, Dialect::Ooo);
                return self.subscribe(desk, id, subject, has);
            }
            Call::Hub(hello, channels) => {
                self.upgrade(desk, id, hello, Dialect::Hub);
                for channel in channels.into_iter().chain([EVERYONE.into()]) {
                    self.subscribe(desk, id, Subject::Channel(channel), None);
                }
                return;
            }
            Call::Stream(spec) => return self.open_stream(desk, id, head, *spec),
            Call::Push(pattern, value) => {
                let key =
                    pattern.push(&format!("{:x}", desk.stamp())).expect("only such patterns are pushed to");
                self.set_pending(id, Pending::new(head, Wanted::Index(key.index().to_owned()), 1));
                let name = key.as_str().to_owned();
                return desk.post_to_owner(&name, Mail::Ask(ticket(), Ask::Write(Write::Set(key, value))));
            }
            Call::Ask(key, ask, _) => desk.post_to_owner(key.as_str(), Mail::Ask(ticket(), ask)),
            Call::Sweep(pattern) => {
                let sweep = self.next_sweep(desk);
                let ask = || Ask::Write(Write::Sweep(pattern.clone(), sweep));
                desk.post_to_all(|| Mail::Ask(ticket(), ask()));
            }
            Call::Gather(want) => desk.post_to_all(|| Mail::Ask(ticket(), want.ask())),
        }
        if let Some(pending) = wait {
            self.set_pending(id, pending);
        }
    }

    fn set_pending(&mut self, id: ConnId, pending: Pending) {
        if let Some(Conn { phase: Phase::Http(http), .. }) = self.get(id) {
            http.pending = Some(pending);
        }
    }

    /// A name for a new glob delete.
    pub fn next_sweep(&mut self, desk: &Desk) -> SweepId {
        self.sweeps += 1;
        SweepId { shard: desk.id, count: self.sweeps }
    }

    /// An owner's answer to a request.
    pub fn answer(&mut self, desk: &mut Desk, id: ConnId, answer: Answer) {
        let Some(http) = self.http(id) else { return };
        let Some(pending) = &mut http.pending else { return };
        let Some(response) = pending.answer(answer, &desk.limits) else { return };
        let response = rest::dress(response, &pending.head, &desk.limits);
        http.pending = None;
        self.respond(desk, id, &response);
        self.request_done(desk, id);
    }

    /// A request is answered: the next one may come.
    pub(super) fn request_done(&mut self, desk: &mut Desk, id: ConnId) {
        let due = desk.now.mono + desk.limits.handshake_timeout;
        let Some(Conn { phase: Phase::Http(_), due: place, .. }) = self.get(id) else { return };
        *place = due;
        self.requests(desk, id);
    }

    pub(super) fn respond(&mut self, desk: &mut Desk, id: ConnId, response: &Response<'_>) {
        self.insist(id, response.encode().into());
        if response.closes() {
            self.finish(desk, id, Reason::Gone);
        }
    }

    fn upgrade(&mut self, desk: &mut Desk, id: ConnId, hello: Hello, dialect: Dialect) {
        self.send(id, hello.bytes.into());
        let decoder = Decoder::new(desk.limits.max_message, hello.compression);
        let now = desk.now.mono;
        let Some(conn) = self.get(id) else { return };
        conn.due = now + desk.limits.ping_interval;
        let before = std::mem::replace(&mut conn.phase, Phase::Socket(decoder, dialect));
        if let Phase::Http(http) = before {
            let rest = http.into_rest();
            if !rest.is_empty() {
                self.messages(desk, id, &rest);
            }
        }
    }

    fn messages(&mut self, desk: &mut Desk, id: ConnId, bytes: &[u8]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut input = bytes;
        while let Some(Conn { phase: Phase::Socket(decoder, dialect), .. }) = self.get(id) {
            let dialect = *dialect;
            match decoder.poll(&mut input, &mut scratch) {
                Ok(None) => break,
                Ok(Some(Event::Ping(payload))) => self.send(id, ws::encode(ws::Op::Pong, payload).into()),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Message { kind, data, compressed: true })) => {
                    desk.stats.inflated += 1;
                    let mut inflater = std::mem::take(&mut self.inflater);
                    match inflater.message(kind, data, desk.limits.max_message) {
                        Ok(data) => self.message(desk, id, dialect, data),
                        Err(violation) => self.violated(desk, id, violation),
                    }
                    self.inflater = inflater;
                }
                Ok(Some(Event::Message { data, .. })) => self.message(desk, id, dialect, data),
                Ok(Some(Event::Close { code, .. })) => self.close(desk, id, code, "", Reason::Gone),
                Err(violation) => self.violated(desk, id, violation),
            }
        }
        if scratch.capacity() > PIPELINE {
            scratch = Vec::new();
        }
        self.scratch = scratch;
    }

    fn violated(&mut self, desk: &mut Desk, id: ConnId, violation: Violation) {
        self.close(desk, id, Some(violation.code()), &violation.to_string(), Reason::Violation);
    }

    fn message(&mut self, desk: &mut Desk, id: ConnId, dialect: Dialect, data: &[u8]) {
        desk.stats.received += 1;
        match dialect {
            Dialect::Ooo => {}
            Dialect::Hub => self.hub_message(desk, id, data),
        }
    }

    fn hub_message(&mut self, desk: &mut Desk, id: ConnId, data: &[u8]) {
        match crate::wire::hub::parse(data).want {
            // every connection has it, whatever it asks for
            Ok(Want::Subscribe(channel, _) | Want::Unsubscribe(channel)) if *channel == *EVERYONE => {}
            Ok(Want::Subscribe(channel, _)) => self.subscribe(desk, id, Subject::Channel(channel), None),
            Ok(Want::Unsubscribe(channel)) => {
                let subject = Subject::Channel(channel);
                let Some(variant) = self.variant(id, &subject) else { return };
                if let Some(pool) = self.fanout.pools.find(&subject, variant) {
                    self.unsubscribe(desk, id, pool);
                }
            }
            _ => {}
        }
    }

    /// In which variant a connection gets a subject. The clock's ticks are too short for compression.
    fn variant(&mut self, id: ConnId, subject: &Subject) -> Option<Variant> {
        match &self.get(id)?.phase {
            Phase::Socket(decoder, dialect) => {
                let deflate = decoder.compression() == Compression::Deflate && *subject != Subject::Clock;
                Some(Variant { dialect: *dialect, deflate })
            }
            Phase::Http(_) | Phase::Feed(_) | Phase::Closing => None,
        }
    }

    /// Starts a subscription: the pool is registered with the owner, whose answer brings the state.
    pub fn subscribe(&mut self, desk: &mut Desk, id: ConnId, subject: Subject, has: Option<u64>) {
        let Some(variant) = self.variant(id, &subject) else { return };
        let overflow = match &subject {
            Subject::Channel(name) => desk.limits.overflow(name),
            Subject::Key(_) | Subject::List(_) | Subject::Clock => Overflow::Conflate,
        };
        let pool = self.fanout.pools.enter(&subject, variant, overflow);
        let Some(conn) = self.get(id) else { return };
        if conn.subs.iter().any(|sub| sub.pool == pool) {
            return;
        }
        conn.subs.push(Sub { pool, stage: Stage::Behind });
        self.fanout.pools.get_mut(pool).expect("just entered").waiting += 1;
        self.ask_state(desk, id, pool, has);
    }

    /// Asks for the state of a subscription that is behind.
    fn ask_state(&mut self, desk: &mut Desk, id: ConnId, pool: PoolId, has: Option<u64>) {
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return };
        let Some(sub) = conn.subs.iter_mut().find(|sub| sub.pool == pool) else { return };
        sub.stage = Stage::Waiting(ticket);
        let p = self.fanout.pools.get(pool).expect("a subscription's pool is there");
        let (subject, variant) = (p.subject.clone(), p.variant);
        match subject.name().map(str::to_owned) {
            Some(name) => {
                let join = Box::new(Join { pool, subject, variant, conn: id, ticket, has });
                desk.post_to_owner(&name, Mail::Join(join));
            }
            None => {
                let state = crate::flow::encode::ooo::clock(&mut desk.encoder, desk.now.wall);
                desk.post(desk.id, Mail::Joined(pool, id, ticket, Some(state)));
            }
        }
    }

    /// The state of a subscription has come: from here on the connection follows.
    pub fn joined(&mut self, desk: &mut Desk, pool: PoolId, id: ConnId, ticket: u32, state: Option<Frame>) {
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return };
        let Some(at) = conn.subs.iter().position(|s| s.pool == pool && s.stage == Stage::Waiting(ticket))
        else {
            return;
        };
        desk.stats.joins[usize::from(state.is_none())] += 1;
        if let Some(state) = state
            && !self.fanout.direct(id.slot, state)
        {
            self.conns.get_mut(id.slot, id.generation).expect("still there").subs[at].stage = Stage::Behind;
            desk.stats.conflated += 1;
            return;
        }
        let place = self.fanout.join(pool, Member { slot: id.slot, sub: at as u32 });
        self.fanout.pools.get_mut(pool).expect("joined").waiting -= 1;
        self.conns.get_mut(id.slot, id.generation).expect("still there").subs[at].stage =
            Stage::Member(place);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, desk: &mut Desk, id: ConnId, pool: PoolId) {
        let Some(conn) = self.get(id) else { return };
        let Some(at) = conn.subs.iter().position(|sub| sub.pool == pool) else { return };
        let sub = conn.subs.swap_remove(at);
        if let Some(moved) = conn.subs.get(at)
            && let Stage::Member(place) = moved.stage
        {
            let pool = moved.pool;
            self.fanout.pools.get_mut(pool).expect("a member's pool").members[place as usize].sub = at as u32;
        }
        self.leave(desk, &sub);
    }

    fn leave(&mut self, desk: &mut Desk, sub: &Sub) {
        match sub.stage {
            Stage::Member(place) => self.take_out(sub.pool, place),
            Stage::Waiting(_) | Stage::Behind => {
                self.fanout.pools.get_mut(sub.pool).expect("a subscription's pool").waiting -= 1;
            }
        }
        if self.fanout.pools.get(sub.pool).is_some_and(|pool| pool.is_idle())
            && let Some(pool) = self.fanout.pools.remove(sub.pool)
            && let Some(name) = pool.subject.name().map(str::to_owned)
        {
            desk.post_to_owner(&name, Mail::Leave(sub.pool, pool.subject));
        }
    }

    fn take_out(&mut self, pool: PoolId, place: u32) {
        if let Some(moved) = self.fanout.leave(pool, place) {
            let conn = self.conns.at_mut(moved.slot).expect("a member is there");
            conn.subs[moved.sub as usize].stage = Stage::Member(place);
        }
    }

    /// What sending has brought to light.
    pub fn outcome(&mut self, desk: &mut Desk, outcome: Outcome) {
        match outcome {
            Outcome::Broken(slot) => self.drop_conn(desk, self.id(slot), Reason::Gone),
            Outcome::Blocked(slot) => {
                let id = self.id(slot);
                let Some(conn) = self.get(id) else { return };
                conn.stuck = desk.now.mono;
                desk.stats.blocked += 1;
                self.actions.push_back(Action::WatchWritable(id));
            }
            Outcome::Behind(slot, pool) => self.fell_behind(desk, slot, pool),
            Outcome::Dropped(count) => desk.stats.dropped += u64::from(count),
            Outcome::Drained(slot) => {
                let id = self.id(slot);
                let Some(conn) = self.get(id) else { return };
                conn.stuck = 0;
                desk.stats.drained += 1;
                let behind = conn.subs.iter().filter(|sub| sub.stage == Stage::Behind).map(|sub| sub.pool);
                for pool in behind.collect::<SmallVec<[PoolId; 4]>>() {
                    self.ask_state(desk, id, pool, None);
                }
            }
        }
    }

    /// A document's subscriber gets the latest state when its socket has drained; a channel's is let go, because no
    /// later publication makes up for a lost one.
    fn fell_behind(&mut self, desk: &mut Desk, slot: u32, pool: PoolId) {
        let id = self.id(slot);
        if self.fanout.pools.get(pool).is_some_and(|p| p.overflow == Overflow::Disconnect) {
            // what waits is given up, so that the reason is the next thing that it reads
            self.fanout.cut(slot);
            return self.close(
                desk,
                id,
                Some(SLOW),
                "slow consumer: what waited was over its budget",
                Reason::Slow,
            );
        }
        let Some(sub) = self.get(id).and_then(|c| c.subs.iter_mut().find(|sub| sub.pool == pool)) else {
            return;
        };
        let Stage::Member(place) = std::mem::replace(&mut sub.stage, Stage::Behind) else { return };
        desk.stats.conflated += 1;
        self.fanout.pools.get_mut(pool).expect("a member's pool").waiting += 1;
        self.take_out(pool, place);
    }

    /// Sends bytes to one connection, if it is still there; one that does not read its replies is let go.
    pub fn send(&mut self, id: ConnId, bytes: Frame) {
        if self.get(id).is_some() && !self.fanout.direct(id.slot, bytes) {
            // it cannot be told: its socket is full
            self.doomed.push(id);
        }
    }

    /// Sends an answer, beyond the budget if need be: no further request or line is handled while more than the budget
    /// waits, so what piles up is bounded by that and the answers under way.
    pub fn insist(&mut self, id: ConnId, answer: Frame) {
        if self.get(id).is_some() {
            self.fanout.insist(id.slot, answer);
        }
    }

    /// Closes a WebSocket with a code.
    pub fn close(&mut self, desk: &mut Desk, id: ConnId, code: Option<u16>, why: &str, reason: Reason) {
        self.send(id, ws::encode_close(code, why).into());
        self.finish(desk, id, reason);
    }

    /// Sends what is queued, however slowly it is read, then ends the connection.
    pub fn finish(&mut self, desk: &mut Desk, id: ConnId, reason: Reason) {
        self.take_stream(desk, id);
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        conn.phase = Phase::Closing;
        conn.due = u64::MAX;
        if std::mem::replace(&mut conn.paused, false) {
            // bytes that nobody reads would make the kernel reset the connection, and the last response with it
            self.actions.push_back(Action::Resume(id));
        }
        for sub in std::mem::take(&mut conn.subs) {
            self.leave(desk, &sub);
        }
        desk.stats.ended[reason as usize] += 1;
        self.closing.push(id);
    }

    /// Lets those go that do not read their replies, goes on with those that have read them, and ends the writing to
    /// those that have got their last bytes: these have `GRACE` to say that they have read them.
    pub fn settle(&mut self, desk: &mut Desk) {
        for id in std::mem::take(&mut self.doomed) {
            self.drop_conn(desk, id, Reason::Slow);
        }
        for id in std::mem::take(&mut self.unread) {
            self.requests(desk, id);
        }
        for id in std::mem::take(&mut self.closing) {
            let queued = self.fanout.queued(id.slot) > 0;
            let Some(conn) = self.get(id) else { continue };
            if queued {
                self.closing.push(id);
            } else if conn.ended {
                self.drop_conn(desk, id, Reason::Gone);
            } else {
                conn.due = desk.now.mono + GRACE;
                self.actions.push_back(Action::Finish(id));
            }
        }
    }

    /// The peer says nothing more: what it has asked for is answered, then the connection ends.
    pub fn eof(&mut self, desk: &mut Desk, id: ConnId) {
        let queued = self.fanout.queued(id.slot) > 0;
        match self.get(id).map(|conn| &conn.phase) {
            Some(Phase::Http(_)) => self.requests(desk, id),
            Some(Phase::Closing) if queued => {}
            _ => self.drop_conn(desk, id, Reason::Gone),
        }
    }

    /// Forgets a connection at once.
    pub fn drop_conn(&mut self, desk: &mut Desk, id: ConnId, reason: Reason) {
        self.take_stream(desk, id);
        let Some(conn) = self.get(id) else { return };
        if !matches!(conn.phase, Phase::Closing) {
            desk.stats.ended[reason as usize] += 1;
        }
        let subs = std::mem::take(&mut self.get(id).expect("just seen").subs);
        for sub in &subs {
            self.leave(desk, sub);
        }
        self.conns.remove(id.slot);
        self.fanout.forget(id.slot);
        self.actions.push_back(Action::Close(id));
    }

    /// How many connections each pool has.
    pub fn pools(&self) -> Answer {
        let rows = self.fanout.pools.iter().map(|(_, pool)| {
            let connections = pool.members.len() + pool.waiting as usize;
            (pool.subject.name().unwrap_or("").into(), connections)
        });
        Answer::Pools(rows.collect())
    }

    /// The feed of a connection, taken out so that its lines can be handled.
    pub fn take_feed(&mut self, id: ConnId) -> Option<Box<Feed>> {
        match &mut self.get(id)?.phase {
            Phase::Feed(feed) => Some(std::mem::take(feed)),
            _ => None,
        }
    }

    /// Puts a feed back.
    pub fn put_feed(&mut self, id: ConnId, feed: Box<Feed>) {
        if let Some(Conn { phase: Phase::Feed(place), .. }) = self.get(id) {
            *place = feed;
        }
    }
}
