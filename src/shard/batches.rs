//! Writes that concern several owners: all or nothing, one batch after the other, so that no two can block each other.
//!
//! One shard runs them. It asks every owner concerned whether its part can be done; while an owner waits for the
//! decision it does nothing else to its documents. When all can, all do; when one cannot, none does.

use crate::base::id::ShardId;
use crate::flow::conn::ask::{Answer, Ask, Ticket};
use crate::flow::feed::{Done, Refused, Write};
use crate::flow::route::owner::owner;
use crate::shard::Shard;
use crate::shard::desk::Desk;
use crate::shard::mail::Mail;
use crate::wire::key::Key;
use std::collections::VecDeque;

/// The shard that runs batches of several owners.
pub const SEQUENCER: ShardId = ShardId(0);

#[derive(Debug)]
struct Job {
    asker: ShardId,
    ticket: Ticket,
    writes: Vec<Write>,
    one: bool,
}

#[derive(Debug)]
struct Running {
    job: Job,
    /// The owners concerned, each with the places of its writes in the batch.
    owners: Vec<(ShardId, Vec<usize>)>,
    missing: usize,
    refused: Option<Refused>,
    swept: u32,
}

/// The batches that wait, and the one under way.
#[derive(Debug, Default)]
pub struct Batches {
    waiting: VecDeque<Job>,
    running: Option<Running>,
}

impl Batches {
    /// A batch comes in.
    pub fn push(&mut self, desk: &mut Desk, asker: ShardId, ticket: Ticket, writes: Vec<Write>, one: bool) {
        self.waiting.push_back(Job { asker, ticket, writes, one });
        self.start(desk);
    }

    fn start(&mut self, desk: &mut Desk) {
        if self.running.is_some() {
            return;
        }
        let Some(mut job) = self.waiting.pop_front() else { return };
        let mut parts: Vec<(Vec<usize>, Vec<Write>)> = desk.all().map(|_| Default::default()).collect();
        for (place, write) in std::mem::take(&mut job.writes).into_iter().enumerate() {
            let homes = match write.name().map(|name| owner(name, desk.shards)) {
                Some(home) => home.index()..home.index() + 1,
                None => 0..parts.len(),
            };
            for (places, part) in &mut parts[homes] {
                places.push(place);
                part.push(write.clone());
            }
        }
        let mut owners = Vec::new();
        for (shard, (places, part)) in desk.all().zip(parts).filter(|(_, (_, part))| !part.is_empty()) {
            owners.push((shard, places));
            desk.post(shard, Mail::Prepare(part));
        }
        self.running = Some(Running { job, missing: owners.len(), owners, refused: None, swept: 0 });
    }

    /// An owner says whether its part can be done. Of several refusals the first of the batch is told.
    pub fn prepared(&mut self, desk: &mut Desk, from: ShardId, result: Result<(), Refused>) {
        let Some(running) = &mut self.running else { return };
        running.missing -= 1;
        let mine = running.owners.iter().find(|(shard, _)| *shard == from);
        let refused = result.err().zip(mine).map(|(refused, (_, places))| match refused {
            Refused::Batch(at, why) => Refused::Batch(places[at], why),
            other => other,
        });
        let place = |refused: &Refused| if let Refused::Batch(at, _) = refused { *at } else { 0 };
        running.refused = running.refused.take().into_iter().chain(refused).min_by_key(place);
        if running.missing == 0 {
            running.missing = running.owners.len();
            for (shard, _) in &running.owners {
                desk.post(*shard, Mail::Decide(running.refused.is_none()));
            }
        }
    }

    /// An owner has done its part.
    pub fn decided(&mut self, desk: &mut Desk, swept: u32) {
        let Some(running) = &mut self.running else { return };
        running.missing -= 1;
        running.swept += swept;
        if running.missing > 0 {
            return;
        }
        let Some(Running { job, refused, swept, .. }) = self.running.take() else { return };
        let done = if job.one { Done::Swept(swept) } else { Done::Batch };
        desk.post(job.asker, Mail::Answer(job.ticket, Answer::Wrote(refused.map_or(Ok(done), Err))));
        self.start(desk);
    }
}

/// An owner's part of the batch under way, and what has to wait for the decision.
#[derive(Debug, Default)]
pub struct Held {
    part: Option<Vec<Write>>,
    asks: VecDeque<(ShardId, Ticket, Ask)>,
    /// What limited lists have pushed out meanwhile, at these versions.
    evictions: Vec<(Key, u64)>,
}

impl Shard {
    /// A question to this shard as an owner. A write waits while a batch is undecided, and while what earlier writes
    /// have set off is not sent: whoever asks has only so many questions open, so it waits too.
    pub(super) fn asked(&mut self, from: ShardId, ticket: Ticket, ask: Ask) {
        let writes = matches!(ask, Ask::Write(_) | Ask::Batch(_));
        if writes && (!self.held.asks.is_empty() || self.must_hold()) {
            return self.held.asks.push_back((from, ticket, ask));
        }
        self.answer(from, ticket, ask);
    }

    fn must_hold(&self) -> bool {
        self.held.part.is_some() || self.is_behind()
    }

    /// A limited list has pushed a document out: it is deleted, if it still is at this version. Nothing may vanish
    /// between the check of a batch and its decision, so until then it waits.
    pub(super) fn evict(&mut self, key: Key, version: u64) {
        if self.held.part.is_some() {
            return self.held.evictions.push((key, version));
        }
        self.owner.evict(&mut self.desk, &key, version);
    }

    /// Goes on with the writes that waited, as far as that is possible.
    pub(super) fn asked_on(&mut self) {
        while !self.held.asks.is_empty() && !self.must_hold() {
            let (from, ticket, ask) = self.held.asks.pop_front().expect("just seen");
            self.answer(from, ticket, ask);
            self.deliver_local();
        }
    }

    fn answer(&mut self, from: ShardId, ticket: Ticket, ask: Ask) {
        let answer = match ask {
            Ask::Room(ask) => return self.room_asked(from, ticket, *ask),
            Ask::User(user, ask) => return self.user_asked(from, ticket, &user, *ask),
            Ask::Rooms(actor) => Answer::Rooms(self.rooms_seen(&actor)),
            Ask::Pools => self.clients.pools(),
            Ask::Channels => {
                Answer::Channels(self.clients.listeners().chain(self.owner.channels.rows()).collect())
            }
            Ask::Change(change) => Answer::Changed(self.clients.change_events(&mut self.desk, *change)),
            ask if let Err(refusal) = self.may_ask(&ask) => Answer::Room(Err(refusal)),
            ask => self.owner.answer(&mut self.desk, ask),
        };
        self.desk.post(from, Mail::Answer(ticket, answer));
    }

    /// This shard's part of a batch.
    pub(super) fn prepare(&mut self, part: Vec<Write>) {
        let result = self.owner.check(&part);
        self.held.part = Some(part);
        self.desk.post(SEQUENCER, Mail::Prepared(result));
    }

    /// The decision about it.
    pub(super) fn decide(&mut self, go: bool) {
        let part = self.held.part.take().unwrap_or_default();
        let swept = if go { self.owner.commit(&mut self.desk, part) } else { 0 };
        self.desk.post(SEQUENCER, Mail::Decided(swept));
        for (key, version) in std::mem::take(&mut self.held.evictions) {
            self.owner.evict(&mut self.desk, &key, version);
        }
        self.asked_on();
    }
}
