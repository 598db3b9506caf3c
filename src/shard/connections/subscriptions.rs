//! What the connections of a shard are subscribed to, and how far each subscription is: asked for, followed, fallen
//! behind, ended.

use crate::base::id::ConnId;
use crate::base::slab::Table;
use crate::base::timers::Timers;
use crate::flow::conn::listing::Row;
use crate::flow::encode::frame::{Frame, Variant};
use crate::flow::fanout::Fanout;
use crate::flow::fanout::pool::{PoolId, PoolMember};
use crate::flow::fanout::reach::Reach;
use crate::flow::fanout::send_queue::Budget;
use crate::flow::identity::Actor;
use crate::flow::limits::Limits;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Mark};
use crate::shard::mail::to_owner::ToOwner;
use crate::wire::hub::EVERYONE;
use smallvec::SmallVec;
use std::sync::Arc;

/// One subscription of a connection.
#[derive(Debug)]
pub struct Subscription {
    /// The pool.
    pub pool: PoolId,
    /// How far it is.
    pub stage: Stage,
    /// How far it had come when it fell behind.
    pub since: Reach,
}

/// How far a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asked for, for the first time; the state comes with this number.
    Joining(u32),
    /// A member of the pool, at this place.
    Member(u32),
    /// Fell behind: it is asked for again when the socket has drained.
    Behind,
    /// Asked for again; what it has missed comes with this number.
    Rejoining(u32),
}

/// Who subscribes.
#[derive(Debug)]
pub struct Joiner {
    /// The connection.
    pub conn: ConnId,
    /// Who it is, as a listener.
    pub actor: Actor,
    /// Whether the user enters a room by this, as a member.
    pub enters: bool,
}

/// All subscriptions of the connections of a shard.
#[derive(Debug)]
pub struct Subscriptions {
    /// The pools, and what goes out to their members.
    pub fanout: Fanout,
    /// By the slot of the connection.
    lists: Table<SmallVec<[Subscription; 2]>>,
    /// Pools that hold frames back, and until when.
    pacing: Timers<PoolId>,
    tickets: u32,
}

impl Subscriptions {
    /// Bytes that one connection takes here, two subscriptions included.
    pub const PLACE: usize = Table::<SmallVec<[Subscription; 2]>>::PLACE;

    /// None.
    pub fn new(limits: &Limits) -> Subscriptions {
        Subscriptions {
            fanout: Fanout::new(budget(limits)),
            lists: Table::default(),
            pacing: Timers::default(),
            tickets: 0,
        }
    }

    /// Other limits hold from now on.
    pub fn limits_changed(&mut self, limits: &Limits) {
        self.fanout.set_budget(budget(limits));
    }

    /// A new connection has the slot.
    pub fn open(&mut self, slot: u32) {
        self.lists.insert(slot, SmallVec::new());
        self.fanout.open(slot);
    }

    /// The connection is gone.
    pub fn close(&mut self, ctx: &mut Context, slot: u32) {
        self.end_all(ctx, slot);
        self.lists.remove(slot);
        self.fanout.forget(slot);
    }

    /// The subscriptions of a connection.
    pub fn of(&self, slot: u32) -> &[Subscription] {
        self.lists.at(slot).map_or(&[], |list| list)
    }

    fn find_mut(&mut self, slot: u32, pool: PoolId) -> Option<&mut Subscription> {
        self.lists.at_mut(slot)?.iter_mut().find(|sub| sub.pool == pool)
    }

    fn find(&self, slot: u32, pool: PoolId) -> Option<&Subscription> {
        self.of(slot).iter().find(|sub| sub.pool == pool)
    }

    /// What a pool is about.
    pub fn subject(&self, pool: PoolId) -> Option<&Subject> {
        self.fanout.pools.get(pool).map(|pool| &pool.subject)
    }

    /// The subjects of a connection's subscriptions, with their pools.
    pub fn subjects(&self, slot: u32) -> impl Iterator<Item = (&Subject, PoolId)> {
        self.of(slot).iter().filter_map(|sub| Some((self.subject(sub.pool)?, sub.pool)))
    }

    /// The pool over which a connection gets a subject, if it is subscribed.
    pub fn pool_of(&self, slot: u32, subject: &Subject, variant: Variant) -> Option<PoolId> {
        let pool = self.fanout.pools.find(subject, variant)?;
        self.find(slot, pool).map(|_| pool)
    }

    /// Subscribes a connection to a pool: it is registered with the owner, whose answer brings the state.
    pub fn subscribe(&mut self, ctx: &mut Context, joiner: Joiner, pool: PoolId, position: Position) {
        let Some(list) = self.lists.at_mut(joiner.conn.slot) else { return };
        if list.iter().any(|sub| sub.pool == pool) {
            return;
        }
        list.push(Subscription { pool, stage: Stage::Joining(0), since: Reach::default() });
        self.fanout.pools.get_mut(pool).expect("just entered").waiting += 1;
        self.ask_state(ctx, joiner, pool, position);
    }

