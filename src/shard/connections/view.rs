//! One connection, as its protocol sees it: what any protocol may do, and nothing of any other connection.

use crate::base::id::ConnId;
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::identity::{Actor, Caller, Identity};
use crate::flow::limits::channels::Overflow;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::close_code::SLOW;
use crate::shard::connections::shared::{Shared, list_once};
use crate::shard::connections::subscriptions::{Joiner, Subscriptions};
use crate::shard::context::Context;
use crate::shard::end_reason::EndReason;
use crate::shard::io::{Action, Door};
use crate::shard::mail::subscription::HistoryBatch;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::QuotaChange;
use crate::wire::cursor::{Cursor, KeyPosition};
use crate::wire::ws::MessageKind;
use std::sync::Arc;

/// How many bytes that nobody handles yet are held for a connection before reading from it stops.
const READ_AHEAD: usize = 64 << 10;

/// What a shard knows of a connection, whatever it speaks.
#[derive(Debug)]
pub struct ConnectionRecord {
    /// Where it came in.
    pub door: Door,
    /// Who it is, and what it may do: as its last request says.
    pub identity: Arc<Identity>,
    /// How it gets what it subscribes to; `None` while it speaks something without subscriptions.
    pub variant: Option<Variant>,
    /// When it last gave a sign of life (nanoseconds, monotonic).
    pub last_heard: u64,
    /// When it is next to be looked after: pinged, or given up.
    pub due: u64,
    /// Since when its socket has been full without taking a byte; 0 if it is not.
    pub blocked_since: u64,
    /// Whether reading from it is paused.
    pub paused: bool,
    /// Whether the peer has said that it will send nothing more.
    pub eof: bool,
}

/// How a connection ends.
#[derive(Debug)]
pub enum Ending {
    /// With the last bytes that are queued, however slowly they are read.
    Finish(EndReason),
    /// In the same way, behind a word of the protocol that says why.
    Close {
        /// The code; none if the peer gave none either.
        code: Option<u16>,
        /// Why, for people.
        why: String,
        /// As it is counted.
        reason: EndReason,
    },
    /// At once.
    Abort(EndReason),
}

/// One connection.
#[derive(Debug)]
pub struct View<'a> {
    /// Which.
    pub id: ConnId,
    /// What is known of it.
    pub record: &'a mut ConnectionRecord,
    /// What it shares with others.
    pub shared: &'a mut Shared,
    /// Its shard.
    pub ctx: &'a mut Context,
    /// How it ends, if it does: as soon as its protocol has done with what is at hand.
    pub ending: Option<Ending>,
}

