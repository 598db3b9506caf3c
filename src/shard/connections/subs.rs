//! Subscriptions: asked for, followed, fallen behind, ended.

use crate::base::id::ConnId;
use crate::flow::conn::{Conn, Phase, Stage, Sub};
use crate::flow::encode::frame::{Dialect, Frame, Variant};
use crate::flow::fanout::plan::Outcome;
use crate::flow::fanout::pool::{PoolId, PoolMember};
use crate::flow::limits::channels::Overflow;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::{Clients, Reason, SLOW};
use crate::shard::context::Context;
use crate::shard::io::Action;
use crate::shard::mail::subscription::{Join, Joined, Mark};
use crate::shard::mail::to_owner::ToOwner;

use crate::wire::hub::EVERYONE;
use crate::wire::ws::Compression;
use smallvec::SmallVec;

impl Clients {
    /// In which variant a connection gets a subject. The clock's ticks are too short for compression.
    pub(super) fn variant(&mut self, id: ConnId, subject: &Subject) -> Option<Variant> {
        match &self.get(id)?.phase {
            Phase::Events(events) => {
                Some(Variant { personal: events.personal, ..Variant::plain(events.dialect) })
            }
            Phase::Socket(decoder, dialect) => {
                let clock = matches!(subject, Subject::Clock(_));
                let deflate = decoder.compression() == Compression::Deflate && !clock;
                Some(Variant { deflate, ..Variant::plain(*dialect) })
            }
            Phase::Http(_) | Phase::Feed(_) | Phase::Closing => None,
        }
    }

    /// What a connection with subscriptions speaks.
    pub(super) fn dialect(&mut self, id: ConnId) -> Option<Dialect> {
        match &self.get(id)?.phase {
            Phase::Socket(_, dialect) => Some(*dialect),
            Phase::Events(events) => Some(events.dialect),
            Phase::Http(_) | Phase::Feed(_) | Phase::Closing => None,
        }
    }

    /// Starts a subscription; says over which pool.
    pub fn subscribe(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        subject: Subject,
        has: Position,
    ) -> Option<PoolId> {
        let variant = self.variant(id, &subject)?;
        let overflow = match &subject {
            Subject::Channel(name) | Subject::Chosen(name, _) => ctx.limits.overflow(name),
            Subject::Every(_) => Overflow::Disconnect,
            Subject::Key(_) | Subject::List(_) | Subject::Part(..) | Subject::Clock(_) => Overflow::Conflate,
            Subject::Room(_) | Subject::User(_) => Overflow::Yield,
        };
        let pool = self.fanout.pools.enter(&subject, variant, 0, overflow);
        self.enter(ctx, id, pool, has);
        Some(pool)
    }

    /// Puts a connection into a pool: it is registered with the owner, whose answer brings the state.
    pub(super) fn enter(&mut self, ctx: &mut Context, id: ConnId, pool: PoolId, has: Position) {
        let Some(conn) = self.get(id) else { return };
        if conn.subs.iter().any(|sub| sub.pool == pool) {
            return;
        }
        conn.subs.push(Sub { pool, stage: Stage::Behind, since: 0 });
        self.fanout.pools.get_mut(pool).expect("just entered").waiting += 1;
        self.ask_state(ctx, id, pool, has);
    }

