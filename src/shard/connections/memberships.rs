//! The rooms that one connection is in: entering, leaving, being put out.

use crate::flow::encode::rooms as encode;
use crate::flow::identity::Actor;
use crate::flow::request::position::Position;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::route::subject::Subject;
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::requests::ask_room;
use crate::shard::connections::view::View;
use crate::shard::context::Context;
use crate::shard::mail::question::{Origin, Ticket};
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{Departure, MembershipUpdate, QuotaChange, Reservation};
use crate::wire::hub::write::{self, Object};
use crate::wire::hub::{ReplyTo, RoomCommand};
use std::sync::Arc;

/// How far a connection is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MembershipStage {
    /// A place is being reserved.
    Reserving,
    /// The room's owner has been asked.
    Entering,
    /// It is in.
    In,
}

/// One room that a connection is in.
#[derive(Debug)]
pub struct Membership {
    room: Arc<str>,
    stage: MembershipStage,
    /// The frame that waits for an answer.
    reply_to: Option<Box<ReplyTo>>,
    /// Whether it listened to the room's channel before.
    listened: bool,
}

/// What has become of a wish to enter a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entering {
    /// The connection is in it already.
    Already,
    /// A place is being reserved; nothing that the client says may overtake that.
    Reserving,
}

/// What has become of a reservation.
#[derive(Debug)]
pub enum Reserved {
    /// The connection does not want into that room any more; the place was given back.
    Unwanted,
    /// The room's owner is asked next.
    Granted,
    /// The user may not be in one more room; the frame that asked.
    Refused(Option<Box<ReplyTo>>),
}

/// The rooms that a connection is in.
#[derive(Debug, Default)]
pub struct Memberships(Vec<Membership>);

impl Memberships {
    /// Its membership of a room.
    pub fn get(&self, room: &str) -> Option<&Membership> {
        self.0.iter().find(|membership| *membership.room == *room)
    }

    fn get_mut(&mut self, room: &str) -> Option<&mut Membership> {
        self.0.iter_mut().find(|membership| *membership.room == *room)
    }

    fn remove(&mut self, room: &str) -> Option<Membership> {
        let at = self.0.iter().position(|membership| *membership.room == *room)?;
        Some(self.0.swap_remove(at))
    }

    /// Whether the connection only listens to a channel, and is in no room of that name.
    pub fn only_listens(&self, room: &str) -> bool {
        self.get(room).is_none_or(|membership| membership.stage == MembershipStage::Reserving)
    }

    /// A connection wants into a room: its user's owner is asked first whether it may be in one more.
    ///
    /// # Errors
    /// It is nobody's connection.
    pub fn enter(
        &mut self,
        view: &mut View<'_>,
        room: Arc<str>,
        reply_to: ReplyTo,
    ) -> Result<Entering, Rejection> {
        let Actor::User(user) = view.actor() else {
            let why = "only users can join a room; say who you are: ?user=";
            return Err(Rejection::new("room_access_denied", why));
        };
        if self.get(&room).is_some() {
            ask_members(view, Box::new(reply_to), room);
            return Ok(Entering::Already);
        }
        let listened = view.pool_of(&Subject::Channel(room.clone())).is_some();
        let (stage, reply_to) = (MembershipStage::Reserving, Some(Box::new(reply_to)));
        self.0.push(Membership { room: room.clone(), stage, reply_to, listened });
        view.ctx.post_to_user(&user.clone(), ToOwner::Reserve { user, room, conn: view.id });
        Ok(Entering::Reserving)
    }

    /// The user's owner says whether it may be in one more room.
    pub fn reserved(&mut self, view: &mut View<'_>, reservation: &Reservation) -> Reserved {
        let room = &reservation.room;
        // an earlier wish for the same room may have been granted since
        let reserving = |membership: &&mut Membership| membership.stage == MembershipStage::Reserving;
        let Some(membership) = self.get_mut(room).filter(reserving) else {
            give_back(view.ctx, reservation);
            return Reserved::Unwanted;
        };
        if !reservation.granted {
            return Reserved::Refused(self.remove(room).and_then(|membership| membership.reply_to));
        }
        membership.stage = MembershipStage::Entering;
        view.subscribe_entering(room.clone());
        // behind it on the same lane, so that the owner knows the member already
        view.subscribe(&Subject::Channel(room.clone()), Position::Nothing);
        Reserved::Granted
    }

