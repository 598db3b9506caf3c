//! The ooo dialect over HTTP: from a request to what it asks for, and from the answers to the response.

use crate::flow::conn::ask::{Answer, Ask};
use crate::flow::conn::catchup::{self, CatchUp, Door};
use crate::flow::conn::events::{self, Change, Wish};
use crate::flow::conn::listing::{Page, Row, array};
use crate::flow::conn::rooms::{self, RoomCall};
use crate::flow::conn::spec::{self, Spec};
use crate::flow::conn::views::Views;
use crate::flow::fanout::pool::Subject;
use crate::flow::feed::{Done, Refused, Write};
use crate::flow::limits::route::Profile;
use crate::flow::limits::{Access, Limits};
use crate::flow::state::item::Item;
use crate::flow::state::room::{Actor, Refusal};
use crate::wire::cursor::{BadCursor, Cursor};
use crate::wire::feed::is_channel;
use crate::wire::http::{BadRequest, Field, Head, Method, Response, upgrade};
use crate::wire::hub::{is_room, is_user};
use crate::wire::json::{Fault, Json, JsonError, write_string};
use crate::wire::key::{Key, Name, Pattern};
use crate::wire::url;
use crate::wire::ws::{Compression, negotiate};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

/// What a request comes to.
#[derive(Debug)]
pub enum Call {
    /// The answer is known.
    Respond(Response<'static>),
    /// The owner of this key is to be asked.
    Ask(Key, Ask, Want),
    /// A new item under this pattern; its key is still to be made.
    Push(Pattern, Json),
    /// Delete everything that matches; all owners are to be asked.
    Sweep(Pattern),
    /// All owners are to be asked.
    Gather(Want),
    /// Something about rooms.
    Room(RoomCall),
    /// A streamed answer.
    Stream(Box<Spec>),
    /// A WebSocket on this subject; the version that the client has.
    Follow(Subject, Hello, Option<u64>),
    /// A stream with a catch-up, over a route.
    Knock(Box<Door>),
    /// What has happened in the views of a client, of that channel over that route.
    Views(Arc<str>, u8, Box<Views>),
    /// Server-sent events.
    Events(Box<Wish>),
    /// A change of what a connection gets as events.
    Change(Box<Change>),
    /// A WebSocket of the hub.
    Hub(Hello, Box<Arrival>),
}

/// What a WebSocket of the hub says of itself in its request.
#[derive(Debug, Default)]
pub struct Arrival {
    /// The channels that it wants at once.
    pub channels: Vec<Arc<str>>,
    /// The rooms that it wants to be in at once.
    pub rooms: Vec<Arc<str>>,
    /// Who it is; believed only where anybody may write.
    pub user: Option<Arc<str>>,
    /// That it wants a session, and the earlier one that it had.
    pub session: Option<Option<u64>>,
    /// Whether it has agreed to speak our own dialect.
    pub native: bool,
    /// Whether it has shown that it speaks forge's.
    pub forge: bool,
    /// How far it had come with everything, if it was here before.
    pub cursor: Option<Result<Cursor, BadCursor>>,
}

/// The answer to a WebSocket's handshake.
#[derive(Debug)]
pub struct Hello {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it agrees to.
    pub compression: Compression,
}

/// What the answers are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The key of a written document.
    Index(String),
    /// That it is gone.
    Gone,
    /// One item.
    Item,
    /// All items that match, newest first.
    Items(Pattern),
    /// All keys, as the JavaScript client asks for them.
    AllKeys,
    /// One page of keys.
    Keys(Page),
    /// One page of channels.
    Channels(Page),
    /// The pools.
    Pools,
    /// What a room's owner says, with that status.
    Room(u16),
    /// The rooms that somebody may see.
    Rooms(Actor),
    /// What has become of a change of subscriptions.
    Change,
    /// What was missed of a channel.
    Missed,
    /// A place among the readers of a route.
    Enter(Box<Door>),
}

/// A request that waits for answers.
#[derive(Debug)]
pub struct Pending {
    /// Its head, which decides how the response is dressed.
    pub head: Head,
    want: Want,
    left: u16,
    items: Vec<Arc<Item>>,
    keys: Vec<Key>,
    pools: Vec<(Arc<str>, usize)>,
    channels: Vec<Row>,
    rooms: Vec<(Arc<str>, Vec<u8>)>,
}

