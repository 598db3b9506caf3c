//! HTTP requests: one after the other, each answered before the next is looked at.

use crate::base::id::ConnId;
use crate::flow::conn::http::Progress;
use crate::flow::conn::pending::{self, Pending};
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::conn::{Conn, Phase};
use crate::flow::encode::frame::Dialect;
use crate::flow::identity::Identity;
use crate::flow::request::events::not_found;
use crate::flow::request::handshake::Handshake;
use crate::flow::request::position::Position;
use crate::flow::request::refusals::bad_user;
use crate::flow::request::rooms::RoomRequest;
use crate::flow::request::write::Write;
use crate::flow::request::{Request, ResponseKind, router};
use crate::flow::route::subject::Subject;
use crate::shard::connections::members::ask_room;
use crate::shard::connections::{Clients, PIPELINE, Reason};
use crate::shard::context::Context;
use crate::shard::io::Action;
use crate::shard::mail::question::{
    ConnectionsQuestion, Origin, Question, Read, Ticket, WriteOrigin, WriteTicket,
};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::wire::http::{BadRequest, CONTINUE, Head, Response};
use crate::wire::key::Name;
use crate::wire::ws::Decoder;

impl Clients {
    /// Handles requests until bytes are missing, or one must wait: for an answer, or for the peer to read.
    pub(super) fn requests(&mut self, ctx: &mut Context, id: ConnId) {
        loop {
            let unread = self.fanout.queued(id.slot) > ctx.limits.queue_bytes;
            let conn = self.conns.get_mut(id.slot, id.generation);
            let Some(Conn { phase: Phase::Http(http), paused, ended, access, due, .. }) = conn else {
                return;
            };
            if unread && !self.unread.contains(&id) {
                self.unread.push(id);
            }
            let importing = http.import.is_some();
            if unread || http.is_busy() {
                if http.held() > PIPELINE && !std::mem::replace(paused, true) {
                    self.actions.push_back(Action::Pause(id));
                }
                if importing {
                    self.import_ready(id);
                }
                return;
            }
            if std::mem::replace(paused, false) {
                self.actions.push_back(Action::Resume(id));
            }
            let access = *access;
            match http.poll(ctx.limits.max_body) {
                Ok(Progress::Partial) if *ended => return self.finish(ctx, id, Reason::Gone),
                Ok(Progress::Partial) => {
                    if http.is_idle() {
                        *due = ctx.now.mono + ctx.limits.handshake_timeout;
                    }
                    return;
                }
                Ok(Progress::Continue) => self.send(id, CONTINUE.into()),
                Ok(Progress::Import(head, body, waits)) => {
                    ctx.stats.requests += 1;
                    if waits {
                        self.send(id, CONTINUE.into());
                    }
                    self.open_import(ctx, id, head, body);
                }
                Ok(Progress::Whole(head, body)) => {
                    *due = u64::MAX;
                    ctx.stats.requests += 1;
                    let call = match Identity::read(&head, &Identity::anonymous(access)) {
                        Ok(who) => router::route(&head, &body, who.at(ctx.now.wall), &ctx.limits),
                        Err(bad) => Request::Respond(bad_user(bad)),
                    };
                    self.carry_out(ctx, id, head, call);
                }
                Err(BadRequest::BodyTooLarge) => {
                    let response = Response::text(413, "Request Entity Too Large").closing();
                    return self.respond(ctx, id, &response);
                }
                Err(bad) => return self.respond(ctx, id, &Response::from(bad)),
            }
        }
    }

    fn carry_out(&mut self, ctx: &mut Context, id: ConnId, head: Head, call: Request) {
        let shards = ctx.shards;
        let pending = |want, left| Some(Pending::new(head.clone(), want, left));
        let wait = match &call {
            Request::Change(_) => pending(ResponseKind::Change, 1),
            Request::Get(_) => pending(ResponseKind::Item, 1),
            Request::Write(_, _, kind) => pending(kind.clone(), 1),
            Request::Room(RoomRequest::Ask(_, status)) => pending(ResponseKind::Room(*status), 1),
            Request::Room(RoomRequest::List(actor)) => pending(ResponseKind::Rooms(actor.clone()), shards),
            Request::Sweep(_) => pending(ResponseKind::Gone, shards),
            Request::Gather(want @ ResponseKind::Channels(_)) => pending(want.clone(), 2 * shards),
            Request::Gather(want) => pending(want.clone(), shards),
            // these wait for nothing, or say themselves what for
            _ => None,
        };
        match call {
            Request::Respond(response) => {
                return self.respond(ctx, id, &pending::dress(response, &head, &ctx.limits));
            }
            Request::Follow(name, hello, has) => {
                let rest = self.upgrade(ctx, id, hello, Dialect::Ooo);
                self.watch_name(ctx, id, name, has);
                return self.messages(ctx, id, &rest);
            }
            Request::Hub(hello, arrival) => {
                let rest = self.upgrade(ctx, id, hello, Dialect::Hub);
                self.arrive(ctx, id, *arrival);
                return self.messages(ctx, id, &rest);
            }
            Request::Route(door) => return self.knock(ctx, id, head, *door),
            Request::Views(channel, route, views) => {
                return self.look_at(ctx, id, head, channel, route, views);
            }
            Request::Events(wish) => return self.open_events(ctx, id, &head, *wish),
            Request::Change(change) => match change.conn.shard {
                shard if shard.0 < shards => {
                    let question = ConnectionsQuestion::Change(change);
                    ctx.post(shard, ToConnections::Ask { conn: id, question });
                }
                _ => return self.respond(ctx, id, &pending::dress(not_found(), &head, &ctx.limits)),
            },
            Request::Stream(spec) => return self.open_stream(ctx, id, head, *spec),
            Request::Push(pattern, value) => {
                let key =
                    pattern.push(&format!("{:x}", ctx.stamp())).expect("only such patterns are pushed to");
                self.set_pending(id, Pending::new(head, ResponseKind::Index(key.index().to_owned()), 1));
                let name = key.as_str().to_owned();
                return ctx.ask(&name, write(id, Write::Set(key, value)));
            }
            Request::Room(RoomRequest::Ask(mut ask, _)) => {
                if ask.room.is_empty() {
                    ask.room = format!("{:x}", ctx.stamp()).into();
                }
                ask_room(ctx, Ticket { conn: id, origin: Origin::Request }, ask);
            }
            Request::Room(RoomRequest::List(actor)) => {
                ctx.post_to_all(|| ToOwner::Ask(read(id, Read::Rooms(actor.clone()))));
            }
            Request::Get(key) => ctx.ask(key.as_str(), read(id, Read::Document(key.clone()))),
            Request::Write(key, what, _) => ctx.ask(key.as_str(), write(id, what)),
            Request::Sweep(pattern) => {
                let sweep = self.next_sweep(ctx);
                ctx.post_to_all(|| ToOwner::Ask(write(id, Write::Sweep(pattern.clone(), sweep))));
            }
            Request::Gather(want) => gather(ctx, id, &want),
        }
        if let Some(pending) = wait {
            self.set_pending(id, pending);
        }
    }