    /// The room's owner has let the connection in.
    pub fn joined(&mut self, view: &mut View<'_>, room: &Arc<str>) {
        let Some(membership) = self.get_mut(room) else { return };
        membership.stage = MembershipStage::In;
        if let Some(reply_to) = membership.reply_to.take() {
            ask_members(view, reply_to, room.clone());
        }
    }

    /// The room's owner does not let the connection in. Returns the frame that asked for it.
    pub fn denied(&mut self, view: &mut View<'_>, room: Arc<str>) -> Option<Box<ReplyTo>> {
        let membership = self.remove(&room)?;
        // whoever listened to a channel that is no room, or an open one, still does
        if !membership.listened {
            view.unsubscribe_from(&Subject::Channel(room));
        }
        membership.reply_to
    }

    /// The connection wants to be in a room no more; its user stays a member.
    pub fn exit(&mut self, view: &mut View<'_>, room: &Arc<str>) {
        let inside = !self.only_listens(room);
        self.leave(view, room);
        if let Some(user) = view.user().cloned().filter(|_| inside) {
            let mail = ToOwner::Absent { room: room.clone(), user, conn: view.id };
            view.ctx.post_to_owner(room, mail);
        }
    }

    /// A connection is in a room no more, and hears nothing of it.
    pub fn leave(&mut self, view: &mut View<'_>, room: &Arc<str>) {
        if self.remove(room).is_some() {
            view.unsubscribe_from(&Subject::Room(room.clone()));
            view.unsubscribe_from(&Subject::Channel(room.clone()));
            // it may have listened to the channel before, which counts
            view.change_quota(QuotaChange::Unsubscribe(room.clone()));
        }
    }

    /// The owner of a room says that the connection is in it no more; so the client is told.
    pub fn departed(&mut self, view: &mut View<'_>, room: &Arc<str>, departure: &Departure) {
        if self.only_listens(room) {
            return;
        }
        self.leave(view, room);
        let (event, reason) = match departure {
            Departure::Left => ("left", &None),
            Departure::Kicked(reason) => ("kicked", reason),
            Departure::Banned(reason) => ("banned", reason),
            Departure::Deleted => ("room.deleted", &None),
        };
        let mut data = Vec::new();
        Object::new(&mut data).maybe("reason", reason.as_deref()).end();
        let Some(dialect) = view.dialect() else { return };
        let stamp = view.ctx.stamp();
        let told = write::System { event, room: Some(room), user: "system", data: &data };
        let frame = encode::text(&mut view.ctx.encoder, dialect, |out| write::system(&told, stamp, out));
        view.force_send(frame);
    }

    /// The connection ends: it is in no room any more. Says which those were.
    pub fn end(&mut self, view: &mut View<'_>) -> Vec<Arc<str>> {
        let Some(user) = view.user().cloned() else { return Vec::new() };
        let all = std::mem::take(&mut self.0);
        for membership in all.iter().filter(|membership| membership.stage != MembershipStage::Reserving) {
            let room = membership.room.clone();
            let mail = ToOwner::Absent { room, user: user.clone(), conn: view.id };
            view.ctx.post_to_owner(&membership.room, mail);
        }
        all.into_iter().map(|membership| membership.room).collect()
    }
}

/// A place in a room was reserved for a connection that does not want it any more.
pub fn give_back(ctx: &mut Context, reservation: &Reservation) {
    let Reservation { user, room, granted } = reservation;
    if *granted {
        let update = MembershipUpdate::Returned;
        ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: room.clone(), update });
    }
}

/// The reply to a join names the members, for those who asked for a reply.
fn ask_members(view: &mut View<'_>, reply_to: Box<ReplyTo>, room: Arc<str>) {
    if reply_to.request.is_some() {
        let ask = RoomAsk { room, actor: view.actor(), want: RoomCommand::Members, reserved: None };
        let origin = Origin::Frame { reply_to, waits: false };
        ask_room(view.ctx, Ticket { conn: view.id, origin }, Box::new(ask));
    }
}
