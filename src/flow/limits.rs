//! Settings as meant: checked, in the units that the core works in. `server` makes them from settings as written.

pub mod route;

use crate::wire::http::Origins;
use crate::wire::key::{Name, Pattern, is_reserved};
use route::Route;
use std::sync::Arc;

/// Whether changes travel as patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PatchMode {
    /// A patch where it is shorter than the snapshot.
    #[default]
    Auto,
    /// Always a snapshot.
    Never,
    /// Always a patch, once the subscriber has a value.
    Always,
}

impl PatchMode {
    /// The mode for a subscriber that wants `wish`, where `self` holds. Where the operator wants no patches, there are
    /// none.
    pub fn with(self, wish: PatchMode) -> PatchMode {
        match (self, wish) {
            (PatchMode::Never, _) | (_, PatchMode::Auto) => self,
            (_, wish) => wish,
        }
    }
}

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

/// What happens to what a reader has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is left out; the latest state follows when the reader has caught up. For documents.
    Conflate,
    /// The reader is closed, with a reason. For channels.
    #[default]
    Disconnect,
    /// The oldest publications of the same channel make room. For channels.
    DropOldest,
    /// As `Conflate`, and what waits already makes room for what may not be left out. For presence and typing.
    Yield,
}

/// What holds for the channels of a name. Of several rules the first that says it counts.
#[derive(Clone, Debug, Default)]
pub struct ChannelRule {
    /// The names meant: `*` is any run of characters.
    pub channel: String,
    /// What happens to what a reader has no room for.
    pub overflow: Option<Overflow>,
    /// How many publications are kept.
    pub history: Option<usize>,
    /// How many bytes of them.
    pub history_bytes: Option<usize>,
    /// For how many nanoseconds.
    pub history_age: Option<u64>,
}

impl ChannelRule {
    fn means(&self, name: &str) -> bool {
        let mut parts = self.channel.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

/// What holds for a key, or for the keys of one pattern and their list.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The key or the keys meant; the list of exactly this pattern.
    pub name: Name,
    /// Overrides the server's mode.
    pub patch: Option<PatchMode>,
    /// At most this many items; the oldest leaves when a new one comes.
    pub limit: Option<usize>,
}

/// What bounds streamed answers, and how they are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// A chunk is sent once it is longer than this after an element, in bytes.
    pub chunk_threshold: usize,
    /// Documents that an owner gives at a time.
    pub batch_size: usize,
    /// Bytes with which a chunk's buffer begins.
    pub buffer_size: usize,
    /// Chunks that are made ahead of the reader.
    pub channel_buffer: usize,
    /// Elements a second; 0: no limit.
    pub rate_limit: u64,
    /// Documents that may be sorted for one answer.
    pub sort_limit: usize,
    /// Bytes of replaced documents that a shard keeps for streams that have yet to come to them.
    pub cut_bytes: usize,
    /// Streams at once, on each shard.
    pub streams: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            chunk_threshold: 32768,
            batch_size: 1000,
            buffer_size: 51200,
            channel_buffer: 4,
            rate_limit: 0,
            sort_limit: 50_000,
            cut_bytes: 64 << 20,
            streams: 256,
        }
    }
}

/// Server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseLimits {
    /// Nanoseconds that a client waits before it comes back.
    pub retry: u64,
    /// Nanoseconds between signs of life.
    pub keepalive: u64,
    /// Publications that are read from a history at a time.
    pub replay_limit: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        const SEC: u64 = crate::base::time::SEC;
        SseLimits { retry: 3 * SEC, keepalive: 15 * SEC, replay_limit: 200 }
    }
}

/// What holds on the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Whether a connection that never subscribed to anything gets every channel.
    pub implicit_channels: bool,
    /// Nanoseconds between pings.
    pub ping_interval: u64,
    /// The largest frame from a client that is taken, in bytes.
    pub max_message: usize,
    /// Frames that may wait for one connection.
    pub queue_frames: usize,
    /// Frames that a connection may send in a second.
    pub rate: u32,
    /// Frames that it may send at once.
    pub burst: u32,
    /// Connections of one user.
    pub connections_per_user: u32,
    /// Rooms that one user may be in.
    pub rooms_per_user: u32,
    /// Channels that one user may be subscribed to.
    pub channels_per_user: u32,
    /// Whether joining a room that is not there makes it.
    pub auto_create_rooms: bool,
    /// Nanoseconds after which somebody who does not go on typing has stopped.
    pub typing_timeout: u64,
    /// Nanoseconds for which a user without connections still counts as there.
    pub presence_grace: u64,
    /// Members beyond which a room tells numbers instead of names.
    pub presence_list: usize,
    /// Nanoseconds for which a session can be taken up again; 0: never.
    pub session_ttl: u64,
}

impl Default for HubLimits {
    fn default() -> Self {
        const SEC: u64 = crate::base::time::SEC;
        HubLimits {
            implicit_channels: false,
            ping_interval: 30 * SEC,
            max_message: 64 << 10,
            queue_frames: 256,
            rate: 100,
            burst: 20,
            connections_per_user: 5,
            rooms_per_user: 50,
            channels_per_user: 100,
            auto_create_rooms: false,
            typing_timeout: 3 * SEC,
            presence_grace: 3 * SEC,
            presence_list: 500,
            session_ttl: 0,
        }
    }
}