    pub(super) fn set_pending(&mut self, id: ConnId, pending: Pending) {
        if let Some(Conn { phase: Phase::Http(http), .. }) = self.get(id) {
            http.pending = Some(pending);
        }
    }

    /// An owner's answer to a request.
    pub fn answer(&mut self, ctx: &mut Context, id: ConnId, answer: ResponsePart) {
        if let ResponsePart::Entered(route, user, true) = answer {
            let pending = self.http(id).and_then(|http| http.pending.take());
            return match pending.and_then(Pending::into_route) {
                Some((head, door)) => self.enter_route(ctx, id, &head, door),
                None => self.give_back(ctx, route, user),
            };
        }
        let Some(http) = self.http(id) else { return };
        let Some(pending) = &mut http.pending else { return };
        let Some(response) = pending.answer(answer, &ctx.limits) else { return };
        let response = pending::dress(response, &pending.head, &ctx.limits);
        http.pending = None;
        self.respond(ctx, id, &response);
        self.request_done(ctx, id);
    }

    /// A request is answered: the next one may come.
    pub(in crate::shard) fn request_done(&mut self, ctx: &mut Context, id: ConnId) {
        let due = ctx.now.mono + ctx.limits.handshake_timeout;
        let Some(Conn { phase: Phase::Http(_), due: place, .. }) = self.get(id) else { return };
        *place = due;
        self.requests(ctx, id);
    }

    pub(in crate::shard) fn respond(&mut self, ctx: &mut Context, id: ConnId, response: &Response<'_>) {
        self.insist(id, response.encode().into());
        if response.closes() {
            self.finish(ctx, id, Reason::Gone);
        }
    }

    /// A WebSocket of the ooo dialect follows what its path names, which it may have already at a version.
    fn watch_name(&mut self, ctx: &mut Context, id: ConnId, name: Option<Name>, has: Option<u64>) {
        let has = has.map_or(Position::Nothing, Position::Version);
        self.subscribe(ctx, id, Subject::of(name, ctx.id), has);
    }

    /// The connection is a WebSocket from here on. Returns what has come of its messages already.
    fn upgrade(&mut self, ctx: &mut Context, id: ConnId, hello: Handshake, dialect: Dialect) -> Vec<u8> {
        self.send(id, hello.bytes.into());
        let decoder = Decoder::new(ctx.limits.max_message, hello.compression);
        let ping = match dialect {
            Dialect::Ooo | Dialect::Sse | Dialect::Change(_) => ctx.limits.ping_interval,
            Dialect::Hub => ctx.limits.hub.ping_interval,
        };
        let now = ctx.now.mono;
        let Some(conn) = self.get(id) else { return Vec::new() };
        conn.due = now + ping;
        match std::mem::replace(&mut conn.phase, Phase::Socket(decoder, dialect)) {
            Phase::Http(http) => http.into_rest(),
            _ => Vec::new(),
        }
    }
}

fn read(conn: ConnId, read: Read) -> Question {
    Question::Read { conn, read }
}

fn write(conn: ConnId, write: Write) -> Question {
    Question::Write { write, ticket: WriteTicket { conn, origin: WriteOrigin::Request } }
}

/// Asks all shards for what a response is made of.
fn gather(ctx: &mut Context, conn: ConnId, want: &ResponseKind) {
    match want {
        ResponseKind::Pools => {
            ctx.post_to_all(|| ToConnections::Ask { conn, question: ConnectionsQuestion::Pools });
        }
        ResponseKind::Channels(_) => {
            ctx.post_to_all(|| ToConnections::Ask { conn, question: ConnectionsQuestion::Listeners });
            ctx.post_to_all(|| ToOwner::Ask(read(conn, Read::Channels)));
        }
        ResponseKind::Items(pattern) => {
            ctx.post_to_all(|| ToOwner::Ask(read(conn, Read::Documents(pattern.clone()))))
        }
        _ => ctx.post_to_all(|| ToOwner::Ask(read(conn, Read::Keys))),
    }
}
