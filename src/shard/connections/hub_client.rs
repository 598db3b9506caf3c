//! A client of the hub: whether its frames are taken, what they lead to, and what is said about those that are not.
//! The order of the gates is forge's: size, rate, then what the frame itself asks for.

use crate::base::stamp::Stamp;
use crate::flow::conn::token_bucket::Bucket;
use crate::flow::limits::Access;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::documents::DocumentRequest;
use crate::flow::request::handshake::HubRequest;
use crate::flow::request::position::Position;
use crate::flow::request::rooms::RoomAsk;
use crate::flow::request::write::{Done, Write};
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::Status;
use crate::shard::connections::channels::{self, ChannelRequest, ChannelSubscriptions};
use crate::shard::connections::documents::{DocumentSubscriptions, MAX_NAMES};
use crate::shard::connections::memberships::{Entering, Memberships};
use crate::shard::connections::presence::PresenceQueries;
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::requests::ask_room;
use crate::shard::connections::view::View;
use crate::shard::mail::answer::{Reply, WriteRefused};
use crate::shard::mail::question::{Origin, Question, Ticket, UserQuestion, WriteOrigin, WriteTicket};
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::user::{QuotaChange, Session, SessionUpdate, session_owner};
use crate::wire::cursor::{BadCursor, Cursor};
use crate::wire::feed::Publish;
use crate::wire::hub::write::{self, Object, Rejected, System};
use crate::wire::hub::{
    As, Class, ClientFrame, Command, EVERYONE, Follow, FrameFault, Mode, NewMessage, Recover, ReplyTo,
    RoomCommand, StatusUpdate,
};
use std::sync::Arc;

/// How many publications of one connection may wait for their owners: these wait when readers are slow.
const MAX_IN_FLIGHT: u32 = 128;

/// What a client of the hub has shown to be, and what it has asked for.
#[derive(Debug, Default)]
pub struct HubClient {
    /// What it has shown to be.
    class: Class,
    /// Whether it speaks our own dialect by agreement: then it is told of what forge leaves without an answer.
    strict: bool,
    /// Its session, if it wants to be able to take it up again.
    session: Option<Stamp>,
    /// How fast it sends frames that others get.
    frames: Bucket,
    /// How many of them wait for their owners' answers.
    in_flight: u32,
    /// How fast it subscribes.
    subscribing: Bucket,
    /// How many answers it waits for before it is listened to again, and what it has said meanwhile.
    waits: u32,
    held: Vec<u8>,
    /// How far it had come on an earlier connection, with what it has not subscribed to again yet.
    cursor: Option<Box<Cursor>>,
    /// Its channels.
    pub channels: ChannelSubscriptions,
    /// Its rooms.
    pub rooms: Memberships,
    /// Its documents.
    pub documents: DocumentSubscriptions,
    /// The users that it watches.
    pub presence: PresenceQueries,
}

impl HubClient {
    /// A client has come, with what its request says of it.
    pub fn open(view: &mut View<'_>, request: HubRequest) -> HubClient {
        let HubRequest { channels, rooms, session, native, forge, cursor } = request;
        let class = match (native, forge) {
            (_, true) => Class::Forge,
            (true, false) => Class::Native,
            (false, false) => Class::Plain,
        };
        let lost = cursor.as_ref().is_some_and(|cursor| !cursor.as_ref().is_ok_and(|c| view.recognizes(c)));
        let cursor = cursor.filter(|_| !lost).and_then(Result::ok).map(Box::new);
        let mut client = HubClient { class, strict: native, cursor, ..HubClient::default() };
        view.change_quota(QuotaChange::Connect);
        view.subscribe(&Subject::Channel(EVERYONE.into()), Position::Nothing);
        if lost {
            client.send_resync(view);
        }
        if let Some(earlier) = session {
            client.begin_session(view, earlier);
        }
        if channels.is_empty() && view.ctx.limits.hub.implicit_channels && class == Class::Plain {
            for shard in view.ctx.all() {
                view.subscribe(&Subject::Every(shard), Position::Nothing);
            }
        }
        for channel in channels {
            if channels::pool(view, &channel).is_some() {
                continue;
            }
            let position = client.seen(view, &channel);
            let request = ChannelRequest { channel: channel.clone(), position, reply_to: None };
            if let Err(why) = client.channels.subscribe(view, &client.rooms, request) {
                client.reject(view, &channels::of_channel(channel), &why);
            }
        }
        client.enter_rooms(view, rooms);
        client
    }

