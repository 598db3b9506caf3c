//! Resolves `[[route]]`: paths that serve a channel.

use crate::flow::limits::route::{FilterRule, Profile, Route, RouteId};
use crate::server::config::tables::{FilterSettings, RouteSettings};
use crate::server::error::ServerError;
use crate::server::resolve::units::{count, span};
use crate::wire::key::is_reserved;
use crate::wire::template::PathTemplate;

/// The routes, in the order of the file.
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
            return Err(ServerError::wrong(setting_name(one), "this path has a route already"));
        }
        routes.push(route);
    }
    Ok(routes)
}

fn setting_name(written: &RouteSettings) -> String {
    format!("[[route]] with path '{}'", written.path)
}

fn route(written: &RouteSettings) -> Result<Route, ServerError> {
    let place = setting_name(written);
    let wrong = |reason: &dyn ToString| ServerError::wrong(&*place, reason.to_string());
    let path = PathTemplate::parse(&written.path).map_err(|why| wrong(&why))?;
    if path.first().is_some_and(is_reserved) {
        return Err(wrong(&"the paths '/ws', '/sse' and '/_' are taken"));
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::flow::limits::Limits;

    fn resolved(text: &str) -> Result<Vec<Route>, String> {
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
        let [cella, hub] = &resolved(text).expect("both make sense")[..] else { panic!("two") };
        assert_eq!(cella.find("/organizations/1/sync/stream"), Some(Some("org:1".into())));
        assert_eq!(cella.find("/channels"), None);
        assert_eq!((cella.keepalive, cella.streams, cella.streams_per_user), (30_000_000_000, 5000, 10));
        assert_eq!((hub.find("/channels"), hub.profile), (Some(None), Profile::Hub));
    }

    #[test]
    fn a_route_takes_no_reserved_path() {
        let routes = resolved("[[route]]\npath = '/{a}/{b}'\nprofile = 'cella'\nchannel = '{a}:{b}'");
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
            let error = resolved(&format!("[[route]]\npath = '{path}'\n{rest}")).expect_err(rest);
            assert!(error.starts_with(&format!("[[route]] with path '{path}'")), "{error}");
        }
        for text in
            ["path = '/a'", "path = '/a'\nprofile = 'other'", "path = '/a'\nprofile = 'hub'\nfilter = 'x'"]
        {
            assert!(resolved(&format!("[[route]]\n{text}")).is_err(), "{text}");
        }
    }
}
