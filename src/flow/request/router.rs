//! The router: from the path of a request to what is asked there.

use crate::base::stamp::Stamp;
use crate::flow::identity::Caller;
use crate::flow::limits::route::{Profile, Route};
use crate::flow::limits::{Access, Limits};
use crate::flow::request::catchup::{CatchUp, RouteRequest};
use crate::flow::request::events::{EventsRequest, SubscriptionChange};
use crate::flow::request::handshake::{Handshake, HubRequest};
use crate::flow::request::paging::Page;
use crate::flow::request::query::parameter;
use crate::flow::request::refusals::{bad, denied, key_invalid, method_not_allowed, no_page};
use crate::flow::request::rooms::RoomRequest;
use crate::flow::request::stream::StreamRequest;
use crate::flow::request::views::Views;
use crate::flow::request::{Request, ResponseKind, pages, rest};
use crate::wire::feed::is_channel;
use crate::wire::http::{Field, Head, Method, Response, preflight};
use crate::wire::key::Name;
use crate::wire::url;
use std::borrow::Cow;
use std::sync::Arc;

/// A request, or the response where nobody needs to be asked.
type Routed = Result<Request, Response<'static>>;

/// Reads a request. It is the caller's to add the headers that every response has (`dress`).
pub fn route(head: &Head, body: &[u8], caller: Caller<'_>, limits: &Limits) -> Request {
    let routed = match preflight(head) {
        Some(response) => Err(response),
        None => find(head, body, caller, limits),
    };
    routed.unwrap_or_else(Request::Respond)
}

fn find(head: &Head, body: &[u8], caller: Caller<'_>, limits: &Limits) -> Routed {
    let path = url::decode_path(&head.path).map_err(|_| no_page())?;
    if let Some(name) = path.strip_prefix("/_/stream/") {
        return Ok(Request::Stream(Box::new(StreamRequest::read(head, name, caller, limits)?)));
    }
    if path == "/_/chat" && matches!(head.method, Method::Get | Method::Head) {
        return Ok(Request::Respond(html(pages::CHAT)));
    }
    // a room's name may hold an encoded slash, so this path is not decoded yet
    let rooms = head.path.strip_prefix("/_/rooms");
    if let Some(rest) = rooms.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        return RoomRequest::read(head, rest, body, caller, &limits.hub).map(Request::Room);
    }
    if path == "/_/import" {
        return Err(method_not_allowed("an import is a POST", "POST"));
    }
    if let Some(mapped) = limits.route_for(&path) {
        return through_route(head, body, mapped, caller, limits);
    }
    if path == "/sse" || path.starts_with("/sse/") {
        return sse(head, body, &path, caller);
    }
    named(head, body, path.strip_prefix('/').unwrap_or(&path), caller, limits)
}

/// A path that a route maps onto a channel.
fn through_route(
    head: &Head,
    body: &[u8],
    (route, channel): (&Route, Option<String>),
    caller: Caller<'_>,
    limits: &Limits,
) -> Routed {
    let channel = channel.filter(|name| is_channel(name)).map(Arc::from);
    if route.profile == Profile::Hub {
        caller.may(Access::Read).map_err(denied)?;
        if !head.wants_websocket() {
            return Err(Response::text(426, "this is a door of the hub: connect with a WebSocket"));
        }
        let mut request = websocket(head, "ws", limits)?;
        if let Request::Hub(_, hub) = &mut request {
            hub.channels.extend(channel);
        }
        return Ok(request);
    }
    let channel = channel.ok_or_else(|| bad("invalid_channel", "this path names no channel"))?;
    if route.profile == Profile::CellaViews && head.method == Method::Post {
        let views = Views::read(body, caller)?;
        return Ok(Request::Views(channel, route.id, Box::new(views)));
    }
    let catch_up = CatchUp::read(head, route, caller)?;
    Ok(Request::Route(Box::new(RouteRequest { route: route.id, channel, catch_up })))
}

/// Server-sent events, and what goes with them.
fn sse(head: &Head, body: &[u8], path: &str, caller: Caller<'_>) -> Routed {
    match (path, head.method) {
        ("/sse", _) => Ok(Request::Events(Box::new(EventsRequest::read(head, caller)?))),
        ("/sse/subscribe" | "/sse/unsubscribe", Method::Post) => {
            let change = SubscriptionChange::read(body, caller, path == "/sse/subscribe")?;
            Ok(Request::Change(Box::new(change)))
        }
        ("/sse/subscribe" | "/sse/unsubscribe", _) => {
            Err(method_not_allowed("subscriptions are changed with POST", "POST"))
        }
        _ => Err(no_page()),
    }
}

