//! Rooms over HTTP: from a request under `/_/rooms` to what it asks of a room's owner.

use crate::base::stamp::Stamp;
use crate::flow::identity::Actor;
use crate::flow::identity::Caller;
use crate::flow::limits::Access;
use crate::flow::limits::hub::HubLimits;
use crate::flow::request::refusals::{forbidden, method_not_allowed};
use crate::wire::http::{Head, Method, Response};
use crate::wire::hub::{
    Bound, DEFAULT_LIMIT, FrameFault, MAX_LIST, MemberCommand, NewMessage, Query, RawMembers, RoomCommand,
    RoomProfile, is_room, is_user,
};
use crate::wire::url;
use std::borrow::Cow;
use std::sync::Arc;

/// What a request about rooms comes to.
#[derive(Debug)]
pub enum RoomRequest {
    /// A question to a room's owner, and the status of its answer. A room without a name is to get one.
    Ask(Box<RoomAsk>, u16),
    /// All rooms that somebody may see.
    List(Actor),
}

/// A question about a room, to its owner.
#[derive(Debug)]
pub struct RoomAsk {
    /// Which.
    pub room: Arc<str>,
    /// Who asks.
    pub actor: Actor,
    /// What.
    pub want: RoomCommand,
    /// For whom a place was reserved with the user's owner, who is to be told how that ended.
    pub reserved: Option<Arc<str>>,
}

impl RoomAsk {
    /// Who may become a member by this, which is to be reserved first.
    pub fn newcomer(&self) -> Option<&Arc<str>> {
        use crate::wire::hub::MemberCommand::Role;
        match &self.want {
            RoomCommand::Create(_) => self.actor.user(),
            RoomCommand::Member(user, Role(_)) => Some(user),
            _ => None,
        }
    }
}

type Asked = Result<RoomRequest, Response<'static>>;

fn problem(status: u16, code: &str, detail: &str) -> Response<'static> {
    Response::problem(status, code, detail)
}

fn bad(fault: FrameFault) -> Response<'static> {
    problem(400, fault.code(), &fault.to_string())
}

fn nothing() -> Response<'static> {
    problem(404, "not_found", "there is no such page under /_/rooms")
}

impl RoomRequest {
    /// Reads a request whose path is `/_/rooms` and what follows (not decoded), of somebody who may do that much. Its body
    /// may have as many bytes as a frame of the hub.
    ///
    /// # Errors
    /// The response, where nobody needs to be asked.
    pub fn read(head: &Head, rest: &str, body: &[u8], caller: Caller<'_>, limits: &HubLimits) -> Asked {
        let reads = matches!(head.method, Method::Get | Method::Head);
        let needs = if reads { Access::Read } else { Access::Write };
        caller.may(needs).map_err(forbidden)?;
        if body.len() > limits.max_message {
            let detail = format!("a message may have {} bytes ([hub] max_message)", limits.max_message);
            return Err(problem(413, "message_too_large", &detail));
        }
        let parameters = parameters(head)?;
        let actor = caller.actor();
        let decoded = rest.split('/').skip(1).map(url::decode_path).collect::<Result<Vec<_>, _>>();
        let segments = decoded.map_err(|_| nothing())?;
        let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
        let Some((room, segments)) = segments.split_first() else {
            return match head.method {
                Method::Get | Method::Head => Ok(RoomRequest::List(actor)),
                Method::Post => create(actor, body),
                _ => Err(method_not_allowed("this cannot be done here", "GET, POST")),
            };
        };
        if !is_room(room) {
            return Err(problem(
                400,
                "invalid_message",
                "a room's id is a name of 1 to 256 bytes without control characters, not '*' and not with '$' first",
            ));
        }
        let (want, status) = want(head, segments, &parameters, body)?;
        Ok(RoomRequest::Ask(
            Box::new(RoomAsk { room: Arc::from(*room), actor, want, reserved: None }),
            status,
        ))
    }
}