impl HubLimits {
    /// Nanoseconds without a sign of life after which a client is given up: it has been pinged twice since.
    pub fn pong_timeout(&self) -> u64 {
        self.ping_interval / 2 * 5
    }
}

/// How much of a channel's past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Publications; 0: none.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
    /// Nanoseconds.
    pub age: u64,
}

impl Keep {
    /// What is kept of a channel that nobody can look back on.
    pub const NOTHING: Keep = Keep { count: 0, bytes: 16 << 20, age: 720 * 3600 * crate::base::time::SEC };
    /// What is kept of a room, or of a route's channel.
    pub const ROOM: Keep = Keep { count: 1000, ..Keep::NOTHING };
}

/// Everything that is bounded, and the rules. One value for all shards.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that may wait for one connection.
    pub queue_bytes: usize,
    /// Nanoseconds without progress after which a connection with waiting bytes is given up.
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
    /// Nanoseconds without a sign of life after which an ooo connection is given up.
    pub pong_timeout: u64,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Streamed answers.
    pub stream: StreamLimits,
    /// Server-sent events.
    pub sse: SseLimits,
    /// Paths that are doors of their own.
    pub routes: Vec<Route>,
    /// The hub.
    pub hub: HubLimits,
    /// The name of this life of the server's memory: offsets and stamps mean nothing in another one.
    pub epoch: Arc<str>,
    /// Whether changes travel as patches, where no rule says otherwise.
    pub patch: PatchMode,
    /// In the order of the file; the first that matches counts.
    pub rules: Vec<Rule>,
    /// The same for channels.
    pub channel_rules: Vec<ChannelRule>,
    /// For each clients' listener, what its anonymous clients may do.
    pub anonymous: Vec<Access>,
    /// Origins that browsers may come from.
    pub origins: Origins,
    /// The page that a browser gets at `/`.
    pub page: &'static str,
    /// The example at `/_/chat`.
    pub chat: &'static str,
}

impl Default for Limits {
    fn default() -> Self {
        const SEC: u64 = crate::base::time::SEC;
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
            epoch: "0".into(),
            patch: PatchMode::Auto,
            rules: Vec::new(),
            channel_rules: Vec::new(),
            anonymous: vec![Access::Write],
            origins: Origins::Any,
            page: "",
            chat: "",
        }
    }
}

impl Limits {
    /// The mode in which changes of `name` (a key, or a list's pattern) travel.
    pub fn patch_mode(&self, name: &str) -> PatchMode {
        let meant = |rule: &&Rule| match &rule.name {
            Name::Key(key) => key.as_str() == name,
            Name::Pattern(pattern) => pattern.as_str() == name || pattern.matches(name),
        };
        let rule = self.rules.iter().filter(|rule| rule.patch.is_some()).find(meant);
        rule.and_then(|rule| rule.patch).unwrap_or(self.patch)
    }

    /// What happens to what a subscriber of a channel has no room for.
    pub fn overflow(&self, channel: &str) -> Overflow {
        self.channel_rule(channel, |rule| rule.overflow).unwrap_or_default()
    }

    /// How much of a channel's past is kept, where no rule says otherwise `unless`.
    pub fn keep(&self, channel: &str, unless: Keep) -> Keep {
        Keep {
            count: self.channel_rule(channel, |rule| rule.history).unwrap_or(unless.count),
            bytes: self.channel_rule(channel, |rule| rule.history_bytes).unwrap_or(unless.bytes),
            age: self.channel_rule(channel, |rule| rule.history_age).unwrap_or(unless.age),
        }
    }

    fn channel_rule<T>(&self, channel: &str, says: impl Fn(&ChannelRule) -> Option<T>) -> Option<T> {
        self.channel_rules.iter().filter(|rule| rule.means(channel)).find_map(says)
    }

    /// The number of the route that means a path, and the channel that it leads to. The doors' own paths are no route's.
    pub fn route(&self, path: &str) -> Option<(usize, Option<String>)> {
        if path.split('/').nth(1).is_some_and(is_reserved) {
            return None;
        }
        self.routes.iter().enumerate().find_map(|(number, route)| Some((number, route.find(path)?)))
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
    use super::{ChannelRule, Keep, Limits, Overflow};

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
        assert_eq!(limits.keep("a:b", Keep::ROOM), Keep { count: 3, age: 7, ..Keep::ROOM });
        assert_eq!(limits.keep("ab", Keep::NOTHING), Keep { count: 5, age: 7, ..Keep::NOTHING });
        assert_eq!(
            (limits.keep("b", Keep::NOTHING), limits.overflow("b")),
            (Keep::NOTHING, Overflow::Disconnect)
        );
        assert_eq!(limits.overflow("a:b"), Overflow::DropOldest);
    }

    #[test]
    fn a_star_in_a_channel_rule_is_any_run_of_characters() {
        for (rule, name, is) in [
            ("org:*", "org:1/2", true),
            ("org:*", "org:", true),
            ("org:*", "or", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*a", "bab", false),
            ("ab*ba", "aba", false),
        ] {
            let rule = ChannelRule { channel: rule.into(), ..ChannelRule::default() };
            assert_eq!(rule.means(name), is, "{} {name}", rule.channel);
        }
    }
}
