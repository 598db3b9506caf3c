//! Reads what clients send.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::wire::feed::{MAX_CHANNEL, is_channel};
use crate::wire::hub::frame::{
    As, Bound, Class, ClientFrame, Command, DEFAULT_LIMIT, Follow, FrameFault, MAX_LIST, MAX_NAME, MAX_TEXT,
    MemberCommand, Mode, NewMessage, Query, Recover, ReplyTo, RoomCommand, RoomProfile, STATUSES,
    StatusUpdate, is_room, is_user,
};
use crate::wire::hub::members::RawMembers;
use crate::wire::json::Json;
use crate::wire::key::{Key, Name};
use hashbrown::HashMap;
use std::sync::Arc;

const CHANNEL: &str = "\"channel\" must be a name of 1 to 1024 bytes that does not begin with '$'";
const ROOM: &str =
    "\"room_id\" must be a name of 1 to 256 bytes without control characters, not '*' and not with '$' first";
const USER: &str = "\"user_id\" must be a name of 1 to 256 bytes without control characters";

const REQUEST: &str = "\"request_id\" must be a string or a number of at most 256 bytes";
const DATA: &str = "\"data\" cannot be kept: lone surrogates, or nested more than 128 deep";

/// Reads a frame.
pub fn parse(frame: &[u8]) -> ClientFrame {
    let Some(members) = RawMembers::read(frame) else {
        let command = Err(FrameFault::Field("the message is not a JSON object"));
        return ClientFrame { reply_to: ReplyTo::default(), shows: Class::Plain, command };
    };
    let id = |name| members.raw(name).filter(|raw| is_id(raw)).map(Box::from);
    let name = |name, is: fn(&str) -> bool| {
        let text = members.text(name, "").ok().flatten().filter(|text| is(text));
        text.map(|text| Arc::from(&*text))
    };
    let reply_to = ReplyTo {
        request: id("request_id"),
        id: id("id"),
        room: name("room_id", is_room),
        channel: name("channel", is_channel).or_else(|| name("channel_id", is_channel)),
    };
    let (command, shows) = read(&members);
    let odd = members.raw("request_id").is_some() && reply_to.request.is_none();
    let command = if odd { Err(FrameFault::Field(REQUEST)) } else { command };
    let reveals = ["request_id", "action", "key"].iter().any(|name| members.raw(name).is_some());
    ClientFrame { reply_to, shows: shows.max(if reveals { Class::Native } else { Class::Plain }), command }
}

/// What a frame asks for, and what its kind shows of the sender.
fn read(members: &RawMembers<'_>) -> (Result<Command, FrameFault>, Class) {
    let kind = match members.text("type", "\"type\" must be a string") {
        Ok(kind) => kind.filter(|kind| !kind.is_empty()),
        Err(fault) => return (Err(fault), Class::Plain),
    };
    match (kind, members.text("action", "\"action\" must be a string")) {
        (_, Err(fault)) => (Err(fault), Class::Native),
        (None, Ok(None)) => (Err(FrameFault::Idle("there is no \"type\"")), Class::Plain),
        (None, Ok(Some(action))) => (channel_action(members, &action), Class::Native),
        (Some(kind), _) => (command(members, &kind), shown_by(&kind)),
    }
}

