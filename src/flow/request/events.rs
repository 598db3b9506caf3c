//! Requests for server-sent events, and for what a connection that gets them is subscribed to.

use crate::base::id::{ConnId, ShardId};
use crate::base::stamp::Stamp;
use crate::flow::identity::Caller;
use crate::flow::limits::Access;
use crate::flow::request::query::parameters;
use crate::flow::request::refusals::{bad, forbidden, method_not_allowed};
use crate::wire::cursor::{BadCursor, Cursor};
use crate::wire::feed::{is_channel, object};
use crate::wire::http::{Field, Head, Method, Response, Version};
use crate::wire::hub::is_room;
use crate::wire::key::Name;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The largest body of a request that changes a connection's subscriptions, in bytes.
pub const MAX_CHANGE: usize = 64 << 10;

/// What a request for events asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsRequest {
    /// Channels, each once.
    pub channels: Vec<Arc<str>>,
    /// Rooms, each once.
    pub rooms: Vec<Arc<str>>,
    /// Documents.
    pub names: Vec<Name>,
    /// How far the client had come, if it was here before.
    pub cursor: Option<Result<Cursor, BadCursor>>,
}

impl EventsRequest {
    /// Reads a request for events.
    ///
    /// # Errors
    /// The response that says what is wrong.
    pub fn read(head: &Head, caller: Caller<'_>) -> Result<EventsRequest, Response<'static>> {
        check(head, caller)?;
        let mut request = EventsRequest::default();
        for parameter in parameters(head) {
            let (name, value) = parameter?;
            match &*name {
                "channels" => put_valid(&mut request.channels, &value, is_channel)?,
                "rooms" => put_valid(&mut request.rooms, &value, is_room)?,
                "keys" => put_names(&mut request.names, &value)?,
                "lastEventId" | "last_event_id" => request.take_cursor(&value),
                _ => {}
            }
        }
        // what the browser itself remembers is newer than what stands in the address
        request.take_cursor(head.get(Field::LastEventId).unwrap_or_default());
        Ok(request)
    }

    fn take_cursor(&mut self, text: &str) {
        if !text.is_empty() {
            self.cursor = Some(Cursor::decode(text));
        }
    }
}

/// Whether a request may have a stream of events at all.
pub(super) fn check(head: &Head, caller: Caller<'_>) -> Result<(), Response<'static>> {
    if head.method != Method::Get {
        return Err(method_not_allowed("events are read with GET", "GET"));
    }
    if head.version != Version::Http11 {
        return Err(Response::problem(505, "http_version", "events are sent in chunks, which HTTP/1.1 has"));
    }
    caller.may(Access::Read).map_err(forbidden)
}

fn put_valid(
    channels: &mut Vec<Arc<str>>,
    list: &str,
    is_valid: fn(&str) -> bool,
) -> Result<(), Response<'static>> {
    for name in list.split(',').filter(|name| !name.is_empty()) {
        if !is_valid(name) {
            let detail = format!("{name}: a name has at most 1024 bytes and does not begin with '$'");
            return Err(bad("invalid_channel", &detail));
        }
        if !channels.iter().any(|channel| **channel == *name) {
            channels.push(name.into());
        }
    }
    Ok(())
}

fn put_names(names: &mut Vec<Name>, list: &str) -> Result<(), Response<'static>> {
    for name in list.split(',').filter(|name| !name.is_empty()) {
        let name = Name::parse_native(name).map_err(|why| bad("invalid_key", &format!("{name}: {why}")))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(())
}

/// What a connection is called towards its client. The stamp makes it hard to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnName {
    /// Its shard.
    pub shard: ShardId,
    /// Its place there.
    pub conn: ConnId,
    /// When it began: a stamp of that shard.
    pub stamp: Stamp,
}

impl fmt::Display for ConnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnName { shard, conn, stamp } = self;
        write!(f, "{:x}-{:x}-{:x}-{stamp:x}", shard.0, conn.slot, conn.generation)
    }
}

impl FromStr for ConnName {
    type Err = ();

