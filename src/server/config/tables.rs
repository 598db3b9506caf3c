//! The repeated tables of the settings file: `[[rule]]` and `[[route]]`.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::flow::limits::channels::Overflow;
use crate::flow::limits::documents::PatchMode;
use crate::flow::limits::route::Profile;
use crate::server::config::values::Span;

/// `[[rule]]`: overrides for the keys of a pattern, or for channels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// The keys that it applies to.
    pub pattern: Option<String>,
    /// The channels that it applies to; `*` matches any run of characters.
    pub channel: Option<String>,
    /// `patch` for these keys.
    pub patch: Option<PatchMode>,
    /// The most items of the list; a new one beyond it deletes the oldest.
    pub limit: Option<usize>,
    /// What happens to a subscriber of these channels that reads too slowly.
    pub overflow: Option<Overflow>,
    /// How many publications of these channels are kept.
    pub history: Option<usize>,
    /// How many bytes of them are kept.
    pub history_bytes: Option<ByteSize>,
    /// How long they are kept.
    pub history_age: Option<Span>,
}

/// `[[route]]`: a path that serves a channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The path; a whole segment may be a variable, `{name}`.
    pub path: String,
    /// The protocol of the path.
    pub profile: Profile,
    /// The channel; `{name}` is replaced by the path's variable.
    pub channel: Option<String>,
    /// How clients select publications.
    pub filter: Option<FilterSettings>,
    /// The field of a publication that becomes its event's id.
    pub id_field: Option<String>,
    /// How often a keep-alive is sent.
    #[serde(default = "RouteSettings::keepalive")]
    pub keepalive: Span,
    /// Clients at once, over all shards.
    #[serde(default = "RouteSettings::streams")]
    pub streams: u64,
    /// Clients of one user at once.
    #[serde(default = "RouteSettings::streams_per_user")]
    pub streams_per_user: u64,
}

/// `filter`: a query parameter that is compared with a field of the publication.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSettings {
    /// The parameter.
    pub query: String,
    /// The field.
    pub field: String,
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
