//! Settings of the doors for server-sent events, `[sse]` and `[[route]]`: as written, and what they mean.

use std::time::Duration;

use serde::Deserialize;

use crate::flow::limits::route::{FilterRule, Profile, Route, RouteId};
use crate::flow::limits::sse::SseLimits;
use crate::server::error::ServerError;
use crate::server::meant::span;
use crate::server::values::Span;
use crate::wire::key::is_reserved;
use crate::wire::template::PathTemplate;

/// `[sse]`: server-sent events.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SseSettings {
    /// How long a client waits before it comes back.
    pub retry: Span,
    /// How often there is a sign of life.
    pub keepalive: Span,
    /// Publications that are read from a history at a time when one is replayed.
    pub replay_limit: u64,
}

/// `[[route]]`: a path that is mapped onto a channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The path; a whole segment may be a value, `{name}`.
    pub path: String,
    /// What is spoken there.
    pub profile: Profile,
    /// The channel, with values of the path.
    pub channel: Option<String>,
    /// What clients may choose by.
    pub filter: Option<FilterSettings>,
    /// The field of a publication that names it.
    pub id_field: Option<String>,
    /// How often there is a sign of life.
    #[serde(default = "RouteSettings::keepalive")]
    pub keepalive: Span,
    /// Clients at once.
    #[serde(default = "RouteSettings::streams")]
    pub streams: u64,
    /// Clients of one user at once.
    #[serde(default = "RouteSettings::streams_per_user")]
    pub streams_per_user: u64,
}

/// `filter`: a parameter of the query against a field of the publication.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSettings {
    /// The parameter.
    pub query: String,
    /// The field.
    pub field: String,
}

impl Default for SseSettings {
    fn default() -> Self {
        let SseLimits { retry, keepalive, replay_limit } = SseLimits::default();
        Self {
            retry: Span::nanos(retry),
            keepalive: Span::nanos(keepalive),
            replay_limit: replay_limit as u64,
        }
    }
}

impl RouteSettings {
    fn keepalive() -> Span {
        Span(Duration::from_secs(30))
    }

    fn streams() -> u64 {
        5000
    }

    fn streams_per_user() -> u64 {
        10
    }
}

/// What `[sse]` means.
///
/// # Errors
/// A setting makes no sense; the message names it.
pub fn sse(written: &SseSettings) -> Result<SseLimits, ServerError> {
    Ok(SseLimits {
        retry: span("[sse] retry", written.retry)?,
        keepalive: span("[sse] keepalive", written.keepalive)?,
        replay_limit: count("[sse]", "replay_limit", written.replay_limit)?,
    })
}

/// What `[[route]]` means, in the order of the file.
///
/// # Errors
/// A route makes no sense; the message names it by its path.
pub fn routes(written: &[RouteSettings]) -> Result<Vec<Route>, ServerError> {
    if written.len() > usize::from(u8::MAX) {
        return Err(ServerError::wrong("[[route]]", "give at most 255"));
    }
    let mut routes: Vec<Route> = Vec::new();
    for one in written {
        let route = route(one)?;
        if routes.iter().any(|other| other.path == route.path) {
            return Err(ServerError::wrong(place(one), "there is one for this path already"));
        }
        routes.push(route);
    }
    Ok(routes)
}

fn place(written: &RouteSettings) -> String {
    format!("[[route]] with path '{}'", written.path)
}

fn route(written: &RouteSettings) -> Result<Route, ServerError> {
    let place = place(written);
    let wrong = |reason: &dyn ToString| ServerError::wrong(&*place, reason.to_string());
    let path = PathTemplate::parse(&written.path).map_err(|why| wrong(&why))?;
    if path.first().is_some_and(is_reserved) {
        return Err(wrong(&"'ws', 'sse' and '_' are doors already"));
    }
    let channel = written.channel.as_ref().map(|name| path.name(name)).transpose();
    let channel = channel.map_err(|why| wrong(&format!("channel: {why}")))?;
    if written.channel.as_ref().is_some_and(|name| name.is_empty() || name.starts_with('$')) {
        return Err(wrong(&"channel: a name is not empty and does not begin with '$'"));
    }
    match written.profile {
        Profile::Hub if written.filter.is_some() || written.id_field.is_some() => {
            return Err(wrong(&"filter and id_field are not for the profile 'hub'"));
        }
        Profile::Cella | Profile::CellaViews if channel.is_none() => {
            return Err(wrong(&"this profile needs a channel"));
        }
        Profile::Hub | Profile::Cella | Profile::CellaViews => {}
    }
    let filter = |f: &FilterSettings| FilterRule { query: (&*f.query).into(), field: (&*f.field).into() };
    Ok(Route {
        id: RouteId::of(&path, channel.as_ref()),
        path,
        profile: written.profile,
        channel,
        filter: written.filter.as_ref().map(filter),
        id_field: written.id_field.as_deref().map(Into::into),
        keepalive: span(&format!("{place}: keepalive"), written.keepalive)?,
        streams: count(&place, "streams", written.streams)?,
        streams_per_user: count(&place, "streams_per_user", written.streams_per_user)?,
    })
}

