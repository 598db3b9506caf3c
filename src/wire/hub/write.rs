//! What the server sends, as JSON text. The text of a frame is the same for everyone who gets it, except replies and
//! errors.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::wire::feed::Publish;
use crate::wire::json::write_string;
use crate::wire::time::write_time;
use std::io::Write;

/// A JSON object under construction at the end of a buffer.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Opens a frame of that type.
    pub fn frame(kind: &str, out: &'a mut Vec<u8>) -> Object<'a> {
        Object::new(out).text("type", kind)
    }

    /// Opens the reply of that type to a frame: with its `request_id`, if it had one.
    pub fn reply(kind: &str, request: Option<&str>, out: &'a mut Vec<u8>) -> Object<'a> {
        let object = Object::frame(kind, out);
        match request {
            Some(request) => object.raw("request_id", request.as_bytes()),
            None => object,
        }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A member with a text.
    pub fn text(mut self, name: &str, text: &str) -> Object<'a> {
        self.name(name);
        write_string(text, self.out);
        self
    }

    /// A member with a text, if there is one.
    pub fn maybe(self, name: &str, text: Option<&str>) -> Object<'a> {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// A member whose value is JSON text already.
    pub fn raw(mut self, name: &str, json: &[u8]) -> Object<'a> {
        self.name(name);
        self.out.extend_from_slice(json);
        self
    }

    /// A member whose value is JSON text already, if there is one.
    pub fn maybe_raw(self, name: &str, json: Option<&[u8]>) -> Object<'a> {
        match json {
            Some(json) => self.raw(name, json),
            None => self,
        }
    }

    /// A member with a number.
    pub fn number(mut self, name: &str, number: u64) -> Object<'a> {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }

    /// A member that is true or false.
    pub fn flag(self, name: &str, flag: bool) -> Object<'a> {
        self.raw(name, if flag { b"true" } else { b"false" })
    }

    /// A member with an id that the server has made of a stamp.
    pub fn id(mut self, name: &str, stamp: Stamp) -> Object<'a> {
        self.name(name);
        write!(self.out, "\"{stamp:x}\"").expect("a Vec takes all");
        self
    }

    /// A member with a moment, in nanoseconds since 1970.
    pub fn time(mut self, name: &str, ns: u64) -> Object<'a> {
        self.name(name);
        self.out.push(b'"');
        write_time(ns, self.out);
        self.out.push(b'"');
        self
    }

    /// A member whose value `write` appends.
    pub fn with(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Object<'a> {
        self.name(name);
        write(self.out);
        self
    }

    /// A member with a list, each element appended by `write`.
    pub fn list<T>(
        mut self,
        name: &str,
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Vec<u8>),
    ) -> Object<'a> {
        self.name(name);
        self.out.push(b'[');
        for (i, element) in elements.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            write(element, self.out);
        }
        self.out.push(b']');
        self
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// Publications of a channel are gone that its reader has not seen; the next one comes behind that offset.
pub fn gap(channel: &str, (epoch, offset): (&str, Offset), out: &mut Vec<u8>) {
    let frame = Object::frame("gap", out).text("channel", channel).text("channel_id", channel);
    frame.text("epoch", epoch).number("offset", offset.get()).end();
}

/// Where a publication stands in its channel, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whether its channel is a room.
    pub room: bool,
    /// Its number in the channel.
    pub sequence: Offset,
    /// The owner's stamp: its id, and its time.
    pub stamp: Stamp,
    /// Whether id and time are sent too: if history is kept, and for a client's publication.
    pub told: bool,
}

/// A publication, as all its subscribers get it and as histories give it.
pub fn publication(publish: &Publish, placed: Placed, out: &mut Vec<u8>) {
    let channel = &*publish.channel;
    let frame = Object::new(out).text("channel", channel).text("type", publish.kind());
    let frame = if placed.told { frame.id("id", placed.stamp) } else { frame };
    let frame = frame
        .maybe("event", publish.event.as_deref())
        .text(if placed.room { "room_id" } else { "channel_id" }, channel)
        .maybe("user_id", publish.user_id.as_deref())
        .raw("data", publish.data.as_bytes())
        .maybe_raw("metadata", publish.metadata.as_ref().map(|json| json.as_bytes()))
        .maybe("thread_id", publish.thread_id.as_deref())
        .number("sequence", placed.sequence.get());
    let frame = if placed.told { frame.time("timestamp", placed.stamp.get()) } else { frame };
    frame.end();
}

