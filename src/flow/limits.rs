//! Settings as meant: checked, in the units that the core works in. `server` makes them from settings as written.

use crate::wire::http::Origins;
use crate::wire::key::{Name, Pattern};

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
}

/// What holds for the channels of a name.
#[derive(Clone, Debug)]
pub struct ChannelRule {
    /// The names meant: `*` is any run of characters.
    pub channel: String,
    /// What happens to what a reader has no room for.
    pub overflow: Overflow,
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
        self.channel_rules
            .iter()
            .find(|rule| rule.means(channel))
            .map(|rule| rule.overflow)
            .unwrap_or_default()
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
    use super::{ChannelRule, Overflow};

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
            let rule = ChannelRule { channel: rule.into(), overflow: Overflow::DropOldest };
            assert_eq!(rule.means(name), is, "{} {name}", rule.channel);
        }
    }
}