fn want(
    head: &Head,
    segments: &[&str],
    parameters: &Parameters<'_>,
    body: &[u8],
) -> Result<(RoomCommand, u16), Response<'static>> {
    use Method::{Delete, Get, Head as Peek, Patch, Post as Send, Put};
    Ok(match (head.method, segments) {
        (Get | Peek, []) => (RoomCommand::Describe, 200),
        (Patch, []) => (RoomCommand::Update(Box::new(RoomProfile::read(&fields(body)?).map_err(bad)?)), 200),
        (Delete, []) => (RoomCommand::Delete, 204),
        (_, []) => return Err(method_not_allowed("this cannot be done here", "GET, PATCH, DELETE")),
        (Get | Peek, ["history"]) => (RoomCommand::History(Box::new(query(parameters)?)), 200),
        (Get | Peek, ["members"]) => (RoomCommand::Members, 200),
        (_, ["history" | "members"]) => return Err(method_not_allowed("this cannot be done here", "GET")),
        (Put, ["members", user]) => (RoomCommand::Member(name(user)?, membership(body)?), 200),
        (Delete, ["members", user]) => {
            let reason = find(parameters, "reason").map(Arc::from);
            let want = match find(parameters, "ban") {
                Some("" | "1" | "true") => MemberCommand::Ban(true, reason),
                _ => MemberCommand::Kick(reason),
            };
            (RoomCommand::Member(name(user)?, want), 204)
        }
        (_, ["members", _]) => return Err(method_not_allowed("this cannot be done here", "PUT, DELETE")),
        (Send, ["messages"]) => {
            let fields = fields(body)?;
            if fields.raw("data").is_none() {
                return Err(problem(400, "invalid_message", "\"data\" is missing"));
            }
            (RoomCommand::Message(Box::new(NewMessage::read(&fields).map_err(bad)?)), 201)
        }
        (_, ["messages"]) => return Err(method_not_allowed("this cannot be done here", "POST")),
        (Patch, ["messages", id]) => {
            let why = FrameFault::Field("\"data\" is missing, or cannot be kept");
            let data = fields(body)?.json("data", "\"data\" cannot be kept").map_err(bad)?;
            (RoomCommand::Edit(message(id)?, data.ok_or_else(|| bad(why))?), 200)
        }
        (Delete, ["messages", id]) => (RoomCommand::Erase(message(id)?), 204),
        (_, ["messages", _]) => return Err(method_not_allowed("this cannot be done here", "PATCH, DELETE")),
        (Put | Delete, ["messages", id, "reactions", emoji]) if is_user(emoji) => {
            let add = head.method == Put;
            (RoomCommand::React(message(id)?, Arc::from(*emoji), add), if add { 200 } else { 204 })
        }
        _ => return Err(nothing()),
    })
}

fn create(actor: Actor, body: &[u8]) -> Asked {
    let fields = fields(body)?;
    let id = fields.name("id", usize::MAX, "\"id\" must be a string").map_err(bad)?;
    if id.as_ref().is_some_and(|id| !is_room(id)) {
        return Err(bad(FrameFault::Field(
            "\"id\" must be a name of 1 to 256 bytes without control characters, not '*' and not with '$' first",
        )));
    }
    let want = RoomCommand::Create(Box::new(RoomProfile::read(&fields).map_err(bad)?));
    let room = id.unwrap_or_else(|| "".into());
    Ok(RoomRequest::Ask(Box::new(RoomAsk { room, actor, want, reserved: None }), 201))
}

