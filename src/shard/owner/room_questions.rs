//! What is asked of a room, over a socket or over HTTP: decided here without a change, as records and the answer that
//! holds once they are applied. Answers are the members of a JSON object, without its braces.

use crate::base::stamp::Stamp;
use crate::base::time::MS;
use crate::flow::encode::rooms as encode;
use crate::flow::identity::Actor;
use crate::flow::state::permission::Role;
use crate::flow::state::room::{FOREVER, Refusal, Room};
use crate::shard::context::Context;
use crate::shard::owner::channel::Channel;
use crate::shard::owner::channels::Channels;
use crate::shard::owner::record::Record;
use crate::shard::owner::rooms::{Rooms, changes};
use crate::shard::owner::state::State;
use crate::wire::feed::Publish;
use crate::wire::hub::write::{self, Object};
use crate::wire::hub::{MemberCommand, NewMessage, Query, RoomCommand};
use crate::wire::json::Json;
use std::sync::Arc;

/// What a question comes to.
#[derive(Debug)]
pub struct Decision {
    /// What is to be done.
    pub records: Vec<Record>,
    /// What is to be answered then.
    pub reply: RoomReply,
}

/// An answer that is written when everything is done.
#[derive(Debug)]
pub enum RoomReply {
    /// These members.
    Text(Vec<u8>),
    /// What is said about the room.
    Profile,
    /// The room's members, unless there are more than this.
    Members(usize),
    /// What a user is in the room.
    Member(Arc<str>),
    /// What was said.
    History(Box<Query>),
}

impl RoomReply {
    /// Writes it about a room and its channel.
    ///
    /// # Errors
    /// `NotFound`: there is no such room.
    pub fn write(self, state: &State, name: &Arc<str>) -> Result<Vec<u8>, Refusal> {
        let room = || state.rooms.get(name).ok_or(Refusal::NotFound);
        match self {
            RoomReply::Text(text) => Ok(text),
            RoomReply::Profile => {
                let room = room()?;
                Ok(members(|object| encode::about(object.text("room_id", name), name, room)))
            }
            RoomReply::Members(most) => {
                let room = room()?;
                let title = room.profile().name.as_deref().unwrap_or(name);
                Ok(members(|object| {
                    let object = object.text("room_id", name).text("room_name", title);
                    encode::members(object, room, most)
                }))
            }
            RoomReply::Member(user) => {
                let member = room()?.member(&user);
                Ok(members(|object| {
                    let object = object.text("room_id", name).text("user_id", &user);
                    match member {
                        Some(member) => {
                            object.text("role", member.role.name()).time("joined_at", member.joined)
                        }
                        None => object,
                    }
                }))
            }
            RoomReply::History(query) => {
                let messages = history(state.channels.get(name), &query);
                Ok(members(|object| object.text("room_id", name).raw("messages", &messages)))
            }
        }
    }
}

/// What is said about a room, for a list of rooms.
pub fn profile(name: &str, room: &Room) -> Vec<u8> {
    members(|object| encode::about(object, name, room))
}

/// What was published into a channel, as the list of a reply.
pub fn history(channel: Option<&Channel>, query: &Query) -> Vec<u8> {
    let mut out = vec![b'['];
    for (placed, entry) in channel.into_iter().flat_map(|channel| channel.query(query)) {
        if out.len() > 1 {
            out.push(b',');
        }
        write::publication(&entry.publish, placed, &mut out);
        encode::fate(entry, &mut out);
    }
    out.push(b']');
    out
}

/// The members that `write` puts into an object.
fn members(write: impl for<'a> FnOnce(Object<'a>) -> Object<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    write(Object::new(&mut out)).end();
    out.remove(0);
    out.pop();
    out
}

/// A question about a room, and what the answer depends on.
#[derive(Debug)]
pub struct RoomQuestion<'a> {
    /// The rooms.
    pub rooms: &'a Rooms,
    /// The channels.
    pub channels: &'a Channels,
    /// Which room.
    pub name: &'a Arc<str>,
    /// Who asks.
    pub actor: &'a Actor,
    /// The members that are named in an answer; where there are more, only how many.
    pub most: usize,
}

