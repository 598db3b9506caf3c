//! The records of a run make the same state again, byte for byte, whatever the run was; and every question is answered.
//!
//! A world of owners alone: what connections would ask is asked directly, and what connections would get is dropped.
//! `RUNS=1000 cargo test --lib owner::replay_tests` makes a thousand runs.

use super::Owner;
use crate::base::id::{ConnId, ShardId};
use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::base::time::{MS, Now, SEC};
use crate::flow::encode::frame::{Dialect, Variant};
use crate::flow::fanout::pool::PoolId;
use crate::flow::identity::Actor;
use crate::flow::limits::Limits;
use crate::flow::limits::channels::ChannelRule;
use crate::flow::limits::documents::Rule;
use crate::flow::request::position::Position;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::request::write::{MergeRule, SweepId, Write};
use crate::flow::route::owner::owner;
use crate::flow::route::subject::Subject;
use crate::shard::context::Context;
use crate::shard::mail::Mail;
use crate::shard::mail::question::{Origin, Question, Ticket, WriteOrigin, WriteTicket};
use crate::shard::mail::subscription::Join;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::{SEQUENCER, ToSequencer};
use crate::shard::mail::user::{QuotaChange, Reservation};
use crate::shard::owner::record::Record;
use crate::shard::timers::Timer;
use crate::wire::feed::Publish;
use crate::wire::hub::{MemberCommand, NewMessage, RoomCommand, RoomProfile};
use crate::wire::json::Json;
use crate::wire::key::{Key, Name};
use fastrand::Rng;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Runs in an ordinary test.
const RUNS: u64 = 60;
const USERS: [&str; 4] = ["ann", "bob", "cat", "dan"];
const CONN: ConnId = ConnId { slot: 1, generation: 1 };

/// Owners, with lanes between them.
struct World {
    rng: Rng,
    now: Now,
    shards: Vec<(Context, Owner)>,
    lanes: Vec<Vec<VecDeque<Vec<Mail>>>>,
    sweeps: u64,
    /// How many documents the limited list may have.
    most: usize,
    /// How many questions and subscriptions wait for an answer.
    open: usize,
}