/// What `PUT` says of a member: its `role`, or for how long it is muted, or whether it is banned.
fn membership(body: &[u8]) -> Result<MemberCommand, Response<'static>> {
    let fields = fields(if body.trim_ascii().is_empty() { b"{}" } else { body })?;
    let muted = fields.number("mute_ms", "\"mute_ms\" must be milliseconds").map_err(bad)?;
    let banned = fields.flag("banned", "\"banned\" must be true or false").map_err(bad)?;
    let role = match fields.text("role", "\"role\" must be a string") {
        Ok(role) => role.map(|role| Arc::from(&*role)),
        Err(fault) => return Err(problem(400, "invalid_role", &fault.to_string())),
    };
    match (role, muted, banned) {
        (None, Some(ms), None) => Ok(MemberCommand::Mute(Some(ms))),
        (None, None, Some(on)) => Ok(MemberCommand::Ban(on, None)),
        (role, None, None) => Ok(MemberCommand::Role(role.unwrap_or_else(|| "member".into()))),
        _ => {
            Err(problem(400, "invalid_message", "only one of \"role\", \"mute_ms\" and \"banned\" at a time"))
        }
    }
}

fn query(parameters: &Parameters<'_>) -> Result<Query, Response<'static>> {
    let bound = |name| {
        let why = FrameFault::Field("\"before\" and \"after\" must be a sequence or an RFC 3339 time");
        find(parameters, name).map(|text| Bound::parse(text).ok_or_else(|| bad(why))).transpose()
    };
    let limit = find(parameters, "limit").map(str::parse::<usize>).transpose();
    let limit = limit.map_err(|_| bad(FrameFault::Field("\"limit\" must be a number")))?;
    let text = |name| find(parameters, name).filter(|text| !text.is_empty()).map(Arc::from);
    Ok(Query {
        limit: limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIST),
        before: bound("before")?,
        after: bound("after")?,
        thread: text("thread"),
        user: text("by"),
        search: text("search"),
    })
}

fn fields(body: &[u8]) -> Result<RawMembers<'_>, Response<'static>> {
    RawMembers::read(body).ok_or_else(|| problem(400, "invalid_message", "the body is not a JSON object"))
}

fn name(user: &str) -> Result<Arc<str>, Response<'static>> {
    let why = FrameFault::Field("a user's name has 1 to 256 bytes without control characters");
    if is_user(user) { Ok(user.into()) } else { Err(bad(why)) }
}

/// The `id` that the server gave a message.
fn message(id: &str) -> Result<Stamp, Response<'static>> {
    Stamp::from_hex(id).ok_or_else(|| problem(404, "not_found", "there is no such message"))
}

type Parameters<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn parameters(head: &Head) -> Result<Parameters<'_>, Response<'static>> {
    let all = url::query(head.query.as_deref().unwrap_or_default()).collect::<Result<_, _>>();
    all.map_err(|_| problem(400, "invalid_message", "the query is not percent-encoded UTF-8"))
}

