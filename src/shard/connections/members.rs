//! Connections in rooms: entering, leaving, asking; and whose presence they watch.

use crate::base::id::ConnId;
use crate::base::time::MS;
use crate::flow::conn::Stage::Waiting;
use crate::flow::conn::memberships::{Gather, Membership, MembershipStage};
use crate::flow::encode::rooms as encode;
use crate::flow::fanout::pool::PoolId;
use crate::flow::identity::Actor;
use crate::flow::limits::Access;
use crate::flow::request::position::Position;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{Shown, Status};
use crate::flow::state::room::Refusal;
use crate::shard::connections::Clients;
use crate::shard::connections::hub::Rejection;
use crate::shard::context::Context;
use crate::shard::io::Action;
use crate::shard::mail::question::{Origin, Question, Ticket, UserQuestion};
use crate::shard::mail::subscription::Denied;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{Departure, MembershipUpdate, QuotaChange, Reservation};

use crate::wire::hub::write::{self, Object};
use crate::wire::hub::{self, ReplyTo, RoomCommand};
use std::sync::Arc;

/// How many users' presence one connection may watch.
const WATCHED: usize = 1000;

/// Asks a room's owner; where somebody may become a member by that, its own owner first. What is asked behind such a
/// question could overtake it.
pub(super) fn ask_room(ctx: &mut Context, ticket: Ticket, ask: Box<RoomAsk>) {
    match ask.newcomer().cloned() {
        Some(user) => {
            let question = UserQuestion::Forward { ask, ticket };
            ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
        }
        None => ctx.ask(&ask.room.clone(), Question::Room { ask, ticket }),
    }
}

impl Clients {
    fn seat(&mut self, id: ConnId, room: &str) -> Option<&mut Membership> {
        self.hub(id)?.memberships.get_mut(room)
    }

    /// Who a connection is to the rooms.
    pub(super) fn actor(&mut self, id: ConnId) -> Actor {
        let Some(conn) = self.get(id) else { return Actor::Nobody };
        match conn.hub.as_ref().and_then(|hub| hub.user.clone()) {
            Some(user) => Actor::User(user),
            None if conn.access == Access::Write => Actor::App,
            None => Actor::Nobody,
        }
    }

    /// A connection wants something of a room.
    pub(super) fn room_frame(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        room: Arc<str>,
        want: RoomCommand,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let seated = self.seat(id, &room).is_some();
        match want {
            RoomCommand::Join => return self.enter_room(ctx, id, room, about),
            RoomCommand::Message(_) if !seated => {
                return Err(Rejection::new("send_denied", "join the room before you send to it"));
            }
            RoomCommand::History(query) => {
                let actor = self.actor(id);
                let origin = Origin::Frame { about: Box::new(about.clone()), waits: false };
                let ticket = Ticket { conn: id, origin };
                ctx.ask(&room.clone(), Question::History { channel: room, actor, query, ticket });
                return Ok(());
            }
            _ => {}
        }
        if want == RoomCommand::Leave {
            self.stand_up(ctx, id, &room);
        }
        let ask = Box::new(RoomAsk { room, actor: self.actor(id), want, reserved: None });
        let waits = ask.newcomer().is_some();
        if let Some(hub) = self.hub(id)
            && waits
        {
            hub.wait();
        }
        let origin = Origin::Frame { about: Box::new(about.clone()), waits };
        ask_room(ctx, Ticket { conn: id, origin }, ask);
        Ok(())
    }

    /// The reply to a frame that wants one: `members` are those of a JSON object.
    pub(super) fn room_reply(&mut self, ctx: &mut Context, id: ConnId, about: &ReplyTo, members: &[u8]) {
        let Some(request) = &about.request else { return };
        self.say(ctx, id, |out| {
            Object::reply("reply", Some(request), out).end();
            if !members.is_empty() {
                out.pop();
                out.push(b',');
                out.extend_from_slice(members);
                out.push(b'}');
            }
        });
    }

    /// Says that a frame about a room was not done.
    pub(super) fn refuse(&mut self, ctx: &mut Context, id: ConnId, about: &ReplyTo, refusal: Refusal) {
        let left = refusal.until().map(|until| until.saturating_sub(ctx.now.wall).div_ceil(MS));
        let why = Rejection { retry_after_ms: left, ..Rejection::new(refusal.code(), refusal.to_string()) };
        self.reject(ctx, id, about, &why);
    }