    fn from_str(text: &str) -> Result<ConnName, ()> {
        let mut parts = text.splitn(4, '-').map(|part| u64::from_str_radix(part, 16).map_err(|_| ()));
        let mut part = || parts.next().ok_or(())?;
        let shard = ShardId(part()?.try_into().map_err(|_| ())?);
        let slot = part()?.try_into().map_err(|_| ())?;
        let generation = part()?.try_into().map_err(|_| ())?;
        Ok(ConnName { shard, conn: ConnId { slot, generation }, stamp: Stamp::new(part()?) })
    }
}

/// A request that adds to what a connection gets, or takes away from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// Whose subscriptions.
    pub conn: ConnName,
    /// Who says so.
    pub user: Option<Arc<str>>,
    /// Whether they are added.
    pub add: bool,
    /// Channels, rooms among them.
    pub channels: Vec<Arc<str>>,
    /// Rooms.
    pub rooms: Vec<Arc<str>>,
    /// Documents.
    pub names: Vec<Name>,
    /// What was asked for and cannot be.
    pub errors: Vec<String>,
}

#[derive(Deserialize)]
struct ChangeBody {
    #[serde(default)]
    conn_id: String,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
}

impl SubscriptionChange {
    /// Reads `POST /sse/subscribe` or `/sse/unsubscribe`.
    ///
    /// # Errors
    /// The response that says what is wrong.
    pub fn read(body: &[u8], caller: Caller<'_>, add: bool) -> Result<SubscriptionChange, Response<'static>> {
        caller.may(Access::Read).map_err(forbidden)?;
        if body.len() > MAX_CHANGE {
            return Err(error(413, "request body too large"));
        }
        let body: ChangeBody = object(body).map_err(|_| error(400, "invalid request body"))?;
        if body.conn_id.is_empty() {
            return Err(error(400, "conn_id is required"));
        }
        let conn = body.conn_id.parse().map_err(|()| not_found())?;
        let user = caller.user().cloned();
        let mut errors = Vec::new();
        let mut valid = |list: Vec<String>, is_valid: fn(&str) -> bool| -> Vec<Arc<str>> {
            let good = |name: &String| {
                let good = is_valid(name);
                errors.extend((!good).then(|| format!("{name}: not a valid name")));
                good
            };
            list.into_iter().filter(good).map(Arc::from).collect()
        };
        let (channels, rooms) = (valid(body.channels, is_channel), valid(body.rooms, is_room));
        let name = |name: &String| {
            Name::parse_native(name).map_err(|why| errors.push(format!("{name}: {why}"))).ok()
        };
        let names = body.keys.iter().filter_map(name).collect();
        Ok(SubscriptionChange { conn, user, add, channels, rooms, names, errors })
    }
}

/// There is no such connection, or it is somebody else's.
pub fn not_found() -> Response<'static> {
    error(404, "connection not found or access denied")
}

