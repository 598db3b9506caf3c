//! Frames of the hub's clients: whether they are taken, what they lead to, and what is said about those that are not.
//! The order of the gates is forge's: size, rate, then what the frame itself asks for.

use crate::base::id::ConnId;
use crate::flow::conn::hub::Hub;
use crate::flow::conn::{Conn, Phase};
use crate::flow::encode::frame::Dialect;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::documents::DocumentRequest;
use crate::flow::request::write::Done;
use crate::shard::connections::Clients;
use crate::shard::context::Context;
use crate::shard::mail::answer::{Reply, WriteRefused};
use crate::shard::mail::question::{Origin, Question, Ticket};
use crate::wire::hub::write::{self, Object, Rejected};
use crate::wire::hub::{self, Class, Command, Follow, FrameFault, Mode, ReplyTo};
use crate::wire::ws::MessageKind;
use std::borrow::Cow;

/// How many names of documents one connection may be subscribed to.
pub(super) const MAX_FOLLOWED: usize = 1000;

/// Why a frame is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One of forge's codes, or of ours.
    pub code: &'static str,
    /// Why, for people.
    pub message: Cow<'static, str>,
    /// After so many milliseconds it may be said again.
    pub retry_after_ms: Option<u64>,
}

impl Rejection {
    /// With no hope that time helps.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { code, message: message.into(), retry_after_ms: None }
    }
}

impl From<FrameFault> for Rejection {
    fn from(fault: FrameFault) -> Rejection {
        Rejection::new(fault.code(), fault.to_string())
    }
}

impl Clients {
    /// What a connection has shown of itself on the hub.
    pub(super) fn hub(&mut self, id: ConnId) -> Option<&mut Hub> {
        self.get(id)?.hub.as_deref_mut()
    }

    /// What a connection has shown to be.
    pub(in crate::shard) fn class(&mut self, id: ConnId) -> Class {
        match self.get(id) {
            Some(Conn { phase: Phase::Socket(_, Dialect::Hub), hub: Some(hub), .. }) => hub.class,
            _ => Class::Plain,
        }
    }

    /// A frame of a hub client.
    pub(super) fn hub_message(&mut self, ctx: &mut Context, id: ConnId, data: &[u8]) {
        let hub::ClientFrame { about, shows, want } = hub::parse(data);
        let Some(conn) = self.get(id) else { return };
        if shows > Class::Plain {
            let hub = conn.hub.get_or_insert_default();
            hub.class = hub.class.max(shows);
        }
        let done = match self.admit(ctx, id, &want, data.len()) {
            Ok(()) => self.carry_out_frame(ctx, id, want, &about),
            Err(rejection) => Err(rejection),
        };
        if let Err(rejection) = done {
            self.reject(ctx, id, &about, &rejection);
        }
    }

    /// The gates that every frame passes.
    fn admit(
        &mut self,
        ctx: &Context,
        id: ConnId,
        want: &Result<Command, FrameFault>,
        len: usize,
    ) -> Result<(), Rejection> {
        let limits = &ctx.limits.hub;
        if len > limits.max_message {
            let why = format!("a message may have {} bytes ([hub] max_message)", limits.max_message);
            return Err(Rejection::new("message_too_large", why));
        }
        let Some(conn) = self.get(id) else { return Ok(()) };
        let subscribes = matches!(
            want,
            Ok(Command::Subscribe(..) | Command::Unsubscribe(_) | Command::Follow(_) | Command::Unfollow(_))
        );
        if subscribes && conn.hub.is_none() {
            return Ok(());
        }
        let hub = conn.hub.get_or_insert_default();
        // a client may subscribe to all that it is allowed to at once
        let (bucket, burst) = match subscribes {
            true => (&mut hub.subscribing, limits.burst + limits.channels_per_user),
            false => (&mut hub.frames, limits.burst),
        };
        bucket.take(ctx.now.mono, limits.rate, burst).map_err(|ms| Rejection {
            retry_after_ms: Some(ms),
            ..Rejection::new("rate_limited", "too many messages; wait a moment")
        })
    }