/// The subprotocol of our own dialect.
const NATIVE: &str = "fanfare.v1";
const NO_PAGE: &str = "404 page not found\n";
const KEY_INVALID: &str = "ooo: key is not valid";
const NO_WRITE: &str =
    "writing is not allowed here without a token; the operator can allow it with --anonymous write";
const NO_READ: &str =
    "reading is not allowed here without a token; the operator can allow it with --anonymous read";

fn refuse(status: u16, text: &'static str) -> Call {
    Call::Respond(Response::text(status, text))
}

/// Reads a request. It is the caller's to add the headers that every response has (`dress`).
pub fn call(head: &Head, body: &[u8], access: Access, limits: &Limits) -> Call {
    if let Some(response) = limits.origins.preflight(head) {
        return Call::Respond(response);
    }
    let Ok(path) = url::decode_path(&head.path) else { return refuse(404, NO_PAGE) };
    if let Some(name) = path.strip_prefix("/_/stream/") {
        return match spec::read(head, name, access, limits) {
            Ok(spec) => Call::Stream(Box::new(spec)),
            Err(response) => Call::Respond(response),
        };
    }
    if path == "/_/chat" && head.method == Method::Get {
        return Call::Respond(Response::new(200).body("text/html; charset=utf-8", limits.chat.as_bytes()));
    }
    if let Some(rest) =
        head.path.strip_prefix("/_/rooms").filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return match rooms::call(head, rest, body, access) {
            Ok(call) => Call::Room(call),
            Err(response) => Call::Respond(response),
        };
    }
    if path == "/_/import" {
        let response = Response::problem(405, "method_not_allowed", "an import is a POST");
        return Call::Respond(response.header("Allow", "POST"));
    }
    if let Some((number, channel)) = limits.route(&path) {
        return routed(head, body, (number, channel), access, limits);
    }
    if path == "/sse" || path.starts_with("/sse/") {
        return sse(head, body, &path, access);
    }
    let needs = match head.method {
        Method::Get | Method::Head => Access::Read,
        Method::Post | Method::Patch | Method::Delete => Access::Write,
        Method::Put | Method::Options | Method::Other => return refuse(404, NO_PAGE),
    };
    if access < needs {
        return refuse(403, if needs == Access::Write { NO_WRITE } else { NO_READ });
    }
    let name = path.strip_prefix('/').unwrap_or(&path);
    if head.wants_websocket() {
        return follow(head, name, access, limits);
    }
    if name.is_empty() {
        return if needs == Access::Read { root(head, limits) } else { refuse(404, NO_PAGE) };
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"*/-_.".contains(&b);
    if !name.bytes().all(allowed) || name.split('/').next() == Some("_") {
        return refuse(404, NO_PAGE);
    }
    if name == "ws" {
        return refuse(426, "this is the hub's door: connect with a WebSocket");
    }
    match head.method {
        Method::Post => post(name, body),
        Method::Patch => patch(name, body),
        method => match (Name::parse(name), method) {
            (Err(_), _) => refuse(400, KEY_INVALID),
            (Ok(Name::Key(key)), Method::Delete) => {
                Call::Ask(key.clone(), Ask::Write(Write::Del(key)), Want::Gone)
            }
            (Ok(Name::Key(key)), _) => Call::Ask(key.clone(), Ask::Get(key), Want::Item),
            (Ok(Name::Pattern(pattern)), Method::Delete) => Call::Sweep(pattern),
            (Ok(Name::Pattern(pattern)), _) => Call::Gather(Want::Items(pattern)),
        },
    }
}

/// Server-sent events, and what goes with them.
fn sse(head: &Head, body: &[u8], path: &str, access: Access) -> Call {
    let add = path == "/sse/subscribe";
    let call = match (path, head.method) {
        ("/sse", _) => Wish::read(head, access).map(|wish| Call::Events(Box::new(wish))),
        ("/sse/subscribe" | "/sse/unsubscribe", Method::Post) => {
            Change::read(head, body, access, add).map(|change| Call::Change(Box::new(change)))
        }
        ("/sse/subscribe" | "/sse/unsubscribe", _) => {
            let response =
                Response::problem(405, "method_not_allowed", "subscriptions are changed with POST");
            Err(response.header("Allow", "POST"))
        }
        _ => return refuse(404, NO_PAGE),
    };
    call.unwrap_or_else(Call::Respond)
}