fn error(status: u16, text: &str) -> Response<'static> {
    let body = serde_json::json!({"error": text}).to_string();
    Response::new(status).body("application/json", body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::{ConnName, EventsRequest, SubscriptionChange};
    use crate::base::id::{ConnId, ShardId};
    use crate::base::offset::Offset;
    use crate::base::stamp::Stamp;
    use crate::flow::identity::Identity;
    use crate::flow::limits::Access;
    use crate::wire::cursor::{BadCursor, Cursor};
    use crate::wire::http::{Head, MAX_HEAD, parse_head};

    fn head(line: &str, headers: &str) -> Head {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0
    }

    fn read(query: &str, headers: &str) -> Result<EventsRequest, u16> {
        let head = head(&format!("GET /sse?{query}"), headers);
        let who = Identity::read(&head, &Identity::anonymous(Access::Write)).unwrap();
        EventsRequest::read(&head, who.at(0)).map_err(|response| response.status())
    }

    #[test]
    fn a_request_names_channels_rooms_and_documents_once() {
        let request =
            read("channels=a,b&channels=b,,c%2Cd&rooms=r&keys=x/1,y/*,x/1&user=u&other=1", "").unwrap();
        let texts =
            |list: &[std::sync::Arc<str>]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (texts(&request.channels), texts(&request.rooms)),
            (["a", "b", "c", "d"].map(String::from).into(), vec!["r".to_owned()])
        );
        assert_eq!(request.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["x/1", "y/*"]);
        assert_eq!(request.cursor, None);
    }

    #[test]
    fn the_header_counts_before_the_address() {
        let mut cursor = Cursor::default();
        cursor.channels.insert("room-1".into(), Offset::new(7));
        for (query, headers, want) in [
            ("lastEventId=eyJyb29tLTEiOjd9", "", Some(Ok(cursor.clone()))),
            ("last_event_id=eyJyb29tLTEiOjd9", "", Some(Ok(cursor.clone()))),
            ("lastEventId=e30", "Last-Event-ID: eyJyb29tLTEiOjd9\r\n", Some(Ok(cursor.clone()))),
            ("lastEventId=eyJyb29tLTEiOjd9", "Last-Event-ID: //++\r\n", Some(Err(BadCursor))),
            ("lastEventId=", "Last-Event-ID: \r\n", None),
        ] {
            assert_eq!(read(query, headers).unwrap().cursor, want, "{query} {headers}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_status() {
        for query in ["channels=$x", "rooms=a,$b", "keys=a//b", "keys=ws/x", "channels=%ff"] {
            assert_eq!(read(query, ""), Err(400), "{query}");
        }
        let status = |head: &Head, access| {
            let who = Identity::anonymous(access);
            EventsRequest::read(head, who.at(0)).map_err(|response| response.status())
        };
        assert_eq!(status(&head("POST /sse", ""), Access::Write), Err(405));
        assert_eq!(status(&head("GET /sse", ""), Access::None), Err(403));
        let old = parse_head(b"GET /sse HTTP/1.0\r\n\r\n", MAX_HEAD).unwrap().unwrap().0;
        assert_eq!(status(&old, Access::Write), Err(505));
    }

    #[test]
    fn a_connection_is_found_by_its_name_alone() {
        let name = ConnName {
            shard: ShardId(3),
            conn: ConnId { slot: 70_000, generation: 2 },
            stamp: Stamp::new(u64::MAX),
        };
        assert_eq!(name.to_string().parse(), Ok(name));
        for text in ["", "1-2-3", "1-2-3-", "1-2-3-x", "10000-1-1-1", "1-2-3-4-5", "1-1ffffffff-1-1"] {
            assert!(text.parse::<ConnName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_is_read_as_forge_has_it() {
        let read = |body: &str| {
            let head = head("POST /sse/subscribe?user=u", "");
            let who = Identity::read(&head, &Identity::anonymous(Access::Write)).unwrap();
            let read = SubscriptionChange::read(body.as_bytes(), who.at(0), true);
            read.map_err(|response| {
                let text = String::from_utf8(response.encode()).unwrap();
                (response.status(), text.split("\r\n\r\n").nth(1).unwrap().to_owned())
            })
        };
        let change =
            read(r#"{"conn_id":"1-2-3-4","rooms":["r","$"],"channels":["c"],"keys":["k/*","/"]}"#).unwrap();
        assert_eq!((&*change.channels[0], &*change.rooms[0], change.names.len()), ("c", "r", 1));
        assert_eq!((change.errors.len(), change.user.as_deref()), (2, Some("u")));
        let invalid = (400, r#"{"error":"invalid request body"}"#.to_owned());
        for body in ["", "[]", "{", r#"{"conn_id":1}"#, r#"{"conn_id":"1-2-3-4","rooms":"r"}"#] {
            assert_eq!(read(body), Err(invalid.clone()), "{body}");
        }
        for body in ["{}", r#"{"conn_id":""}"#] {
            assert_eq!(read(body), Err((400, r#"{"error":"conn_id is required"}"#.to_owned())));
        }
        let gone = (404, r#"{"error":"connection not found or access denied"}"#.to_owned());
        assert_eq!(read(r#"{"conn_id":"nobody"}"#), Err(gone));
        assert_eq!(read(&format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10))).unwrap_err().0, 413);
    }
}
