//! The limits and rules that the core works with, checked and in its units. `server::resolve` makes them from the settings.

pub mod channels;
pub mod documents;
pub mod hub;
pub mod route;
pub mod sse;
pub mod stream;
pub mod trust;

use crate::base::time::SEC;
use crate::flow::limits::channels::{ChannelRule, Overflow, Retention};
use crate::flow::limits::documents::{PatchMode, Rule};
use crate::flow::limits::hub::HubLimits;
use crate::flow::limits::route::{Route, RouteId};
use crate::flow::limits::sse::SseLimits;
use crate::flow::limits::stream::StreamLimits;
use crate::flow::limits::trust::{Exposure, Trust, Untrusted};
use crate::wire::http::{Field, Head};
use crate::wire::key::{Name, Pattern, is_reserved};

/// What a client without a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// Subscribe and read.
    Read,
    /// Write as well.
    Write,
}

/// All limits and rules. One value for all shards.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that may wait for one connection.
    pub queue_bytes: usize,
    /// Nanoseconds without progress after which a connection with waiting bytes is closed.
    pub write_timeout: u64,
    /// Nanoseconds within which a request must be complete.
    pub handshake_timeout: u64,
    /// The largest WebSocket message taken from a client, in bytes, inflated or not.
    pub max_message: usize,
    /// Whether clients that offer permessage-deflate get it.
    pub deflate: bool,
    /// The smallest frame that is deflated for them, in bytes.
    pub deflate_min: usize,
    /// The longest feed line, in bytes.
    pub max_line: usize,
    /// Nanoseconds between WebSocket pings of the ooo dialect.
    pub ping_interval: u64,
    /// Nanoseconds after which an ooo connection is closed if nothing was received from it.
    pub pong_timeout: u64,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Streamed responses.
    pub stream: StreamLimits,
    /// Server-sent events.
    pub sse: SseLimits,
    /// Paths that serve a channel.
    pub routes: Vec<Route>,
    /// The hub.
    pub hub: HubLimits,
    /// Whether changes are sent as patches, where no rule says otherwise.
    pub patch: PatchMode,
    /// In the order of the file; the first that matches counts.
    pub rules: Vec<Rule>,
    /// The same for channels.
    pub channel_rules: Vec<ChannelRule>,
    /// For each clients' listener, what its anonymous clients may do.
    pub anonymous: Vec<Access>,
    /// For each clients' listener, from where it can be reached.
    pub exposure: Vec<Exposure>,
    /// The pages that may use them, and their names.
    pub trust: Trust,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            queue_bytes: 64 << 10,
            write_timeout: 15 * SEC,
            handshake_timeout: 10 * SEC,
            max_message: 1 << 20,
            deflate: true,
            deflate_min: 1 << 10,
            max_line: 16 << 20,
            ping_interval: 60 * SEC,
            pong_timeout: 150 * SEC,
            max_body: 10 << 20,
            stream: StreamLimits::default(),
            sse: SseLimits::default(),
            routes: Vec::new(),
            hub: HubLimits::default(),
            patch: PatchMode::Auto,
            rules: Vec::new(),
            channel_rules: Vec::new(),
            anonymous: vec![Access::Write],
            exposure: vec![Exposure::Loopback],
            trust: Trust::default(),
        }
    }
}

