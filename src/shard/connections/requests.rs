//! What requests over HTTP ask of the shards: each asks, and says what its response is made of and of how many answers.

use crate::base::stamp::Stamp;
use crate::flow::limits::route::RouteId;
use crate::flow::request::ResponseKind;
use crate::flow::request::catchup::{MissedQuery, RouteRequest};
use crate::flow::request::events::SubscriptionChange;
use crate::flow::request::rooms::{RoomAsk, RoomRequest};
use crate::flow::request::views::Views;
use crate::flow::request::write::Write;
use crate::shard::connections::view::View;
use crate::shard::context::Context;
use crate::shard::mail::question::{
    ConnectionsQuestion, Origin, Question, Read, Ticket, UserQuestion, WriteOrigin, WriteTicket,
};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::wire::json::Json;
use crate::wire::key::{Key, Pattern};
use std::sync::Arc;

/// What a response is made of, and of how many answers.
pub type Awaited = (ResponseKind, u16);

fn read(view: &View<'_>, read: Read) -> Question {
    Question::Read { conn: view.id, read }
}

fn write(view: &mut View<'_>, write: Write) -> Question {
    // pipelined requests are asked for one after the other
    let write = match write {
        Write::Set(key, value, _) => Write::Set(key, value, view.ctx.stamp()),
        write => write,
    };
    Question::Write { write, ticket: WriteTicket { conn: view.id, origin: WriteOrigin::Request } }
}

/// The document of a key.
pub fn get(view: &mut View<'_>, key: Key) -> Awaited {
    let name = key.clone();
    let question = read(view, Read::Document(key));
    view.ctx.ask(name.as_str(), question);
    (ResponseKind::Item, 1)
}

/// A write of this key's owner.
pub fn put(view: &mut View<'_>, key: &Key, what: Write, kind: ResponseKind) -> Awaited {
    let question = write(view, what);
    view.ctx.ask(key.as_str(), question);
    (kind, 1)
}

/// A new item under a pattern.
pub fn push(view: &mut View<'_>, pattern: &Pattern, value: Json) -> Awaited {
    let key = pattern.push(&format!("{:x}", view.ctx.stamp())).expect("only such patterns are pushed to");
    let kind = ResponseKind::Index(key.index().to_owned());
    put(view, &key.clone(), Write::Set(key, value, Stamp::ZERO), kind)
}

/// The end of everything that matches.
pub fn sweep(view: &mut View<'_>, pattern: &Pattern) -> Awaited {
    let sweep = view.shared.next_sweep(view.ctx.id);
    for shard in view.ctx.all() {
        let question = write(view, Write::Sweep(pattern.clone(), sweep));
        view.ctx.post(shard, ToOwner::Ask(question));
    }
    (ResponseKind::Gone, view.ctx.shards)
}

/// Something of every shard.
pub fn gather(view: &mut View<'_>, kind: ResponseKind) -> Awaited {
    let conn = view.id;
    let ask_owners = |view: &mut View<'_>, what: &dyn Fn() -> Read| {
        view.ctx.post_to_all(|| ToOwner::Ask(Question::Read { conn, read: what() }));
    };
    let ask_connections = |view: &mut View<'_>, what: fn() -> ConnectionsQuestion| {
        view.ctx.post_to_all(|| ToConnections::Ask { conn, question: what() });
    };
    let answers = view.ctx.shards;
    match &kind {
        ResponseKind::Pools | ResponseKind::Channels(_) => {
            let pools = kind == ResponseKind::Pools;
            if pools {
                ask_connections(view, || ConnectionsQuestion::Pools);
            }
            // only the owners know which channels are private rooms
            ask_connections(view, || ConnectionsQuestion::Listeners);
            ask_owners(view, &|| Read::Channels);
            return (kind, if pools { 3 * answers } else { 2 * answers });
        }
        ResponseKind::Items(pattern) => ask_owners(view, &|| Read::Documents(pattern.clone())),
        _ => ask_owners(view, &|| Read::Keys),
    }
    (kind, answers)
}

/// Another subscription of a connection that gets events.
pub fn change(view: &mut View<'_>, change: Box<SubscriptionChange>) -> Awaited {
    let (shard, conn) = (change.conn.shard, view.id);
    view.ctx.post(shard, ToConnections::Ask { conn, question: ConnectionsQuestion::Change(change) });
    (ResponseKind::Change, 1)
}

/// Something about rooms.
pub fn room(view: &mut View<'_>, request: RoomRequest) -> Awaited {
    match request {
        RoomRequest::Ask(mut ask, status) => {
            if ask.room.is_empty() {
                ask.room = format!("{:x}", view.ctx.stamp()).into();
            }
            ask_room(view.ctx, Ticket { conn: view.id, origin: Origin::Request }, ask);
            (ResponseKind::Room(status), 1)
        }
        RoomRequest::List(actor) => {
            let (conn, by) = (view.id, actor.clone());
            view.ctx.post_to_all(|| ToOwner::Ask(Question::Read { conn, read: Read::Rooms(by.clone()) }));
            (ResponseKind::Rooms(actor), view.ctx.shards)
        }
    }
}

/// A place among the readers of a route, or at once what was missed.
pub fn open_route(view: &mut View<'_>, request: Box<RouteRequest>) -> Awaited {
    if request.catch_up.live {
        let read = Read::EnterRoute { route: request.route, user: view.user().cloned() };
        view.ctx.ask(&route_owner(request.route), Question::Read { conn: view.id, read });
        return (ResponseKind::Enter(request), 1);
    }
    let RouteRequest { route, channel, catch_up } = *request;
    let (position, filter) = (catch_up.begin, catch_up.filter);
    let actor = view.caller().listener();
    let missed = MissedQuery { channel: channel.clone(), actor, route, position, filter };
    let question = read(view, Read::Missed(Box::new(missed)));
    view.ctx.ask(&channel, question);
    (ResponseKind::Missed, 1)
}

/// What has happened in a client's views.
pub fn views(view: &mut View<'_>, channel: Arc<str>, route: RouteId, views: Box<Views>) -> Awaited {
    let actor = view.caller().listener();
    let question = read(view, Read::Views { channel: channel.clone(), actor, route, views });
    view.ctx.ask(&channel, question);
    (ResponseKind::Missed, 1)
}

/// A place on a route that nobody takes, or that is free again.
pub fn leave_route(ctx: &mut Context, route: RouteId, user: Option<Arc<str>>) {
    ctx.post_to_owner(&route_owner(route), ToOwner::LeaveRoute { route, user });
}

/// Who counts the readers of a route.
fn route_owner(route: RouteId) -> String {
    format!("$route/{route}")
}

/// Asks a room's owner; where somebody may become a member by that, its own owner first. What is asked behind such a
/// question could overtake it.
pub fn ask_room(ctx: &mut Context, ticket: Ticket, ask: Box<RoomAsk>) {
    match ask.newcomer().cloned() {
        Some(user) => {
            let question = UserQuestion::Forward { ask, ticket };
            ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
        }
        None => ctx.ask(&ask.room.clone(), Question::Room { ask, ticket }),
    }
}