impl View<'_> {
    /// Ends the connection behind what is queued.
    pub fn finish(&mut self, reason: EndReason) {
        self.ending.get_or_insert(Ending::Finish(reason));
    }

    /// Ends the connection, and tells it why.
    pub fn close(&mut self, code: Option<u16>, why: impl Into<String>, reason: EndReason) {
        self.ending.get_or_insert_with(|| Ending::Close { code, why: why.into(), reason });
    }

    /// Ends the connection at once.
    pub fn abort(&mut self, reason: EndReason) {
        self.ending.get_or_insert(Ending::Abort(reason));
    }

    /// Whether the connection ends: nothing that it says counts any more.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Sends bytes. A connection that has no room for them does not read its replies, and is let go.
    pub fn try_send(&mut self, bytes: impl Into<Frame>) {
        if !self.is_ending() && !self.shared.subscriptions.fanout.try_send(self.id.slot, bytes.into()) {
            // it cannot be told: its socket is full
            self.shared.overflowed.push(self.id);
        }
    }

    /// Sends an answer, beyond the budget if need be: no further request or line is handled while more than the budget
    /// waits, so what piles up is bounded by that and the answers under way.
    pub fn force_send(&mut self, answer: impl Into<Frame>) {
        if !self.is_ending() {
            self.shared.subscriptions.fanout.force_send(self.id.slot, answer.into());
        }
    }

    /// Sends a text message of the hub. Who gets events asks by requests, which have answers of their own.
    pub fn send_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.dialect() == Some(Dialect::Hub) {
            let frame = self.ctx.encoder.message(MessageKind::Text, write);
            self.try_send(frame);
        }
    }

    /// Bytes that wait for this connection alone.
    pub fn queued(&self) -> usize {
        self.shared.subscriptions.fanout.queued(self.id.slot)
    }

    /// Whether so much waits to be read that no more is to be answered; then it is looked at again later.
    pub fn is_unread(&self) -> bool {
        self.queued() > self.ctx.limits.queue_bytes
    }

    /// Handles nothing further until the connection has read what waits for it.
    pub fn wait_until_read(&mut self) {
        list_once(&mut self.shared.unread, self.id);
    }

    /// Reads no more from the socket for now, if so many bytes are held that more than enough are here.
    pub fn pause_beyond_read_ahead(&mut self, held: usize) {
        if held > READ_AHEAD && !std::mem::replace(&mut self.record.paused, true) {
            self.shared.actions.push_back(Action::Pause(self.id));
        }
    }

    /// Reads from the socket again.
    pub fn resume_reading(&mut self) {
        if std::mem::replace(&mut self.record.paused, false) {
            self.shared.actions.push_back(Action::Resume(self.id));
        }
    }

    /// It is looked after in so many nanoseconds; `None`: it may take its time.
    pub fn due_in(&mut self, time: Option<u64>) {
        self.record.due = time.map_or(u64::MAX, |time| self.ctx.now.mono + time);
    }

    /// It is looked after in so many nanoseconds, if not sooner.
    pub fn due_within(&mut self, time: u64) {
        self.record.due = self.record.due.min(self.ctx.now.mono + time);
    }

    /// What it speaks, if that has subscriptions.
    pub fn dialect(&self) -> Option<Dialect> {
        self.record.variant.map(|variant| variant.dialect)
    }

    /// Who it is to the rooms.
    pub fn actor(&self) -> Actor {
        self.caller().actor()
    }

    /// Who it is, at this moment.
    pub fn caller(&self) -> Caller<'_> {
        self.record.identity.at(self.ctx.now.wall)
    }

    /// Its user, if it has one.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.record.identity.user()
    }

    /// Tells the owner of the connection's user, if it has one, what it takes or gives back.
    pub fn change_quota(&mut self, change: QuotaChange) {
        if let Some(user) = self.user().cloned() {
            let mail = ToOwner::Quota { user: user.clone(), conn: self.id, change };
            self.ctx.post_to_user(&user, mail);
        }
    }

    /// Whether a cursor is of this server's histories, as far as it says.
    pub fn recognizes(&self, cursor: &Cursor) -> bool {
        let shards = usize::from(self.ctx.shards);
        cursor.epoch.as_deref().is_none_or(|epoch| *epoch == *self.ctx.epoch)
            && cursor.keys.values().all(|position| match position {
                KeyPosition::Version(_) => true,
                KeyPosition::Owners(stamps) => stamps.len() == shards,
            })
    }

    /// In which variant it gets a subject. The clock's ticks are too short for compression.
    pub fn variant(&self, subject: &Subject) -> Option<Variant> {
        let variant = self.record.variant?;
        Some(Variant { deflate: variant.deflate && !matches!(subject, Subject::Clock(_)), ..variant })
    }

    /// Starts a subscription; says over which pool.
    pub fn subscribe(&mut self, subject: &Subject, position: Position) -> Option<PoolId> {
        self.enter_pool(subject, position, false)
    }

    /// Starts the subscription by which the connection's user enters a room.
    pub fn subscribe_entering(&mut self, room: Arc<str>) {
        self.enter_pool(&Subject::Room(room), Position::Nothing, true);
    }

    fn enter_pool(&mut self, subject: &Subject, position: Position, enters: bool) -> Option<PoolId> {
        let variant = self.variant(subject)?;
        let pool = self.shared.subscriptions.fanout.pools.enter(subject, variant, 0);
        let joiner = Joiner { enters, ..self.joiner() };
        self.shared.subscriptions.subscribe(self.ctx, joiner, pool, position);
        Some(pool)
    }

    /// Starts a subscription over a pool that is there already.
    pub fn subscribe_to_pool(&mut self, pool: PoolId, position: Position) {
        let joiner = self.joiner();
        self.shared.subscriptions.subscribe(self.ctx, joiner, pool, position);
    }

    fn joiner(&self) -> Joiner {
        Joiner { conn: self.id, actor: self.caller().listener(), enters: false }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, pool: PoolId) {
        self.shared.subscriptions.unsubscribe(self.ctx, self.id.slot, pool);
    }

    /// Ends the subscription to a subject, if there is one.
    pub fn unsubscribe_from(&mut self, subject: &Subject) {
        if let Some(pool) = self.pool_of(subject) {
            self.unsubscribe(pool);
        }
    }

    /// The pool over which it gets a subject, if it is subscribed.
    pub fn pool_of(&self, subject: &Subject) -> Option<PoolId> {
        self.subscriptions().pool_of(self.id.slot, subject, self.variant(subject)?)
    }

    /// What a pool is about.
    pub fn subject(&self, pool: PoolId) -> Option<&Subject> {
        self.subscriptions().subject(pool)
    }

    /// All subscriptions of the shard.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.shared.subscriptions
    }

    /// Whether it follows a pool, and does not only wait to.
    pub fn is_member(&self, pool: PoolId) -> bool {
        self.subscriptions().is_member(self.id.slot, pool)
    }

    /// How far it has come in a pool; `None` if it has nothing of it.
    pub fn position(&self, pool: PoolId) -> Option<Reach> {
        self.subscriptions().position(self.id.slot, pool)
    }

    /// A state made at `at` goes out, and the connection follows from there. False if its socket has no room: the state
    /// is asked for again when there is.
    pub fn follow(&mut self, pool: PoolId, state: Option<Frame>, at: Reach) -> bool {
        let slot = self.id.slot;
        if let Some(state) = state
            && !self.shared.subscriptions.fanout.try_send(slot, state)
        {
            let since = self.position(pool).unwrap_or_default();
            self.shared.subscriptions.stay_behind(slot, pool, since);
            self.ctx.stats.conflated += 1;
            return false;
        }
        self.shared.subscriptions.follow(slot, pool, at);
        true
    }

    /// What was missed of a channel goes out, at most what may wait for a connection; behind the last of it the connection
    /// follows, and until then it is late. `at`: how far the channel is. False if no more may wait: then it is asked for
    /// again later.
    pub fn follow_channel(
        &mut self,
        pool: PoolId,
        at: Reach,
        missed: Option<(Frame, &HistoryBatch)>,
    ) -> bool {
        let (slot, subscriptions) = (self.id.slot, &mut self.shared.subscriptions);
        let Some((bytes, batch)) = missed else {
            subscriptions.follow(slot, pool, at);
            return true;
        };
        let taken = bytes.is_empty() || subscriptions.fanout.offer(slot, bytes);
        if taken && !batch.more {
            subscriptions.follow(slot, pool, at);
        } else {
            subscriptions.stay_behind(slot, pool, if taken { batch.reach } else { batch.since });
        }
        taken
    }

    /// What a late reader of a channel has missed is gone, in part or all of it: as the channel's rule has it, the
    /// connection is let go, or goes on behind that. True if it goes on.
    pub fn goes_on_behind_gap(&mut self, pool: PoolId, next: Reach) -> bool {
        let rule = match self.subject(pool) {
            Some(Subject::Channel(name) | Subject::Chosen(name, _)) => self.ctx.limits.overflow(name),
            _ => Overflow::Disconnect,
        };
        if rule == Overflow::Disconnect {
            // what waits is given up, so that the reason is the next thing that it reads
            self.shared.subscriptions.fanout.drop_queue(self.id.slot);
            self.close_slow("slow consumer: publications that it has missed are gone");
            return false;
        }
        let since = self.position(pool).unwrap_or_default();
        self.ctx.stats.dropped += next.as_offset().get().saturating_sub(since.as_offset().get());
        true
    }

    /// Whether it is late in a pool: it has something of it, and follows it no more.
    pub fn is_late(&self, pool: PoolId) -> bool {
        self.position(pool).is_some() && !self.is_member(pool)
    }

    /// Offers a frame of a pool to this member alone; false if no more may wait for it. `before`: how far it has come.
    pub fn offer(&mut self, pool: PoolId, frame: Frame, before: Reach) -> bool {
        let takes = self.shared.subscriptions.fanout.offer(self.id.slot, frame);
        if !takes {
            self.fell_behind(pool, before);
        }
        takes
    }

    /// It cannot take what a pool has for it: from here on it is late. It gets what it has missed when its socket has
    /// drained: of a document the latest state, of a channel each publication.
    pub fn fell_behind(&mut self, pool: PoolId, since: Reach) {
        if !self.shared.subscriptions.fall_behind(self.id.slot, pool, since) {
            return;
        }
        if self.subject(pool).is_some_and(Subject::is_channel) {
            self.ctx.stats.late += 1;
        } else {
            self.ctx.stats.conflated += 1;
        }
    }

    /// Ends a connection that has not kept up with what it is subscribed to.
    pub fn close_slow(&mut self, why: &str) {
        self.close(Some(SLOW), why, EndReason::Slow);
    }

    /// Sends what is due to the connection in a pool that it is about to leave. One that has no room for it is let go.
    pub fn send_due(&mut self, pool: PoolId) {
        if !self.shared.subscriptions.fanout.hand_over(pool, self.id.slot) {
            self.shared.overflowed.push(self.id);
        }
    }

    /// Asks for what is next of all that has fallen behind. `missing`: what the connection has of a pool, where its
    /// protocol knows better.
    pub fn catch_up(&mut self, missing: impl Fn(PoolId) -> Option<Position>) {
        for (pool, since) in self.subscriptions().behind(self.id.slot) {
            let has = missing(pool).unwrap_or(since);
            let joiner = self.joiner();
            self.shared.subscriptions.ask_state(self.ctx, joiner, pool, has);
        }
    }
}