    /// Asks for the state of a subscription that is behind.
    pub fn ask_state(&mut self, ctx: &mut Context, joiner: Joiner, pool: PoolId, position: Position) {
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        let Joiner { conn, actor, enters } = joiner;
        let Some(sub) = self.find_mut(conn.slot, pool) else { return };
        sub.stage = match sub.stage {
            Stage::Joining(_) => Stage::Joining(ticket),
            Stage::Behind | Stage::Rejoining(_) | Stage::Member(_) => Stage::Rejoining(ticket),
        };
        let p = self.fanout.pools.get(pool).expect("a subscription's pool is there");
        let (subject, variant) = (p.subject.clone(), p.variant);
        let owner = subject.owner(ctx.shards);
        let join = Join { pool, subject, variant, conn, ticket, has: position, actor, enter: enters };
        ctx.post(owner, ToOwner::Join(Box::new(join)));
    }

    /// Whether a connection waits for the state of a pool, by that number.
    pub fn waits_for(&self, slot: u32, pool: PoolId, ticket: u32) -> bool {
        let waits = [Stage::Joining(ticket), Stage::Rejoining(ticket)];
        self.find(slot, pool).is_some_and(|sub| waits.contains(&sub.stage))
    }

    /// Whether a connection follows a pool, and does not only wait to.
    pub fn is_member(&self, slot: u32, pool: PoolId) -> bool {
        self.find(slot, pool).is_some_and(|sub| matches!(sub.stage, Stage::Member(_)))
    }

    /// Whether a connection follows all that it is subscribed to.
    pub fn follows_all(&self, slot: u32) -> bool {
        self.of(slot).iter().all(|sub| matches!(sub.stage, Stage::Member(_)))
    }

    /// The state is on its way to a connection, which follows from here on. The owner made it at `at`.
    pub fn follow(&mut self, slot: u32, pool: PoolId, at: Reach) {
        let Some(place) = self.of(slot).iter().position(|sub| sub.pool == pool) else { return };
        let member = self.fanout.join(pool, PoolMember { slot, sub: place as u32 }, at);
        self.fanout.pools.get_mut(pool).expect("joined").waiting -= 1;
        let sub = &mut self.lists.at_mut(slot).expect("just seen")[place];
        sub.stage = Stage::Member(member);
    }

    /// The state that was waited for goes out only in part, or not at all; `since`: how far the connection has come.
    pub fn stay_behind(&mut self, slot: u32, pool: PoolId, since: Reach) {
        if let Some(sub) = self.find_mut(slot, pool) {
            (sub.stage, sub.since) = (Stage::Behind, since);
            self.fanout.tell_drained(slot);
        }
    }

    /// A member gets no more of its pool until it has drained; false if it is none.
    pub fn fall_behind(&mut self, slot: u32, pool: PoolId, since: Reach) -> bool {
        let Some(sub) = self.find_mut(slot, pool) else { return false };
        let Stage::Member(place) = sub.stage else { return false };
        (sub.stage, sub.since) = (Stage::Behind, since);
        self.fanout.pools.get_mut(pool).expect("a member's pool").waiting += 1;
        self.take_out(pool, place);
        // it is asked for again once what waits has gone
        self.fanout.tell_drained(slot);
        true
    }

    /// What of a connection's subscriptions is to be asked for next, with what it has of it: everything that has fallen
    /// behind, but one channel at a time, in turn, because what comes of it may be as much as may wait.
    pub fn behind(&self, slot: u32) -> SmallVec<[(PoolId, Position); 4]> {
        let list = self.of(slot);
        let turn = self.tickets as usize % list.len().max(1);
        let mut channel = false;
        let (before, after) = list.split_at(turn);
        let behind = after.iter().chain(before).filter(|sub| sub.stage == Stage::Behind);
        let next = behind.filter_map(|sub| {
            let is_channel = self.subject(sub.pool)?.is_channel();
            if is_channel && std::mem::replace(&mut channel, true) {
                return None;
            }
            Some((sub.pool, self.position_since(sub)))
        });
        next.collect()
    }

    /// What a subscriber that fell behind has of its subject.
    fn position_since(&self, sub: &Subscription) -> Position {
        match self.subject(sub.pool) {
            Some(subject) if subject.is_channel() => Position::Late(sub.since.as_offset()),
            Some(Subject::Part(..)) if sub.since > Reach::default() => Position::since(sub.since.as_stamp()),
            _ => Position::Nothing,
        }
    }

    /// How far a connection has come in a pool; `None` if it has nothing of it.
    pub fn position(&self, slot: u32, pool: PoolId) -> Option<Reach> {
        let sub = self.find(slot, pool)?;
        match sub.stage {
            Stage::Member(_) => Some(self.fanout.position(pool, slot)),
            Stage::Behind | Stage::Rejoining(_) => Some(sub.since),
            Stage::Joining(_) => None,
        }
    }