    /// Whether it has shown nothing that is to be remembered.
    pub fn is_plain_listener(&self, view: &View<'_>) -> bool {
        self.class == Class::Plain && self.cursor.is_none() && view.user().is_none()
    }

    /// What it has shown to be.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether it was here before, and has not subscribed to everything again yet.
    pub fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// Whether it is not listened to at present, because nothing that it says may overtake an answer.
    pub fn waits(&self) -> bool {
        self.waits > 0
    }

    /// How many bytes are held that it has said.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Keeps what it says while it is not listened to.
    pub fn hold(&mut self, view: &mut View<'_>, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        view.pause_beyond_read_ahead(self.held.len());
    }

    /// One answer has come; what was said meanwhile, if it was the last.
    pub fn stop_waiting(&mut self) -> Option<Vec<u8>> {
        self.waits -= 1;
        (self.waits == 0).then(|| std::mem::take(&mut self.held))
    }

    /// A frame of `len` bytes.
    pub fn frame(&mut self, view: &mut View<'_>, frame: ClientFrame, len: usize) {
        let ClientFrame { reply_to, shows, command } = frame;
        self.class = self.class.max(shows);
        let admitted = self.admit(view, &command, len);
        let done = admitted.and_then(|()| self.carry_out(view, command, &reply_to));
        if let Err(why) = done {
            self.reject(view, &reply_to, &why);
        }
    }

    /// The gates that every frame passes.
    fn admit(
        &mut self,
        view: &View<'_>,
        command: &Result<Command, FrameFault>,
        len: usize,
    ) -> Result<(), Rejection> {
        let limits = &view.ctx.limits.hub;
        if len > limits.max_message {
            let why = format!("a message may have {} bytes ([hub] max_message)", limits.max_message);
            return Err(Rejection::new("message_too_large", why));
        }
        let subscribes = matches!(
            command,
            Ok(Command::Subscribe(..) | Command::Unsubscribe(_) | Command::Follow(_) | Command::Unfollow(_))
        );
        // a client may subscribe to all that it is allowed to at once
        let (bucket, burst) = match subscribes {
            true => (&mut self.subscribing, limits.burst + limits.channels_per_user),
            false => (&mut self.frames, limits.burst),
        };
        let taken = bucket.take(view.ctx.now.mono, limits.rate, burst);
        taken.map_err(|ms| Rejection::for_now("too many messages; wait a moment", ms))?;
        // an identity may have ended since the handshake; whoever has none any more may still let go of what it has
        let lets_go = matches!(
            command,
            Ok(Command::Unsubscribe(_) | Command::Unfollow(_) | Command::Unwatch(_) | Command::Heartbeat)
        );
        let allowed = if lets_go { Ok(()) } else { view.caller().may(Access::Read) };
        allowed.map_err(|denied| Rejection::new("error", denied.to_string()))
    }

    fn carry_out(
        &mut self,
        view: &mut View<'_>,
        command: Result<Command, FrameFault>,
        reply_to: &ReplyTo,
    ) -> Result<(), Rejection> {
        let forge = self.class == Class::Forge && !self.strict;
        let command = match command {
            // forge passes over these, and its clients do not expect to hear of them
            Err(FrameFault::Idle(_)) if forge && reply_to.request.is_none() => return Ok(()),
            command => command?,
        };
        match command {
            Command::Subscribe(channel, recover) => return self.subscribe(view, channel, recover, reply_to),
            Command::Unsubscribe(channel) => self.unsubscribe(view, &channel, reply_to),
            Command::Follow(follow) => return self.follow(view, *follow, reply_to),
            Command::Unfollow(name) => {
                let request = DocumentRequest::Unsubscribe(name, reply_to.request.clone());
                self.documents.request(view, request);
            }
            Command::Publish(channel, message, how) => {
                return self.publish(view, channel, *message, how, reply_to);
            }
            Command::History(channel, query) => {
                let (ticket, actor) = (ticket(view, reply_to), view.actor());
                let question = Question::History { channel: channel.clone(), actor, query, ticket };
                view.ctx.ask(&channel, question);
            }
            Command::Room(room, command) => return self.room_command(view, room, command, reply_to),
            Command::Presence(status) => return set_status(view, *status, reply_to),
            Command::Watch(users) => return self.presence.watch(view, users, reply_to.clone()),
            Command::Unwatch(users) => {
                self.presence.unwatch(view, users);
                reply(view, reply_to, b"");
            }
            Command::Heartbeat => {
                if let Some(request) = reply_to.request.as_deref() {
                    view.send_text(|out| Object::reply("heartbeat", Some(request), out).end());
                }
            }
        }
        Ok(())
    }

