//! Settings as written: defaults, then the file, then `FANFARE_...` variables, then flags; the later one wins.
//! What they mean for the machine is `meant`.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::flow::limits::channels::Overflow;
use crate::flow::limits::documents::PatchMode;
use crate::flow::limits::hub::HubLimits;
use crate::flow::limits::stream::StreamLimits;
use crate::flow::limits::{Access, Limits};
use crate::server::doors::{RouteSettings, SseSettings};
use crate::server::error::ServerError;
use crate::server::values::{Address, Cores, Implicit, Span, feed_or_path, one_or_many};

/// A settings file with every setting, its default and its meaning.
pub const DEFAULT_CONFIG: &str = include_str!("default.toml");

/// Everything that can be set. The names are those of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where clients come in.
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<Address>,
    /// Where operators come in: health and metrics.
    pub admin: Address,
    /// Which cores get a shard.
    pub cores: Cores,
    /// What clients without identity may do; `None`: write on loopback listeners, nothing elsewhere.
    pub anonymous: Option<Access>,
    /// When a change travels as a patch.
    pub patch: PatchMode,
    /// Origins of web pages that may connect; none listed: all.
    #[serde(deserialize_with = "one_or_many")]
    pub origins: Vec<String>,
    /// Feed the built-in data set.
    pub demo: bool,
    /// Every client connection.
    pub conn: ConnSettings,
    /// The application's socket; `feed = "PATH"` is short for its `path`.
    #[serde(deserialize_with = "feed_or_path")]
    pub feed: FeedSettings,
    /// The ooo dialect.
    pub ooo: OooSettings,
    /// The hub.
    pub hub: HubSettings,
    /// Streamed answers.
    pub stream: StreamSettings,
    /// Server-sent events.
    pub sse: SseSettings,
    /// Paths that are mapped onto channels.
    pub route: Vec<RouteSettings>,
    /// What is different for the keys of a pattern; the first that says it holds.
    pub rule: Vec<RuleSettings>,
}

/// `[conn]`: every client connection.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnSettings {
    /// What may wait for one slow reader before changes are merged for it.
    pub queue_bytes: ByteSize,
    /// A socket that takes no byte for this long is closed.
    pub write_timeout: Span,
    /// A request head must be complete after this long.
    pub handshake_timeout: Span,
    /// The largest message from a client; beyond it: close 1009.
    pub max_message: ByteSize,
    /// Whether clients that offer permessage-deflate get it.
    pub deflate: bool,
    /// The smallest frame that is deflated for them.
    pub deflate_min: ByteSize,
}

/// `[feed]`: the application's socket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// The socket's place; `None`: `default_feed`.
    pub path: Option<PathBuf>,
    /// The longest line; a longer one is answered by an error and closes that feed connection.
    pub max_line: ByteSize,
}

/// `[ooo]`: the ooo dialect, over WebSocket and REST.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OooSettings {
    /// How often each client is pinged.
    pub ping_interval: Span,
    /// A client that answers no ping for this long is closed.
    pub pong_timeout: Span,
    /// The largest request body; beyond it: 413.
    pub max_body: ByteSize,
}

/// `[hub]`: channels, rooms and documents over `/ws`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubSettings {
    /// What a connection that never subscribes gets.
    pub implicit_channels: Implicit,
    /// How often each client is pinged.
    pub ping_interval: Span,
    /// The largest frame from a client; beyond it: the error `message_too_large`.
    pub max_message: ByteSize,
    /// Frames that may wait for one slow reader.
    pub queue_frames: u64,
    /// Frames that a connection may send in a second; beyond it: the error `rate_limited`.
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
    /// Somebody who does not go on typing for this long has stopped.
    pub typing_timeout: Span,
    /// A user without connections counts as there for this long.
    pub presence_grace: Span,
    /// A room with more members tells numbers instead of names.
    pub presence_list: u64,
    /// For how long a session can be taken up again; 0s: not at all.
    pub session_ttl: Span,
}

