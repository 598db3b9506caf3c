//! Streams with a catch-up (cella's): what a request for one asks for, and its answer where that is a plain one.

use crate::flow::conn::ask::Has;
use crate::flow::conn::events::{believed, check, parameters};
use crate::flow::limits::Access;
use crate::flow::limits::route::{Profile, Route};
use crate::flow::state::choice::Choice;
use crate::wire::http::{Field, Head, Response};
use crate::wire::json::write_string;
use std::sync::Arc;

/// Where a catch-up begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With everything that history holds.
    First,
    /// Now: there is nothing to catch up with.
    Now,
    /// Behind the publication that the client knows by this name, or that this cursor means.
    After(Box<str>),
}

/// A request for a stream with a catch-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// Where it begins.
    pub begin: Begin,
    /// Whether the stream goes on with what is published; otherwise the answer is one JSON object.
    pub live: bool,
    /// Which publications are wanted, if not all.
    pub choice: Option<Arc<Choice>>,
    /// Who the client says it is.
    pub user: Option<Arc<str>>,
}

impl CatchUp {
    /// Reads a request to a route.
    ///
    /// # Errors
    /// The response that says what is wrong.
    pub fn read(head: &Head, route: &Route, access: Access) -> Result<CatchUp, Response<'static>> {
        check(head, access)?;
        let mut wish = CatchUp { begin: Begin::First, live: false, choice: None, user: None };
        for parameter in parameters(head) {
            let (name, value) = parameter?;
            match &*name {
                "offset" => wish.begin = Begin::read(&value),
                "live" => wish.live = value == "sse",
                "user" => wish.user = believed(&value, access),
                name => {
                    if let Some(filter) = route.filter.as_ref().filter(|filter| *filter.query == *name) {
                        wish.choice = Choice::read(&filter.field, &value).map(Arc::new);
                    }
                }
            }
        }
        // the newer form has nothing else
        wish.live |= route.profile == Profile::CellaViews;
        // what the browser itself remembers is newer than what stands in the address
        if let Some(last) = head.get(Field::LastEventId).filter(|last| !last.is_empty()) {
            wish.begin = Begin::After(last.into());
        }
        Ok(wish)
    }
}

/// What is spoken on a route, to whom, about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The route's number.
    pub route: u8,
    /// The channel that it leads to.
    pub channel: Arc<str>,
    /// What the client asks for.
    pub wish: CatchUp,
}

impl Begin {
    /// The same as an owner is asked.
    pub fn has(&self) -> Has {
        match self {
            Begin::First => Has::First,
            Begin::Now => Has::Nothing,
            Begin::After(name) => Has::Named(name.clone()),
        }
    }

    fn read(text: &str) -> Begin {
        match text {
            "" | "-1" => Begin::First,
            "now" => Begin::Now,
            after => Begin::After(after.into()),
        }
    }
}

/// The answer to one reader too many.
pub fn too_many() -> Response<'static> {
    let detail = "as many clients as are allowed at once are here ([[route]] streams, streams_per_user)";
    Response::problem(429, "too_many_streams", detail).header("Retry-After", "5")
}

/// The data of the event that says that the client has caught up, and up to where.
pub fn write_offset(cursor: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"cursor":"#);
    match cursor {
        Some(cursor) => write_string(cursor, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::{Begin, CatchUp, write_offset};
    use crate::flow::limits::Access;
    use crate::flow::limits::route::{Filter, Profile, Route};
    use crate::flow::state::choice::Choice;
    use crate::wire::http::{MAX_HEAD, parse_head};
    use crate::wire::template::PathTemplate;

    fn route() -> Route {
        let path = PathTemplate::parse("/organizations/{org}/sync/stream").unwrap();
        Route {
            channel: Some(path.name("org:{org}").unwrap()),
            path,
            profile: Profile::Cella,
            filter: Some(Filter { query: "entityTypes".into(), field: "entityType".into() }),
            id_field: Some("activityId".into()),
            keepalive: 1,
            streams: 1,
            streams_per_user: 1,
        }
    }

    fn read(query: &str, headers: &str) -> CatchUp {
        let text = format!("GET /organizations/1/sync/stream?{query} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        let head = parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0;
        CatchUp::read(&head, &route(), Access::Write).unwrap()
    }

    #[test]
    fn every_offset_has_its_meaning() {
        let after = |text: &str| Begin::After(text.into());
        for (query, headers, begin) in [
            ("", "", Begin::First),
            ("offset=-1", "", Begin::First),
            ("offset=", "", Begin::First),
            ("offset=now", "", Begin::Now),
            ("offset=V1StGXR8_Z5jdHi6B-myT", "", after("V1StGXR8_Z5jdHi6B-myT")),
            // the native EventSource keeps its address and sends what it saw last
            ("offset=now", "Last-Event-ID: abc\r\n", after("abc")),
        ] {
            assert_eq!(read(query, headers).begin, begin, "{query}");
        }
    }

    #[test]
    fn only_sse_is_live_and_types_are_chosen_by_the_routes_filter() {
        let wish = read("live=sse&offset=now&entityTypes=page,attachment&user=u", "");
        let choice = Choice::read("entityType", "attachment,page").unwrap();
        assert_eq!(
            (wish.live, wish.choice.as_deref(), wish.user.as_deref()),
            (true, Some(&choice), Some("u"))
        );
        for other in ["", "live=", "live=true", "live=SSE", "entityTypes="] {
            assert_eq!((read(other, "").live, read(other, "").choice), (false, None), "{other}");
        }
    }

    #[test]
    fn the_offset_event_names_the_cursor_or_null() {
        for (cursor, text) in [(Some("a\"b"), r#"{"cursor":"a\"b"}"#), (None, r#"{"cursor":null}"#)] {
            let mut out = Vec::new();
            write_offset(cursor, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