    /// What it had seen of a channel when it was here before, by its cursor; only its first subscription counts.
    fn seen(&mut self, view: &View<'_>, channel: &str) -> Position {
        let offset = self.cursor.as_mut().and_then(|cursor| cursor.channels.remove(channel));
        offset.map_or(Position::Nothing, |offset| Position::Offset((*view.ctx.epoch).into(), offset))
    }

    fn subscribe(
        &mut self,
        view: &mut View<'_>,
        channel: Arc<str>,
        recover: Option<Recover>,
        reply_to: &ReplyTo,
    ) -> Result<(), Rejection> {
        let seen = self.seen(view, &channel);
        let position = recover.map_or(seen, |seen| Position::Offset(seen.epoch, seen.offset));
        let reply_to = (self.class > Class::Plain).then(|| reply_to.clone());
        self.channels.subscribe(view, &self.rooms, ChannelRequest { channel, position, reply_to })
    }

    fn unsubscribe(&mut self, view: &mut View<'_>, channel: &Arc<str>, reply_to: &ReplyTo) {
        let why = Rejection::new("error", "the subscription was ended before it had begun");
        for waiting in self.channels.unsubscribe(view, channel) {
            self.reject(view, &waiting, &why);
        }
        if self.class > Class::Plain {
            view.send_text(|out| write::unsubscribed(reply_to.request.as_deref(), channel, out));
        }
    }