/// The reply to a subscription of a channel: where it begins.
pub fn subscribed(
    request: Option<&str>,
    channel: &str,
    (epoch, offset): (&str, Offset),
    recovered: bool,
    out: &mut Vec<u8>,
) {
    let reply =
        Object::reply("subscribed", request, out).text("channel", channel).text("channel_id", channel);
    reply.text("epoch", epoch).number("offset", offset.get()).flag("recovered", recovered).end();
}

/// The reply to the end of a subscription.
pub fn unsubscribed(request: Option<&str>, channel: &str, out: &mut Vec<u8>) {
    Object::reply("unsubscribed", request, out).text("channel", channel).text("channel_id", channel).end();
}

/// The reply to a publication, where one was asked for.
pub fn published(request: &str, channel: &str, (stamp, offset): (Stamp, Offset), out: &mut Vec<u8>) {
    let reply = Object::reply("published", Some(request), out).text("channel", channel);
    reply.text("channel_id", channel).id("id", stamp).number("offset", offset.get()).end();
}

/// The error reply to a frame that was refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejected<'a> {
    /// The frame's `request_id` as written.
    pub request: Option<&'a str>,
    /// The frame's `id` as written.
    pub id: Option<&'a str>,
    /// The room that it named.
    pub room: Option<&'a str>,
    /// The channel that it named.
    pub channel: Option<&'a str>,
    /// One of forge's codes, or of ours.
    pub code: &'a str,
    /// Why, for people.
    pub message: &'a str,
    /// Milliseconds after which the frame may be sent again.
    pub retry_after_ms: Option<u64>,
}

/// The error frame: forge's, with `request_id` and `error` where its generated clients look for them.
pub fn error(rejected: &Rejected<'_>, stamp: Stamp, out: &mut Vec<u8>) {
    let frame =
        Object::reply("error", rejected.request, out).id("id", stamp).text("event", "message.rejected");
    let frame = frame.maybe("room_id", rejected.room).maybe("channel", rejected.channel);
    let frame = frame.maybe("channel_id", rejected.channel).text("user_id", "").with("data", |out| {
        let data = Object::new(out).text("code", rejected.code).text("message", rejected.message);
        let data = data.maybe_raw("rejected_id", rejected.id.map(str::as_bytes));
        match rejected.retry_after_ms {
            Some(ms) => data.number("retry_after_ms", ms).time("reset_at", stamp.get() + ms * 1_000_000),
            None => data,
        }
        .end();
    });
    frame.text("error", rejected.message).time("timestamp", stamp.get()).end();
}

/// The frame that is sent before the server closes a connection.
pub fn disconnect(reason: &str, code: u16, retry_after_ms: Option<u64>, out: &mut Vec<u8>) {
    let frame = Object::frame("disconnect", out).text("reason", reason).number("code", code.into());
    let frame = frame.flag("reconnect", retry_after_ms.is_some());
    frame.number("retry_after_ms", retry_after_ms.unwrap_or(0)).end();
}

/// A notification of the server: forge's frame of type `system`.
#[derive(Clone, Copy, Debug)]
pub struct System<'a> {
    /// What happened, such as `message.edited`.
    pub event: &'a str,
    /// Where.
    pub room: Option<&'a str>,
    /// To whom, or by whom; often nobody.
    pub user: &'a str,
    /// What exactly: JSON text.
    pub data: &'a [u8],
}

/// A frame of type `system`.
pub fn system(system: &System<'_>, stamp: Stamp, out: &mut Vec<u8>) {
    let frame = Object::frame("system", out).id("id", stamp).text("event", system.event);
    let frame = frame.maybe("room_id", system.room).text("user_id", system.user);
    frame.raw("data", system.data).time("timestamp", stamp.get()).end();
}