/// `[stream]`: streamed answers. A request may say the first five differently; 0 means the default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSettings {
    /// A chunk is sent once it is longer than this after an element.
    pub chunk_threshold: ByteSize,
    /// Documents that a shard gives at a time.
    pub batch_size: u64,
    /// What a chunk's buffer begins with.
    pub buffer_size: ByteSize,
    /// Chunks that are made ahead of the reader.
    pub channel_buffer: u64,
    /// Elements a second; 0: no limit.
    pub rate_limit: u64,
    /// Documents that may be sorted for one answer.
    pub sort_limit: u64,
    /// What a shard keeps of replaced documents for streams that have yet to come to them.
    pub cut_bytes: ByteSize,
    /// Streams at once, on each shard.
    pub streams: u64,
}

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

/// A size as it is written.
fn size(bytes: usize) -> ByteSize {
    ByteSize(bytes as u64)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![Address(([127, 0, 0, 1], 8800).into())],
            admin: Address(([127, 0, 0, 1], 8801).into()),
            cores: Cores::All,
            anonymous: None,
            patch: Limits::default().patch,
            origins: Vec::new(),
            demo: false,
            conn: ConnSettings::default(),
            feed: FeedSettings::default(),
            ooo: OooSettings::default(),
            hub: HubSettings::default(),
            stream: StreamSettings::default(),
            sse: SseSettings::default(),
            route: Vec::new(),
            rule: Vec::new(),
        }
    }
}

impl Default for ConnSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            queue_bytes: size(limits.queue_bytes),
            write_timeout: Span::nanos(limits.write_timeout),
            handshake_timeout: Span::nanos(limits.handshake_timeout),
            max_message: size(limits.max_message),
            deflate: limits.deflate,
            deflate_min: size(limits.deflate_min),
        }
    }
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self { path: None, max_line: size(Limits::default().max_line) }
    }
}

impl Default for OooSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            ping_interval: Span::nanos(limits.ping_interval),
            pong_timeout: Span::nanos(limits.pong_timeout),
            max_body: size(limits.max_body),
        }
    }
}

impl Default for HubSettings {
    fn default() -> Self {
        let limits = HubLimits::default();
        Self {
            implicit_channels: Implicit(limits.implicit_channels),
            ping_interval: Span::nanos(limits.ping_interval),
            max_message: size(limits.max_message),
            queue_frames: limits.queue_frames as u64,
            rate: limits.rate,
            burst: limits.burst,
            connections_per_user: limits.connections_per_user,
            rooms_per_user: limits.rooms_per_user,
            channels_per_user: limits.channels_per_user,
            auto_create_rooms: limits.auto_create_rooms,
            typing_timeout: Span::nanos(limits.typing_timeout),
            presence_grace: Span::nanos(limits.presence_grace),
            presence_list: limits.presence_list as u64,
            session_ttl: Span::nanos(limits.session_ttl),
        }
    }
}

impl Default for StreamSettings {
    fn default() -> Self {
        let StreamLimits {
            chunk_threshold,
            batch_size,
            buffer_size,
            channel_buffer,
            rate_limit,
            sort_limit,
            cut_bytes,
            streams,
        } = StreamLimits::default();
        Self {
            chunk_threshold: size(chunk_threshold),
            batch_size: batch_size as u64,
            buffer_size: size(buffer_size),
            channel_buffer: channel_buffer as u64,
            rate_limit,
            sort_limit: sort_limit as u64,
            cut_bytes: size(cut_bytes),
            streams: streams as u64,
        }
    }
}

type Setter = fn(&mut Settings, &str) -> Result<(), String>;