    /// Asks for the state of a subscription that is behind.
    fn ask_state(&mut self, ctx: &mut Context, id: ConnId, pool: PoolId, has: Position) {
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return };
        let Some(sub) = conn.subs.iter_mut().find(|sub| sub.pool == pool) else { return };
        sub.stage = Stage::Waiting(ticket);
        let p = self.fanout.pools.get(pool).expect("a subscription's pool is there");
        let (subject, variant) = (p.subject.clone(), p.variant);
        let owner = subject.owner(ctx.shards);
        let enter = matches!(&subject, Subject::Room(room) if self.enters(id, room));
        let who = self.hub(id).and_then(|hub| hub.user.clone());
        let join = Box::new(Join { pool, subject, variant, conn: id, ticket, has, who, enter });
        ctx.post(owner, ToOwner::Join(join));
    }

    /// The state of a subscription has come: from here on the connection follows.
    pub fn joined(&mut self, ctx: &mut Context, joined: Joined) {
        let Joined { pool, conn: id, ticket, at, count, gap, state, batch } = joined;
        let waits = |s: &Sub| s.pool == pool && s.stage == Stage::Waiting(ticket);
        let place = |conn: &Conn| conn.subs.iter().position(waits);
        if self.get(id).and_then(|conn| place(conn)).is_none() {
            return;
        }
        ctx.stats.joins[usize::from(state.is_none())] += 1;
        let subject = &self.fanout.pools.get(pool).expect("a subscription's pool is there").subject;
        let (channel, named) = match subject {
            Subject::Channel(name) => (true, **name != *EVERYONE),
            Subject::Every(_) | Subject::Chosen(..) => (true, false),
            _ => (false, false),
        };
        if let Subject::Room(room) = subject {
            let room = room.clone();
            self.entered(ctx, id, &room);
        }
        if named {
            self.end_implicit(ctx, id);
        }
        if gap && self.events(id).is_some() {
            self.resync(ctx, id, !channel);
            if !channel {
                return;
            }
        }
        let place = self.get(id).and_then(|conn| place(conn)).expect("what is named stays");
        if channel {
            self.tell_beginning(ctx, id, pool, at, gap);
        } else if gap && self.hub(id).is_some_and(|hub| hub.cursor.is_some()) {
            self.say_resync(ctx, id);
            return self.restart_documents(ctx, id);
        } else if gap {
            let why = "slow consumer: deletions that it has missed are forgotten";
            return self.close(ctx, id, Some(SLOW), why, Reason::Slow);
        }
        if let Some(batch) = batch {
            if self.replay(ctx, id, pool, state.unwrap_or_default(), &batch) {
                return;
            }
        } else if channel {
            // what was missed is bounded by the history, and nothing makes up for what is left out
            state.into_iter().for_each(|state| self.insist(id, state));
        } else if let Some(state) = state
            && !self.fanout.direct(id.slot, state)
        {
            self.conns.get_mut(id.slot, id.generation).expect("still there").subs[place].stage =
                Stage::Behind;
            ctx.stats.conflated += 1;
            return;
        }
        let member = self.fanout.join(pool, PoolMember { slot: id.slot, sub: place as u32 });
        let p = self.fanout.pools.get_mut(pool).expect("joined");
        p.waiting -= 1;
        p.at = p.at.max(at);
        self.conns.get_mut(id.slot, id.generation).expect("still there").subs[place].stage =
            Stage::Member(member);
        self.documents_joined(ctx, id, pool, count);
        self.events_joined(ctx, id, pool, at);
    }

    /// A frame for all members of a pool.
    pub fn deliver(&mut self, ctx: &mut Context, id: PoolId, frame: Frame, mark: Mark) {
        let Some(pool) = self.fanout.pools.get_mut(id) else { return };
        if pool.variant.personal {
            return self.deliver_each(ctx, id, &frame, mark.at);
        }
        if let (Some(paced), Some(key)) = (&mut pool.paced, mark.key) {
            let now = ctx.now.mono;
            if !paced.held.is_empty() || now < paced.due {
                if paced.held.is_empty() {
                    paced.before = pool.at;
                    self.pacing.push(paced.due, id);
                }
                pool.at = mark.at;
                paced.held.insert(key, (mark.at, frame));
                return;
            }
            paced.due = now + paced.period;
        }
        self.fanout.deliver(id, frame, mark.at);
        ctx.backlog = self.fanout.backlog();
    }

    /// Lets those pools go on whose next moment has come.
    pub fn pace(&mut self, now: u64) {
        while let Some(id) = self.pacing.pop(now) {
            let Some(pool) = self.fanout.pools.get_mut(id) else { continue };
            let Some(paced) = &mut pool.paced else { continue };
            paced.due = now + paced.period;
            pool.at = paced.before;
            let mut held: Vec<(u64, Frame)> = std::mem::take(&mut paced.held).into_values().collect();
            held.sort_unstable_by_key(|(at, _)| *at);
            for (at, frame) in held {
                self.fanout.deliver(id, frame, at);
            }
        }
    }

    /// What a subscriber that stands at `since` has of a pool's subject.
    fn has(&self, ctx: &Context, pool: PoolId, since: u64) -> Position {
        match self.fanout.pools.get(pool).map(|pool| &pool.subject) {
            Some(Subject::Channel(_) | Subject::Chosen(..)) => Position::Offset((*ctx.epoch).into(), since),
            Some(Subject::Part(..)) if since > 0 => Position::since(since),
            _ => Position::Nothing,
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, ctx: &mut Context, id: ConnId, pool: PoolId) {
        let Some(conn) = self.get(id) else { return };
        let Some(at) = conn.subs.iter().position(|sub| sub.pool == pool) else { return };
        let sub = conn.subs.swap_remove(at);
        if let Some(moved) = conn.subs.get(at)
            && let Stage::Member(place) = moved.stage
        {
            let pool = moved.pool;
            self.fanout.pools.get_mut(pool).expect("a member's pool").members[place as usize].sub = at as u32;
        }
        self.leave(ctx, &sub);
    }

    pub(super) fn leave(&mut self, ctx: &mut Context, sub: &Sub) {
        match sub.stage {
            Stage::Member(place) => self.take_out(sub.pool, place),
            Stage::Waiting(_) | Stage::Behind => {
                self.fanout.pools.get_mut(sub.pool).expect("a subscription's pool").waiting -= 1;
            }
        }
        if self.fanout.pools.get(sub.pool).is_some_and(|pool| pool.is_idle())
            && let Some(pool) = self.fanout.pools.remove(sub.pool)
        {
            let owner = pool.subject.owner(ctx.shards);
            ctx.post(owner, ToOwner::Leave { pool: sub.pool, subject: pool.subject });
        }
    }

    fn take_out(&mut self, pool: PoolId, place: u32) {
        if let Some(moved) = self.fanout.leave(pool, place) {
            let conn = self.conns.at_mut(moved.slot).expect("a member is there");
            conn.subs[moved.sub as usize].stage = Stage::Member(place);
        }
    }

    /// What sending has brought to light.
    pub fn outcome(&mut self, ctx: &mut Context, outcome: Outcome) {
        match outcome {
            Outcome::Broken(slot) => self.drop_conn(ctx, self.id(slot), Reason::Gone),
            Outcome::Blocked(slot) => {
                let id = self.id(slot);
                let Some(conn) = self.get(id) else { return };
                conn.stuck = ctx.now.mono;
                ctx.stats.blocked += 1;
                self.actions.push_back(Action::WatchWritable(id));
            }
            Outcome::Behind(slot, pool, since) => self.fell_behind(ctx, slot, pool, since),
            Outcome::Dropped(count) => ctx.stats.dropped += u64::from(count),
            Outcome::Drained(slot) => {
                let id = self.id(slot);
                let Some(conn) = self.get(id) else { return };
                conn.stuck = 0;
                ctx.stats.drained += 1;
                let behind = conn.subs.iter().filter(|sub| sub.stage == Stage::Behind);
                let behind = behind.map(|sub| (sub.pool, sub.since));
                for (pool, since) in behind.collect::<SmallVec<[(PoolId, u64); 4]>>() {
                    let has = self.missing(id, pool).unwrap_or_else(|| self.has(ctx, pool, since));
                    self.ask_state(ctx, id, pool, has);
                }
            }
        }
    }

    /// A document's subscriber gets the latest state when its socket has drained; a channel's is let go, because no
    /// later publication makes up for a lost one.
    pub(super) fn fell_behind(&mut self, ctx: &mut Context, slot: u32, pool: PoolId, since: u64) {
        let id = self.id(slot);
        if self.fanout.pools.get(pool).is_some_and(|p| p.overflow == Overflow::Disconnect) {
            // what waits is given up, so that the reason is the next thing that it reads
            self.fanout.cut(slot);
            return self.close(
                ctx,
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
        sub.since = since;
        ctx.stats.conflated += 1;
        self.fanout.pools.get_mut(pool).expect("a member's pool").waiting += 1;
        self.take_out(pool, place);
    }
}
