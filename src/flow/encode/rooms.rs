//! What is told around a room, beside its messages: members, presence, typing.

use crate::flow::encode::frame::{Dialect, Encoder, Frame};
use crate::flow::state::history::HistoryEntry;
use crate::flow::state::permission::Role;
use crate::flow::state::presence::{Presence, Shown};
use crate::flow::state::room::{Room, RoomMember};
use crate::wire::hub::write::{self, Object};
use crate::wire::json::write_string;

/// One message, or one event, with the text that `write` appends.
pub fn text(encoder: &mut Encoder, dialect: Dialect, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    encoder.object(dialect, "message", write)
}

fn shown<'a>(user: &'a str, shown: &'a Shown) -> write::PresenceFields<'a> {
    let custom = shown.custom.as_deref();
    write::PresenceFields { user, status: shown.status.name(), custom, since: shown.since }
}

/// How a user shows itself now, in a room or by itself.
pub fn presence(user: &str, now: &Shown, room: Option<&str>, out: &mut Vec<u8>) {
    write::presence(&shown(user, now), room, out);
}

/// Several users at once, as an answer.
pub fn presences<'a>(
    request: Option<&str>,
    all: impl IntoIterator<Item = (&'a str, &'a Shown)>,
    out: &mut Vec<u8>,
) {
    let object = Object::reply("presence_sync", request, out);
    object.list("presences", all, |(user, now), out| write::presence_object(&shown(user, now), out)).end();
}

/// Who is there of a room: names, or only how many. For somebody who may have missed who came and went, the members
/// as well.
pub fn sync(room: &str, presence: &Presence, missed: Option<(&Room, usize)>, out: &mut Vec<u8>) {
    let frame = Object::frame("presence_sync", out).text("room_id", room);
    let there = presence.there();
    let frame = frame.list("presences", there, |(user, now), out| {
        write::presence_object(&shown(user, now), out);
    });
    let frame = frame.with("counts", |out| {
        Object::new(out).number("online", presence.count() as u64).end();
    });
    match missed {
        Some((room, most)) => members(frame, room, most),
        None => frame,
    }
    .end();
}

/// `members` and how many there are; only the number where there are more than `most`.
pub fn members<'a>(object: Object<'a>, room: &Room, most: usize) -> Object<'a> {
    let named = if room.len() > most { Vec::new() } else { room.members() };
    let object = object.list("members", named, |(user, member), out| {
        write::member_object(&of(user, member), out);
    });
    object.number("member_count", room.len() as u64)
}

fn of<'a>(user: &'a str, member: &RoomMember) -> write::MemberFields<'a> {
    write::MemberFields { user, role: member.role.name(), joined_at: member.joined }
}

/// Somebody has become a member.
pub fn member_joined(room: &str, user: &str, member: &RoomMember, out: &mut Vec<u8>) {
    write::member(room, true, &of(user, member), out);
}

/// Somebody is a member no more.
pub fn member_left(room: &str, user: &str, member: &RoomMember, out: &mut Vec<u8>) {
    write::member(room, false, &of(user, member), out);
}

/// A member has another role.
pub fn role(user: &str, role: Role, out: &mut Vec<u8>) {
    Object::new(out).text("user_id", user).text("role", role.name()).end();
}

/// A member may not send until then (nanoseconds since 1970; 0: it may again).
pub fn muted(user: &str, until: u64, out: &mut Vec<u8>) {
    let object = Object::new(out).text("user_id", user).flag("muted", until > 0);
    match until {
        0 | u64::MAX => object,
        until => object.time("until", until),
    }
    .end();
}

/// What is said about a room.
pub fn about<'a>(object: Object<'a>, id: &str, room: &Room) -> Object<'a> {
    let about = room.profile();
    let (created, updated) = room.times();
    let object = object.text("id", id).text("name", about.name.as_deref().unwrap_or(id));
    let object = object.maybe("description", about.description.as_deref());
    let object = object.flag("private", room.is_private());
    let object = match about.max_members {
        Some(most) => object.number("max_members", most),
        None => object,
    };
    let object = object.maybe_raw("metadata", about.metadata.as_ref().map(|json| json.as_bytes()));
    let object = object.time("created_at", created).time("updated_at", updated);
    object.number("member_count", room.len() as u64)
}

/// What has become of a message of the past, into its object, which is closed already.
pub fn fate(entry: &HistoryEntry, out: &mut Vec<u8>) {
    if !entry.edited && entry.reactions.is_empty() {
        return;
    }
    out.pop();
    if entry.edited {
        out.extend_from_slice(br#","edited":true"#);
    }
    if !entry.reactions.is_empty() {
        out.push(b',');
        let inner = out.len();
        let object = Object::new(out).list("reactions", &entry.reactions, |(emoji, users), out| {
            let object = Object::new(out).text("emoji", emoji);
            object.list("user_ids", users, |user, out| write_string(user, out)).end();
        });
        object.end();
        // its members only
        out.remove(inner);
        out.pop();
    }
    out.push(b'}');
}
