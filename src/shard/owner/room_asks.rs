//! What is asked of a room, over a socket or over HTTP, and what its owner answers: the members of a JSON object,
//! without its braces.

use crate::base::id::ShardId;
use crate::base::time::MS;
use crate::flow::encode::rooms as encode;
use crate::flow::identity::Actor;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::request::write::Done;
use crate::flow::state::history::History;
use crate::flow::state::room::{FOREVER, Permission, Refusal, Role};
use crate::shard::Shard;
use crate::shard::mail::answer::Answer;
use crate::shard::mail::question::Ticket;
use crate::shard::owner::rooms::{Asker, Place};
use crate::wire::feed::Publish;
use crate::wire::hub::write::Object;
use crate::wire::hub::{MemberCommand, NewMessage, Query, RoomCommand};
use crate::wire::json::Json;
use std::sync::Arc;

/// What is answered.
type Told = Result<Vec<u8>, Refusal>;

/// The members that `write` puts into an object.
fn members(write: impl for<'a> FnOnce(Object<'a>) -> Object<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    write(Object::new(&mut out)).end();
    out.remove(0);
    out.pop();
    out
}

impl Shard {
    /// A question to the owner of a room.
    pub(in crate::shard) fn room_asked(&mut self, from: ShardId, ticket: Ticket, ask: RoomAsk) -> Answer {
        let RoomAsk { room, actor, want, reserved } = ask;
        let all = ticket.is_request();
        let asker = Some((from, ticket.conn)).filter(|_| !all);
        let forge = matches!(want, RoomCommand::Message(_) | RoomCommand::Typing(_)) && !all;
        let told = self.room_wanted(&room, &actor, want, asker, all);
        // forge has no code of its own for a room that is not there
        let told = told.map_err(|r| if forge && r == Refusal::NotFound { Refusal::AccessDenied } else { r });
        if let Some(user) = reserved {
            self.settled(&room, &user);
        }
        ticket.answer_room(told)
    }

    /// What this shard has of rooms that somebody may see: their names, and what is said about them.
    pub(in crate::shard) fn rooms_seen(&self, actor: &Actor) -> Vec<(Arc<str>, Vec<u8>)> {
        let seen = |place: &Place| !place.room.is_private() || place.room.may(actor, Permission::Join);
        let seen = self.rooms.iter().filter(|(_, place)| seen(place));
        seen.map(|(name, place)| (name.clone(), members(|object| encode::about(object, name, &place.room))))
            .collect()
    }

    fn place(&mut self, name: &str) -> Result<&mut Place, Refusal> {
        self.rooms.get_mut(name).ok_or(Refusal::NotFound)
    }

