//! The repeated tables of the settings file: `[[rule]]` and `[[route]]`.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::flow::limits::channels::Overflow;
use crate::flow::limits::documents::PatchMode;
use crate::flow::limits::route::Profile;
use crate::server::config::values::Span;

/// `[[rule]]`: what is different for the keys of a pattern, or for the channels of a name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// The keys that it is about.
    pub pattern: Option<String>,
    /// The channels that it is about; `*` is any run of characters.
    pub channel: Option<String>,
    /// `patch` for these keys.
    pub patch: Option<PatchMode>,
    /// The longest list; the oldest item leaves as the newest comes.
    pub limit: Option<usize>,
    /// What happens to what a subscriber of these channels has no room for.
    pub overflow: Option<Overflow>,
    /// Publications of these channels that are kept.
    pub history: Option<usize>,
    /// Bytes of them that are kept.
    pub history_bytes: Option<ByteSize>,
    /// For how long they are kept.
    pub history_age: Option<Span>,
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