/// The ping that forge's clients know.
pub fn ping(stamp: Stamp, out: &mut Vec<u8>) {
    system(&System { event: "ping", room: None, user: "", data: b"null" }, stamp, out);
}

/// The frame that forge's clients get before the server stops.
pub fn shutdown(stamp: Stamp, out: &mut Vec<u8>) {
    let data = br#""server is shutting down""#;
    system(&System { event: "server_shutdown", room: None, user: "", data }, stamp, out);
}

/// A user's status, for those who watch the user, or in a room.
#[derive(Clone, Copy, Debug)]
pub struct PresenceFields<'a> {
    /// Who.
    pub user: &'a str,
    /// One of `STATUSES`.
    pub status: &'a str,
    /// In the user's own words.
    pub custom: Option<&'a str>,
    /// Since when, in nanoseconds since 1970.
    pub since: u64,
}

/// Appends a presence object.
pub fn presence_object(presence: &PresenceFields<'_>, out: &mut Vec<u8>) {
    let object = Object::new(out).text("user_id", presence.user).text("status", presence.status);
    object.maybe("custom_status", presence.custom).time("last_seen", presence.since).end();
}

/// A change of a user's status.
pub fn presence(presence: &PresenceFields<'_>, room: Option<&str>, out: &mut Vec<u8>) {
    let frame = Object::frame("presence", out).maybe("room_id", room).text("user_id", presence.user);
    let frame = frame.text("status", presence.status).maybe("custom_status", presence.custom);
    frame.text("data", presence.status).time("timestamp", presence.since).end();
}

/// Who is there, at once: after joining a room, or when users are watched.
pub fn presence_sync<'p>(
    room: Option<&str>,
    presences: impl IntoIterator<Item = PresenceFields<'p>>,
    counts: &[(&str, u64)],
    out: &mut Vec<u8>,
) {
    let frame = Object::frame("presence_sync", out).maybe("room_id", room);
    let frame = frame.list("presences", presences, |presence, out| presence_object(&presence, out));
    let counted = |out: &mut Vec<u8>| {
        counts.iter().fold(Object::new(out), |object, (name, n)| object.number(name, *n)).end();
    };
    if counts.is_empty() { frame } else { frame.with("counts", counted) }.end();
}

/// Somebody begins or ends to type in a room.
pub fn typing(room: &str, user: &str, on: bool, stamp: Stamp, out: &mut Vec<u8>) {
    let frame = Object::frame("typing", out).id("id", stamp).text("room_id", room).text("user_id", user);
    frame.flag("data", on).time("timestamp", stamp.get()).end();
}

/// A member of a room.
#[derive(Clone, Copy, Debug)]
pub struct MemberFields<'a> {
    /// Who.
    pub user: &'a str,
    /// As what.
    pub role: &'a str,
    /// Since when, in nanoseconds since 1970.
    pub joined_at: u64,
}

/// Appends a member.
pub fn member_object(member: &MemberFields<'_>, out: &mut Vec<u8>) {
    let object = Object::new(out).text("user_id", member.user).text("role", member.role);
    object.time("joined_at", member.joined_at).end();
}