    /// A connection wants into a room: its user's owner is asked first whether it may be in one more. What it says
    /// meanwhile waits, so that nothing overtakes the entering.
    pub(super) fn enter_room(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        room: Arc<str>,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let Actor::User(user) = self.actor(id) else {
            return Err(Rejection::new(
                "room_access_denied",
                "only users can join a room; say who you are: ?user=",
            ));
        };
        if self.seat(id, &room).is_some() {
            self.tell_members(ctx, id, Box::new(about.clone()), room);
            return Ok(());
        }
        let listened = self.channel_pool(id, &room).is_some();
        let Some(hub) = self.hub(id) else { return Ok(()) };
        let about = Some(Box::new(about.clone()));
        hub.memberships.push(Membership {
            room: room.clone(),
            stage: MembershipStage::Reserving,
            about,
            listened,
        });
        hub.wait();
        ctx.post_to_user(&user.clone(), ToOwner::Reserve { user, room, conn: id });
        Ok(())
    }

    /// The reply to a join names the members, for those who asked for a reply.
    fn tell_members(&mut self, ctx: &mut Context, id: ConnId, about: Box<ReplyTo>, room: Arc<str>) {
        if about.request.is_some() {
            let ask = RoomAsk { room, actor: self.actor(id), want: RoomCommand::Members, reserved: None };
            let origin = Origin::Frame { about, waits: false };
            ask_room(ctx, Ticket { conn: id, origin }, Box::new(ask));
        }
    }

    /// The user's owner says whether it may be in one more room.
    pub fn reserved(&mut self, ctx: &mut Context, id: ConnId, reservation: &Reservation) {
        let Reservation { user, room, granted } = reservation;
        let Some(seat) = self.seat(id, room) else {
            // it is gone: the place is given back
            if *granted {
                let update = MembershipUpdate::Returned;
                let mail = ToOwner::Membership { user: user.clone(), room: room.clone(), update };
                ctx.post_to_user(user, mail);
            }
            return;
        };
        if *granted {
            seat.stage = MembershipStage::Entering;
            self.subscribe(ctx, id, Subject::Room(room.clone()), Position::Nothing);
            // behind it on the same lane, so that the owner knows the member already
            self.subscribe(ctx, id, Subject::Channel(room.clone()), Position::Nothing);
        } else if let Some(seat) = self.hub(id).and_then(|hub| hub.memberships.remove(room))
            && let Some(about) = seat.about
        {
            self.refuse(ctx, id, &about, Refusal::Limit);
        }
        self.go_on(ctx, id);
    }

    /// Whether a connection's subscription to what happens around a room is its entering.
    pub(super) fn enters(&mut self, id: ConnId, room: &str) -> bool {
        self.seat(id, room).is_some_and(|seat| seat.stage == MembershipStage::Entering)
    }

    /// A connection is in a room now.
    pub(super) fn entered(&mut self, ctx: &mut Context, id: ConnId, room: &Arc<str>) {
        let Some(seat) = self.seat(id, room) else { return };
        seat.stage = MembershipStage::In;
        if let Some(about) = seat.about.take() {
            self.tell_members(ctx, id, about, room.clone());
        }
    }

    /// The owner refuses a subscription.
    pub fn denied(&mut self, ctx: &mut Context, denied: Denied) {
        let Denied { pool, conn: id, ticket, refusal } = denied;
        if !self.waits_for(id, pool, ticket) {
            return;
        }
        let subject = self.fanout.pools.get(pool).map(|pool| pool.subject.clone());
        self.unsubscribe(ctx, id, pool);
        match subject {
            Some(Subject::Room(room)) => {
                let Some(seat) = self.hub(id).and_then(|hub| hub.memberships.remove(&room)) else { return };
                // whoever listened to a channel that is no room, or an open one, still does
                if !seat.listened {
                    self.unsubscribe_from(ctx, id, &Subject::Channel(room));
                }
                if let Some(about) = seat.about {
                    self.refuse(ctx, id, &about, refusal);
                }
            }
            // of a room that it wants to enter it hears by the other subscription
            Some(Subject::Channel(name) | Subject::Chosen(name, _)) if self.seat(id, &name).is_none() => {
                self.channel_denied(ctx, id, pool, &name);
            }
            _ => {}
        }
    }