    fn room_wanted(
        &mut self,
        name: &Arc<str>,
        actor: &Actor,
        want: RoomCommand,
        asker: Asker,
        all: bool,
    ) -> Told {
        let now = self.ctx.now.wall;
        match want {
            // whoever joins does so by `ToOwner::Join`
            RoomCommand::Join => Err(Refusal::Forbidden),
            RoomCommand::Create(about) => {
                self.create(name, actor, *about)?;
                self.describe(name)
            }
            RoomCommand::Describe => {
                self.place(name)?.room.may_read(actor, now)?;
                self.describe(name)
            }
            RoomCommand::Update(about) => {
                let events = self.place(name)?.room.update(actor, now, *about)?;
                self.happened(name, events, None, None);
                self.describe(name)
            }
            RoomCommand::Delete => {
                self.place(name)?.room.may_delete(actor)?;
                self.delete(name);
                Ok(Vec::new())
            }
            RoomCommand::Leave => {
                let place = self.rooms.get_mut(name);
                let left = place.zip(actor.user()).map(|(place, user)| place.room.leave(user));
                // whoever is no member has nothing to leave
                self.happened(name, left.and_then(Result::ok).unwrap_or_default(), asker, None);
                Ok(Vec::new())
            }
            RoomCommand::Members => {
                let most = if all { usize::MAX } else { self.ctx.limits.hub.presence_list };
                let place = self.place(name)?;
                place.room.may_read(actor, now)?;
                let title = place.room.about().name.as_deref().unwrap_or(name);
                Ok(members(|object| {
                    let object = object.text("room_id", name).text("room_name", title);
                    encode::members(object, &place.room, most)
                }))
            }
            RoomCommand::Message(post) => self.say(name, actor, *post),
            RoomCommand::Typing(on) => {
                self.place(name)?.room.may_send(actor, now)?;
                // perhaps by another connection: forge's generated clients have one for typing alone
                let user = actor.user().filter(|user| self.sits(name, user)).ok_or(Refusal::SendDenied)?;
                self.types(name, user, on);
                Ok(Vec::new())
            }
            RoomCommand::History(query) => {
                self.place(name)?.room.may_read(actor, now)?;
                Ok(self.past(name, &query))
            }
            RoomCommand::Member(user, want) => self.member_wanted(name, actor, &user, want),
            RoomCommand::Edit(id, data) => self.edit(name, actor, id, data),
            RoomCommand::Erase(id) => self.erase(name, actor, id),
            RoomCommand::React(id, emoji, add) => self.react(name, actor, id, &emoji, add),
        }
    }

    fn describe(&mut self, name: &Arc<str>) -> Told {
        let place = self.place(name)?;
        Ok(members(|object| encode::about(object.text("room_id", name), name, &place.room)))
    }

    /// Something about a member.
    fn member_wanted(
        &mut self,
        name: &Arc<str>,
        actor: &Actor,
        user: &Arc<str>,
        want: MemberCommand,
    ) -> Told {
        let now = self.ctx.now.wall;
        let room = &mut self.place(name)?.room;
        let (events, reason) =
            match want {
                MemberCommand::Role(role) => {
                    let role = Role::from_name(&role).ok_or(Refusal::InvalidRole)?;
                    (room.put_member(actor, now, user, role)?, None)
                }
                MemberCommand::Kick(reason) => (room.kick(actor, user)?, reason),
                MemberCommand::Ban(on, reason) => {
                    (room.ban(actor, now, user, if on { FOREVER } else { 0 })?, reason)
                }
                MemberCommand::Mute(ms) => {
                    let until = ms.map_or(FOREVER, |ms| {
                        if ms == 0 { 0 } else { now.saturating_add(ms.saturating_mul(MS)) }
                    });
                    (room.mute(actor, user, until)?, None)
                }
            };
        let banned = room.may_read(&Actor::User(user.clone()), now).is_err();
        self.happened(name, events, None, reason);
        if banned {
            self.close_to(name, user);
        }
        let place = self.place(name)?;
        let member = place.room.member(user);
        Ok(members(|object| {
            let object = object.text("room_id", name).text("user_id", user);
            match member {
                Some(member) => object.text("role", member.role.name()).time("joined_at", member.joined),
                None => object,
            }
        }))
    }

    /// A message, which goes into the room's channel.
    fn say(&mut self, name: &Arc<str>, actor: &Actor, post: NewMessage) -> Told {
        let now = self.ctx.now.wall;
        self.place(name)?.room.may_send(actor, now)?;
        if let Some(user) = actor.user() {
            self.types(name, user, false);
        }
        let NewMessage { data, event, metadata, thread } = post;
        let (channel, user_id) = (name.clone(), actor.user().cloned());
        let publish = Publish {
            channel,
            kind: "message".into(),
            data,
            event,
            user_id,
            metadata,
            thread_id: thread,
            client: true,
        };
        let data = publish.data.clone();
        let (stamp, sequence) = self.publish_in(publish);
        Ok(members(|object| {
            let object = object.id("id", stamp).id("message_id", stamp).text("room_id", name);
            let object = object.maybe("user_id", actor.user().map(|user| &**user));
            object.raw("data", data.as_bytes()).number("sequence", sequence).time("timestamp", stamp)
        }))
    }

