//! Settings as meant: checked, in the units that the core works in. `server` makes them from settings as written.

use crate::wire::http::Origins;
use crate::wire::key::{Name, Pattern};

/// Whether changes travel as patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchMode {
    /// A patch where it is shorter than the snapshot.
    #[default]
    Auto,
    /// Always a snapshot.
    Never,
    /// Always a patch, once the subscriber has a value.
    Always,
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
    /// Streams and imports at once, on each shard.
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
    /// The largest WebSocket message taken from a client, in bytes.
    pub max_message: usize,
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
    /// For each clients' listener, what its anonymous clients may do.
    pub anonymous: Vec<Access>,
    /// Origins that browsers may come from.
    pub origins: Origins,
    /// The page that a browser gets at `/`.
    pub page: &'static str,
}

impl Default for Limits {
    fn default() -> Self {
        const SEC: u64 = crate::base::time::SEC;
        Limits {
            queue_bytes: 64 << 10,
            write_timeout: 15 * SEC,
            handshake_timeout: 10 * SEC,
            max_message: 1 << 20,
            max_line: 16 << 20,
            ping_interval: 60 * SEC,
            pong_timeout: 150 * SEC,
            max_body: 10 << 20,
            stream: StreamLimits::default(),
            patch: PatchMode::Auto,
            rules: Vec::new(),
            anonymous: vec![Access::Write],
            origins: Origins::Any,
            page: "",
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
