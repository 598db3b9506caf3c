//! The front door of an owner: every question comes in here, and a write waits here while a batch is undecided or too
//! much is under way.

use crate::base::id::ShardId;
use crate::flow::conn::ask::{Answer, Ask, Ticket};
use crate::flow::feed::Write;
use crate::shard::Shard;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_sequencer::SEQUENCER;
use crate::shard::mail::to_sequencer::ToSequencer;
use crate::wire::key::Key;
use std::collections::VecDeque;

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
    pub(in crate::shard) fn asked(&mut self, from: ShardId, ticket: Ticket, ask: Ask) {
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
    pub(in crate::shard) fn evict(&mut self, key: Key, version: u64) {
        if self.held.part.is_some() {
            return self.held.evictions.push((key, version));
        }
        self.owner.evict(&mut self.ctx, &key, version);
    }

    /// Goes on with the writes that waited, as far as that is possible.
    pub(in crate::shard) fn asked_on(&mut self) {
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
            Ask::Change(change) => Answer::Changed(self.clients.change_events(&mut self.ctx, *change)),
            ask if let Err(refusal) = self.may_ask(&ask) => Answer::Room(Err(refusal)),
            ask => self.owner.answer(&mut self.ctx, ask),
        };
        self.ctx.post(from, ToConnections::Answer { ticket, answer });
    }

    /// This shard's part of a batch.
    pub(in crate::shard) fn prepare(&mut self, part: Vec<Write>) {
        let result = self.owner.check(&part);
        self.held.part = Some(part);
        self.ctx.post(SEQUENCER, ToSequencer::Prepared { result });
    }

    /// The decision about it.
    pub(in crate::shard) fn decide(&mut self, go: bool) {
        let part = self.held.part.take().unwrap_or_default();
        let swept = if go { self.owner.commit(&mut self.ctx, part) } else { 0 };
        self.ctx.post(SEQUENCER, ToSequencer::Decided { swept });
        for (key, version) in std::mem::take(&mut self.held.evictions) {
            self.owner.evict(&mut self.ctx, &key, version);
        }
        self.asked_on();
    }
}