impl World {
    fn new(seed: u64, shards: u16) -> World {
        let now = Now { mono: SEC, wall: 1_700_000_000 * SEC };
        let limits = Arc::new(limits(3));
        let each = || (0..shards).map(ShardId);
        let shard = |id| {
            let mut ctx = Context::new(id, shards, limits.clone(), "e".into());
            ctx.now = now;
            let mut owner = Owner::new(&mut ctx);
            owner.ledger_mut().keep_records();
            (ctx, owner)
        };
        let shards = each().map(shard).collect();
        let lanes = each().map(|_| each().map(|_| VecDeque::new()).collect()).collect();
        let mut world = World { rng: Rng::with_seed(seed), now, shards, lanes, sweeps: 0, most: 3, open: 0 };
        for user in USERS.map(Arc::<str>::from) {
            for (ctx, _) in &mut world.shards {
                let change = QuotaChange::Connect;
                ctx.post_to_user(&user, ToOwner::Quota { user: user.clone(), conn: CONN, change });
            }
        }
        world
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())]
    }

    fn text(&mut self) -> Arc<str> {
        self.pick(&["a", "b", "+1", "long enough to be counted"]).into()
    }

    fn json(&mut self) -> Json {
        let text = format!(r#"{{"n":{},"t":"{}"}}"#, self.rng.u8(0..9), "x".repeat(self.rng.usize(0..60)));
        Json::parse(text.as_bytes()).unwrap()
    }

    fn key(&mut self) -> Key {
        let folder = self.pick(&["a", "few", "x/y"]);
        Key::parse(&format!("{folder}/{}", self.rng.u8(0..9))).unwrap()
    }

    fn channel(&mut self) -> Arc<str> {
        self.pick(&["plain", "kept:1", "kept:2", "old:1", "r1", "r2"]).into()
    }

    /// A connection of some shard posts to the owner of a name.
    fn post(&mut self, name: &str, mail: ToOwner) {
        let from = self.rng.usize(0..self.shards.len());
        self.shards[from].0.post_to_owner(name, mail);
    }

    fn write_ticket(&mut self) -> WriteTicket {
        let origin = match self.rng.bool() {
            true => WriteOrigin::Request,
            false => WriteOrigin::Line { number: 1, id: None },
        };
        WriteTicket { conn: CONN, origin }
    }

    fn one_write(&mut self) -> Write {
        match self.rng.u8(0..9) {
            0..4 => Write::Set(self.key(), self.json(), Stamp::ZERO),
            4 => Write::Merge(self.key(), self.json(), MergeRule::Feed),
            5 => {
                let patch = br#"[{"op":"replace","path":"/n","value":"patched"}]"#;
                Write::Patch(self.key(), Json::parse(patch).unwrap())
            }
            6 => Write::Del(self.key()),
            _ => {
                let (channel, data) = (self.channel(), self.json());
                let client = self.rng.bool();
                let user_id = client.then(|| self.pick(&USERS).into());
                let actor = user_id.clone().map_or(Actor::App, Actor::User);
                let publish = Publish { client, user_id, ..Publish::new(&channel, "message", data) };
                Write::Publish(Arc::new(publish), actor)
            }
        }
    }

    fn write(&mut self) {
        let (write, ticket) = (self.one_write(), self.write_ticket());
        self.open += 1;
        let name = write.name().expect("it concerns one owner").to_owned();
        self.post(&name, ToOwner::Ask(Question::Write { write, ticket }));
    }

    /// Several writes, of one owner or of several, or a glob delete.
    fn batch(&mut self) {
        let from = self.rng.usize(0..self.shards.len());
        let shards = self.shards.len() as u16;
        let mut writes: Vec<Write> = (0..self.rng.usize(1..5)).map(|_| self.one_write()).collect();
        let single = self.rng.u8(0..3) == 0;
        if single {
            self.sweeps += 1;
            let sweep = SweepId { shard: ShardId(from as u16), count: self.sweeps };
            let Ok(Name::Pattern(pattern)) = Name::parse(self.pick(&["a/*", "few/*", "*/y/*"])) else {
                unreachable!()
            };
            writes = vec![Write::Sweep(pattern, sweep)];
        }
        let owners: BTreeSet<_> =
            writes.iter().map(|w| w.name().map(|name| owner(name, shards).index())).collect();
        let ticket = self.write_ticket();
        self.open += 1;
        let ctx = &mut self.shards[from].0;
        match owners.iter().next() {
            Some(Some(home)) if owners.len() == 1 => {
                let question = Question::Batch { writes, ticket };
                ctx.post(ShardId(*home as u16), ToOwner::Ask(question));
            }
            _ => ctx.post(SEQUENCER, ToSequencer::Batch { ticket, writes, single }),
        }
    }

    /// A pool comes or goes; or a user wants to be in one more room, and enters it once that is granted.
    fn subscribe(&mut self) {
        let (name, user): (Arc<str>, Arc<str>) = (self.channel(), self.pick(&USERS).into());
        let from = self.rng.usize(0..self.shards.len());
        if self.rng.u8(0..3) == 0 {
            let mail = ToOwner::Reserve { user: user.clone(), room: name, conn: CONN };
            return self.shards[from].0.post_to_user(&user, mail);
        }
        let (pool, subject) = (self.pool(), Subject::Channel(name.clone()));
        if self.rng.bool() {
            return self.shards[from].0.post_to_owner(&name, ToOwner::Leave { pool, subject });
        }
        let has = Position::Offset("e".into(), Offset::new(self.rng.u64(0..9)));
        self.join(from, Join { has, ..join(pool, subject, user) });
    }

    fn pool(&mut self) -> PoolId {
        PoolId { index: self.rng.u32(0..3), generation: 1 }
    }

    fn join(&mut self, from: usize, join: Join) {
        let name = join.subject.name().to_owned();
        self.open += 1;
        self.shards[from].0.post_to_owner(&name, ToOwner::Join(Box::new(join)));
    }

    /// Other settings hold from now on, everywhere.
    fn reload(&mut self) {
        self.most = self.rng.usize(2..5);
        let limits = Arc::new(limits(self.most));
        for (ctx, owner) in &mut self.shards {
            ctx.limits = limits.clone();
            owner.limits_changed(ctx);
        }
    }

    /// A command about a room, mostly about something that is there.
    fn room(&mut self) {
        let room: Arc<str> = self.pick(&["r1", "r2", "kept:1"]).into();
        let shards = self.shards.len() as u16;
        let home = &self.shards[owner(&room, shards).index()].1;
        let channel = home.ledger().state().channels.get(&room);
        let said = channel.and_then(|channel| channel.history()).into_iter().flat_map(|h| h.entries());
        let said: Vec<Stamp> = said.map(|entry| entry.stamp).collect();
        let message = self.rng.choice(&said).copied().unwrap_or(Stamp::new(7));
        let user: Arc<str> = self.pick(&USERS).into();
        let reason = self.rng.bool().then(|| self.text());
        let member = |command| RoomCommand::Member(user.clone(), command);
        let profile = RoomProfile {
            name: self.rng.bool().then(|| self.text()),
            private: self.rng.bool().then(|| self.rng.u8(0..4) == 0),
            max_members: self.rng.bool().then_some(3),
            ..RoomProfile::default()
        };
        let want = match self.rng.u8(0..20) {
            0 | 1 => RoomCommand::Create(Box::new(profile)),
            2 => RoomCommand::Update(Box::new(profile)),
            3 if self.rng.u8(0..4) == 0 => RoomCommand::Delete,
            4 => RoomCommand::Leave,
            5 | 6 => member(MemberCommand::Role(self.pick(&["guest", "member", "admin", "owner"]).into())),
            7 => member(MemberCommand::Kick(reason)),
            8 => member(MemberCommand::Ban(self.rng.u8(0..3) == 0, reason)),
            9 => member(MemberCommand::Mute(self.pick(&[None, Some(0), Some(5000)]))),
            10 | 11 => RoomCommand::Edit(message, self.json()),
            12 => RoomCommand::Erase(message),
            13..16 => RoomCommand::React(message, self.pick(&["+", "-"]).into(), self.rng.bool()),
            _ => {
                let (event, metadata, thread) = Default::default();
                RoomCommand::Message(Box::new(NewMessage { data: self.json(), event, metadata, thread }))
            }
        };
        let actor = match self.rng.u8(0..3) {
            0 => Actor::App,
            _ => Actor::User(self.pick(&USERS).into()),
        };
        let ticket = Ticket { conn: CONN, origin: Origin::Request };
        self.open += 1;
        let ask = Box::new(RoomAsk { room: room.clone(), actor, want, reserved: None });
        self.post(&room, ToOwner::Ask(Question::Room { ask, ticket }));
    }

    /// One turn of a shard: some of its mail, its timers, what it posts.
    fn turn(&mut self, at: usize) -> bool {
        let pass = self.pick(&[0, 0, 0, MS, 300 * MS, 9 * SEC]);
        (self.now.mono, self.now.wall) = (self.now.mono + pass, self.now.wall + pass);
        let mut busy = false;
        self.shards[at].0.now = self.now;
        for from in 0..self.shards.len() {
            let Some(mails) = self.lanes[from][at].pop_front() else { continue };
            busy = true;
            for mail in mails {
                self.receive(at, from, mail);
            }
        }
        while let Some(mail) = self.shards[at].0.next_local() {
            busy = true;
            self.receive(at, at, mail);
        }
        let (ctx, owner) = &mut self.shards[at];
        while owner.resume(ctx) {
            busy = true;
        }
        while let Some(timer) = ctx.timers.pop(self.now.mono) {
            let Timer::Owner(timer) = timer else { unreachable!("there are no connections") };
            owner.timer(ctx, timer);
        }
        for to in 0..self.lanes.len() {
            if to != at
                && let Some(mail) = self.shards[at].0.take(ShardId(to as u16))
            {
                self.lanes[at][to].push_back(mail);
                busy = true;
            }
        }
        busy
    }

    fn receive(&mut self, at: usize, from: usize, mail: Mail) {
        let weight = mail.weight();
        let sender = ShardId(from as u16);
        let (ctx, owner) = &mut self.shards[at];
        match mail {
            Mail::Clock { stamp } => ctx.stamps.observe(stamp),
            Mail::Owner(mail) => owner.handle(ctx, sender, mail),
            Mail::Sequencer(mail) => owner.handle_sequencer(ctx, sender, mail),
            Mail::Connections(ToConnections::Reserved { reservation, .. }) if reservation.granted => {
                let Reservation { user, room, .. } = *reservation;
                let pool = self.pool();
                self.join(at, Join { enter: true, ..join(pool, Subject::Room(room), user) });
            }
            Mail::Connections(mail) => {
                self.open -= match mail {
                    ToConnections::Answer(_) | ToConnections::Joined(_) | ToConnections::Denied(_) => 1,
                    _ => 0,
                };
            }
            Mail::Credit { .. } => {}
        }
        if from != at {
            self.shards[from].0.credit.back(ShardId(at as u16), weight);
        }
    }

    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the world does not come to rest");
            let busy = (0..self.shards.len()).fold(false, |busy, at| self.turn(at) | busy);
            if !busy && self.lanes.iter().flatten().all(VecDeque::is_empty) {
                return;
            }
        }
    }
}

