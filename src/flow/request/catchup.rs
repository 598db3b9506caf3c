//! Streams with a catch-up (cella's): what a request for one asks for.

use crate::flow::filter::Filter;
use crate::flow::identity::{Actor, Caller};
use crate::flow::limits::route::{Profile, Route, RouteId};
use crate::flow::request::events::check;
use crate::flow::request::position::Position;
use crate::flow::request::query::parameters;
use crate::wire::http::{Field, Head, Response};
use std::sync::Arc;

/// What somebody has missed of a channel, asked for at once.
#[derive(Clone, Debug)]
pub struct MissedQuery {
    /// The channel.
    pub channel: Arc<str>,
    /// Who asks, as a listener.
    pub actor: Actor,
    /// The route over which it is asked.
    pub route: RouteId,
    /// What the client has.
    pub position: Position,
    /// Which publications it wants, if not all.
    pub filter: Option<Arc<Filter>>,
}

/// A request for a stream with a catch-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// What the client has: it gets what is behind that.
    pub begin: Position,
    /// Whether the stream goes on with what is published; otherwise the answer is one JSON object.
    pub live: bool,
    /// Which publications are wanted, if not all.
    pub filter: Option<Arc<Filter>>,
}

impl CatchUp {
    /// Reads a request to a route.
    ///
    /// # Errors
    /// The response that says what is wrong.
    pub fn read(head: &Head, route: &Route, caller: Caller<'_>) -> Result<CatchUp, Response<'static>> {
        check(head, caller)?;
        let mut request = CatchUp { begin: Position::First, live: false, filter: None };
        for parameter in parameters(head) {
            let (name, value) = parameter?;
            match &*name {
                "offset" => request.begin = read_offset(&value),
                "live" => request.live = value == "sse",
                name => {
                    if let Some(rule) = route.filter.as_ref().filter(|rule| *rule.query == *name) {
                        request.filter = Filter::read(&rule.field, &value).map(Arc::new);
                    }
                }
            }
        }
        // the newer form has nothing else
        request.live |= route.profile == Profile::CellaViews;
        // what the browser itself remembers is newer than what stands in the address
        if let Some(last) = head.get(Field::LastEventId).filter(|last| !last.is_empty()) {
            request.begin = Position::Named(last.into());
        }
        Ok(request)
    }
}

/// What is spoken on a route, to whom, about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRequest {
    /// The route.
    pub route: RouteId,
    /// The channel that it leads to.
    pub channel: Arc<str>,
    /// What the client asks for.
    pub catch_up: CatchUp,
}

/// What `offset` says of where the client stands.
fn read_offset(text: &str) -> Position {
    match text {
        "" | "-1" => Position::First,
        "now" => Position::Nothing,
        name => Position::Named(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::CatchUp;
    use crate::flow::filter::Filter;
    use crate::flow::identity::Identity;
    use crate::flow::limits::Access;
    use crate::flow::limits::route::{FilterRule, Profile, Route, RouteId};
    use crate::flow::request::position::Position;
    use crate::wire::http::{MAX_HEAD, parse_head};
    use crate::wire::template::PathTemplate;

    fn route() -> Route {
        let path = PathTemplate::parse("/organizations/{org}/sync/stream").unwrap();
        let channel = Some(path.name("org:{org}").unwrap());
        Route {
            id: RouteId::of(&path, channel.as_ref()),
            channel,
            path,
            profile: Profile::Cella,
            filter: Some(FilterRule { query: "entityTypes".into(), field: "entityType".into() }),
            id_field: Some("activityId".into()),
            keepalive: 1,
            streams: 1,
            streams_per_user: 1,
        }
    }

    fn read(query: &str, headers: &str) -> CatchUp {
        let text = format!("GET /organizations/1/sync/stream?{query} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        let head = parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0;
        let who = Identity::read(&head, &Identity::anonymous(Access::Write)).unwrap();
        CatchUp::read(&head, &route(), who.at(0)).unwrap()
    }

    #[test]
    fn every_offset_has_its_meaning() {
        let after = |text: &str| Position::Named(text.into());
        for (query, headers, begin) in [
            ("", "", Position::First),
            ("offset=-1", "", Position::First),
            ("offset=", "", Position::First),
            ("offset=now", "", Position::Nothing),
            ("offset=V1StGXR8_Z5jdHi6B-myT", "", after("V1StGXR8_Z5jdHi6B-myT")),
            // the native EventSource keeps its address and sends what it saw last
            ("offset=now", "Last-Event-ID: abc\r\n", after("abc")),
        ] {
            assert_eq!(read(query, headers).begin, begin, "{query}");
        }
    }

    #[test]
    fn only_sse_is_live_and_types_are_chosen_by_the_routes_filter() {
        let request = read("live=sse&offset=now&entityTypes=page,attachment&user=u", "");
        let filter = Filter::read("entityType", "attachment,page").unwrap();
        assert_eq!((request.live, request.filter.as_deref()), (true, Some(&filter)));
        for other in ["", "live=", "live=true", "live=SSE", "entityTypes="] {
            assert_eq!((read(other, "").live, read(other, "").filter), (false, None), "{other}");
        }
    }
}