/// Every other path is the name of a document or of a list, or a door of the hub.
fn named(head: &Head, body: &[u8], name: &str, caller: Caller<'_>, limits: &Limits) -> Routed {
    let needs = match head.method {
        Method::Get | Method::Head => Access::Read,
        Method::Post | Method::Patch | Method::Delete => Access::Write,
        Method::Put | Method::Options | Method::Other => return Err(no_page()),
    };
    caller.may(needs).map_err(denied)?;
    if head.wants_websocket() {
        return websocket(head, name, limits);
    }
    if name.is_empty() {
        return if needs == Access::Read { root(head) } else { Err(no_page()) };
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"*/-_.".contains(&b);
    if !name.bytes().all(allowed) || name.split('/').next() == Some("_") {
        return Err(no_page());
    }
    if name == "ws" {
        return Err(Response::text(426, "this is the hub's door: connect with a WebSocket"));
    }
    rest::read(head, name, body)
}

/// A WebSocket: of the hub, or on a name, or at the root, where the clock is.
fn websocket(head: &Head, name: &str, limits: &Limits) -> Routed {
    let hub = name == "ws" || name.starts_with("ws/");
    let handshake = Handshake::read(head, hub, limits)?;
    if hub {
        let request = HubRequest::read(head, handshake.native);
        return Ok(Request::Hub(handshake, Box::new(request)));
    }
    let name = match name {
        "" => None,
        name => Some(Name::parse(name).map_err(|_| key_invalid())?),
    };
    let version = parameter(head, "v").and_then(|v| Stamp::from_hex(&v));
    Ok(Request::Follow(name, handshake, version))
}

/// `/`: a page for browsers, or what `?api=` says.
fn root(head: &Head) -> Routed {
    let kind = match parameter(head, "api").as_deref() {
        Some("keys") => ResponseKind::Keys(Page::read(head)),
        Some("channels") => ResponseKind::Channels(Page::read(head)),
        Some("state") => ResponseKind::Pools,
        Some(_) => return Err(no_page()),
        None if head.list(Field::Accept).any(|accept| accept.starts_with("text/html")) => {
            return Ok(Request::Respond(html(pages::INDEX)));
        }
        None => ResponseKind::AllKeys,
    };
    Ok(Request::Gather(kind))
}

fn html(page: &'static str) -> Response<'static> {
    let headers = pages::HEADERS.map(|(name, value)| (name, Cow::Borrowed(value)));
    Response::new(200).headers(headers).body("text/html; charset=utf-8", page.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Request, route};
    use crate::flow::identity::Identity;
    use crate::flow::limits::{Access, Limits};
    use crate::flow::request::write::Write;
    use crate::wire::http::{MAX_HEAD, parse_head};

    fn asked(line: &str, body: &str, access: Access) -> String {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (head, _) = parse_head(text.as_bytes(), MAX_HEAD).expect("a head").expect("a whole one");
        let who = Identity::anonymous(access);
        match route(&head, body.as_bytes(), who.at(0), &Limits::default()) {
            super::Request::Respond(response) => response.status().to_string(),
            request => format!("{request:?}"),
        }
    }

    #[test]
    fn every_path_leads_to_what_is_asked_there() {
        for (line, body, request) in [
            ("GET /", "", "Gather(AllKeys)"),
            ("GET /?api=keys&limit=600", "", "Gather(Keys(Page { page: 1, limit: 500"),
            ("GET /?api=channels", "", "Gather(Channels("),
            ("GET /?api=state", "", "Gather(Pools)"),
            ("GET /?api=x", "", "404"),
            ("GET /a/b", "", "Get("),
            ("GET /a/*", "", "Gather(Items("),
            ("POST /a/b", "1", "Write("),
            ("POST /a/*", "1", "Push("),
            ("POST /*/*", "1", "400"),
            ("PATCH /a", "{}", "Write("),
            ("PATCH /a/*", "{}", "400"),
            ("DELETE /a", "", "Write("),
            ("DELETE /a/*", "", "Sweep("),
            ("PUT /a", "", "404"),
            ("DELETE /", "", "404"),
            ("GET /_/stream/a/**", "", "Stream("),
            ("GET /_/rooms/a%2Fb", "", "Room(Ask(RoomAsk { room: \"a/b\""),
            ("GET /_/chat", "", "200"),
            ("GET /_/import", "", "405"),
            ("GET /_/nothing", "", "404"),
            ("GET /sse?channels=a", "", "Events("),
            ("POST /sse/subscribe", r#"{"conn_id":"0-1-2-3"}"#, "Change("),
            ("GET /sse/subscribe", "", "405"),
            ("GET /sse/x", "", "404"),
            ("GET /ws", "", "426"),
            ("GET /%zz", "", "404"),
        ] {
            let asked = asked(line, body, Access::Write);
            assert!(asked.starts_with(request), "{line}: {asked}");
        }
    }

    #[test]
    fn a_patch_is_what_its_media_type_says() {
        for (media_type, request) in [
            ("application/json", "Merge(Ooo)"),
            ("Application/JSON; charset=utf-8", "Merge(Ooo)"),
            ("application/merge-patch+json", "Merge(MergePatch)"),
            ("application/json-patch+json", "Patch"),
            ("text/csv", "415"),
            ("", "415"),
        ] {
            let text = format!("PATCH /a HTTP/1.1\r\nHost: h\r\nContent-Type: {media_type}\r\n\r\n");
            let (head, _) = parse_head(text.as_bytes(), MAX_HEAD).expect("a head").expect("a whole one");
            let who = Identity::anonymous(Access::Write);
            let asked = match route(&head, b"{}", who.at(0), &Limits::default()) {
                Request::Respond(response) => {
                    assert!(format!("{response:?}").contains("Accept-Patch"), "{response:?}");
                    response.status().to_string()
                }
                Request::Write(_, Write::Merge(_, _, rule), _) => format!("Merge({rule:?})"),
                Request::Write(_, Write::Patch(..), _) => "Patch".into(),
                other => panic!("{other:?}"),
            };
            assert_eq!(asked, request, "{media_type}");
        }
    }

    #[test]
    fn whoever_may_only_read_changes_nothing() {
        for line in ["POST /a", "PATCH /a", "DELETE /a", "DELETE /a/*", "POST /_/rooms"] {
            assert_eq!(asked(line, "{}", Access::Read), "403", "{line}");
        }
        for line in ["GET /", "GET /a", "GET /_/stream/a", "GET /_/rooms", "GET /sse"] {
            assert_eq!(asked(line, "", Access::None), "403", "{line}");
            assert_ne!(asked(line, "", Access::Read), "403", "{line}");
        }
    }
}