/// The variables that hold settings. `[[rule]]` and `[[route]]` have none: a list of tables does not fit a variable.
const VARIABLES: [(&str, Setter); 43] = [
    ("FANFARE_LISTEN", |s, text| put_list(&mut s.listen, text)),
    ("FANFARE_ADMIN", |s, text| put(&mut s.admin, text)),
    ("FANFARE_CORES", |s, text| put(&mut s.cores, text)),
    ("FANFARE_ANONYMOUS", |s, text| text.parse().map(|access| s.anonymous = Some(access))),
    ("FANFARE_PATCH", |s, text| put(&mut s.patch, text)),
    ("FANFARE_ORIGINS", |s, text| put_list(&mut s.origins, text)),
    ("FANFARE_DEMO", |s, text| put(&mut s.demo, text)),
    ("FANFARE_CONN_QUEUE_BYTES", |s, text| put(&mut s.conn.queue_bytes, text)),
    ("FANFARE_CONN_WRITE_TIMEOUT", |s, text| put(&mut s.conn.write_timeout, text)),
    ("FANFARE_CONN_HANDSHAKE_TIMEOUT", |s, text| put(&mut s.conn.handshake_timeout, text)),
    ("FANFARE_CONN_MAX_MESSAGE", |s, text| put(&mut s.conn.max_message, text)),
    ("FANFARE_CONN_DEFLATE", |s, text| put(&mut s.conn.deflate, text)),
    ("FANFARE_CONN_DEFLATE_MIN", |s, text| put(&mut s.conn.deflate_min, text)),
    ("FANFARE_FEED", |s, text| text.parse().map(|path| s.feed.path = Some(path)).map_err(|e| match e {})),
    ("FANFARE_FEED_MAX_LINE", |s, text| put(&mut s.feed.max_line, text)),
    ("FANFARE_OOO_PING_INTERVAL", |s, text| put(&mut s.ooo.ping_interval, text)),
    ("FANFARE_OOO_PONG_TIMEOUT", |s, text| put(&mut s.ooo.pong_timeout, text)),
    ("FANFARE_OOO_MAX_BODY", |s, text| put(&mut s.ooo.max_body, text)),
    ("FANFARE_HUB_IMPLICIT_CHANNELS", |s, text| put(&mut s.hub.implicit_channels, text)),
    ("FANFARE_HUB_PING_INTERVAL", |s, text| put(&mut s.hub.ping_interval, text)),
    ("FANFARE_HUB_MAX_MESSAGE", |s, text| put(&mut s.hub.max_message, text)),
    ("FANFARE_HUB_QUEUE_FRAMES", |s, text| put(&mut s.hub.queue_frames, text)),
    ("FANFARE_HUB_RATE", |s, text| put(&mut s.hub.rate, text)),
    ("FANFARE_HUB_BURST", |s, text| put(&mut s.hub.burst, text)),
    ("FANFARE_HUB_CONNECTIONS_PER_USER", |s, text| put(&mut s.hub.connections_per_user, text)),
    ("FANFARE_HUB_ROOMS_PER_USER", |s, text| put(&mut s.hub.rooms_per_user, text)),
    ("FANFARE_HUB_CHANNELS_PER_USER", |s, text| put(&mut s.hub.channels_per_user, text)),
    ("FANFARE_HUB_AUTO_CREATE_ROOMS", |s, text| put(&mut s.hub.auto_create_rooms, text)),
    ("FANFARE_HUB_TYPING_TIMEOUT", |s, text| put(&mut s.hub.typing_timeout, text)),
    ("FANFARE_HUB_PRESENCE_GRACE", |s, text| put(&mut s.hub.presence_grace, text)),
    ("FANFARE_HUB_PRESENCE_LIST", |s, text| put(&mut s.hub.presence_list, text)),
    ("FANFARE_HUB_SESSION_TTL", |s, text| put(&mut s.hub.session_ttl, text)),
    ("FANFARE_SSE_RETRY", |s, text| put(&mut s.sse.retry, text)),
    ("FANFARE_SSE_KEEPALIVE", |s, text| put(&mut s.sse.keepalive, text)),
    ("FANFARE_SSE_REPLAY_LIMIT", |s, text| put(&mut s.sse.replay_limit, text)),
    ("FANFARE_STREAM_CHUNK_THRESHOLD", |s, text| put(&mut s.stream.chunk_threshold, text)),
    ("FANFARE_STREAM_BATCH_SIZE", |s, text| put(&mut s.stream.batch_size, text)),
    ("FANFARE_STREAM_BUFFER_SIZE", |s, text| put(&mut s.stream.buffer_size, text)),
    ("FANFARE_STREAM_CHANNEL_BUFFER", |s, text| put(&mut s.stream.channel_buffer, text)),
    ("FANFARE_STREAM_RATE_LIMIT", |s, text| put(&mut s.stream.rate_limit, text)),
    ("FANFARE_STREAM_SORT_LIMIT", |s, text| put(&mut s.stream.sort_limit, text)),
    ("FANFARE_STREAM_CUT_BYTES", |s, text| put(&mut s.stream.cut_bytes, text)),
    ("FANFARE_STREAM_STREAMS", |s, text| put(&mut s.stream.streams, text)),
];

