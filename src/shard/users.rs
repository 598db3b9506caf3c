//! The users that this shard owns: their connections anywhere, the rooms that they are members of, how they show
//! themselves. A user is there as long as a connection of it lives, and every connection has to show that it does.

use crate::base::id::{ConnId, ShardId};
use crate::base::timers::Timers;
use crate::flow::conn::ask::{Answer, Ask, Ticket};
use crate::flow::conn::seats::{RoomAsk, UserAsk};
use crate::flow::encode::rooms as encode;
use crate::flow::fanout::pool::Subject;
use crate::flow::route::owner::owner_of_user;
use crate::flow::state::presence::{Shown, User};
use crate::flow::state::room::Refusal;
use crate::shard::Shard;
use crate::shard::care::Chore;
use crate::shard::desk::Desk;
use crate::shard::mail::{Mail, Mark};
use crate::shard::quotas::Holding;
use crate::shard::rooms::RoomMail;
use hashbrown::HashMap;
use std::sync::Arc;

/// What a user's owner hears.
#[derive(Debug)]
pub enum UserMail {
    /// A connection of the sender wants to enter a room: may the user be in one more?
    Reserve(Arc<str>, ConnId),
    /// A room (or, for an answer that came too late, the asking shard) says how a reservation ended (`true`), or that
    /// something else has changed: whether the user is a member now.
    Settled(Arc<str>, bool, Option<bool>),
}

/// The users of this shard.
#[derive(Debug, Default)]
pub struct Users {
    users: HashMap<Arc<str>, User>,
    /// When those without connections are missed.
    missed: Timers<Arc<str>>,
}

impl Desk {
    /// Tells a user's owner.
    pub fn post_to_user(&mut self, user: &Arc<str>, mail: UserMail) {
        self.post(owner_of_user(user, self.shards), Mail::User(user.clone(), mail));
    }
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
    pub(super) fn held(&mut self, from: ShardId, name: &Arc<str>, conn: ConnId, what: Holding) {
        let (now, grace) = (self.desk.now, self.desk.limits.hub.presence_grace);
        let (came, gone) = (what == Holding::Connection, what == Holding::Gone);
        if !self.quotas.hold(&mut self.desk, from, name, conn, what) || !(came || gone) {
            return;
        }
        let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(now.wall));
        if came {
            user.connect((from, conn));
        } else if let Some(at) = user.disconnect((from, conn), now.mono, grace) {
            self.users.missed.push(at, name.clone());
            self.chores.push(at, Chore::Users);
        }
        self.look_at(name);
    }

    /// Something that this shard hears as the owner of a user.
    pub(super) fn user_mail(&mut self, from: ShardId, name: &Arc<str>, mail: UserMail) {
        let (now, limits) = (self.desk.now, self.desk.limits.hub);
        let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(now.wall));
        match mail {
            UserMail::Reserve(room, conn) => {
                let known = user.lines().contains(&(from, conn));
                let may = known && user.reserve(&room, limits.rooms_per_user as usize);
                let told = Box::new((name.clone(), room, may));
                self.desk.post(from, Mail::Reserved(conn, told));
            }
            UserMail::Settled(room, reserved, member) => {
                user.settle(&room, reserved, member);
                if reserved && member == Some(true) {
                    // the room took it for there, or for absent: this is how it is
                    let seen = RoomMail::Seen(name.clone(), user.shown().clone());
                    self.desk.post_to_owner(&room, Mail::Room(room.clone(), seen));
                }
            }
        }
        self.look_at(name);
    }

    /// A question to the owner of a user.
    pub(super) fn user_asked(&mut self, from: ShardId, ticket: Ticket, name: &Arc<str>, ask: UserAsk) {
        let (now, limits) = (self.desk.now, self.desk.limits.hub);
        let answer = match ask {
            UserAsk::Look => Answer::User(Box::new((name.clone(), self.users.shown(name, now.wall)))),
            UserAsk::Says(status, custom) => {
                let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(now.wall));
                // one that was turned away has nothing to say
                if user.lines().contains(&(from, ticket.conn)) {
                    user.set(status, custom);
                }
                self.look_at(name);
                Answer::Room(Ok(Vec::new()))
            }
            UserAsk::Forward(ask) => {
                let user = self.users.users.entry(name.clone()).or_insert_with(|| User::new(now.wall));
                if user.reserve(&ask.room, limits.rooms_per_user as usize) {
                    let room = ask.room.clone();
                    let ask = Box::new(RoomAsk { reserved: Some(name.clone()), ..*ask });
                    let mail = Mail::Forwarded(from, Box::new((ticket, Ask::Room(ask))));
                    return self.desk.post_to_owner(&room, mail);
                }
                self.look_at(name);
                Answer::Room(Err(Refusal::Limit))
            }
        };
        self.desk.post(from, Mail::Answer(ticket, answer));
    }

    /// The moment has come at which somebody may be missed.
    pub(super) fn users_missed(&mut self) {
        while let Some(name) = self.users.missed.pop(self.desk.now.mono) {
            self.look_at(&name);
        }
    }

    /// Tells everyone concerned if a user shows itself otherwise, and forgets it if nothing about it is left.
    fn look_at(&mut self, name: &Arc<str>) {
        let now = self.desk.now;
        let Some(user) = self.users.users.get_mut(name) else { return };
        if let Some(shown) = user.look(now.mono, now.wall).cloned() {
            for room in user.rooms() {
                let mail = Mail::Room(room.clone(), RoomMail::Seen(name.clone(), shown.clone()));
                self.desk.post_to_owner(room, mail);
            }
            if let Some(watch) = self.owner.watches.get_mut(&Subject::User(name.clone())) {
                watch.send(&mut self.desk, &Mark { key: None, at: 0 }, |encoder, variant| {
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