fn count(place: &str, name: &str, written: u64) -> Result<usize, ServerError> {
    match written {
        0 => Err(ServerError::wrong(format!("{place} {name}"), "must be more than 0")),
        1..=1_000_000_000 => Ok(written as usize),
        _ => Err(ServerError::wrong(format!("{place} {name}"), "is too much; give at most 1000000000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::limits::Limits;

    fn meant(text: &str) -> Result<Vec<Route>, String> {
        #[derive(Deserialize)]
        struct File {
            route: Vec<RouteSettings>,
        }
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        routes(&file.route).map_err(|error| error.to_string())
    }

    #[test]
    fn a_route_leads_to_its_channel() {
        let text = "[[route]]\npath = '/organizations/{org}/sync/stream'\nprofile = 'cella'\nchannel = 'org:{org}'\n\
                    filter = { query = 'entityTypes', field = 'entityType' }\nid_field = 'activityId'\n\
                    [[route]]\npath = '/channels'\nprofile = 'hub'";
        let [cella, hub] = &meant(text).expect("both make sense")[..] else { panic!("two") };
        assert_eq!(cella.find("/organizations/1/sync/stream"), Some(Some("org:1".into())));
        assert_eq!(cella.find("/channels"), None);
        assert_eq!((cella.keepalive, cella.streams, cella.streams_per_user), (30_000_000_000, 5000, 10));
        assert_eq!((hub.find("/channels"), hub.profile), (Some(None), Profile::Hub));
    }

    #[test]
    fn a_route_takes_no_path_of_another_door() {
        let routes = meant("[[route]]\npath = '/{a}/{b}'\nprofile = 'cella'\nchannel = '{a}:{b}'");
        let limits = Limits { routes: routes.expect("it makes sense"), ..Limits::default() };
        for (path, found) in
            [("/x/y", true), ("/x", false), ("/sse/subscribe", false), ("/ws/y", false), ("/_/rooms", false)]
        {
            assert_eq!(limits.route_for(path).is_some(), found, "{path}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_path() {
        let cella = "profile = 'cella'\nchannel = 'c'";
        for (path, rest) in [
            ("/a", "profile = 'cella'"),
            ("/a", "profile = 'cella-views'"),
            ("a", cella),
            ("/sse/a", cella),
            ("/_/a", cella),
            ("/ws", cella),
            ("/{a}/{a}", cella),
            ("/a", "profile = 'cella'\nchannel = '{b}'"),
            ("/a", "profile = 'cella'\nchannel = '$x'"),
            ("/a", "profile = 'hub'\nid_field = 'x'"),
            ("/a", "profile = 'cella'\nchannel = 'c'\nstreams = 0"),
            ("/a", "profile = 'cella'\nchannel = 'c'\nkeepalive = '0s'"),
            ("/a", "profile = 'cella'\nchannel = 'c'\n[[route]]\npath = '/a'\nprofile = 'hub'"),
        ] {
            let error = meant(&format!("[[route]]\npath = '{path}'\n{rest}")).expect_err(rest);
            assert!(error.starts_with(&format!("[[route]] with path '{path}'")), "{error}");
        }
        for text in
            ["path = '/a'", "path = '/a'\nprofile = 'other'", "path = '/a'\nprofile = 'hub'\nfilter = 'x'"]
        {
            assert!(meant(&format!("[[route]]\n{text}")).is_err(), "{text}");
        }
    }
}
