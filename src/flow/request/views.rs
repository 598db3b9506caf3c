//! The catch-up of cella's newer form: what has happened in each view of the client since it looked last.

use crate::flow::identity::Caller;
use crate::flow::limits::Access;
use crate::flow::request::refusals::{bad, forbidden};
use crate::wire::feed::object;
use crate::wire::http::Response;
use serde::Deserialize;

/// The most views of one request.
const MAX_VIEWS: usize = 256;
/// The most prefixes of one view.
const MAX_PREFIXES: usize = 64;

/// What a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Views {
    /// How far it had come.
    pub cursor: Option<Box<str>>,
    /// What it looks at.
    pub views: Vec<ViewQuery>,
}

/// Something that a client looks at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewQuery {
    /// What it is called.
    pub key: Box<str>,
    /// The organization; all if it is not said.
    #[serde(default)]
    pub organization_id: Option<Box<str>>,
    /// The places in it.
    #[serde(default)]
    pub prefixes: Vec<Box<str>>,
    /// The types; all if none is said.
    #[serde(default)]
    pub entity_types: Vec<Box<str>>,
    /// How much of those places.
    #[serde(default)]
    pub depth: Depth,
    /// How far the client had come with this view; as far as with everything, if it is not said.
    #[serde(default)]
    pub cursor: Option<Box<str>>,
}

/// How much of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// What is there.
    #[serde(rename = "self")]
    Itself,
    /// Everything below it too.
    #[default]
    Subtree,
}

impl Views {
    /// Reads a request.
    ///
    /// # Errors
    /// The response that says what is wrong.
    pub fn read(body: &[u8], caller: Caller<'_>) -> Result<Views, Response<'static>> {
        caller.may(Access::Read).map_err(forbidden)?;
        let bad = |why: &str| bad("invalid_views", why);
        let views: Views = object(body).map_err(|why| bad(&why))?;
        if views.views.len() > MAX_VIEWS {
            return Err(bad("give at most 256 views"));
        }
        let prefixes = |view: &ViewQuery| (1..=MAX_PREFIXES).contains(&view.prefixes.len());
        if !views.views.iter().all(prefixes) {
            return Err(bad("a view has 1 to 64 prefixes"));
        }
        Ok(views)
    }
}

impl ViewQuery {
    /// Whether something at that place of that type in that organization is in view. What does not say where it is may
    /// be, so it is.
    pub fn shows(&self, organization: Option<&str>, kind: Option<&str>, path: Option<&str>) -> bool {
        let same = |own: Option<&str>, other: Option<&str>| own.is_none() || other.is_none() || own == other;
        let types =
            |kind: &str| self.entity_types.is_empty() || self.entity_types.iter().any(|t| **t == *kind);
        let below = |prefix: &str, path: &str| match path.strip_prefix(prefix) {
            Some("") => true,
            Some(rest) => self.depth == Depth::Subtree && (prefix.is_empty() || rest.starts_with(['/', '.'])),
            None => false,
        };
        same(self.organization_id.as_deref(), organization)
            && kind.is_none_or(types)
            && path.is_none_or(|path| self.prefixes.iter().any(|prefix| below(prefix, path)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Depth, ViewQuery, Views};
    use crate::flow::identity::Identity;

    #[test]
    fn views_are_read_within_their_bounds() {
        let read = |body: &str| {
            Views::read(body.as_bytes(), Identity::anonymous(Access::Read).at(0)).map_err(|r| r.status())
        };
        let view = r#"{"key":"a","organizationId":"o","prefixes":["p"],"entityTypes":["page"],"depth":"self","cursor":"x"}"#;
        let views = read(&format!(r#"{{"cursor":"c","views":[{view}]}}"#)).unwrap();
        assert_eq!((views.cursor.as_deref(), views.views[0].depth), (Some("c"), Depth::Itself));
        assert_eq!(read("{}"), Ok(Views::default()));
        let many = |n: usize, view: &str| format!(r#"{{"views":[{}]}}"#, vec![view; n].join(","));
        assert!(read(&many(256, view)).is_ok());
        let prefixes = |n: usize| format!(r#"{{"key":"a","prefixes":[{}]}}"#, vec![r#""p""#; n].join(","));
        assert!(read(&many(1, &prefixes(64))).is_ok());
        for wrong in [
            String::new(),
            "[]".into(),
            r#"{"views":1}"#.into(),
            r#"{"views":[{}]}"#.into(),
            many(257, view),
            many(1, &prefixes(0)),
            many(1, &prefixes(65)),
            many(1, &view.replace("self", "all")),
        ] {
            assert_eq!(read(&wrong), Err(400), "{wrong}");
        }
        assert_eq!(
            Views::read(b"{}", Identity::anonymous(Access::None).at(0)).map_err(|r| r.status()),
            Err(403)
        );
    }

    #[test]
    fn a_view_shows_what_is_in_it_or_may_be() {
        let view = |depth| ViewQuery {
            key: "v".into(),
            organization_id: Some("o".into()),
            prefixes: vec!["a/b".into(), "c".into()],
            entity_types: vec!["page".into()],
            depth,
            cursor: None,
        };
        for (organization, kind, path, itself, subtree) in [
            (Some("o"), Some("page"), Some("a/b"), true, true),
            (Some("o"), Some("page"), Some("a/b/c"), false, true),
            (Some("o"), Some("page"), Some("c.d"), false, true),
            (Some("o"), Some("page"), Some("a/bc"), false, false),
            (Some("o"), Some("page"), Some("x"), false, false),
            (Some("p"), Some("page"), Some("c"), false, false),
            (Some("o"), Some("task"), Some("c"), false, false),
            (None, None, None, true, true),
        ] {
            let shows = |depth| view(depth).shows(organization, kind, path);
            assert_eq!((shows(Depth::Itself), shows(Depth::Subtree)), (itself, subtree), "{path:?}");
        }
    }
}