/// Whether a raw value can be an id: a string or a number that is not too long.
fn is_id(raw: &str) -> bool {
    raw.len() <= MAX_NAME && raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

fn shown_by(kind: &str) -> Class {
    match kind {
        "join" | "message" | "typing" | "presence" => Class::Forge,
        "subscribe" | "unsubscribe" | "publish" => Class::Plain,
        "history" | "subscribe_presence" | "unsubscribe_presence" => Class::Native,
        _ if kind.starts_with("room.") || kind.starts_with("message.") => Class::Native,
        _ => Class::Plain,
    }
}

fn command(members: &RawMembers<'_>, kind: &str) -> Result<Command, FrameFault> {
    match kind {
        "subscribe" | "unsubscribe" if members.raw("key").is_some() => follow(members, kind),
        "subscribe" | "unsubscribe" | "publish" => channel_action(members, kind),
        "message" => message(members),
        "join" => room(members, |_| Ok(RoomCommand::Join)),
        "leave" => room(members, |_| Ok(RoomCommand::Leave)),
        "typing" => room(members, |members| {
            let why = "invalid typing data";
            Ok(RoomCommand::Typing(members.flag("data", why)?.ok_or(FrameFault::Field(why))?))
        }),
        "history" => history(members),
        "presence" => presence(members),
        "subscribe_presence" => Ok(Command::Watch(users(members)?)),
        "unsubscribe_presence" => Ok(Command::Unwatch(users(members)?)),
        "heartbeat" | "ping" | "pong" => Ok(Command::Heartbeat),
        "room.get" => room(members, |_| Ok(RoomCommand::Describe)),
        "room.create" => {
            room(members, |members| Ok(RoomCommand::Create(Box::new(RoomProfile::read(members)?))))
        }
        "room.update" => {
            room(members, |members| Ok(RoomCommand::Update(Box::new(RoomProfile::read(members)?))))
        }
        "room.delete" => room(members, |_| Ok(RoomCommand::Delete)),
        "room.members" => room(members, |_| Ok(RoomCommand::Members)),
        "room.role" | "room.kick" | "room.ban" | "room.unban" | "room.mute" | "room.unmute" => {
            room(members, |members| of_member(members, kind))
        }
        "message.edit" => room(members, |members| {
            let data = members.json("data", DATA)?.ok_or(FrameFault::Field("\"data\" is missing"))?;
            Ok(RoomCommand::Edit(message_id(members)?, data))
        }),
        "message.delete" => room(members, |members| Ok(RoomCommand::Erase(message_id(members)?))),
        "message.react" | "message.unreact" => room(members, |members| {
            let why = "\"emoji\" must be a string of 1 to 256 bytes";
            let emoji = members.name("emoji", MAX_NAME, why)?.ok_or(FrameFault::Field(why))?;
            Ok(RoomCommand::React(message_id(members)?, emoji, kind == "message.react"))
        }),
        _ => Err(FrameFault::Idle("there is no such type")),
    }
}

/// `subscribe`, `unsubscribe` and `publish` on a channel, as a `type` or as the `action` of forge's generated clients.
fn channel_action(members: &RawMembers<'_>, verb: &str) -> Result<Command, FrameFault> {
    if !matches!(verb, "subscribe" | "unsubscribe" | "publish") {
        return Err(FrameFault::Idle("there is no such action"));
    }
    let channel = channel(members)?.ok_or(FrameFault::Field(CHANNEL))?;
    Ok(match verb {
        "subscribe" => Command::Subscribe(channel, recover(members)?),
        "unsubscribe" => Command::Unsubscribe(channel),
        _ => Command::Publish(channel, Box::new(NewMessage::read(members)?), As::Writer),
    })
}

/// The channel that a frame names, as `channel` or as `channel_id`.
fn channel(members: &RawMembers<'_>) -> Result<Option<Arc<str>>, FrameFault> {
    let name = match members.name("channel", MAX_CHANNEL, CHANNEL)? {
        None => members.name("channel_id", MAX_CHANNEL, CHANNEL)?,
        some => some,
    };
    if name.as_ref().is_some_and(|name| !is_channel(name)) {
        return Err(FrameFault::Field(CHANNEL));
    }
    Ok(name)
}

fn recover(members: &RawMembers<'_>) -> Result<Option<Recover>, FrameFault> {
    let why = "\"recover\" must be an object with \"epoch\" and \"offset\"";
    let Some(raw) = members.raw("recover") else { return Ok(None) };
    let members = RawMembers::read(raw.as_bytes()).ok_or(FrameFault::Field(why))?;
    let epoch = members.name("epoch", MAX_NAME, why)?.ok_or(FrameFault::Field(why))?;
    let offset = members.number("offset", why)?.ok_or(FrameFault::Field(why))?;
    Ok(Some(Recover { epoch: epoch.as_ref().into(), offset: Offset::new(offset) }))
}

fn follow(members: &RawMembers<'_>, verb: &str) -> Result<Command, FrameFault> {
    let why = "\"key\" must be a key or a pattern";
    let text = members.text("key", why)?.ok_or(FrameFault::Field(why))?;
    let name = Name::parse_native(&text).map_err(|_| FrameFault::Field(why))?;
    if verb == "unsubscribe" {
        return Ok(Command::Unfollow(name));
    }
    let why = "\"mode\" must be \"auto\", \"snapshot\" or \"patch\"";
    let mode = match members.text("mode", why)?.as_deref() {
        None | Some("auto") => Mode::Auto,
        Some("snapshot") => Mode::Snapshot,
        Some("patch") => Mode::Patch,
        Some(_) => return Err(FrameFault::Field(why)),
    };
    let why = "\"max_hz\" must be a number from 0 to 1000";
    let max_hz =
        members.raw("max_hz").map_or(Ok(0.0), str::parse::<f64>).map_err(|_| FrameFault::Field(why))?;
    if !(0.0..=1000.0).contains(&max_hz) {
        return Err(FrameFault::Field(why));
    }
    let (max_hz, versions) = (max_hz.ceil() as u32, versions(members)?);
    Ok(Command::Follow(Box::new(Follow { name, mode, max_hz, versions })))
}

/// `versions`: an object of key and version, in hexadecimal as the server writes them.
fn versions(members: &RawMembers<'_>) -> Result<HashMap<Key, Stamp>, FrameFault> {
    let why = "\"versions\" must be an object of keys and their versions";
    let Some(raw) = members.raw("versions") else { return Ok(HashMap::new()) };
    let object = RawMembers::read(raw.as_bytes()).ok_or(FrameFault::Field(why))?;
    let version = |(key, text): (String, String)| {
        Key::parse(&key).ok().zip(Stamp::from_hex(&text)).ok_or(FrameFault::Field(why))
    };
    object.texts(why)?.into_iter().map(version).collect()
}

impl NewMessage {
    /// `data`, `event`, `metadata` and `thread_id` of an object.
    pub fn read(members: &RawMembers<'_>) -> Result<NewMessage, FrameFault> {
        Ok(NewMessage {
            data: members.json("data", DATA)?.unwrap_or_else(Json::null),
            event: members.name("event", MAX_NAME, "\"event\" must be a string of 1 to 256 bytes")?,
            metadata: members.object("metadata", "\"metadata\" must be an object")?,
            thread: members.name(
                "thread_id",
                MAX_NAME,
                "\"thread_id\" must be a string of 1 to 256 bytes",
            )?,
        })
    }
}

/// A forge message: to its room, else to its channel.
fn message(members: &RawMembers<'_>) -> Result<Command, FrameFault> {
    if members.raw("room_id").is_some() {
        return room(members, |members| Ok(RoomCommand::Message(Box::new(NewMessage::read(members)?))));
    }
    let Some(channel) = channel(members)? else {
        return Err(FrameFault::Idle("a message needs a \"room_id\" or a \"channel_id\""));
    };
    Ok(Command::Publish(channel, Box::new(NewMessage::read(members)?), As::Subscriber))
}

fn room(
    members: &RawMembers<'_>,
    want: impl FnOnce(&RawMembers<'_>) -> Result<RoomCommand, FrameFault>,
) -> Result<Command, FrameFault> {
    let name = match members.name("room_id", MAX_NAME, ROOM)? {
        None => return Err(FrameFault::Idle("there is no \"room_id\"")),
        Some(name) if !is_room(&name) => return Err(FrameFault::Field(ROOM)),
        Some(name) => name,
    };
    Ok(Command::Room(name, want(members)?))
}

fn presence(members: &RawMembers<'_>) -> Result<Command, FrameFault> {
    let why = "invalid presence data";
    let word = match members.text("status", why)? {
        None => members.text("data", why)?,
        some => some,
    };
    let word = word.ok_or(FrameFault::Field(why))?;
    let status =
        STATUSES.into_iter().find(|status| *status == word).ok_or(FrameFault::Field("invalid status"))?;
    let custom = match members.text("custom_status", why)? {
        Some(text) if text.len() > MAX_TEXT => {
            return Err(FrameFault::Field("\"custom_status\" is longer than 1024 bytes"));
        }
        text => text.map(|text| Arc::from(&*text)),
    };
    Ok(Command::Presence(Box::new(StatusUpdate { status, custom })))
}

fn users(members: &RawMembers<'_>) -> Result<Vec<Arc<str>>, FrameFault> {
    let why = "\"user_ids\" must be a list of at most 1000 user names";
    let raw = members.raw("user_ids").ok_or(FrameFault::Field(why))?;
    let users: Vec<String> = serde_json::from_str(raw).map_err(|_| FrameFault::Field(why))?;
    if users.len() > MAX_LIST || !users.iter().all(|user| is_user(user)) {
        return Err(FrameFault::Field(why));
    }
    Ok(users.into_iter().map(Arc::from).collect())
}

/// A room's history, or a channel's.
fn history(members: &RawMembers<'_>) -> Result<Command, FrameFault> {
    let query = Box::new(query(members)?);
    match channel(members)? {
        Some(channel) if members.raw("room_id").is_none() => Ok(Command::History(channel, query)),
        _ => room(members, |_| Ok(RoomCommand::History(query))),
    }
}

/// The members of a history query: `limit`, `before`, `after`, `thread` or `thread_id`, `user` or `user_id`, `search`.
fn query(members: &RawMembers<'_>) -> Result<Query, FrameFault> {
    let bound = |name| {
        let why = "\"before\" and \"after\" must be a sequence or an RFC 3339 time";
        let Some(raw) = members.raw(name) else { return Ok(None) };
        let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
        Bound::parse(text).map(Some).ok_or(FrameFault::Field(why))
    };
    let either = |one, other, why| match members.name(one, MAX_TEXT, why)? {
        None => members.name(other, MAX_TEXT, why),
        some => Ok(some),
    };
    let limit = members.number("limit", "\"limit\" must be a number")?.unwrap_or(DEFAULT_LIMIT as u64);
    Ok(Query {
        limit: limit.min(MAX_LIST as u64) as usize,
        before: bound("before")?,
        after: bound("after")?,
        thread: either("thread", "thread_id", "\"thread\" must be a string")?,
        user: either("user", "user_id", "\"user\" must be a string")?,
        search: either("search", "search_term", "\"search\" must be a string of 1 to 1024 bytes")?,
    })
}

impl RoomProfile {
    /// `name`, `description`, `private` and `metadata` of an object.
    pub fn read(members: &RawMembers<'_>) -> Result<RoomProfile, FrameFault> {
        Ok(RoomProfile {
            name: members.name("name", MAX_NAME, "\"name\" must be a string of 1 to 256 bytes")?,
            description: members.name(
                "description",
                MAX_TEXT,
                "\"description\" must be a string of 1 to 1024 bytes",
            )?,
            private: members.flag("private", "\"private\" must be true or false")?,
            max_members: members.number("max_members", "\"max_members\" must be a number")?,
            metadata: members.object("metadata", "\"metadata\" must be an object")?,
        })
    }
}

/// The message that a frame is about, by the `id` that the server gave it.
fn message_id(members: &RawMembers<'_>) -> Result<Stamp, FrameFault> {
    let why = "\"message_id\" must be the id of a message";
    let text = members.text("message_id", why)?.ok_or(FrameFault::Field(why))?;
    Stamp::from_hex(&text).ok_or(FrameFault::Field(why))
}

fn of_member(members: &RawMembers<'_>, kind: &str) -> Result<RoomCommand, FrameFault> {
    let user = members
        .name("user_id", MAX_NAME, USER)?
        .filter(|user| is_user(user))
        .ok_or(FrameFault::Field(USER))?;
    let reason = || members.name("reason", MAX_TEXT, "\"reason\" must be a string of 1 to 1024 bytes");
    let why = "\"role\" must be a string of 1 to 256 bytes";
    let want = match kind {
        "room.role" => {
            MemberCommand::Role(members.name("role", MAX_NAME, why)?.ok_or(FrameFault::Field(why))?)
        }
        "room.kick" => MemberCommand::Kick(reason()?),
        "room.ban" => MemberCommand::Ban(true, reason()?),
        "room.unban" => MemberCommand::Ban(false, None),
        "room.mute" => MemberCommand::Mute(members.number("for_ms", "\"for_ms\" must be milliseconds")?),
        _ => MemberCommand::Mute(Some(0)),
    };
    Ok(RoomCommand::Member(user, want))
}
