//! The front door of an owner: every question comes in here, and a write waits here while a batch is undecided or too
//! much is under way.

use crate::base::id::ShardId;
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::identity::Actor;
use crate::flow::request::write::Write;
use crate::shard::Shard;
use crate::shard::mail::answer::{Answer, WriteRefused};
use crate::shard::mail::question::{Question, Read};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_sequencer::{SEQUENCER, ToSequencer};
use crate::wire::key::Key;
use std::collections::VecDeque;

/// An owner's part of the batch under way, and what has to wait for the decision.
#[derive(Debug, Default)]
pub struct Held {
    part: Option<Vec<Write>>,
    questions: VecDeque<(ShardId, Question)>,
    /// What limited lists have pushed out meanwhile, at these versions.
    evictions: Vec<(Key, u64)>,
}

impl Shard {
    /// A question to this shard as an owner. A write waits while a batch is undecided, and while what earlier writes
    /// have set off is not sent: whoever asks has only so many questions open, so it waits too.
    pub(in crate::shard) fn asked(&mut self, from: ShardId, question: Question) {
        let writes = matches!(question, Question::Write { .. } | Question::Batch { .. });
        if writes && (!self.held.questions.is_empty() || self.must_hold()) {
            return self.held.questions.push_back((from, question));
        }
        self.answer(from, question);
    }

    fn must_hold(&self) -> bool {
        self.held.part.is_some() || self.ctx.is_behind()
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
        while !self.must_hold()
            && let Some((from, question)) = self.held.questions.pop_front()
        {
            self.answer(from, question);
            self.deliver_local();
        }
    }

    fn answer(&mut self, asker: ShardId, question: Question) {
        let Shard { ctx, owner, rooms, .. } = self;
        let answer = match question {
            Question::Write { write, ticket } => {
                let allowed = rooms.may_write(&write, ctx.now.wall).map_err(WriteRefused::Forbidden);
                ticket.answer(allowed.and_then(|()| owner.write(ctx, write).map_err(WriteRefused::Invalid)))
            }
            Question::Batch { writes, ticket } => {
                ticket.answer(owner.batch(ctx, writes).map_err(WriteRefused::Invalid))
            }
            Question::Read { conn, read } => Answer::Request { conn, part: self.read(read) },
            Question::History { channel, actor, query, ticket } => {
                let allowed = rooms.may_read(&channel, &actor, ctx.now.wall);
                ticket.answer_history(allowed.map(|()| owner.history(ctx, &channel, &query)))
            }
            Question::Room { ask, ticket } => self.room_asked(asker, ticket, *ask),
            Question::User { user, question } => match self.user_asked(asker, &user, question) {
                Some(answer) => answer,
                // the owner of a room answers
                None => return,
            },
        };
        self.ctx.post(asker, ToConnections::Answer(answer));
    }

    fn read(&mut self, read: Read) -> ResponsePart {
        let Shard { ctx, owner, rooms, .. } = self;
        let wall = ctx.now.wall;
        match read {
            Read::Document(key) => ResponsePart::Item(owner.document(key.as_str()).cloned()),
            Read::Documents(pattern) => ResponsePart::Items(owner.matching(&pattern)),
            Read::Keys => ResponsePart::Keys(owner.keys()),
            Read::Channels => ResponsePart::Channels(owner.channels.rows().collect()),
            Read::Rooms(actor) => ResponsePart::Rooms(self.rooms_seen(&actor)),
            Read::Missed(missed) => match rooms.may_read(&missed.channel, &Actor::Nobody, wall) {
                Ok(()) => ResponsePart::History(owner.channels.missed(ctx, &missed)),
                Err(refusal) => ResponsePart::Room(Err(refusal)),
            },
            Read::Views { channel, route, views } => match rooms.may_read(&channel, &Actor::Nobody, wall) {
                Ok(()) => ResponsePart::History(owner.channels.views(ctx, &channel, route, &views)),
                Err(refusal) => ResponsePart::Room(Err(refusal)),
            },
            Read::EnterRoute { route, user } => {
                let room = owner.readers.enter(ctx, route, user.as_ref());
                ResponsePart::Entered(route, user, room)
            }
        }
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