impl RoomQuestion<'_> {
    /// What the command comes to. Entering and typing are no questions of records.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decide(&self, ctx: &mut Context, command: RoomCommand) -> Result<Decision, Refusal> {
        let (name, actor, now) = (self.name, self.actor, ctx.now.wall);
        let nothing = |reply| Decision { records: Vec::new(), reply };
        match command {
            // whoever joins does so by `ToOwner::Join`
            RoomCommand::Join | RoomCommand::Typing(_) => Err(Refusal::Forbidden),
            RoomCommand::Create(profile) => {
                let records = vec![self.rooms.create(ctx, name, actor, profile)?];
                Ok(Decision { records, reply: RoomReply::Profile })
            }
            RoomCommand::Describe => {
                self.room()?.may_read(actor, now)?;
                Ok(nothing(RoomReply::Profile))
            }
            RoomCommand::Update(profile) => {
                let records = changes(name, self.room()?.update(actor, now, profile)?);
                Ok(Decision { records, reply: RoomReply::Profile })
            }
            RoomCommand::Delete => {
                self.room()?.may_delete(actor)?;
                Ok(done(Record::RoomDeleted { room: name.clone() }))
            }
            RoomCommand::Leave => {
                let left = self.rooms.get(name).zip(actor.user()).map(|(room, user)| room.leave(user));
                // whoever is no member has nothing to leave
                let records = changes(name, left.and_then(Result::ok).unwrap_or_default());
                Ok(Decision { records, reply: RoomReply::Text(Vec::new()) })
            }
            RoomCommand::Members => {
                self.room()?.may_read(actor, now)?;
                Ok(nothing(RoomReply::Members(self.most)))
            }
            RoomCommand::Message(message) => self.say(ctx, *message),
            RoomCommand::History(query) => {
                self.room()?.may_read(actor, now)?;
                Ok(nothing(RoomReply::History(query)))
            }
            RoomCommand::Member(user, command) => self.member(now, user, command),
            RoomCommand::Edit(message, data) => self.edit(ctx, message, data),
            RoomCommand::Erase(message) => self.erase(ctx, message),
            RoomCommand::React(message, emoji, add) => self.react(ctx, message, emoji, add),
        }
    }

    fn room(&self) -> Result<&Room, Refusal> {
        self.rooms.get(self.name).ok_or(Refusal::NotFound)
    }

    /// Something about a member.
    fn member(&self, now: u64, user: Arc<str>, command: MemberCommand) -> Result<Decision, Refusal> {
        let (room, actor) = (self.room()?, self.actor);
        let events =
            match command {
                MemberCommand::Role(role) => {
                    let role = Role::from_name(&role).ok_or(Refusal::InvalidRole)?;
                    room.put_member(actor, now, &user, role)?
                }
                MemberCommand::Kick(reason) => room.kick(actor, &user, reason)?,
                MemberCommand::Ban(on, reason) => {
                    room.ban(actor, now, &user, if on { FOREVER } else { 0 }, reason)?
                }
                MemberCommand::Mute(ms) => {
                    let until = ms.map_or(FOREVER, |ms| {
                        if ms == 0 { 0 } else { now.saturating_add(ms.saturating_mul(MS)) }
                    });
                    room.mute(actor, &user, until)?
                }
            };
        Ok(Decision { records: changes(self.name, events), reply: RoomReply::Member(user) })
    }

    /// A message, which goes into the room's channel.
    fn say(&self, ctx: &mut Context, message: NewMessage) -> Result<Decision, Refusal> {
        let (name, actor) = (self.name, self.actor);
        self.room()?.may_send(actor, ctx.now.wall)?;
        let NewMessage { data, event, metadata, thread } = message;
        let publish = Publish {
            channel: name.clone(),
            kind: None,
            data,
            event,
            user_id: actor.user().cloned(),
            metadata,
            thread_id: thread,
            client: true,
        };
        let publication = self.channels.next(ctx, Arc::new(publish));
        let (stamp, sequence) = (publication.placed.stamp, publication.placed.sequence);
        let text = members(|object| {
            let object = object.id("id", stamp).id("message_id", stamp).text("room_id", name);
            let object = object.maybe("user_id", actor.user().map(|user| &**user));
            let object = object.raw("data", publication.publish.data.as_bytes());
            object.number("sequence", sequence.get()).time("timestamp", stamp.get())
        });
        Ok(Decision { records: vec![Record::Published(publication)], reply: RoomReply::Text(text) })
    }

    /// Other words for a message.
    fn edit(&self, ctx: &mut Context, message: Stamp, data: Json) -> Result<Decision, Refusal> {
        self.may_change(ctx, message)?;
        let (event, reply) = self.event(ctx, "message.edited", |object| {
            object.id("message_id", message).raw("new_content", data.as_bytes())
        });
        let edited = Record::MessageEdited { channel: self.name.clone(), message, data };
        Ok(Decision { records: vec![edited, event], reply })
    }

    /// A message is to be forgotten.
    fn erase(&self, ctx: &mut Context, message: Stamp) -> Result<Decision, Refusal> {
        self.may_change(ctx, message)?;
        let (event, reply) = self.event(ctx, "message.deleted", |object| object.id("message_id", message));
        let erased = Record::MessageErased { channel: self.name.clone(), message };
        Ok(Decision { records: vec![erased, event], reply })
    }

    /// A reaction to a message, or none any more.
    fn react(
        &self,
        ctx: &mut Context,
        message: Stamp,
        emoji: Arc<str>,
        added: bool,
    ) -> Result<Decision, Refusal> {
        self.room()?.may_send(self.actor, ctx.now.wall)?;
        let user = self.actor.user().ok_or(Refusal::Forbidden)?;
        let channel = self.channels.get(self.name).ok_or(Refusal::NotFound)?;
        channel.author(message).ok_or(Refusal::NotFound)?;
        if channel.history().is_some_and(|history| history.has_reacted(message, &emoji, user)) == added {
            return Ok(Decision { records: Vec::new(), reply: RoomReply::Text(Vec::new()) });
        }
        let event = if added { "message.reaction.added" } else { "message.reaction.removed" };
        let (event, reply) = self.event(ctx, event, |object| {
            object.id("message_id", message).text("emoji", &emoji).text("user_id", user)
        });
        let (channel, user) = (self.name.clone(), user.clone());
        Ok(Decision {
            records: vec![Record::Reaction { channel, message, emoji, user, added }, event],
            reply,
        })
    }

    fn may_change(&self, ctx: &Context, message: Stamp) -> Result<(), Refusal> {
        let room = self.room()?;
        room.may_read(self.actor, ctx.now.wall)?;
        let author = self.channels.get(self.name).and_then(|channel| channel.author(message));
        room.may_change(self.actor, author.ok_or(Refusal::NotFound)?.as_deref(), ctx.now.wall)
    }

    /// An event about a message takes its place in the channel, so that whoever missed it gets it with the rest.
    fn event(
        &self,
        ctx: &mut Context,
        event: &str,
        data: impl for<'a> FnOnce(Object<'a>) -> Object<'a>,
    ) -> (Record, RoomReply) {
        let text = members(data);
        let object =
            String::from_utf8([b"{", &text[..], b"}"].concat()).expect("objects are written as text");
        let publish = Publish {
            event: Some(event.into()),
            user_id: self.actor.user().cloned(),
            ..Publish::new(self.name, "system", Json::from_normalised(object))
        };
        let publication = self.channels.next(ctx, Arc::new(publish));
        (Record::Published(publication), RoomReply::Text(text))
    }
}

fn done(record: Record) -> Decision {
    Decision { records: vec![record], reply: RoomReply::Text(Vec::new()) }
}