    fn follow(&mut self, view: &mut View<'_>, follow: Follow, reply_to: &ReplyTo) -> Result<(), Rejection> {
        let Follow { name, mode, max_hz, versions } = follow;
        if self.documents.count() >= MAX_NAMES {
            let why = "a connection may be subscribed to 1000 keys and patterns";
            return Err(Rejection::new("channel_limit_reached", why));
        }
        channels::end_implicit(view);
        let patch = match mode {
            Mode::Auto => PatchMode::Auto,
            Mode::Snapshot => PatchMode::Never,
            Mode::Patch => PatchMode::Always,
        };
        let request = reply_to.request.clone();
        let far = self.cursor.as_mut().and_then(|cursor| cursor.keys.remove(name.as_str()));
        self.documents
            .request(view, DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request });
        Ok(())
    }

    /// It publishes into a channel, under its own name.
    fn publish(
        &mut self,
        view: &mut View<'_>,
        channel: Arc<str>,
        message: NewMessage,
        how: As,
        reply_to: &ReplyTo,
    ) -> Result<(), Rejection> {
        view.caller()
            .may(Access::Write)
            .map_err(|denied| Rejection::new("send_denied", denied.to_string()))?;
        if *channel == *EVERYONE {
            return Err(Rejection::new("send_denied", "only the application publishes to '*'"));
        }
        if how == As::Subscriber && channels::pool(view, &channel).is_none() {
            return Err(Rejection::new("send_denied", "subscribe to the channel before you send to it"));
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            return Err(Rejection::for_now("too much is on its way; wait a moment", 100));
        }
        self.in_flight += 1;
        let (kind, user_id) = (None, view.user().cloned());
        let NewMessage { data, event, metadata, thread: thread_id } = message;
        let owner = channel.clone();
        let publish = Publish { channel, kind, data, event, user_id, metadata, thread_id, client: true };
        let origin = WriteOrigin::Frame(Box::new(reply_to.clone()));
        let ticket = WriteTicket { conn: view.id, origin };
        let write = Write::Publish(Arc::new(publish), view.actor());
        view.ctx.ask(&owner, Question::Write { write, ticket });
        Ok(())
    }

    /// It wants something of a room.
    fn room_command(
        &mut self,
        view: &mut View<'_>,
        room: Arc<str>,
        command: RoomCommand,
        reply_to: &ReplyTo,
    ) -> Result<(), Rejection> {
        match command {
            RoomCommand::Join => return self.enter_room(view, room, reply_to.clone()),
            RoomCommand::Message(_) if self.rooms.get(&room).is_none() => {
                return Err(Rejection::new("send_denied", "join the room before you send to it"));
            }
            RoomCommand::History(query) => {
                let (ticket, actor) = (ticket(view, reply_to), view.actor());
                let question = Question::History { channel: room.clone(), actor, query, ticket };
                view.ctx.ask(&room, question);
                return Ok(());
            }
            RoomCommand::Leave => self.rooms.leave(view, &room),
            _ => {}
        }
        let ask = Box::new(RoomAsk { room, actor: view.actor(), want: command, reserved: None });
        let waits = ask.newcomer().is_some();
        self.waits += u32::from(waits);
        let origin = Origin::Frame { reply_to: Box::new(reply_to.clone()), waits };
        ask_room(view.ctx, Ticket { conn: view.id, origin }, ask);
        Ok(())
    }

    fn enter_room(
        &mut self,
        view: &mut View<'_>,
        room: Arc<str>,
        reply_to: ReplyTo,
    ) -> Result<(), Rejection> {
        if self.rooms.enter(view, room, reply_to)? == Entering::Reserving {
            self.waits += 1;
        }
        Ok(())
    }

    /// Enters rooms that no frame asks for.
    fn enter_rooms(&mut self, view: &mut View<'_>, rooms: Vec<Arc<str>>) {
        for room in rooms {
            let reply_to = ReplyTo { room: Some(room.clone()), ..ReplyTo::default() };
            if let Err(why) = self.enter_room(view, room, reply_to.clone()) {
                self.reject(view, &reply_to, &why);
            }
        }
    }

    /// An owner has answered a frame.
    pub fn answer(&mut self, view: &mut View<'_>, reply_to: &ReplyTo, answer: Reply) {
        if let Reply::Published(_) = answer {
            self.in_flight -= 1;
        }
        match answer {
            Reply::Published(Ok(Done::Channel(channel, offset, stamp))) => {
                if let Some(request) = &reply_to.request {
                    view.send_text(|out| write::published(request, &channel, (stamp, offset), out));
                }
            }
            Reply::Published(Ok(Done::Document(..) | Done::Swept(_) | Done::Batch)) => {}
            Reply::Published(Err(WriteRefused::Invalid(refused))) => {
                self.reject(view, reply_to, &Rejection::new("error", refused.to_string()));
            }
            Reply::Published(Err(WriteRefused::Forbidden(refusal)))
            | Reply::Room(Err(refusal))
            | Reply::History(Err(refusal)) => {
                self.reject(view, reply_to, &Rejection::refused(refusal, view.ctx.now.wall));
            }
            Reply::Room(Ok(members)) => reply(view, reply_to, &members),
            Reply::History(Ok(messages)) => view.send_text(|out| {
                let reply = Object::reply("history", reply_to.request.as_deref(), out);
                let reply = reply.maybe("room_id", reply_to.room.as_deref());
                let reply = reply.maybe("channel", reply_to.channel.as_deref());
                reply.maybe("channel_id", reply_to.channel.as_deref()).raw("messages", &messages).end();
            }),
        }
    }

    /// Says why a frame is not done, to those who can understand it.
    pub fn reject(&self, view: &mut View<'_>, reply_to: &ReplyTo, why: &Rejection) {
        view.ctx.stats.reject_frame(why.code);
        if self.class == Class::Plain {
            return;
        }
        let stamp = view.ctx.stamp();
        let rejected = Rejected {
            request: reply_to.request.as_deref(),
            id: reply_to.id.as_deref(),
            room: reply_to.room.as_deref(),
            channel: reply_to.channel.as_deref(),
            code: why.code,
            message: &why.message,
            retry_after_ms: why.retry_after_ms,
        };
        view.send_text(|out| write::error(&rejected, stamp, out));
    }

    /// Tells whoever understands it that what was missed cannot be made up for.
    fn send_resync(&self, view: &mut View<'_>) {
        if self.class > Class::Plain {
            let why = BadCursor.to_string();
            view.send_text(|out| Object::frame("resync_required", out).text("reason", &why).end());
        }
    }

    /// What it has missed of documents cannot be made up for: it gets their whole state.
    pub fn resync(&mut self, view: &mut View<'_>) {
        self.send_resync(view);
        self.documents.restart(view);
    }

    /// It wants a session, and perhaps an earlier one back. Both belong to its user.
    fn begin_session(&mut self, view: &mut View<'_>, earlier: Option<Stamp>) {
        if view.ctx.limits.hub.session_ttl == 0 {
            return;
        }
        let session = view.ctx.stamp();
        if view.user().is_none() {
            return;
        }
        self.session = Some(session);
        update_session(view, session, SessionUpdate::Begins);
        match earlier {
            Some(earlier) => update_session(view, earlier, SessionUpdate::Wanted),
            None => self.resumed(view, None),
        }
    }

    /// The answer to the wish for an earlier session. The client is told by what name it can come back.
    pub fn resumed(&mut self, view: &mut View<'_>, earlier: Option<Box<Session>>) {
        let Some(session) = self.session else { return };
        let (mut data, stamp) = (Vec::new(), view.ctx.stamp());
        Object::new(&mut data).id("session_id", session).flag("resumed", earlier.is_some()).end();
        let told = System { event: "session", room: None, user: "", data: &data };
        view.send_text(|out| write::system(&told, stamp, out));
        let Some(earlier) = earlier else { return };
        for (channel, offset) in earlier.channels {
            if channels::pool(view, &channel).is_none() {
                // the channel of a room that it is in does not count
                if !earlier.rooms.contains(&channel) {
                    view.change_quota(QuotaChange::Subscribe(channel.clone()));
                }
                let position = Position::Offset((*view.ctx.epoch).into(), offset);
                view.subscribe(&Subject::Channel(channel), position);
            }
        }
        // its user is a member still, or hears why not
        self.enter_rooms(view, earlier.rooms);
        for (name, patch, max_hz) in earlier.documents {
            let (versions, far, request) = Default::default();
            let request = DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request };
            self.documents.request(view, request);
        }
    }

    /// The connection ends: its user holds less, and its session is kept.
    pub fn ended(&mut self, view: &mut View<'_>) {
        let rooms = self.rooms.end(view);
        view.change_quota(QuotaChange::Disconnect);
        if let Some(session) = self.session.take() {
            let (documents, channels) = (self.documents.names().collect(), channels::positions(view));
            let left = Session { rooms, channels, documents };
            update_session(view, session, SessionUpdate::Ends(Box::new(left)));
        }
    }
}