fn join(pool: PoolId, subject: Subject, user: Arc<str>) -> Join {
    let (variant, has) = (Variant::plain(Dialect::Hub), Position::Nothing);
    Join { pool, subject, variant, conn: CONN, ticket: 1, has, actor: Actor::User(user), enter: false }
}

/// What holds: a list with `most` documents, and histories that are bounded by count, by bytes and by age.
fn limits(most: usize) -> Limits {
    let channel = |channel: &str| ChannelRule { channel: channel.into(), ..ChannelRule::default() };
    let few = Rule { name: Name::parse("few/*").unwrap(), patch: None, limit: Some(most) };
    let mut limits = Limits {
        rules: vec![few],
        channel_rules: vec![
            ChannelRule { history: Some(2 * most), history_bytes: Some(1500), ..channel("kept:*") },
            ChannelRule { history: Some(100), history_age: Some(20 * SEC), ..channel("old:*") },
            ChannelRule { history_age: Some(40 * SEC), ..channel("r1") },
        ],
        ..Limits::default()
    };
    limits.hub.auto_create_rooms = true;
    limits
}

/// What kind of change a record is.
fn kind(record: &Record) -> String {
    let text = format!("{record:?}");
    let end = |text: &str| text.find([' ', '{', '(']).unwrap_or(text.len());
    let inner = ["cause: ", "event: "].iter().find_map(|mark| Some(&text[text.find(mark)? + mark.len()..]));
    let inner = inner.filter(|_| text.starts_with("DocumentDeleted") || text.starts_with("RoomChanged"));
    [&text[..end(&text)], inner.map_or("", |inner| &inner[..end(inner)])].concat()
}

