//! Rooms, as their owner is asked: a command is decided, its records are committed, and what lives with the connections
//! follows.

use crate::base::id::ShardId;
use crate::flow::identity::Actor;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::state::presence::ConnAddress;
use crate::flow::state::room::Refusal;
use crate::shard::context::Context;
use crate::shard::mail::answer::Answer;
use crate::shard::mail::question::Ticket;
use crate::shard::mail::subscription::{Join, Joined};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::MembershipUpdate;
use crate::shard::owner::channel::ChannelKind;
use crate::shard::owner::ledger::Ledger;
use crate::shard::owner::watch::Watcher;
use crate::wire::hub::RoomCommand;
use std::sync::Arc;

/// A connection wants what happens around a room; where it enters, it becomes a member in the same step.
///
/// # Errors
/// `AccessDenied`, `Banned`, `Limit`.
pub fn join(
    ledger: &mut Ledger,
    ctx: &mut Context,
    watcher: Watcher,
    join: &Join,
    name: &Arc<str>,
) -> Result<Joined, Refusal> {
    if let Some(user) = join.actor.user().filter(|_| join.enter) {
        enter(ledger, ctx, name, user, (watcher.shard, join.conn))?;
    }
    ledger.watch_room(ctx, watcher, join, name)
}

/// A user becomes a member of a room, or is one, and is in it with one more connection. Its owner, who has reserved
/// the place, is told how that ended.
fn enter(
    ledger: &mut Ledger,
    ctx: &mut Context,
    name: &Arc<str>,
    user: &Arc<str>,
    conn: ConnAddress,
) -> Result<(), Refusal> {
    let result = ledger.state().rooms.enter(ctx, name, user).map(|records| {
        for record in records {
            ledger.commit(ctx, record);
        }
        ledger.occupancies_mut().enter(ctx, name, user, conn);
    });
    settled(ledger, ctx, name, user);
    result
}

/// Tells a user's owner how a reservation ended.
fn settled(ledger: &Ledger, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>) {
    let member = ledger.state().rooms.get(name).is_some_and(|room| room.member(user).is_some());
    let update = MembershipUpdate::Settled { member };
    ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: name.clone(), update });
    if member && ledger.state().rooms.kind(name) != ChannelKind::PrivateRoom {
        let update = MembershipUpdate::Open(true);
        ctx.post_to_user(user, ToOwner::Membership { user: user.clone(), room: name.clone(), update });
    }
}

/// A question to the owner of a room.
pub fn asked(ledger: &mut Ledger, ctx: &mut Context, from: ShardId, ticket: Ticket, ask: RoomAsk) -> Answer {
    let RoomAsk { room, actor, want, reserved } = ask;
    let asker = (!ticket.is_request()).then_some((from, ticket.conn));
    let forge = matches!(want, RoomCommand::Message(_) | RoomCommand::Typing(_)) && asker.is_some();
    let told = match want {
        RoomCommand::Typing(on) => typing(ledger, ctx, &room, &actor, on),
        want => run(ledger, ctx, &room, &actor, asker, want),
    };
    // forge has no code of its own for a room that is not there
    let told = told.map_err(|r| if forge && r == Refusal::NotFound { Refusal::AccessDenied } else { r });
    if let Some(user) = reserved {
        settled(ledger, ctx, &room, &user);
    }
    ticket.answer_room(told)
}

/// A command about a room. `asker`: the connection, if it speaks by a frame.
fn run(
    ledger: &mut Ledger,
    ctx: &mut Context,
    name: &Arc<str>,
    actor: &Actor,
    asker: Option<ConnAddress>,
    command: RoomCommand,
) -> Result<Vec<u8>, Refusal> {
    ledger.consulted(ctx, name);
    let most = if asker.is_some() { ctx.limits.hub.presence_list } else { usize::MAX };
    let says = matches!(command, RoomCommand::Message(_));
    let leaves = matches!(command, RoomCommand::Leave);
    let upon = if let RoomCommand::Member(user, _) = &command { Some(user.clone()) } else { None };
    let decision = ledger.decide(ctx, name, actor, most, command)?;
    if let Some(user) = actor.user().filter(|_| says) {
        ledger.occupancies_mut().types(ctx, name, user, false);
    }
    let left = actor.user().filter(|_| leaves && !decision.records.is_empty()).zip(asker);
    if let Some((user, conn)) = left {
        // the answer tells it; the user's other connections are told
        ledger.occupancies_mut().exit(ctx, name, user, conn);
    }
    for record in decision.records {
        ledger.commit(ctx, record);
    }
    // whoever leaves by itself may listen by another connection, that was never in the room
    let left = left.filter(|_| ledger.state().rooms.kind(name) == ChannelKind::PrivateRoom);
    let out = |user: &Arc<str>| {
        ledger.state().rooms.may_read(name, &Actor::User(user.clone()), ctx.now.wall).is_err()
    };
    if let Some(user) = left.map(|(user, _)| user).or(upon.as_ref().filter(|user| out(user))) {
        ctx.post_to_all(|| ToConnections::AccessChanged { channel: name.clone(), user: Some(user.clone()) });
    }
    decision.reply.write(ledger.state(), name)
}

/// A member types, or has stopped.
fn typing(
    ledger: &mut Ledger,
    ctx: &mut Context,
    name: &Arc<str>,
    actor: &Actor,
    on: bool,
) -> Result<Vec<u8>, Refusal> {
    ledger.state().rooms.get(name).ok_or(Refusal::NotFound)?.may_send(actor, ctx.now.wall)?;
    // perhaps by another connection: forge's generated clients have one for typing alone
    let user = actor.user().filter(|user| ledger.occupancies().is_in(name, user));
    ledger.occupancies_mut().types(ctx, name, user.ok_or(Refusal::SendDenied)?, on);
    Ok(Vec::new())
}
