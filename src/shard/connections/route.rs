//! Readers of a route: a stream of events with a catch-up, and nothing around what was published.

use crate::flow::conn::events;
use crate::flow::encode::events as encode;
use crate::flow::encode::events::write_offset;
use crate::flow::encode::frame::{Dialect, Variant};
use crate::flow::limits::Limits;
use crate::flow::limits::route::{Profile, RouteId};
use crate::flow::request::catchup::RouteRequest;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::requests::leave_route;
use crate::shard::connections::view::View;
use crate::shard::mail::subscription::Joined;
use crate::wire::http::Head;
use crate::wire::sse::{chunk, write_comment, write_json, write_name, write_text};

/// A reader of a route.
#[derive(Debug)]
pub struct RouteSession {
    route: RouteId,
    profile: Profile,
    /// It was told that what it missed cannot be made up for.
    told_of_gap: bool,
}

impl RouteSession {
    /// There is room for one more reader: it is subscribed before what it has missed is read.
    pub fn open(view: &mut View<'_>, head: &Head, request: RouteRequest) -> RouteSession {
        let RouteRequest { route, channel, catch_up } = request;
        let limits = view.ctx.limits.clone();
        view.force_send(events::response(head).encode());
        view.record.variant = Some(Variant::plain(Dialect::Change(route)));
        view.due_in(Some(limits.route(route).map_or(limits.sse.keepalive, |route| route.keepalive)));
        let subject = match catch_up.filter {
            Some(filter) => Subject::Chosen(channel, filter),
            None => Subject::Channel(channel),
        };
        // the newer form has a request of its own for what was missed
        let profile = limits.route(route).map_or(Profile::Cella, |route| route.profile);
        let views = profile == Profile::CellaViews;
        let begin = if views { Position::Nothing } else { catch_up.begin };
        view.subscribe(&subject, begin);
        RouteSession { route, profile, told_of_gap: false }
    }

    /// What it missed, a stretch at a time; behind the last one it is told up to where it has caught up.
    pub fn joined(&mut self, view: &mut View<'_>, joined: Joined) {
        let Joined { pool, at, gap, state, batch, .. } = joined;
        let next = batch.as_ref().map_or(at, |batch| batch.since);
        let late = view.is_late(pool);
        if gap && late && !view.goes_on_behind_gap(pool, next) {
            return;
        }
        if gap && (late || !std::mem::replace(&mut self.told_of_gap, true)) {
            view.force_send(chunk(encode::write_resync));
        }
        let mut bytes = state.map_or_else(Vec::new, |state| state.to_vec());
        if let Some(batch) = batch.as_ref().filter(|batch| !batch.more) {
            bytes.extend(chunk(|out| self.write_caught_up(batch.last.as_deref(), out)));
        }
        view.follow_channel(pool, at, batch.as_deref().map(|batch| (bytes.into(), batch)));
    }

    fn write_caught_up(&self, last: Option<&str>, out: &mut Vec<u8>) {
        write_name("offset", out);
        if self.profile == Profile::CellaViews {
            write_text(last.unwrap_or_default(), out);
        } else {
            write_json(out, |out| write_offset(last, out));
        }
        self.write_sign_of_life(out);
    }

    fn write_sign_of_life(&self, out: &mut Vec<u8>) {
        match self.profile {
            Profile::Cella => {
                write_name("ping", out);
                write_text("pong", out);
            }
            _ => write_comment("ping", out),
        }
    }

    /// Its channel is not open to it.
    pub fn denied(&mut self, view: &mut View<'_>, channel: &str, why: &Rejection) {
        view.ctx.stats.reject_frame(why.code);
        view.force_send(chunk(|out| encode::write_denied(channel, why.code, &why.message, out)));
    }

    /// How often it gets a sign of life.
    pub fn keepalive(&self, limits: &Limits) -> u64 {
        // a route that is gone has no say any more
        limits.route(self.route).map_or(limits.sse.keepalive, |route| route.keepalive)
    }

    /// A sign of life is due.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        view.due_in(Some(self.keepalive(&view.ctx.limits)));
        view.try_send(chunk(|out| self.write_sign_of_life(out)));
    }

    /// The connection ends: the route has a reader less.
    pub fn ended(&mut self, view: &mut View<'_>) {
        let user = view.user().cloned();
        leave_route(view.ctx, self.route, user);
    }
}