/// A path that a route maps onto a channel.
fn routed(
    head: &Head,
    body: &[u8],
    (number, channel): (usize, Option<String>),
    access: Access,
    limits: &Limits,
) -> Call {
    let route = &limits.routes[number];
    let channel = channel.filter(|name| is_channel(name)).map(Arc::from);
    if route.profile == Profile::Hub {
        if access < Access::Read {
            return refuse(403, NO_READ);
        }
        if !head.wants_websocket() {
            return refuse(426, "this is a door of the hub: connect with a WebSocket");
        }
        let mut call = follow(head, "ws", access, limits);
        if let Call::Hub(_, arrival) = &mut call {
            arrival.channels.extend(channel);
        }
        return call;
    }
    let Some(channel) = channel else {
        return Call::Respond(Response::problem(400, "invalid_channel", "this path names no channel"));
    };
    if route.profile == Profile::CellaViews && head.method == Method::Post {
        return match Views::read(body, access) {
            Ok(views) => Call::Views(channel, number as u8, Box::new(views)),
            Err(response) => Call::Respond(response),
        };
    }
    match CatchUp::read(head, route, access) {
        Ok(wish) => Call::Knock(Box::new(Door { route: number as u8, channel, wish })),
        Err(response) => Call::Respond(response),
    }
}

fn post(name: &str, body: &[u8]) -> Call {
    let stars = name.matches('*').count();
    let name = match Name::parse(name) {
        Err(_) => return refuse(400, KEY_INVALID),
        Ok(_) if stars > 1 => return refuse(400, "key: contains more than one glob pattern"),
        Ok(Name::Pattern(pattern)) if pattern.push("0").is_none() => {
            return refuse(400, "key: glob pattern must be at the end of the path");
        }
        Ok(name) => name,
    };
    match (json(body), name) {
        (Err(response), _) => Call::Respond(response),
        (Ok(value), Name::Pattern(pattern)) => Call::Push(pattern, value),
        (Ok(value), Name::Key(key)) => {
            let want = Want::Index(key.index().to_owned());
            Call::Ask(key.clone(), Ask::Write(Write::Set(key, value)), want)
        }
    }
}

fn patch(name: &str, body: &[u8]) -> Call {
    let key = match Name::parse(name) {
        Err(_) => return refuse(400, KEY_INVALID),
        Ok(Name::Pattern(_)) => return refuse(400, "ooo: glob pattern not allowed for this operation"),
        Ok(Name::Key(key)) => key,
    };
    match json(body) {
        Err(response) => Call::Respond(response),
        Ok(value) => {
            let want = Want::Index(key.index().to_owned());
            Call::Ask(key.clone(), Ask::Write(Write::Merge(key, value)), want)
        }
    }
}

/// The first value of a body; what stands behind it is ignored, as the seed does.
fn json(body: &[u8]) -> Result<Json, Response<'static>> {
    let why = match Json::parse_prefix(body) {
        Ok((value, _)) => return Ok(value),
        Err(JsonError { byte: None, .. }) if body.trim_ascii().is_empty() => "EOF".to_owned(),
        Err(JsonError { fault: Fault::Literal(word), byte: Some(byte), .. }) => {
            format!("json: invalid character {} as {word}", byte as char)
        }
        Err(error) => format!("json: {error}"),
    };
    Err(Response::new(400).body("text/plain; charset=utf-8", why.into_bytes()))
}

fn follow(head: &Head, name: &str, access: Access, limits: &Limits) -> Call {
    let handshake = match upgrade(head) {
        Ok(handshake) => handshake,
        Err(bad) => return Call::Respond(BadRequest::response(bad)),
    };
    if !limits.origins.origin_allowed(head) {
        return refuse(403, "this origin is not allowed; the operator can allow it with --origins");
    }
    let hub = name == "ws" || name.starts_with("ws/");
    let native = hub && handshake.protocols().any(|p| p == NATIVE);
    let bearer =
        if native { Some(NATIVE) } else { handshake.protocols().find(|p| *p == "bearer" || *p == NATIVE) };
    let offers = head.get(Field::SecWebSocketExtensions).filter(|_| limits.deflate);
    let hello = match offers.and_then(negotiate) {
        Some(agreed) => Hello {
            bytes: handshake.response(bearer, &[("Sec-WebSocket-Extensions", agreed)]),
            compression: Compression::Deflate,
        },
        None => Hello { bytes: handshake.response(bearer, &[]), compression: Compression::Off },
    };
    let subject = match Name::parse(name) {
        _ if name.is_empty() => Subject::Clock,
        _ if hub => return Call::Hub(hello, Box::new(arrival(head, native, access))),
        Err(_) => return refuse(400, KEY_INVALID),
        Ok(Name::Key(key)) => Subject::Key(key),
        Ok(Name::Pattern(pattern)) => Subject::List(pattern),
    };
    let has = parameter(head, "v").and_then(|v| u64::from_str_radix(&v, 16).ok());
    Call::Follow(subject, hello, has)
}

