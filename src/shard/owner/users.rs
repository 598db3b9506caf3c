//! The users that this shard owns: their connections anywhere, the rooms that they are members of, how they show
//! themselves. A user is there as long as a connection of it lives, and every connection has to show that it does.

use crate::base::id::{ConnId, ShardId};
use crate::base::timers::Timers;
use crate::flow::encode::rooms as encode;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{Shown, User};
use crate::flow::state::room::Refusal;
use crate::shard::Shard;
use crate::shard::mail::answer::Answer;
use crate::shard::mail::question::{Question, UserQuestion};
use crate::shard::mail::subscription::Mark;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{MembershipUpdate, QuotaChange, Reservation};
use crate::shard::timers::{OwnerTimer, Timer};

use hashbrown::HashMap;
use std::sync::Arc;

/// The users of this shard.
#[derive(Debug, Default)]
pub struct Users {
    users: HashMap<Arc<str>, User>,
    /// When those without connections are missed.
    missed: Timers<Arc<str>>,
}

impl Users {
    /// Those that are known.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &User)> {
        self.users.iter()
    }

    /// How a user shows itself.
    pub fn shown(&self, user: &str, wall: u64) -> Shown {
        self.users.get(user).map_or_else(|| Shown::offline(wall), |user| user.shown().clone())
    }
}

impl Shard {
    /// A connection of a user takes something or gives it back. Whoever has a connection is there.
    pub(in crate::shard) fn held(&mut self, from: ShardId, name: &Arc<str>, conn: ConnId, what: QuotaChange) {
        let (now, grace) = (self.ctx.now, self.ctx.limits.hub.presence_grace);
        let (came, gone) = (what == QuotaChange::Connect, what == QuotaChange::Disconnect);
        if !self.quotas.hold(&mut self.ctx, from, name, conn, what) || !(came || gone) {
            return;
        }
        let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(now.wall));
        if came {
            user.connect((from, conn));
        } else if let Some(at) = user.disconnect((from, conn), now.mono, grace) {
            self.users.missed.push(at, name.clone());
            self.ctx.timers.push(at, Timer::Owner(OwnerTimer::Users));
        }
        self.look_at(name);
    }

    /// A connection of the sender wants its user to be in one more room.
    pub(in crate::shard) fn reserve(&mut self, from: ShardId, name: Arc<str>, room: Arc<str>, conn: ConnId) {
        let most = self.ctx.limits.hub.rooms_per_user as usize;
        let wall = self.ctx.now.wall;
        let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(wall));
        let granted = user.lines().contains(&(from, conn)) && user.reserve(&room, most);
        self.look_at(&name);
        let reservation = Box::new(Reservation { user: name, room, granted });
        self.ctx.post(from, ToConnections::Reserved { conn, reservation });
    }

    /// A room says where a user stands with it.
    pub(in crate::shard) fn membership(
        &mut self,
        name: &Arc<str>,
        room: &Arc<str>,
        update: MembershipUpdate,
    ) {
        let wall = self.ctx.now.wall;
        let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(wall));
        match update {
            MembershipUpdate::Returned => user.settle(room, true, None),
            MembershipUpdate::Settled { member } => user.settle(room, true, Some(member)),
            MembershipUpdate::Ended => user.settle(room, false, Some(false)),
        }
        if update == (MembershipUpdate::Settled { member: true }) {
            // the room took it for there, or for absent: this is how it is
            let (user, shown) = (name.clone(), user.shown().clone());
            self.ctx.post_to_owner(room, ToOwner::Presence { room: room.clone(), user, shown });
        }
        self.look_at(name);
    }

    /// A question to the owner of a user; no answer if the owner of a room gives it.
    pub(in crate::shard) fn user_asked(
        &mut self,
        asker: ShardId,
        name: &Arc<str>,
        question: UserQuestion,
    ) -> Option<Answer> {
        let (wall, limits) = (self.ctx.now.wall, self.ctx.limits.hub);
        match question {
            UserQuestion::Presence { conn, query } => {
                let shown = Box::new((name.clone(), self.users.shown(name, wall)));
                Some(Answer::Presence { conn, query, shown })
            }
            UserQuestion::Status { status, custom, ticket } => {
                let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(wall));
                // one that was turned away has nothing to say
                if user.lines().contains(&(asker, ticket.conn)) {
                    user.set(status, custom);
                }
                self.look_at(name);
                Some(ticket.answer_room(Ok(Vec::new())))
            }
            UserQuestion::Forward { ask, ticket } => {
                let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(wall));
                if !user.reserve(&ask.room, limits.rooms_per_user as usize) {
                    self.look_at(name);
                    return Some(ticket.answer_room(Err(Refusal::Limit)));
                }
                let room = ask.room.clone();
                let ask = Box::new(RoomAsk { reserved: Some(name.clone()), ..*ask });
                let question = Box::new(Question::Room { ask, ticket });
                self.ctx.post_to_owner(&room, ToOwner::Forwarded { asker, question });
                None
            }
        }
    }

    /// The moment has come at which somebody may be missed.
    pub(in crate::shard) fn users_missed(&mut self) {
        while let Some(name) = self.users.missed.pop(self.ctx.now.mono) {
            self.look_at(&name);
        }
    }

    /// Tells everyone concerned if a user shows itself otherwise, and forgets it if nothing about it is left.
    fn look_at(&mut self, name: &Arc<str>) {
        let now = self.ctx.now;
        let Some(user) = self.users.users.get_mut(name) else { return };
        if let Some(shown) = user.look(now.mono, now.wall).cloned() {
            for room in user.rooms() {
                let (user, shown) = (name.clone(), shown.clone());
                self.ctx.post_to_owner(room, ToOwner::Presence { room: room.clone(), user, shown });
            }
            if let Some(watch) = self.owner.watches.get_mut(&Subject::User(name.clone())) {
                watch.send(&mut self.ctx, &Mark { key: None, at: 0 }, |encoder, variant| {
                    Some(encode::text(encoder, variant.dialect, |out| {
                        encode::presence(name, &shown, None, out)
                    }))
                });
            }
        }
        if self.users.users.get(name).is_some_and(User::is_idle) {
            self.users.users.remove(name);
        }
    }
}