fn find<'a>(parameters: &'a Parameters<'_>, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::RoomRequest;
    use crate::flow::identity::{Actor, Identity};
    use crate::flow::limits::Access;
    use crate::flow::limits::hub::HubLimits;
    use crate::wire::http::parse_head;
    use crate::wire::hub::{MemberCommand, RoomCommand};

    fn ask(line: &str, body: &str, access: Access) -> Result<RoomRequest, String> {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (head, _) = parse_head(text.as_bytes(), 9999).expect("a head").expect("whole");
        let rest = head.path.strip_prefix("/_/rooms").expect("a path of rooms").to_owned();
        let who = Identity::read(&head, &Identity::anonymous(access)).expect("a name");
        RoomRequest::read(&head, &rest, body.as_bytes(), who.at(0), &HubLimits::default())
            .map_err(|response| String::from_utf8_lossy(&response.encode()).into_owned())
    }

    #[test]
    fn every_route_leads_to_its_question() {
        for (line, body, status, want) in [
            ("POST /_/rooms?user=u", r#"{"id":"a","name":"A"}"#, 201, "Create("),
            ("GET /_/rooms/a%2Fb", "", 200, "Describe"),
            ("PATCH /_/rooms/a", r#"{"private":true}"#, 200, "Update("),
            ("DELETE /_/rooms/a", "", 204, "Delete"),
            ("GET /_/rooms/a/history?limit=3&before=7&by=u", "", 200, "History("),
            ("GET /_/rooms/a/members", "", 200, "Members"),
            ("PUT /_/rooms/a/members/u", r#"{"role":"admin"}"#, 200, "Member("),
            ("DELETE /_/rooms/a/members/u", "", 204, "Member("),
            ("POST /_/rooms/a/messages", r#"{"data":[1]}"#, 201, "Message("),
            ("PATCH /_/rooms/a/messages/17f", r#"{"data":2}"#, 200, "Edit(Stamp(383)"),
            ("DELETE /_/rooms/a/messages/17f", "", 204, "Erase(Stamp(383)"),
            ("PUT /_/rooms/a/messages/17f/reactions/%2B1", "", 200, "React(Stamp(383), \"+1\", true"),
        ] {
            match ask(line, body, Access::Write) {
                Ok(RoomRequest::Ask(ask, code)) => {
                    let text = format!("{:?}", ask.want);
                    assert!(code == status && text.starts_with(want), "{line}: {code} {text}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(matches!(ask("GET /_/rooms", "", Access::Read), Ok(RoomRequest::List(Actor::Nobody))));
        assert!(matches!(ask("GET /_/rooms", "", Access::Write), Ok(RoomRequest::List(Actor::App))));
        let Ok(RoomRequest::Ask(kick, _)) =
            ask("DELETE /_/rooms/a/members/u?ban=1&user=v", "", Access::Write)
        else {
            panic!("a ban")
        };
        assert_eq!(kick.want, RoomCommand::Member("u".into(), MemberCommand::Ban(true, None)));
        assert_eq!(kick.actor, Actor::User("v".into()));
    }

    #[test]
    fn every_fault_has_its_status_and_code() {
        let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(64 << 10));
        for (line, body, status, code) in [
            ("POST /_/rooms/a/messages", large.as_str(), 413, "message_too_large"),
            ("PATCH /_/rooms/a/messages/17f", &large, 413, "message_too_large"),
            ("PATCH /_/rooms/a", &large, 413, "message_too_large"),
            ("POST /_/rooms", "[]", 400, "invalid_message"),
            ("POST /_/rooms", r#"{"id":"*"}"#, 400, "invalid_message"),
            ("POST /_/rooms", r#"{"id":"a\nb"}"#, 400, "invalid_message"),
            ("POST /_/rooms", r#"{"private":1}"#, 400, "invalid_message"),
            ("PUT /_/rooms", "{}", 405, "method_not_allowed"),
            ("GET /_/rooms/", "", 400, "invalid_message"),
            ("GET /_/rooms/%0a", "", 400, "invalid_message"),
            ("GET /_/rooms/%zz", "", 404, "not_found"),
            ("GET /_/rooms/a/nothing", "", 404, "not_found"),
            ("POST /_/rooms/a/members", "", 405, "method_not_allowed"),
            ("PUT /_/rooms/a/members/u", r#"{"role":1}"#, 400, "invalid_role"),
            ("PUT /_/rooms/a/members/u", r#"{"role":"admin","banned":true}"#, 400, "invalid_message"),
            ("POST /_/rooms/a/messages", "{}", 400, "invalid_message"),
            ("DELETE /_/rooms/a/messages/xyz", "", 404, "not_found"),
            ("GET /_/rooms/a/history?before=soon", "", 400, "invalid_message"),
            ("GET /_/rooms/a/history?limit=-1", "", 400, "invalid_message"),
        ] {
            let text = ask(line, body, Access::Write).expect_err(line);
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {text}");
            assert!(
                text.contains("application/problem+json") && text.contains(&format!("\"code\":\"{code}\""))
            );
        }
        for (line, access) in [("POST /_/rooms", Access::Read), ("GET /_/rooms", Access::None)] {
            assert!(ask(line, "{}", access).expect_err(line).starts_with("HTTP/1.1 403 "));
        }
    }
}