    /// Other words for a message.
    fn edit(&mut self, name: &Arc<str>, actor: &Actor, id: u64, data: Json) -> Told {
        self.may_change(name, actor, id)?;
        if let Some(messages) = self.messages_of(name) {
            messages.edit(id, data.clone());
        }
        self.said(name, actor, "message.edited", |object| {
            object.id("message_id", id).raw("new_content", data.as_bytes())
        })
    }

    /// A message is to be forgotten.
    fn erase(&mut self, name: &Arc<str>, actor: &Actor, id: u64) -> Told {
        self.may_change(name, actor, id)?;
        if let Some(messages) = self.messages_of(name) {
            messages.delete(id);
        }
        self.said(name, actor, "message.deleted", |object| object.id("message_id", id))
    }

    /// A reaction to a message, or none any more.
    fn react(&mut self, name: &Arc<str>, actor: &Actor, id: u64, emoji: &Arc<str>, add: bool) -> Told {
        let now = self.ctx.now.wall;
        self.place(name)?.room.may_send(actor, now)?;
        let user = actor.user().ok_or(Refusal::Forbidden)?;
        self.author(name, id).ok_or(Refusal::NotFound)?;
        if !self.messages_of(name).is_some_and(|messages| messages.react(id, emoji, user, add)) {
            return Ok(Vec::new());
        }
        let event = if add { "message.reaction.added" } else { "message.reaction.removed" };
        self.said(name, actor, event, |object| {
            object.id("message_id", id).text("emoji", emoji).text("user_id", user)
        })
    }

    fn may_change(&mut self, name: &Arc<str>, actor: &Actor, id: u64) -> Result<(), Refusal> {
        let now = self.ctx.now.wall;
        let author = self.author(name, id);
        let room = &self.place(name)?.room;
        room.may_read(actor, now)?;
        room.may_change(actor, author.ok_or(Refusal::NotFound)?.as_deref(), now)
    }

    /// An event about a message takes its place in the channel, so that whoever missed it gets it with the rest.
    fn said(
        &mut self,
        name: &Arc<str>,
        actor: &Actor,
        event: &str,
        data: impl FnOnce(Object<'_>) -> Object<'_>,
    ) -> Told {
        let mut text = Vec::new();
        data(Object::new(&mut text)).end();
        let text = String::from_utf8(text).expect("objects are written as text");
        let told = text.as_bytes()[1..text.len() - 1].to_vec();
        let json = Json::from_normalised(text);
        let publish = Publish {
            event: Some(event.into()),
            user_id: actor.user().cloned(),
            ..Publish::new(name, "system", json)
        };
        self.publish_in(publish);
        Ok(told)
    }

    /// What was said in a room.
    fn past(&mut self, name: &Arc<str>, query: &Query) -> Vec<u8> {
        let messages = self.owner.history(&self.ctx, name, query);
        members(|object| object.text("room_id", name).raw("messages", &messages))
    }

    /// Something takes its place in a room's channel: its stamp and its number.
    fn publish_in(&mut self, publish: Publish) -> (u64, u64) {
        match self.owner.publish(&mut self.ctx, Box::new(publish)) {
            Done::Channel(_, offset, stamp) => (stamp, offset),
            done => unreachable!("a publication leads to {done:?}"),
        }
    }

    /// The messages of a room.
    fn messages_of(&mut self, name: &str) -> Option<&mut History> {
        self.owner.channels.get(name)?.history(&self.ctx)
    }

    /// Who has written a message; `None` if there is no such message.
    fn author(&mut self, name: &str, id: u64) -> Option<Option<Arc<str>>> {
        let (_, entry) = self.messages_of(name)?.find(id)?;
        // what the server says by itself is nobody's to change
        (&*entry.publish.kind != "system").then(|| entry.publish.user_id.clone())
    }
}
