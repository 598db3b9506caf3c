//! Connections that come in over routes: streams with a catch-up.

use crate::base::id::ConnId;
use crate::flow::conn::Phase;
use crate::flow::conn::events::{self, Events};
use crate::flow::conn::pending::Pending;
use crate::flow::encode::events::write_offset;
use crate::flow::encode::frame::Dialect;
use crate::flow::limits::route::{Profile, RouteId};
use crate::flow::request::ResponseKind;
use crate::flow::request::catchup::MissedQuery;
use crate::flow::request::catchup::RouteRequest;
use crate::flow::request::events::ConnName;
use crate::flow::request::position::Position;
use crate::flow::request::views::Views;
use crate::flow::route::subject::Subject;
use crate::shard::connections::Clients;
use crate::shard::connections::events::sign_of_life;
use crate::shard::context::Context;
use crate::shard::mail::question::{Question, Read};
use crate::shard::mail::to_owner::ToOwner;
use crate::wire::cursor::Cursor;
use crate::wire::http::Head;
use crate::wire::sse::{chunk, write_json, write_name, write_text};
use std::sync::Arc;

/// Who counts the readers of a route.
fn counter(route: RouteId) -> String {
    format!("$route/{route}")
}

impl Clients {
    /// A request to a route: answered at once, or counted and then followed.
    pub(super) fn knock(&mut self, ctx: &mut Context, id: ConnId, head: Head, door: RouteRequest) {
        if door.catch_up.live {
            let read = Read::EnterRoute { route: door.route, user: door.catch_up.user.clone() };
            ctx.ask(&counter(door.route), Question::Read { conn: id, read });
            return self.set_pending(id, Pending::new(head, ResponseKind::Enter(Box::new(door)), 1));
        }
        let (position, filter) = (door.catch_up.begin, door.catch_up.filter);
        let missed = MissedQuery { channel: door.channel.clone(), route: door.route, position, filter };
        let read = Read::Missed(Box::new(missed));
        ctx.ask(&door.channel, Question::Read { conn: id, read });
        self.set_pending(id, Pending::new(head, ResponseKind::Missed, 1));
    }

    /// A request for what has happened in a client's views.
    pub(super) fn look_at(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        head: Head,
        channel: Arc<str>,
        route: RouteId,
        views: Box<Views>,
    ) {
        let read = Read::Views { channel: channel.clone(), route, views };
        ctx.ask(&channel, Question::Read { conn: id, read });
        self.set_pending(id, Pending::new(head, ResponseKind::Missed, 1));
    }

    /// There is room for one more reader: it is subscribed before what it has missed is read.
    pub(super) fn enter_route(&mut self, ctx: &mut Context, id: ConnId, head: &Head, door: RouteRequest) {
        let RouteRequest { route, channel, catch_up } = door;
        let limits = ctx.limits.clone();
        let name = ConnName { shard: ctx.id, conn: id, stamp: ctx.stamp() };
        let keepalive = limits.route(route).map_or(limits.sse.keepalive, |route| route.keepalive);
        let events = Events {
            name,
            dialect: Dialect::Change(route),
            entered: Some((route, catch_up.user)),
            personal: false,
            cursor: Cursor::default(),
            resyncing: false,
            keepalive,
        };
        self.insist(id, events::response(head, &limits).encode().into());
        let Some(conn) = self.get(id) else { return };
        conn.due = ctx.now.mono + keepalive;
        conn.phase = Phase::Events(Box::new(events));
        let subject = match catch_up.filter {
            Some(choice) => Subject::Chosen(channel, choice),
            None => Subject::Channel(channel),
        };
        // the newer form has a request of its own for what was missed
        let views = limits.route(route).is_some_and(|route| route.profile == Profile::CellaViews);
        let begin = if views { Position::Nothing } else { catch_up.begin };
        self.subscribe(ctx, id, subject, begin);
    }

    /// A reader has caught up with its channel: it is told so, and up to where.
    pub(super) fn caught_up(&mut self, ctx: &Context, id: ConnId, last: Option<&str>, out: &mut Vec<u8>) {
        let Some(Dialect::Change(route)) = self.dialect(id) else { return };
        let views = ctx.limits.route(route).is_some_and(|route| route.profile == Profile::CellaViews);
        out.extend(chunk(|out| {
            write_name("offset", out);
            if views {
                write_text(last.unwrap_or_default(), out);
            } else {
                write_json(out, |out| write_offset(last, out));
            }
            sign_of_life(ctx, Dialect::Change(route), out);
        }));
    }

    /// A connection ends: it is no reader of a route any more.
    pub(super) fn exit_route(&mut self, ctx: &mut Context, id: ConnId) {
        if let Some((route, user)) = self.events(id).and_then(|events| events.entered.take()) {
            self.give_back(ctx, route, user);
        }
    }

    /// A place on a route that nobody takes.
    pub(super) fn give_back(&mut self, ctx: &mut Context, route: RouteId, user: Option<Arc<str>>) {
        ctx.post_to_owner(&counter(route), ToOwner::LeaveRoute { route, user });
    }
}
