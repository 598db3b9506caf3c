//! The users that this shard owns: their connections anywhere, the rooms that they are members of, how they show
//! themselves. A user is there as long as a connection of it lives, and every connection has to show that it does.

use crate::base::timers::Timers;
use crate::flow::encode::rooms as encode;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{ConnAddress, Shown, Status, User, Viewer};
use crate::shard::context::Context;
use crate::shard::inspect::{Inspection, UserInspection};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{MembershipUpdate, QuotaChange, Reservation};
use crate::shard::owner::quotas::Quotas;
use crate::shard::owner::watchers::Watchers;
use crate::shard::timers::{OwnerTimer, Timer};
use hashbrown::HashMap;
use std::sync::Arc;

/// All users of an owner.
#[derive(Debug, Default)]
pub struct Users {
    map: HashMap<Arc<str>, User>,
    quotas: Quotas,
    /// When those without connections are missed.
    missed: Timers<Arc<str>>,
}

impl Users {
    /// Shows those that are known.
    pub fn inspect(&self, inspection: &mut Inspection) {
        let users = self.map.iter().map(|(name, user)| UserInspection {
            name: name.clone(),
            rooms: user.rooms().cloned().collect(),
            online: user.shown().status != Status::Offline,
        });
        inspection.users = users.collect();
    }

    /// How many have connections.
    pub fn connected(&self) -> usize {
        self.quotas.count()
    }

    /// How a user shows itself; `None` to whom may not know. Of a user of whom nothing is known only the application may
    /// know that.
    pub fn shown_to(&self, ctx: &Context, name: &str, viewer: &Viewer) -> Option<Shown> {
        match self.map.get(name) {
            Some(user) => user.is_visible_to(name, viewer).then(|| user.shown().clone()),
            None => (*viewer == Viewer::Trusted).then(|| Shown::offline(ctx.now.wall)),
        }
    }

    /// The rooms that a user is a member of.
    pub fn rooms_of(&self, name: &str) -> Arc<[Arc<str>]> {
        self.map.get(name).map(|user| user.rooms().cloned().collect()).unwrap_or_default()
    }

    fn open(&mut self, ctx: &Context, name: &Arc<str>) -> &mut User {
        self.map.entry_ref(name).or_insert_with(|| User::new(ctx.now.wall))
    }

    /// A connection of a user takes something or gives it back. Whoever has a connection is there.
    pub fn quota(
        &mut self,
        ctx: &mut Context,
        watchers: &mut Watchers,
        name: &Arc<str>,
        conn: ConnAddress,
        change: QuotaChange,
    ) {
        let (now, grace) = (ctx.now.mono, ctx.limits.hub.presence_grace);
        let (came, gone) = (change == QuotaChange::Connect, change == QuotaChange::Disconnect);
        if !self.quotas.change(ctx, name, conn, change) || !(came || gone) {
            return;
        }
        let user = self.open(ctx, name);
        if came {
            user.connect(conn);
        } else if let Some(at) = user.disconnect(conn, now, grace) {
            self.missed.push(at, name.clone());
            ctx.timers.push(at, Timer::Owner(OwnerTimer::Users));
        }
        self.look_at(ctx, watchers, name);
    }

    /// A connection wants its user to be in one more room.
    pub fn reserve(
        &mut self,
        ctx: &mut Context,
        watchers: &mut Watchers,
        name: Arc<str>,
        room: Arc<str>,
        (shard, conn): ConnAddress,
    ) {
        let most = ctx.limits.hub.rooms_per_user as usize;
        let user = self.open(ctx, &name);
        let granted = user.lines().contains(&(shard, conn)) && user.reserve(&room, most);
        self.look_at(ctx, watchers, &name);
        let reservation = Box::new(Reservation { user: name, room, granted });
        ctx.post(shard, ToConnections::Reserved { conn, reservation });
    }

    /// Whoever asks about a room may become a member of it by that: whether the user may be in one more.
    pub fn reserve_for(
        &mut self,
        ctx: &mut Context,
        watchers: &mut Watchers,
        name: &Arc<str>,
        room: &Arc<str>,
    ) -> bool {
        let most = ctx.limits.hub.rooms_per_user as usize;
        let granted = self.open(ctx, name).reserve(room, most);
        if !granted {
            self.look_at(ctx, watchers, name);
        }
        granted
    }

    /// A room says where a user stands with it.
    pub fn membership(
        &mut self,
        ctx: &mut Context,
        watchers: &mut Watchers,
        name: &Arc<str>,
        room: &Arc<str>,
        update: MembershipUpdate,
    ) {
        let user = self.open(ctx, name);
        let was_member = user.rooms().any(|member_of| *member_of == *room);
        let closed = match update {
            MembershipUpdate::Returned => {
                user.settle(room, true, None);
                false
            }
            MembershipUpdate::Settled { member } => {
                user.settle(room, true, Some(member));
                was_member && !member
            }
            MembershipUpdate::Open(open) => user.set_open(room, open),
            MembershipUpdate::Ended => {
                user.settle(room, false, Some(false));
                was_member
            }
        };
        if closed {
            watchers.doubt(ctx, name);
            for (shard, conn) in user.lines() {
                ctx.post(*shard, ToConnections::RoomsChanged { conn: *conn });
            }
        }
        if update == (MembershipUpdate::Settled { member: true }) {
            // the room took it for there, or for absent: this is how it is
            let (user, shown) = (name.clone(), user.shown().clone());
            ctx.post_to_owner(room, ToOwner::Presence { room: room.clone(), user, shown });
        }
        self.look_at(ctx, watchers, name);
    }

    /// A user says on one of its connections how it is.
    pub fn set_status(
        &mut self,
        ctx: &mut Context,
        watchers: &mut Watchers,
        name: &Arc<str>,
        conn: ConnAddress,
        (status, custom): (Status, Option<Arc<str>>),
    ) {
        let user = self.open(ctx, name);
        // one that was turned away has nothing to say
        if user.lines().contains(&conn) {
            user.set(status, custom);
        }
        self.look_at(ctx, watchers, name);
    }

    /// The moment has come at which somebody may be missed.
    pub fn missed(&mut self, ctx: &mut Context, watchers: &mut Watchers) {
        while let Some(name) = self.missed.pop(ctx.now.mono) {
            self.look_at(ctx, watchers, &name);
        }
    }

    /// Tells everyone concerned if a user shows itself otherwise, and forgets it if nothing about it is left.
    fn look_at(&mut self, ctx: &mut Context, watchers: &mut Watchers, name: &Arc<str>) {
        let Some(user) = self.map.get_mut(name) else { return };
        if let Some(shown) = user.look(ctx.now.mono, ctx.now.wall).cloned() {
            for room in user.rooms() {
                let (user, shown) = (name.clone(), shown.clone());
                ctx.post_to_owner(room, ToOwner::Presence { room: room.clone(), user, shown });
            }
            watchers.tell(ctx, &Subject::User(name.clone()), |encoder, variant| {
                encode::text(encoder, variant.dialect, |out| encode::presence(name, &shown, None, out))
            });
        }
        if user.is_idle() {
            self.map.remove(name);
        }
    }
}