/// `?user=`, `?channels=`, `?session_id=`, `?rooms=`.
fn arrival(head: &Head, native: bool, access: Access) -> Arrival {
    let user = parameter(head, "user").filter(|user| access == Access::Write && is_user(user));
    let session = parameter(head, "session_id");
    Arrival {
        channels: names(head, "channels", is_channel),
        rooms: names(head, "rooms", is_room),
        user: user.map(|user| Arc::from(&*user)),
        forge: session.is_some() || parameter(head, "rooms").is_some(),
        session: session.map(|id| u64::from_str_radix(&id, 16).ok()),
        native,
        cursor: cursor(head),
    }
}

/// How far the client had come, by one of the names that the parameter has.
fn cursor(head: &Head) -> Option<Result<Cursor, BadCursor>> {
    let names = ["cursor", "lastEventId", "last_event_id"];
    let text = names.iter().find_map(|name| parameter(head, name))?;
    (!text.is_empty()).then(|| Cursor::decode(&text))
}

/// `?channels=a,b`; names that cannot be are passed over, as the hub does with what it does not understand.
fn names(head: &Head, parameter_name: &str, is: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
    let list = parameter(head, parameter_name).unwrap_or_default();
    list.split(',').filter(|name| is(name)).map(Arc::from).collect()
}

fn parameter<'a>(head: &'a Head, name: &str) -> Option<Cow<'a, str>> {
    let query = url::query(head.query.as_deref().unwrap_or_default());
    query.flatten().find(|(n, _)| n == name).map(|(_, value)| value)
}

fn root(head: &Head, limits: &Limits) -> Call {
    let number =
        |name, or: usize| parameter(head, name).and_then(|v| v.parse().ok()).filter(|n| *n > 0).unwrap_or(or);
    let page = || Page {
        page: number("page", 1),
        limit: number("limit", 50).min(500),
        filter: parameter(head, "filter").unwrap_or_default().into_owned(),
    };
    match parameter(head, "api").as_deref() {
        Some("keys") => Call::Gather(Want::Keys(page())),
        Some("channels") => Call::Gather(Want::Channels(page())),
        Some("state") => Call::Gather(Want::Pools),
        Some(_) => refuse(404, NO_PAGE),
        None if head.list(Field::Accept).any(|a| a.starts_with("text/html")) => {
            Call::Respond(Response::new(200).body("text/html; charset=utf-8", limits.page.as_bytes()))
        }
        None => Call::Gather(Want::AllKeys),
    }
}

impl Want {
    /// What each owner is to be asked.
    pub fn ask(&self) -> Ask {
        match self {
            Want::Items(pattern) => Ask::List(pattern.clone()),
            Want::Pools => Ask::Pools,
            Want::Channels(_) => Ask::Channels,
            Want::Rooms(actor) => Ask::Rooms(actor.clone()),
            _ => Ask::Keys,
        }
    }
}

impl Pending {
    /// The request for a place on a route that it was.
    pub fn into_door(self) -> Option<(Head, Door)> {
        match self.want {
            Want::Enter(door) => Some((self.head, *door)),
            _ => None,
        }
    }

    /// A request that waits for `left` answers.
    pub fn new(head: Head, want: Want, left: u16) -> Pending {
        let (items, keys, pools, channels, rooms) = Default::default();
        Pending { head, want, left, items, keys, pools, channels, rooms }
    }

