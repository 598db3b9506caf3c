//! Paths that serve a channel: `[[route]]`.

use crate::wire::template::{NameTemplate, PathTemplate};
use rustc_hash::FxHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// What a route is known by: made of its path and its channel, so that it means the same route wherever that stands
/// among the others, and none once the route is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u32);

impl RouteId {
    /// The id of the route with this path and channel.
    pub fn of(path: &PathTemplate, channel: Option<&NameTemplate>) -> RouteId {
        let mut hasher = FxHasher::default();
        (path, channel).hash(&mut hasher);
        // the high bits are the well mixed ones
        RouteId((hasher.finish() >> 32) as u32)
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The protocol of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Server-sent events with a catch-up: `change`, `offset` behind it, `ping`.
    Cella,
    /// Server-sent events with `offset` first; the catch-up is a request of its own.
    CellaViews,
    /// The hub's WebSocket.
    Hub,
}

/// A path that serves a channel.
#[derive(Clone, Debug)]
pub struct Route {
    /// What it is known by.
    pub id: RouteId,
    /// The paths that it matches.
    pub path: PathTemplate,
    /// Its protocol.
    pub profile: Profile,
    /// The channel that it leads to. The hub can do without.
    pub channel: Option<NameTemplate>,
    /// Which publications a client may choose.
    pub filter: Option<FilterRule>,
    /// The field of a publication's data that names it to clients; where it lacks one, they get the cursor.
    pub id_field: Option<Box<str>>,
    /// Nanoseconds between keep-alives.
    pub keepalive: u64,
    /// Clients at once, on all shards.
    pub streams: usize,
    /// The same for one user.
    pub streams_per_user: usize,
}

/// A client chooses by a parameter of the query, `a,b`: publications whose field is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// The parameter.
    pub query: Box<str>,
    /// The field of the publication's data.
    pub field: Box<str>,
}

impl Route {
    /// The values of a path of this form, and the channel that they lead to.
    pub fn find(&self, path: &str) -> Option<Option<String>> {
        let values: Vec<Range<usize>> = self.path.find(path)?;
        Some(self.channel.as_ref().map(|channel| channel.fill(path, &values)))
    }
}