/// Variables that are no settings: the file's name and the log filter.
const OTHER_VARIABLES: [&str; 2] = ["FANFARE_CONFIG", "FANFARE_LOG"];

fn put<T: FromStr<Err: ToString>>(slot: &mut T, text: &str) -> Result<(), String> {
    *slot = text.parse().map_err(|error: T::Err| error.to_string())?;
    Ok(())
}

fn put_list<T: FromStr<Err: ToString>>(slot: &mut Vec<T>, text: &str) -> Result<(), String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    *slot = parts
        .map(|part| part.parse().map_err(|error: T::Err| error.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(())
}

impl Settings {
    /// The defaults, overridden by the settings file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or holds a name or value that is wrong (the message names the line).
    pub fn from_file(path: &Path) -> Result<Self, ServerError> {
        let unreadable = |source| ServerError::ConfigUnreadable { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        toml::from_str(&text)
            .map_err(|error| ServerError::wrong(path.display().to_string(), error.to_string().trim_end()))
    }

    /// Overrides settings by the `FANFARE_...` variables among `variables`; an empty one counts as not set.
    /// The answer names those that set nothing because no setting has that name.
    ///
    /// # Errors
    /// A value is wrong; the message names the variable.
    pub fn apply_variables(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vec<String>, ServerError> {
        let mut unknown = Vec::new();
        for (name, value) in variables {
            if !name.starts_with("FANFARE_") || value.is_empty() || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            match VARIABLES.iter().find(|(known, _)| *known == name) {
                Some((_, set)) => set(self, &value).map_err(|reason| ServerError::wrong(name, reason))?,
                None => unknown.push(name),
            }
        }
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn read(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// `default.toml` with its commented settings switched on; examples in prose keep their blank after `#`.
    fn everything_written() -> toml::Table {
        let text: String = DEFAULT_CONFIG
            .lines()
            .map(|line| {
                format!("{}\n", line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
            })
            .collect();
        text.parse().expect("the commented settings are TOML")
    }

    #[test]
    fn the_default_file_holds_the_defaults() {
        assert_eq!(read(DEFAULT_CONFIG), Ok(Settings::default()));
        assert_eq!(read(""), Ok(Settings::default()));
    }

    #[test]
    fn the_default_file_names_every_setting_that_has_a_variable() {
        let mut names = Vec::new();
        for (name, value) in everything_written() {
            match value {
                toml::Value::Table(section) => {
                    names.extend(section.keys().map(|key| format!("FANFARE_{name}_{key}").to_uppercase()));
                }
                toml::Value::Array(array) if array.first().is_some_and(toml::Value::is_table) => {}
                _ => names.push(format!("FANFARE_{name}").to_uppercase()),
            }
        }
        // The one setting whose variable is named after its flag.
        let named: Vec<_> =
            names.iter().map(|n| if n == "FANFARE_FEED_PATH" { "FANFARE_FEED" } else { n }).collect();
        let mut named = named;
        let mut known: Vec<_> = VARIABLES.iter().map(|(name, _)| *name).collect();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn the_manual_names_every_setting_and_variable() {
        let manual = include_str!("../../docs/src/settings.md");
        for (name, value) in everything_written() {
            let keys = match &value {
                toml::Value::Table(section) => section.keys().cloned().collect(),
                toml::Value::Array(array) => array
                    .first()
                    .and_then(|first| first.as_table())
                    .map(|table| table.keys().cloned().collect())
                    .unwrap_or_default(),
                _ => Vec::new(),
            };
            for name in keys.into_iter().chain([name]) {
                assert!(
                    manual.contains(&format!("`{name}`"))
                        || manual.contains(&format!("`[{name}]`"))
                        || manual.contains(&format!("`[[{name}]]`")),
                    "settings.md does not name {name}"
                );
            }
        }
        for name in VARIABLES.iter().map(|(name, _)| *name).chain(OTHER_VARIABLES) {
            assert!(manual.contains(&format!("`{name}`")), "settings.md does not name {name}");
        }
    }

    #[test]
    fn a_file_is_refused_at_the_line_that_is_wrong() {
        for (line, text) in [
            (2, "patch = 'auto'\nlisten_on = 'x'"),
            (3, "[conn]\n\nqueue = 1"),
            (2, "[conn]\nqueue_bytes = '64 apples'"),
            (2, "[feed]\nmax_lines = 1"),
            (3, "[ooo]\nmax_body = 1\nping_interval = 60"),
            (2, "\ncores = 'some'"),
            (1, "listen = ['nowhere']"),
            (3, "[[rule]]\npattern = 'a'\nmemory = 3"),
            (2, "[conn]\nmax_message = -1"),
            (1, "patch = 'sometimes'"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(&format!("line {line},")), "{text:?} gave {error}");
        }
    }

    #[test]
    fn a_file_reads_every_form_of_a_value() {
        let settings = read("listen = '[::1]:1'\ncores = 2\nfeed = '/run/f'\n[conn]\nqueue_bytes = 4096\nwrite_timeout = '250ms'")
            .expect("all of it is right");
        assert_eq!(settings.listen, ["[::1]:1".parse().expect("an address")]);
        assert_eq!(settings.cores, Cores::Count(2));
        assert_eq!(settings.feed, FeedSettings { path: Some("/run/f".into()), ..FeedSettings::default() });
        assert_eq!(settings.conn.queue_bytes, ByteSize(4096));
        assert_eq!(settings.conn.write_timeout, Span(Duration::from_millis(250)));
        let long = read("[feed]\npath = '/run/f'\nmax_line = '1KiB'").expect("all of it is right");
        assert_eq!(long.feed, FeedSettings { path: Some("/run/f".into()), max_line: ByteSize(1024) });
    }

    #[test]
    fn a_variable_overrides_the_file_and_an_unknown_one_is_named() {
        let mut settings = read("patch = 'never'\n[conn]\nqueue_bytes = 1").expect("right");
        let variables = [
            ("FANFARE_CONN_QUEUE_BYTES", "2KiB"),
            ("FANFARE_LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
            ("FANFARE_ADMIN", ""),
            ("FANFARE_TYPO", "1"),
            ("FANFARE_LOG", "debug"),
            ("PATH", "/bin"),
        ];
        let unknown = settings.apply_variables(variables.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(unknown.expect("every value is right"), ["FANFARE_TYPO"]);
        assert_eq!(settings.conn.queue_bytes, ByteSize::kib(2));
        assert_eq!(settings.listen.len(), 2);
        assert_eq!(settings.patch, PatchMode::Never);
        assert_eq!(settings.admin, Settings::default().admin);
        let wrong = settings.apply_variables([("FANFARE_CORES".to_owned(), "x".to_owned())]);
        assert!(wrong.expect_err("x is no core").to_string().starts_with("FANFARE_CORES: "));
    }
}