    fn carry_out_frame(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        want: Result<Command, FrameFault>,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let forge = self.hub(id).is_some_and(|hub| hub.class == Class::Forge && !hub.strict);
        let want = match want {
            // forge passes over these, and its clients do not expect to hear of them
            Err(FrameFault::Idle(_)) if forge && about.request.is_none() => return Ok(()),
            want => want?,
        };
        match want {
            Command::Subscribe(channel, recover) => self.subscribe_channel(ctx, id, channel, recover, about),
            Command::Unsubscribe(channel) => {
                self.unsubscribe_channel(ctx, id, &channel, about);
                Ok(())
            }
            Command::Follow(follow) => self.follow(ctx, id, *follow, about),
            Command::Unfollow(name) => {
                self.documents(ctx, id, DocumentRequest::Unsubscribe(name, about.request.clone()));
                Ok(())
            }
            Command::Publish(channel, post, how) => self.publish(ctx, id, channel, *post, how, about),
            Command::History(channel, query) => {
                let origin = Origin::Frame { about: Box::new(about.clone()), waits: false };
                let ticket = Ticket { conn: id, origin };
                let actor = self.actor(id);
                ctx.ask(&channel.clone(), Question::History { channel, actor, query, ticket });
                Ok(())
            }
            Command::Room(room, want) => self.room_frame(ctx, id, room, want, about),
            Command::Presence(said) => self.presence(ctx, id, *said, about),
            Command::Watch(users) => self.watch_users(ctx, id, users, about),
            Command::Unwatch(users) => {
                self.unwatch_users(ctx, id, users, about);
                Ok(())
            }
            Command::Heartbeat => {
                if about.request.is_some() {
                    self.say(ctx, id, |out| Object::reply("heartbeat", about.request.as_deref(), out).end());
                }
                Ok(())
            }
        }
    }

    fn follow(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        follow: Follow,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let Follow { name, mode, max_hz, versions } = follow;
        if self.followed(id) >= MAX_FOLLOWED {
            let why = "a connection may be subscribed to 1000 keys and patterns";
            return Err(Rejection::new("channel_limit_reached", why));
        }
        self.end_implicit(ctx, id);
        let patch = match mode {
            Mode::Auto => PatchMode::Auto,
            Mode::Snapshot => PatchMode::Never,
            Mode::Patch => PatchMode::Always,
        };
        let request = about.request.clone();
        let far = self.hub(id).and_then(|hub| hub.far(&name));
        self.documents(ctx, id, DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request });
        Ok(())
    }

    /// How many keys and patterns a connection is subscribed to.
    pub(super) fn followed(&mut self, id: ConnId) -> usize {
        self.hub(id).map_or(0, |hub| {
            hub.documents.iter().map(|documents| documents.names.len()).sum::<usize>() + hub.waiting.len()
        })
    }

    /// An owner has answered a frame.
    pub(in crate::shard) fn frame_answer(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        about: &ReplyTo,
        reply: Reply,
    ) {
        if matches!(reply, Reply::Published(_))
            && let Some(hub) = self.hub(id)
        {
            hub.in_flight -= 1;
        }
        match reply {
            Reply::Published(Ok(Done::Channel(channel, offset, stamp))) => {
                if let Some(request) = &about.request {
                    self.say(ctx, id, |out| write::published(request, &channel, (stamp, offset), out));
                }
            }
            Reply::Published(Ok(Done::Document(..) | Done::Swept(_) | Done::Batch)) => {}
            Reply::Published(Err(WriteRefused::Forbidden(refusal))) => self.refuse(ctx, id, about, refusal),
            Reply::Published(Err(WriteRefused::Invalid(refused))) => {
                let rejection = Rejection::new("error", refused.to_string());
                self.reject(ctx, id, about, &rejection);
            }
            Reply::Room(Ok(members)) => self.room_reply(ctx, id, about, &members),
            Reply::Room(Err(refusal)) | Reply::History(Err(refusal)) => self.refuse(ctx, id, about, refusal),
            Reply::History(Ok(messages)) => self.say(ctx, id, |out| {
                let reply = Object::reply("history", about.request.as_deref(), out);
                let reply = reply.maybe("room_id", about.room.as_deref());
                let reply = reply.maybe("channel", about.channel.as_deref());
                reply.maybe("channel_id", about.channel.as_deref()).raw("messages", &messages).end();
            }),
        }
    }

    /// Says why a frame is not done, to those who can understand it.
    pub(in crate::shard) fn reject(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        about: &ReplyTo,
        why: &Rejection,
    ) {
        ctx.stats.reject_frame(why.code);
        if self.events(id).is_some() {
            let name = about.room.as_ref().or(about.channel.as_ref());
            return self.events_denied(id, name.map_or("", |name| name), why);
        }
        if self.class(id) == Class::Plain {
            return;
        }
        let stamp = ctx.stamp();
        self.say(ctx, id, |out| {
            let rejected = Rejected {
                request: about.request.as_deref(),
                id: about.id.as_deref(),
                room: about.room.as_deref(),
                channel: about.channel.as_deref(),
                code: why.code,
                message: &why.message,
                retry_after_ms: why.retry_after_ms,
            };
            write::error(&rejected, stamp, out);
        });
    }

    /// A frame for one connection.
    pub(in crate::shard) fn say(&mut self, ctx: &mut Context, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        // who gets events asks by requests, which have answers of their own
        if self.dialect(id) == Some(Dialect::Hub) {
            let frame = ctx.encoder.message(MessageKind::Text, write);
            self.send(id, frame);
        }
    }
}
