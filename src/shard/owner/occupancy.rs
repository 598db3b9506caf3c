//! Who is in rooms at this moment: the connections of members, their presence, who is typing. It lives with the
//! connections; who is a member outlives them (`rooms`).

use crate::base::stamp::Stamp;
use crate::base::time::MS;
use crate::flow::encode::rooms as encode;
use crate::flow::fanout::reach::Reach;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{ConnAddress, News, Presence, Shown, Status};
use crate::flow::state::room::{Left, Room, RoomEvent};
use crate::flow::state::typing::Typing;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Joined};
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{Departure, MembershipUpdate};
use crate::shard::owner::watch::Watch;
use crate::shard::owner::watchers::Watchers;
use crate::shard::timers::{OwnerTimer, Timer};
use crate::wire::hub::write::{self, Object};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// How often changes of presence and typing are told.
const TICK: u64 = 100 * MS;

/// Who is in one room.
#[derive(Debug, Default)]
struct Occupancy {
    presence: Presence,
    typing: Typing,
    /// The connections that are in it, by user.
    connections: HashMap<Arc<str>, SmallVec<[ConnAddress; 1]>>,
    /// Whether it is among those that have something to tell.
    has_news: bool,
}

/// Who is in the rooms of an owner.
#[derive(Debug, Default)]
pub struct Occupancies {
    rooms: HashMap<Arc<str>, Occupancy>,
    /// Those that have something to tell at the next tick.
    news: Vec<Arc<str>>,
    /// Whether a timer is set for that.
    ticking: bool,
}

impl Occupancies {
    /// The connections that are in a room, with their users.
    pub fn connections(&self, room: &str) -> impl Iterator<Item = (&Arc<str>, ConnAddress)> {
        let all = self.rooms.get(room).into_iter().flat_map(|room| &room.connections);
        all.flat_map(|(user, connections)| connections.iter().map(move |conn| (user, *conn)))
    }

    /// Whether a user is in a room.
    pub fn is_in(&self, room: &str, user: &str) -> bool {
        self.rooms.get(room).is_some_and(|room| room.connections.contains_key(user))
    }

    /// A member is in a room with one more connection.
    pub fn enter(&mut self, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>, conn: ConnAddress) {
        let room = self.rooms.entry_ref(name).or_default();
        let connections = room.connections.entry_ref(user).or_default();
        if !connections.contains(&conn) {
            connections.push(conn);
        }
        // whoever enters is there; its owner says in what way
        let online = Shown { status: Status::Online, custom: None, since: ctx.now.wall };
        if !room.presence.knows(user) && room.presence.set(user, online) {
            self.has_news(ctx, name);
        }
    }

