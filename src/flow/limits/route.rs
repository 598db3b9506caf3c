//! Paths that are mapped onto channels: `[[route]]`.

use crate::wire::template::{NameTemplate, PathTemplate};
use std::ops::Range;

/// What a mapped path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Server-sent events with a catch-up: `change`, `offset` behind it, `ping`.
    Cella,
    /// Server-sent events with `offset` first; the catch-up is a request of its own.
    CellaViews,
    /// The hub's WebSocket.
    Hub,
}

/// A path that is a door.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its form.
    pub path: PathTemplate,
    /// What it speaks.
    pub profile: Profile,
    /// The channel that it leads to. The hub can do without.
    pub channel: Option<NameTemplate>,
    /// Which publications a client may choose.
    pub filter: Option<FilterRule>,
    /// The field of a publication's data that names it to clients; where it lacks one, they get the cursor.
    pub id_field: Option<Box<str>>,
    /// Nanoseconds between signs of life.
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