/// Tells the owner of a session of the connection's user.
fn update_session(view: &mut View<'_>, session: Stamp, update: SessionUpdate) {
    if let Some(user) = view.user().cloned() {
        let mail = ToOwner::Session { session, user, conn: view.id, update };
        view.ctx.post_to_owner(&session_owner(session), mail);
    }
}

/// A user says how it is.
fn set_status(view: &mut View<'_>, status: StatusUpdate, reply_to: &ReplyTo) -> Result<(), Rejection> {
    let Some(user) = view.user().cloned() else {
        let why = "only users have a presence; say who you are: ?user=";
        return Err(Rejection::new("feature_disabled", why));
    };
    let StatusUpdate { status, custom } = status;
    let status = Status::from_name(status).expect("one of the four words");
    let question = UserQuestion::Status { status, custom, ticket: ticket(view, reply_to) };
    view.ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
    Ok(())
}

/// The question of a frame behind which the client may say more.
fn ticket(view: &View<'_>, reply_to: &ReplyTo) -> Ticket {
    let origin = Origin::Frame { reply_to: Box::new(reply_to.clone()), waits: false };
    Ticket { conn: view.id, origin }
}

/// The reply to a frame that wants one: `members` are those of a JSON object.
fn reply(view: &mut View<'_>, reply_to: &ReplyTo, members: &[u8]) {
    let Some(request) = &reply_to.request else { return };
    view.send_text(|out| {
        Object::reply("reply", Some(request), out).end();
        if !members.is_empty() {
            out.pop();
            out.push(b',');
            out.extend_from_slice(members);
            out.push(b'}');
        }
    });
}