    /// A connection is in a room no more, and hears nothing of it.
    pub(super) fn stand_up(&mut self, ctx: &mut Context, id: ConnId, room: &Arc<str>) {
        let Some(hub) = self.hub(id) else { return };
        if hub.memberships.remove(room).is_none() {
            return;
        }
        self.unsubscribe_from(ctx, id, &Subject::Room(room.clone()));
        self.unsubscribe_from(ctx, id, &Subject::Channel(room.clone()));
    }

    /// The owner of a room says that a connection is in it no more.
    pub fn out(&mut self, ctx: &mut Context, id: ConnId, room: &Arc<str>, out: &Departure) {
        if self.seat(id, room).is_none_or(|seat| seat.stage == MembershipStage::Reserving) {
            return;
        }
        self.stand_up(ctx, id, room);
        let (event, reason) = match out {
            Departure::Left => ("left", &None),
            Departure::Kicked(reason) => ("kicked", reason),
            Departure::Banned(reason) => ("banned", reason),
            Departure::Deleted => ("room.deleted", &None),
        };
        let mut data = Vec::new();
        Object::new(&mut data).maybe("reason", reason.as_deref()).end();
        let Some(dialect) = self.dialect(id) else { return };
        let stamp = ctx.stamp();
        let frame = encode::text(&mut ctx.encoder, dialect, |out| {
            write::system(
                &write::System { event, room: Some(room), user: "system", data: &data },
                stamp,
                out,
            );
        });
        self.insist(id, frame);
    }

    /// Not everybody may hear a channel any more, or that user may not: whoever only listens to it asks again, from where
    /// it stands.
    pub fn closed(&mut self, ctx: &mut Context, name: &Arc<str>, user: Option<&Arc<str>>) {
        let of = |subject: &Subject| match subject {
            Subject::Channel(own) | Subject::Chosen(own, _) => own == name,
            _ => false,
        };
        let pools = self.fanout.pools.iter().filter(|(_, pool)| of(&pool.subject));
        let each = pools.flat_map(|(id, pool)| {
            pool.members.iter().map(move |member| (id, member.slot, pool.subject.clone()))
        });
        for (pool, slot, subject) in each.collect::<Vec<_>>() {
            let id = self.id(slot);
            let meant = user.is_none() || self.hub(id).and_then(|hub| hub.user.as_ref()) == user;
            if meant && self.seat(id, name).is_none_or(|seat| seat.stage == MembershipStage::Reserving) {
                let at = self.fanout.position(pool, slot);
                self.unsubscribe(ctx, id, pool);
                let has = Position::Offset((*ctx.epoch).into(), at);
                self.subscribe(ctx, id, subject, has);
            }
        }
    }

    /// A connection is about to end: it sits in no room any more. Says which those were.
    pub(super) fn leave_rooms(&mut self, ctx: &mut Context, id: ConnId) -> Vec<Arc<str>> {
        let Some((hub, user)) = self.hub(id).and_then(|hub| hub.user.clone().map(|user| (hub, user))) else {
            return Vec::new();
        };
        let seats = std::mem::take(&mut hub.memberships);
        for seat in seats.iter().filter(|seat| seat.stage != MembershipStage::Reserving) {
            let mail = ToOwner::Absent { room: seat.room.clone(), user: user.clone(), conn: id };
            ctx.post_to_owner(&seat.room, mail);
        }
        seats.iter().map(|seat| seat.room.clone()).collect()
    }