impl Limits {
    /// What a running server cannot change, of what is different in `next`, by the names of the settings. Connections
    /// hold the number of their listener, and were told what comes to them unasked.
    pub fn restart_needed(&self, next: &Limits) -> Vec<&'static str> {
        let differs = [
            ("listen", self.anonymous.len() != next.anonymous.len()),
            ("[hub] implicit_channels", self.hub.implicit_channels != next.hub.implicit_channels),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// Whether a request over a clients' listener may come from where it says that it comes from.
    ///
    /// # Errors
    /// It may not; nothing else about it counts.
    pub fn admit(&self, listener: u8, head: &Head) -> Result<(), Untrusted> {
        self.trust.admit(self.exposure[usize::from(listener)], head.get(Field::Host), head.get(Field::Origin))
    }

    /// The mode in which changes of `name` (a key, or a list's pattern) travel.
    pub fn patch_mode(&self, name: &str) -> PatchMode {
        let matches = |rule: &&Rule| match &rule.name {
            Name::Key(key) => key.as_str() == name,
            Name::Pattern(pattern) => pattern.as_str() == name || pattern.matches(name),
        };
        let rule = self.rules.iter().filter(|rule| rule.patch.is_some()).find(matches);
        rule.and_then(|rule| rule.patch).unwrap_or(self.patch)
    }

    /// What happens to a subscriber of a channel that reads too slowly.
    pub fn overflow(&self, channel: &str) -> Overflow {
        self.channel_rule(channel, |rule| rule.overflow).unwrap_or_default()
    }

    /// How much of a channel's history is kept; `unless` where no rule says otherwise.
    pub fn retention(&self, channel: &str, unless: Retention) -> Retention {
        Retention {
            count: self.channel_rule(channel, |rule| rule.history).unwrap_or(unless.count),
            bytes: self.channel_rule(channel, |rule| rule.history_bytes).unwrap_or(unless.bytes),
            age: self.channel_rule(channel, |rule| rule.history_age).unwrap_or(unless.age),
        }
    }

    fn channel_rule<T>(&self, channel: &str, says: impl Fn(&ChannelRule) -> Option<T>) -> Option<T> {
        self.channel_rules.iter().filter(|rule| rule.means(channel)).find_map(says)
    }

    /// The route that matches a path, and its channel. Reserved paths belong to no route.
    pub fn route_for(&self, path: &str) -> Option<(&Route, Option<String>)> {
        if path.split('/').nth(1).is_some_and(is_reserved) {
            return None;
        }
        self.routes.iter().find_map(|route| Some((route, route.find(path)?)))
    }

    /// The route of that id, if there still is one.
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.iter().find(|route| route.id == id)
    }

    /// How many items the list of `pattern` may have.
    pub fn list_limit(&self, pattern: &str) -> Option<usize> {
        self.limited().find(|(limited, _)| limited.as_str() == pattern).map(|(_, limit)| limit)
    }

    /// The lists that have a limit.
    pub fn limited(&self) -> impl Iterator<Item = (&Pattern, usize)> {
        self.rules.iter().filter_map(|rule| match (&rule.name, rule.limit) {
            (Name::Pattern(pattern), Some(limit)) => Some((pattern, limit)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, ChannelRule, HubLimits, Limits, Overflow, Retention};

    #[test]
    fn only_what_connections_have_by_number_needs_a_restart() {
        let now = Limits::default();
        let next =
            Limits { anonymous: vec![Access::Read], queue_bytes: 1, max_message: 1, ..Limits::default() };
        assert!(now.restart_needed(&next).is_empty());
        let next = Limits {
            anonymous: vec![Access::Read; 2],
            hub: HubLimits { implicit_channels: true, ..HubLimits::default() },
            ..next
        };
        assert_eq!(now.restart_needed(&next), ["listen", "[hub] implicit_channels"]);
    }

    #[test]
    fn of_several_channel_rules_the_first_that_says_it_counts() {
        let rule = |channel: &str| ChannelRule { channel: channel.into(), ..ChannelRule::default() };
        let channel_rules = vec![
            ChannelRule { history: Some(3), ..rule("a:*") },
            ChannelRule {
                history: Some(5),
                history_age: Some(7),
                overflow: Some(Overflow::DropOldest),
                ..rule("a*")
            },
        ];
        let limits = Limits { channel_rules, ..Limits::default() };
        assert_eq!(
            limits.retention("a:b", Retention::ROOM),
            Retention { count: 3, age: 7, ..Retention::ROOM }
        );
        assert_eq!(
            limits.retention("ab", Retention::NOTHING),
            Retention { count: 5, age: 7, ..Retention::NOTHING }
        );
        assert_eq!(
            (limits.retention("b", Retention::NOTHING), limits.overflow("b")),
            (Retention::NOTHING, Overflow::Disconnect)
        );
        assert_eq!(limits.overflow("a:b"), Overflow::DropOldest);
    }
}