    /// Takes one answer in; the response, once it was the last.
    pub fn answer(&mut self, answer: Answer, limits: &Limits) -> Option<Response<'static>> {
        self.left -= 1;
        match answer {
            Answer::Items(items) => self.items.extend(items),
            Answer::Keys(keys) => self.keys.extend(keys),
            Answer::Pools(pools) => self.pools.extend(pools),
            Answer::Channels(rows) => self.channels.extend(rows),
            Answer::Rooms(rooms) => self.rooms.extend(rooms),
            Answer::Room(told) => return Some(self.told(told)),
            Answer::Changed(Some(errors)) => return Some(events::changed(&errors)),
            Answer::Changed(None) => return Some(events::not_found()),
            Answer::History(json) => return Some(json_body(json)),
            Answer::Entered(..) => return Some(catchup::too_many()),
            Answer::User(..) => {}
            Answer::Item(None) => return Some(Response::text(404, "ooo: empty key")),
            Answer::Item(Some(item)) => {
                let mut body = Vec::with_capacity(item.text_len());
                item.write(&mut body);
                return Some(json_body(body));
            }
            Answer::Wrote(Err(refused)) => return Some(refusal(&refused, &self.want)),
            Answer::Wrote(Ok(Done::Document(..) | Done::Swept(_) | Done::Channel(..) | Done::Batch)) => {}
        }
        (self.left == 0).then(|| self.respond(limits))
    }

    /// What a room's owner has said.
    fn told(&self, told: Result<Vec<u8>, Refusal>) -> Response<'static> {
        let status = if let Want::Room(status) = self.want { status } else { 200 };
        match told {
            Err(refused) => rooms::refusal(refused),
            Ok(_) if status == 204 => Response::new(204),
            Ok(members) => {
                let mut out = Vec::with_capacity(members.len() + 2);
                object(&members, &mut out);
                Response::new(status).body("application/json", out)
            }
        }
    }

    fn respond(&mut self, limits: &Limits) -> Response<'static> {
        let mut out = Vec::new();
        match &self.want {
            Want::Gone => return Response::new(204),
            Want::Item => return Response::text(404, "ooo: empty key"),
            Want::Change => return events::not_found(),
            Want::Missed | Want::Enter(_) => return Response::new(204),
            Want::Index(index) => {
                out.extend_from_slice(br#"{"index":"#);
                write_string(index, &mut out);
                out.push(b'}');
            }
            Want::Items(pattern) => {
                self.items.sort_unstable_by_key(|item| Reverse(item.created));
                self.items.truncate(limits.list_limit(pattern.as_str()).unwrap_or(usize::MAX));
                array(&self.items, &mut out, |item, out| item.write(out));
            }
            Want::AllKeys => {
                self.keys.sort_unstable();
                out.extend_from_slice(br#"{"keys":"#);
                array(&self.keys, &mut out, |key, out| write_string(key.as_str(), out));
                out.push(b'}');
            }
            Want::Keys(page) => page.keys(&mut self.keys, &mut out),
            Want::Channels(page) => page.channels(&mut self.channels, &mut out),
            Want::Pools => pools(&mut self.pools, &mut out),
            Want::Rooms(_) => {
                self.rooms.sort_unstable();
                out.extend_from_slice(br#"{"rooms":"#);
                array(&self.rooms, &mut out, |(_, members), out| object(members, out));
                out.push(b'}');
            }
            Want::Room(status) => return Response::new(*status),
        }
        json_body(out)
    }
}

/// An object of these members.
fn object(members: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    out.extend_from_slice(members);
    out.push(b'}');
}

fn json_body(body: Vec<u8>) -> Response<'static> {
    Response::new(200).body("application/json", body)
}

fn refusal(refused: &Refused, want: &Want) -> Response<'static> {
    match (refused, want) {
        (Refused::NotFound(_), Want::Gone) => Response::text(404, "storage: not found"),
        (Refused::NotFound(_), _) => Response::text(404, "ooo: not found"),
        (other, _) => Response::new(400).body("text/plain; charset=utf-8", other.to_string().into_bytes()),
    }
}

fn pools(pools: &mut Vec<(Arc<str>, usize)>, out: &mut Vec<u8>) {
    // one pool has a part on every shard
    pools.sort_unstable();
    pools.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0 };
        same
    });
    out.extend_from_slice(br#"{"pools":"#);
    array(pools, out, |(name, connections), out| {
        out.extend_from_slice(br#"{"key":"#);
        write_string(name, out);
        out.extend_from_slice(format!(r#","connections":{connections}}}"#).as_bytes());
    });
    let total: usize = pools.iter().map(|(_, n)| n).sum();
    out.extend_from_slice(format!(r#","totalConnections":{total}}}"#).as_bytes());
    out.push(b'\n');
}

/// What every response to this request has.
pub fn dress(response: Response<'static>, head: &Head, limits: &Limits) -> Response<'static> {
    response.headers(limits.origins.headers(head)).answering(head).compressed_for(head)
}