    /// Whether a connection may ask at once for what is behind; if not, that is done when what waits for it has gone.
    pub fn may_catch_up(&mut self, slot: u32) -> bool {
        let behind = self.of(slot).iter().any(|sub| sub.stage == Stage::Behind);
        let drained = self.fanout.queued(slot) == 0;
        if behind && !drained {
            self.fanout.tell_drained(slot);
        }
        behind && drained
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, ctx: &mut Context, slot: u32, pool: PoolId) {
        let Some(list) = self.lists.at_mut(slot) else { return };
        let Some(at) = list.iter().position(|sub| sub.pool == pool) else { return };
        let sub = list.swap_remove(at);
        if let Some(moved) = list.get(at)
            && let Stage::Member(place) = moved.stage
        {
            let pool = moved.pool;
            self.fanout.pools.get_mut(pool).expect("a member's pool").members[place as usize].sub = at as u32;
        }
        self.leave(ctx, &sub);
    }

    /// Ends all subscriptions of a connection.
    pub fn end_all(&mut self, ctx: &mut Context, slot: u32) {
        let Some(list) = self.lists.at_mut(slot) else { return };
        for sub in std::mem::take(list) {
            self.leave(ctx, &sub);
        }
    }

    fn leave(&mut self, ctx: &mut Context, sub: &Subscription) {
        match sub.stage {
            Stage::Member(place) => self.take_out(sub.pool, place),
            Stage::Joining(_) | Stage::Behind | Stage::Rejoining(_) => {
                self.fanout.pools.get_mut(sub.pool).expect("a subscription's pool").waiting -= 1;
            }
        }
        if self.fanout.pools.get(sub.pool).is_some_and(|pool| pool.is_idle())
            && let Some(pool) = self.fanout.pools.remove(sub.pool)
        {
            ctx.post(
                pool.subject.owner(ctx.shards),
                ToOwner::Leave { pool: sub.pool, subject: pool.subject },
            );
        }
    }

    fn take_out(&mut self, pool: PoolId, place: u32) {
        if let Some(moved) = self.fanout.leave(pool, place) {
            let list = self.lists.at_mut(moved.slot).expect("a member is there");
            list[moved.sub as usize].stage = Stage::Member(place);
        }
    }

    /// How many connections each pool has whose name anybody may know: not those of channels, which may be private rooms,
    /// and not those around rooms and users.
    pub fn pools(&self) -> Vec<(Arc<str>, usize)> {
        let open = self.fanout.pools.iter().filter(|(_, pool)| match &pool.subject {
            Subject::Channel(name) | Subject::Chosen(name, _) => **name == *EVERYONE,
            Subject::Room(_) | Subject::User(_) => false,
            Subject::Key(_) | Subject::List(_) | Subject::Part(..) => true,
            Subject::Every(_) | Subject::Clock(_) => true,
        });
        open.map(|(_, pool)| (pool.subject.name().into(), pool.subscribers())).collect()
    }

    /// How many connections are subscribed to each channel. Those that get every channel do not count.
    pub fn listeners(&self) -> Vec<Row> {
        let rows = self.fanout.pools.iter().filter_map(|(_, pool)| match &pool.subject {
            Subject::Channel(name) | Subject::Chosen(name, _) => {
                Some(Row { name: name.clone(), offset: None, subscribers: pool.subscribers() })
            }
            _ => None,
        });
        rows.collect()
    }

    /// The slots of all members of the pools of a channel, or of some of its publications.
    pub fn members_of(&self, channel: &str) -> Vec<(PoolId, u32)> {
        let pools = self.fanout.pools.iter().filter(|(_, pool)| match &pool.subject {
            Subject::Channel(name) | Subject::Chosen(name, _) => **name == *channel,
            _ => false,
        });
        pools.flat_map(|(id, pool)| pool.members.iter().map(move |member| (id, member.slot))).collect()
    }

    /// The connections that follow a pool.
    pub fn slots_of(&self, pool: PoolId) -> Vec<u32> {
        let members = self.fanout.pools.get(pool).map(|pool| pool.members.iter());
        members.into_iter().flatten().map(|member| member.slot).collect()
    }

    /// A frame for all members of a pool, who share its bytes.
    pub fn deliver(&mut self, ctx: &mut Context, id: PoolId, frame: Frame, mark: Mark) {
        let Some(pool) = self.fanout.pools.get_mut(id) else { return };
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

    /// When the next paced pool may go on.
    pub fn next_pace(&self) -> Option<u64> {
        self.pacing.next()
    }

    /// Lets those pools go on whose next moment has come.
    pub fn pace(&mut self, ctx: &mut Context) {
        let now = ctx.now.mono;
        while let Some(id) = self.pacing.pop(now) {
            let Some(pool) = self.fanout.pools.get_mut(id) else { continue };
            let Some(paced) = &mut pool.paced else { continue };
            paced.due = now + paced.period;
            pool.at = paced.before;
            let mut held: Vec<(Reach, Frame)> = std::mem::take(&mut paced.held).into_values().collect();
            held.sort_unstable_by_key(|(at, _)| *at);
            for (at, frame) in held {
                self.fanout.deliver(id, frame, at);
            }
        }
        ctx.backlog = self.fanout.backlog();
    }
}

/// What may wait for one connection.
fn budget(limits: &Limits) -> Budget {
    Budget { bytes: limits.queue_bytes, frames: limits.hub.queue_frames }
}