/// Somebody has come into a room (true) or left it.
pub fn member(room: &str, joined: bool, member: &MemberFields<'_>, out: &mut Vec<u8>) {
    let frame = Object::frame(if joined { "member_join" } else { "member_leave" }, out).text("room_id", room);
    frame.text("user_id", member.user).with("member", |out| member_object(member, out)).end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::offset::Offset;
    use crate::base::stamp::Stamp;
    use crate::wire::json::Json;
    use serde_json::{Value, json};

    const STAMP: Stamp = Stamp::new(1_700_000_000_000_000_001);
    const TIME: &str = "2023-11-14T22:13:20.000000001Z";
    const ID: &str = "17979cfe362a0001";

    fn read(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(Json::parse(&out).unwrap().as_bytes(), out, "it is in normal form");
        serde_json::from_slice(&out).unwrap()
    }

    fn publish(name: &str) -> Publish {
        Publish::new(name, "message", Json::parse(b"[1.0]").unwrap())
    }

    #[test]
    fn a_publication_says_what_exists_and_no_more() {
        let placed = Placed { room: false, sequence: Offset::new(7), stamp: STAMP, told: false };
        assert_eq!(
            read(|out| publication(&publish("a\n</b"), placed, out)),
            json!({"channel": "a\n</b", "type": "message", "channel_id": "a\n</b", "data": [1.0], "sequence": 7})
        );
        let full = Publish {
            event: Some("e".into()),
            user_id: Some("u".into()),
            metadata: Some(Json::parse(b"{}").unwrap()),
            thread_id: Some("t".into()),
            ..publish("r")
        };
        let placed = Placed { room: true, told: true, ..placed };
        assert_eq!(
            read(|out| publication(&full, placed, out)),
            json!({"channel": "r", "type": "message", "id": ID, "event": "e", "room_id": "r", "user_id": "u",
                   "data": [1.0], "metadata": {}, "thread_id": "t", "sequence": 7, "timestamp": TIME})
        );
    }

    #[test]
    fn an_error_is_forges_frame_and_what_generated_clients_look_for() {
        let rejected = Rejected {
            request: Some("\"q\""),
            id: Some("9"),
            room: Some("r"),
            code: "rate_limited",
            message: "slower",
            retry_after_ms: Some(1000),
            ..Rejected::default()
        };
        assert_eq!(
            read(|out| error(&rejected, STAMP, out)),
            json!({"type": "error", "request_id": "q", "id": ID, "event": "message.rejected", "room_id": "r",
                   "user_id": "", "error": "slower", "timestamp": TIME,
                   "data": {"code": "rate_limited", "message": "slower", "rejected_id": 9,
                            "retry_after_ms": 1000, "reset_at": "2023-11-14T22:13:21.000000001Z"}})
        );
    }

    #[test]
    fn every_other_frame_has_its_form() {
        let person = PresenceFields { user: "u", status: "away", custom: Some("c"), since: STAMP.get() };
        let one = MemberFields { user: "u", role: "owner", joined_at: STAMP.get() };
        let cases: [(Value, Value); 10] = [
            (
                read(|out| subscribed(Some("1"), "c", ("e", Offset::new(5)), true, out)),
                json!({"type": "subscribed", "request_id": 1, "channel": "c", "channel_id": "c", "epoch": "e",
                       "offset": 5, "recovered": true}),
            ),
            (
                read(|out| unsubscribed(None, "c", out)),
                json!({"type": "unsubscribed", "channel": "c", "channel_id": "c"}),
            ),
            (
                read(|out| published("\"x\"", "c", (STAMP, Offset::new(6)), out)),
                json!({"type": "published", "request_id": "x", "channel": "c", "channel_id": "c", "id": ID, "offset": 6}),
            ),
            (
                read(|out| disconnect("slow", 3008, Some(5), out)),
                json!({"type": "disconnect", "reason": "slow", "code": 3008, "reconnect": true, "retry_after_ms": 5}),
            ),
            (
                read(|out| ping(STAMP, out)),
                json!({"type": "system", "id": ID, "event": "ping", "user_id": "", "data": null, "timestamp": TIME}),
            ),
            (
                read(|out| presence(&person, None, out)),
                json!({"type": "presence", "user_id": "u", "status": "away", "custom_status": "c", "data": "away",
                       "timestamp": TIME}),
            ),
            (
                read(|out| presence_sync(Some("r"), [person], &[], out)),
                json!({"type": "presence_sync", "room_id": "r", "presences": [
                       {"user_id": "u", "status": "away", "custom_status": "c", "last_seen": TIME}]}),
            ),
            (
                read(|out| presence_sync(Some("r"), [], &[("online", 3)], out)),
                json!({"type": "presence_sync", "room_id": "r", "presences": [], "counts": {"online": 3}}),
            ),
            (
                read(|out| typing("r", "u", true, STAMP, out)),
                json!({"type": "typing", "id": ID, "room_id": "r", "user_id": "u", "data": true, "timestamp": TIME}),
            ),
            (
                read(|out| member("r", false, &one, out)),
                json!({"type": "member_leave", "room_id": "r", "user_id": "u",
                       "member": {"user_id": "u", "role": "owner", "joined_at": TIME}}),
            ),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }
}
