//! A request that waits: for the owners' answers, of which its response is made.

use crate::flow::conn::events;
use crate::flow::conn::listing::{Row, array, merge, write_channels, write_keys};
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::limits::Limits;
use crate::flow::request::ResponseKind;
use crate::flow::request::catchup::RouteRequest;
use crate::flow::request::events::not_found;
use crate::flow::request::write::{Done, Refused};
use crate::flow::state::item::Item;
use crate::flow::state::room::Refusal;
use crate::wire::http::{Field, Head, Response, cors_headers};
use crate::wire::json::write_string;
use crate::wire::key::Key;
use std::cmp::Reverse;
use std::sync::Arc;

/// A request that waits for answers.
#[derive(Debug)]
pub struct Pending {
    /// Its head, which decides how the response is dressed.
    pub head: Head,
    kind: ResponseKind,
    left: u16,
    items: Vec<Arc<Item>>,
    keys: Vec<Key>,
    pools: Vec<(Arc<str>, usize)>,
    channels: Vec<Row>,
    rooms: Vec<(Arc<str>, Vec<u8>)>,
}

impl Pending {
    /// The request for a place on a route, if it is one.
    pub fn route(&self) -> Option<(Head, RouteRequest)> {
        match &self.kind {
            ResponseKind::Enter(request) => Some((self.head.clone(), (**request).clone())),
            _ => None,
        }
    }

    /// A request that waits for `left` answers.
    pub fn new(head: Head, kind: ResponseKind, left: u16) -> Pending {
        let (items, keys, pools, channels, rooms) = Default::default();
        Pending { head, kind, left, items, keys, pools, channels, rooms }
    }

    /// Takes one answer in; the response, once it was the last.
    pub fn answer(&mut self, answer: ResponsePart, limits: &Limits) -> Option<Response<'static>> {
        self.left -= 1;
        match answer {
            ResponsePart::Items(items) => self.items.extend(items),
            ResponsePart::Keys(keys) => self.keys.extend(keys),
            ResponsePart::Pools(pools) => self.pools.extend(pools),
            ResponsePart::Channels(rows) => self.channels.extend(rows),
            ResponsePart::Rooms(rooms) => self.rooms.extend(rooms),
            ResponsePart::Room(told) => return Some(self.told(told)),
            ResponsePart::Changed(Some(errors)) => return Some(events::changed(&errors)),
            ResponsePart::Changed(None) => return Some(not_found()),
            ResponsePart::History(json) => return Some(json_body(json)),
            ResponsePart::Entered(..) => return Some(too_many()),
            ResponsePart::Item(None) => return Some(Response::text(404, "ooo: empty key")),
            ResponsePart::Item(Some(item)) => {
                let mut body = Vec::with_capacity(item.text_len());
                item.write(&mut body);
                return Some(json_body(body));
            }
            ResponsePart::Wrote(Err(refused)) => return Some(refusal(&refused, &self.kind)),
            ResponsePart::Wrote(Ok(
                Done::Document(..) | Done::Swept(_) | Done::Channel(..) | Done::Batch,
            )) => {}
        }
        (self.left == 0).then(|| self.respond(limits))
    }

    /// What a room's owner has said.
    fn told(&self, told: Result<Vec<u8>, Refusal>) -> Response<'static> {
        let status = if let ResponseKind::Room(status) = self.kind { status } else { 200 };
        match told {
            Err(refused) => room_refusal(refused),
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
        match &self.kind {
            ResponseKind::Gone => return Response::new(204),
            ResponseKind::Item => return Response::text(404, "ooo: empty key"),
            ResponseKind::Change => return not_found(),
            ResponseKind::Missed | ResponseKind::Enter(_) => return Response::new(204),
            ResponseKind::Index(index) => {
                out.extend_from_slice(br#"{"index":"#);
                write_string(index, &mut out);
                out.push(b'}');
            }
            ResponseKind::Items(pattern) => {
                self.items.sort_unstable_by_key(|item| Reverse(item.created));
                self.items.truncate(limits.list_limit(pattern.as_str()).unwrap_or(usize::MAX));
                array(&self.items, &mut out, |item, out| item.write(out));
            }
            ResponseKind::AllKeys => {
                self.keys.sort_unstable();
                out.extend_from_slice(br#"{"keys":"#);
                array(&self.keys, &mut out, |key, out| write_string(key.as_str(), out));
                out.push(b'}');
            }
            ResponseKind::Keys(page) => write_keys(page, &mut self.keys, &mut out),
            ResponseKind::Channels(page) => write_channels(page, &mut self.channels, &mut out),
            ResponseKind::Pools => {
                merge(&mut self.channels);
                let heard = self.channels.drain(..).filter(|row| row.subscribers > 0);
                self.pools.extend(heard.map(|row| (row.name, row.subscribers)));
                pools(&mut self.pools, &mut out);
            }
            ResponseKind::Rooms(_) => {
                self.rooms.sort_unstable();
                out.extend_from_slice(br#"{"rooms":"#);
                array(&self.rooms, &mut out, |(_, members), out| object(members, out));
                out.push(b'}');
            }
            ResponseKind::Room(status) => return Response::new(*status),
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

fn refusal(refused: &Refused, kind: &ResponseKind) -> Response<'static> {
    match (refused, kind) {
        (Refused::NotFound(_), ResponseKind::Gone) => Response::text(404, "storage: not found"),
        (Refused::NotFound(_), _) => Response::text(404, "ooo: not found"),
        (other, _) => Response::new(400).body("text/plain; charset=utf-8", other.to_string().into_bytes()),
    }
}

/// The response to what a room's owner refuses.
fn room_refusal(refused: Refusal) -> Response<'static> {
    let status = match refused {
        Refusal::NotFound => 404,
        Refusal::AlreadyExists => 409,
        Refusal::InvalidRole => 400,
        Refusal::Limit => 429,
        Refusal::Forbidden | Refusal::AccessDenied | Refusal::SendDenied => 403,
        Refusal::Muted(_) | Refusal::Banned(_) => 403,
    };
    Response::problem(status, refused.code(), &refused.to_string())
}

/// The answer to one reader too many.
fn too_many() -> Response<'static> {
    let detail = "as many clients as are allowed at once are here ([[route]] streams, streams_per_user)";
    Response::problem(429, "too_many_streams", detail).header("Retry-After", "5")
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
pub fn dress(response: Response<'static>, head: &Head) -> Response<'static> {
    response.headers(cors_headers(head.get(Field::Origin))).answering(head).compressed_for(head)
}
