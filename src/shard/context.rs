//! What all parts of a shard share: who it is, what time it is, what holds, and the mail that goes out.

use crate::base::id::ShardId;
use crate::base::stamp::Stamp;
use crate::base::time::Now;
use crate::base::timers::Timers;
use crate::flow::encode::frame::Encoder;
use crate::flow::limits::Limits;
use crate::flow::route::owner::{owner, owner_of_user};
use crate::flow::state::stamp::Stamps;
use crate::shard::credit::Credit;
use crate::shard::mail::Mail;
use crate::shard::mail::question::Question;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::stats::Stats;
use crate::shard::timers::Timer;
use std::collections::VecDeque;
use std::sync::Arc;

/// The number of this node. There is one node so far.
const NODE: u8 = 0;

/// The shared part of a shard.
#[derive(Debug)]
pub struct Context {
    /// This shard.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// What holds.
    pub limits: Arc<Limits>,
    /// The name of this life of the server's memory: offsets and stamps mean nothing in another one.
    pub epoch: Arc<str>,
    /// The moment of the present turn.
    pub now: Now,
    /// The clock of commits.
    pub stamps: Stamps,
    /// Builds frames.
    pub encoder: Encoder,
    /// How much is under way to and from other shards.
    pub credit: Credit,
    /// Bytes of frames that wait for the broadcast under way to end, as the connections' side told last.
    pub backlog: usize,
    /// What is to be done at which moment (monotonic).
    pub timers: Timers<Timer>,
    /// What is counted.
    pub stats: Stats,
    local: VecDeque<Mail>,
    outboxes: Vec<Vec<Mail>>,
}

impl Context {
    /// The context of shard `id` of `shards`.
    pub fn new(id: ShardId, shards: u16, limits: Arc<Limits>, epoch: Arc<str>) -> Context {
        let outboxes = (0..shards).map(|_| Vec::new()).collect();
        let (now, stamps, encoder) =
            (Now::default(), Stamps::new(NODE, id), Encoder::new(limits.deflate_min));
        let credit = Credit::new(shards);
        let (backlog, timers, stats, local) = Default::default();
        Context {
            id,
            shards,
            limits,
            epoch,
            now,
            stamps,
            encoder,
            credit,
            backlog,
            timers,
            stats,
            local,
            outboxes,
        }
    }

    /// Other limits hold from now on.
    pub fn set_limits(&mut self, limits: Arc<Limits>) {
        self.encoder.set_deflate_min(limits.deflate_min);
        self.limits = limits;
    }

    /// Sends mail; to oneself it arrives when the present piece of work is done.
    pub fn post(&mut self, to: ShardId, mail: impl Into<Mail>) {
        let mail = mail.into();
        if to == self.id {
            self.local.push_back(mail);
        } else {
            self.credit.give(to, mail.weight());
            self.outboxes[to.index()].push(mail);
        }
    }

    /// Sends mail to the owner of a name.
    pub fn post_to_owner(&mut self, name: &str, mail: impl Into<Mail>) {
        self.post(owner(name, self.shards), mail);
    }

    /// Asks the owner of a name.
    pub fn ask(&mut self, name: &str, question: Question) {
        self.post_to_owner(name, ToOwner::Ask(question));
    }

    /// Sends mail to the owner of a user.
    pub fn post_to_user(&mut self, user: &str, mail: impl Into<Mail>) {
        self.post(owner_of_user(user, self.shards), mail);
    }

    /// Sends mail to every shard, this one included.
    pub fn post_to_all<M: Into<Mail>>(&mut self, mut mail: impl FnMut() -> M) {
        for shard in self.all() {
            self.post(shard, mail());
        }
    }

    /// Every shard.
    pub fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// The next mail to oneself.
    pub fn next_local(&mut self) -> Option<Mail> {
        self.local.pop_front()
    }

    /// Everything for another shard, its clock first.
    pub fn take(&mut self, to: ShardId) -> Option<Vec<Mail>> {
        let outbox = &mut self.outboxes[to.index()];
        if outbox.is_empty() {
            return None;
        }
        let mut mail = std::mem::take(outbox);
        mail.insert(0, Mail::Clock { stamp: self.stamps.last() });
        Some(mail)
    }

    /// Whether so much is under way that no more should be taken in: frames that wait for sockets, or for other shards.
    pub fn is_behind(&self) -> bool {
        let most = self.limits.queue_bytes;
        self.backlog > most || self.credit.exceeds(most)
    }

    /// The next commit stamp.
    pub fn stamp(&mut self) -> Stamp {
        self.stamps.next(self.now.wall)
    }
}