    /// The subjects of a connection's subscriptions that `which` picks.
    fn subjects(&mut self, id: ConnId, which: impl Fn(&Subject) -> bool) -> Vec<Subject> {
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return Vec::new() };
        let subjects = conn.subs.iter().filter_map(|sub| Some(&self.fanout.pools.get(sub.pool)?.subject));
        subjects.filter(|subject| which(subject)).cloned().collect()
    }

    /// Ends the subscription to a subject, if there is one.
    fn unsubscribe_from(&mut self, ctx: &mut Context, id: ConnId, subject: &Subject) {
        let Some(variant) = self.variant(id, subject) else { return };
        if let Some(pool) = self.fanout.pools.find(subject, variant) {
            self.unsubscribe(ctx, id, pool);
        }
    }

    /// Whether a connection waits for the state of a pool, by that number.
    fn waits_for(&mut self, id: ConnId, pool: PoolId, ticket: u32) -> bool {
        let Some(conn) = self.get(id) else { return false };
        conn.subs.iter().any(|sub| sub.pool == pool && sub.stage == Waiting(ticket))
    }

    /// Somebody may not hear a channel.
    fn channel_denied(&mut self, ctx: &mut Context, id: ConnId, pool: PoolId, name: &Arc<str>) {
        let waiting = self.hub(id).map(|hub| hub.take_replies(pool)).unwrap_or_default();
        self.hold(ctx, id, QuotaChange::Unsubscribe(name.clone()));
        let mut abouts: Vec<ReplyTo> = waiting.into_iter().map(|beginning| beginning.about).collect();
        if abouts.is_empty() {
            abouts.push(ReplyTo { channel: Some(name.clone()), ..ReplyTo::default() });
        }
        let why = Rejection::new("channel_access_denied", "this channel is a room that is not open to you");
        abouts.iter().for_each(|about| self.reject(ctx, id, about, &why));
    }

    /// What was said while an answer was waited for is handled now.
    pub(in crate::shard) fn go_on(&mut self, ctx: &mut Context, id: ConnId) {
        let Some(hub) = self.hub(id) else { return };
        hub.waits -= 1;
        if hub.waits > 0 {
            return;
        }
        let held = hub.held.take().unwrap_or_default();
        if let Some(conn) = self.get(id)
            && std::mem::replace(&mut conn.paused, false)
        {
            self.actions.push_back(Action::Resume(id));
        }
        if !held.is_empty() {
            self.messages(ctx, id, &held);
        }
    }

    /// A user says how it is.
    pub(super) fn presence(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        said: hub::StatusUpdate,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let Actor::User(user) = self.actor(id) else {
            return Err(Rejection::new(
                "feature_disabled",
                "only users have a presence; say who you are: ?user=",
            ));
        };
        let status = Status::from_name(said.status).expect("one of the four words");
        let origin = Origin::Frame { about: Box::new(about.clone()), waits: false };
        let ticket = Ticket { conn: id, origin };
        let question = UserQuestion::Status { status, custom: said.custom, ticket };
        ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
        Ok(())
    }

    /// A connection wants to hear of the presence of users: how they are now, at once, and every change.
    pub(super) fn watch_users(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        users: Vec<Arc<str>>,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let watched = self.subjects(id, |subject| matches!(subject, Subject::User(_))).len();
        if watched + users.len() > WATCHED {
            return Err(Rejection::new("channel_limit_reached", "a connection may watch 1000 users"));
        }
        let Some(hub) = self.hub(id) else { return Ok(()) };
        let about = Box::new(about.clone());
        let number = hub.gathered;
        hub.gathered = hub.gathered.wrapping_add(1);
        hub.gathers.push(Gather { number, left: users.len(), about, looks: Vec::new() });
        for user in users {
            self.subscribe(ctx, id, Subject::User(user.clone()), Position::Nothing);
            // behind it on the same lane: what has changed since is on its way
            let question = UserQuestion::Presence { conn: id, query: number };
            ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
        }
        self.gathered(ctx, id, number);
        Ok(())
    }

    /// A connection does not want to hear of these users any more; of nobody, if none is named.
    pub(super) fn unwatch_users(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        users: Vec<Arc<str>>,
        about: &ReplyTo,
    ) {
        let all: Vec<Subject> = match users.is_empty() {
            true => self.subjects(id, |subject| matches!(subject, Subject::User(_))),
            false => users.into_iter().map(Subject::User).collect(),
        };
        for subject in all {
            self.unsubscribe_from(ctx, id, &subject);
        }
        self.room_reply(ctx, id, about, b"");
    }

    /// How one of the watched users is.
    pub fn look(&mut self, ctx: &mut Context, id: ConnId, number: u32, shown: (Arc<str>, Shown)) {
        let Some(hub) = self.hub(id) else { return };
        let Some(gather) = hub.gathers.iter_mut().find(|gather| gather.number == number) else { return };
        gather.left -= 1;
        gather.looks.push(shown);
        self.gathered(ctx, id, number);
    }

    fn gathered(&mut self, ctx: &mut Context, id: ConnId, number: u32) {
        let Some(hub) = self.hub(id) else { return };
        let Some(at) = hub.gathers.iter().position(|gather| gather.number == number && gather.left == 0)
        else {
            return;
        };
        let Gather { about, looks, .. } = hub.gathers.swap_remove(at);
        self.say(ctx, id, |out| {
            let looks = looks.iter().map(|(user, shown)| (&**user, shown));
            encode::presences(about.request.as_deref(), looks, out);
        });
    }
}