    /// A connection is in a room no more.
    pub fn exit(&mut self, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>, conn: ConnAddress) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(connections) = room.connections.get_mut(user) else { return };
        connections.retain(|own| *own != conn);
        if connections.is_empty() {
            room.connections.remove(user);
            room.typing.stop(user);
            self.has_news(ctx, name);
        }
    }

    /// A member of a room shows itself otherwise, as its owner says.
    pub fn shows(&mut self, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>, shown: Shown) {
        if self.rooms.entry_ref(name).or_default().presence.set(user, shown) {
            self.has_news(ctx, name);
        }
    }

    /// A member types, or has stopped.
    pub fn types(&mut self, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>, on: bool) {
        let until = ctx.now.mono + ctx.limits.hub.typing_timeout;
        let room = self.rooms.entry_ref(name).or_default();
        if on {
            room.typing.start(user, until);
        } else {
            room.typing.stop(user);
        }
        self.has_news(ctx, name);
    }

    /// What a connection is told first: who is there, who is typing; if it fell behind, who is a member, as it may have
    /// missed who came and went.
    pub fn state(
        &mut self,
        ctx: &mut Context,
        watch: &mut Watch,
        join: &Join,
        name: &Arc<str>,
        room: &Room,
    ) -> Joined {
        let Occupancy { presence, typing, .. } = self.rooms.entry_ref(name).or_default();
        let most = ctx.limits.hub.presence_list;
        let (encoder, stamps, dialect) = (&mut ctx.encoder, &mut ctx.stamps, join.variant.dialect);
        let sync = if join.enter {
            let sync = |out: &mut Vec<u8>| encode::sync(name, presence, None, out);
            watch.state(encoder, join.variant, |encoder| Some(encode::text(encoder, dialect, sync)))
        } else {
            let sync = |out: &mut Vec<u8>| encode::sync(name, presence, Some((room, most)), out);
            Some(encode::text(encoder, dialect, sync))
        };
        let mut state = sync.map_or_else(Vec::new, |sync| sync.to_vec());
        for user in typing.told() {
            let stamp = stamps.next(ctx.now.wall);
            let typing = encode::text(encoder, dialect, |out| write::typing(name, user, true, stamp, out));
            state.extend_from_slice(&typing);
        }
        Joined { state: Some(state.into()), ..join.joined(Reach::default()) }
    }

    /// Something has happened in a room: those in it are told, and those concerned.
    pub fn changed(
        &mut self,
        ctx: &mut Context,
        watchers: &mut Watchers,
        name: &Arc<str>,
        room: &Room,
        event: &RoomEvent,
    ) {
        // above that it tells numbers instead of names
        let small = room.len() <= ctx.limits.hub.presence_list;
        match event {
            RoomEvent::Joined { user, member } if small => {
                around(ctx, watchers, name, |_, out| encode::member_joined(name, user, member, out));
            }
            RoomEvent::Joined { .. } | RoomEvent::Banned { .. } => {}
            RoomEvent::Left { user, member, how } => {
                self.left(ctx, name, user, how);
                if small {
                    around(ctx, watchers, name, |_, out| encode::member_left(name, user, member, out));
                }
            }
            RoomEvent::Role { user, role } => {
                system(ctx, watchers, name, "member.role", |out| encode::role(user, *role, out));
            }
            RoomEvent::Muted { user, until } => {
                self.types(ctx, name, user, false);
                system(ctx, watchers, name, "member.muted", |out| encode::muted(user, *until, out));
            }
            RoomEvent::Updated { .. } => {
                system(ctx, watchers, name, "room.updated", |out| {
                    encode::about(Object::new(out), name, room).end();
                });
            }
        }
    }

    /// A member is one no more: its connections leave.
    fn left(&mut self, ctx: &mut Context, name: &Arc<str>, user: &Arc<str>, how: &Left) {
        let room = self.rooms.entry_ref(name).or_default();
        room.typing.stop(user);
        room.presence.set(user, Shown::offline(ctx.now.wall));
        let connections = room.connections.remove(user).unwrap_or_default();
        self.has_news(ctx, name);
        for (shard, conn) in connections {
            let departure = match how {
                Left::Left => Departure::Left,
                Left::Kicked(reason) => Departure::Kicked(reason.clone()),
                Left::Banned(reason) => Departure::Banned(reason.clone()),
            };
            let departure = Box::new(departure);
            ctx.post(shard, ToConnections::Departed { conn, room: name.clone(), departure });
        }
        ended(ctx, name, user);
    }

    /// A room is deleted: everyone leaves.
    pub fn deleted(&mut self, ctx: &mut Context, name: &Arc<str>, room: &Room) {
        for (user, _) in room.members() {
            ended(ctx, name, user);
        }
        let Some(gone) = self.rooms.remove(name) else { return };
        for (shard, conn) in gone.connections.into_values().flatten() {
            let departure = Box::new(Departure::Deleted);
            ctx.post(shard, ToConnections::Departed { conn, room: name.clone(), departure });
        }
    }

    fn has_news(&mut self, ctx: &mut Context, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if std::mem::replace(&mut room.has_news, true) {
            return;
        }
        self.news.push(name.clone());
        if !std::mem::replace(&mut self.ticking, true) {
            ctx.timers.push(ctx.now.mono + TICK, Timer::Owner(OwnerTimer::Rooms));
        }
    }

    /// A tick: every room that has something to tell tells it.
    pub fn tick(&mut self, ctx: &mut Context, watchers: &mut Watchers) {
        self.ticking = false;
        let (mono, most) = (ctx.now.mono, ctx.limits.hub.presence_list);
        for name in std::mem::take(&mut self.news) {
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            room.has_news = false;
            let typing = room.typing.tick(mono);
            let news = room.presence.tick(most);
            for (user, on) in typing {
                around(ctx, watchers, &name, |stamp, out| write::typing(&name, &user, on, stamp, out));
            }
            match news {
                None => {}
                Some(News::Users(changes)) => {
                    for (user, shown) in changes {
                        around(ctx, watchers, &name, |_, out| {
                            encode::presence(&user, &shown, Some(&name), out);
                        });
                    }
                }
                Some(News::Count(_) | News::Whole) => {
                    let mut text = Vec::new();
                    encode::sync(&name, &room.presence, None, &mut text);
                    around(ctx, watchers, &name, |_, out| out.extend_from_slice(&text));
                }
            }
            if !room.typing.is_idle() {
                self.has_news(ctx, &name);
            }
        }
    }
}

/// A user's owner is told that the user is no member of a room any more.
fn ended(ctx: &mut Context, room: &Arc<str>, user: &Arc<str>) {
    let (user, room, update) = (user.clone(), room.clone(), MembershipUpdate::Ended);
    ctx.post_to_user(&user.clone(), ToOwner::Membership { user, room, update });
}

/// Tells everyone around a room; `write` gets a stamp to name and date the frame by.
fn around(ctx: &mut Context, watchers: &mut Watchers, room: &Arc<str>, write: impl Fn(Stamp, &mut Vec<u8>)) {
    let stamp = ctx.stamp();
    watchers.tell(ctx, &Subject::Room(room.clone()), |encoder, variant| {
        encode::text(encoder, variant.dialect, |out| write(stamp, out))
    });
}

/// Tells something about a room as an event of the system.
fn system(
    ctx: &mut Context,
    watchers: &mut Watchers,
    room: &Arc<str>,
    event: &str,
    data: impl Fn(&mut Vec<u8>),
) {
    let mut text = Vec::new();
    data(&mut text);
    around(ctx, watchers, room, |stamp, out| {
        write::system(&write::System { event, room: Some(room), user: "", data: &text }, stamp, out);
    });
}