/// Every kind of change.
const KINDS: [&str; 19] = [
    "ChannelForgotten",
    "ChannelOpened",
    "DocumentDeletedGlob",
    "DocumentDeletedLimit",
    "DocumentDeletedWrite",
    "DocumentPut",
    "HistoryTrimmed",
    "MessageEdited",
    "MessageErased",
    "Published",
    "Reaction",
    "RoomChangedBanned",
    "RoomChangedJoined",
    "RoomChangedLeft",
    "RoomChangedMuted",
    "RoomChangedRole",
    "RoomChangedUpdated",
    "RoomCreated",
    "RoomDeleted",
];

/// A world in which everything has happened that `seed` makes happen.
fn run(seed: u64) -> World {
    let mut world = World::new(seed, [1, 2, 3][seed as usize % 3]);
    for _ in 0..400 {
        match world.rng.u8(0..10) {
            0..3 => world.write(),
            3 => world.batch(),
            4 if world.rng.u8(0..8) == 0 => world.reload(),
            4 => world.subscribe(),
            _ => world.room(),
        }
        for _ in 0..world.rng.usize(0..3) {
            let at = world.rng.usize(0..world.shards.len());
            world.turn(at);
        }
    }
    world.settle();
    world
}

fn runs() -> u64 {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

#[test]
fn the_records_of_a_run_make_the_same_state_again() {
    let mut kinds = BTreeSet::new();
    for seed in 0..runs() {
        for (at, (ctx, owner)) in run(seed).shards.iter_mut().enumerate() {
            let records = owner.ledger_mut().take_records();
            kinds.extend(records.iter().map(kind));
            // in another life all settings are others
            let mut other = Context::new(ctx.id, ctx.shards, Arc::new(Limits::default()), "f".into());
            let mut again = Owner::new(&mut other);
            again.ledger_mut().replay(&records);
            let (was, is) = (owner.ledger().dump(), again.ledger().dump());
            let text = |dump: &[u8]| String::from_utf8_lossy(dump).into_owned();
            assert!(was == is, "seed {seed} shard {at}:\n{}\n---\n{}", text(&was), text(&is));
        }
    }
    assert_eq!(kinds, KINDS.map(str::to_owned).into(), "every kind of change happens in some run");
}

#[test]
fn every_question_has_one_answer_and_no_list_is_over_its_limit() {
    let Ok(Name::Pattern(few)) = Name::parse("few/*") else { unreachable!() };
    for seed in 0..runs() {
        let world = run(seed);
        assert_eq!(world.open, 0, "seed {seed}: refused or not");
        let own = |(_, owner): &(Context, Owner)| owner.ledger().state().documents.matching(&few).len();
        let all: usize = world.shards.iter().map(own).sum();
        assert!(all <= world.most, "seed {seed}: {all} documents in a list of {}", world.most);
    }
}
