//! Settings as written: defaults, then the file, then `FANFARE_...` variables, then flags; the later one wins.
//! `resolve` turns them into the limits that the core works with.

pub mod sections;
pub mod tables;
pub mod values;
pub mod variables;

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::flow::limits::documents::PatchMode;
use crate::flow::limits::{Access, Limits};
use crate::server::config::sections::{
    ConnSettings, FeedSettings, HubSettings, OooSettings, SseSettings, StreamSettings, feed_or_path,
};
use crate::server::config::tables::{RouteSettings, RuleSettings};
use crate::server::config::values::{Address, Cores, one_or_many};
use crate::server::error::ServerError;

/// The settings file that `default-config` prints: every setting, its default and its meaning.
pub const DEFAULT_CONFIG: &str = include_str!("default.toml");

/// Everything that can be set. The names are those of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses for clients.
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<Address>,
    /// The address for operators: health and metrics.
    pub admin: Address,
    /// Which cores get a shard.
    pub cores: Cores,
    /// What anonymous clients may do; `None`: write on loopback listeners, nothing elsewhere.
    pub anonymous: Option<Access>,
    /// When a change is sent as a patch.
    pub patch: PatchMode,
    /// Origins of web pages that may use the server, beside its own and, on loopback, those of this machine.
    #[serde(deserialize_with = "one_or_many")]
    pub origins: Vec<String>,
    /// Names under which it may be reached on loopback, beside the loopback names.
    #[serde(deserialize_with = "one_or_many")]
    pub hosts: Vec<String>,
    /// Serve the built-in data set.
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
    /// Streamed responses.
    pub stream: StreamSettings,
    /// Server-sent events.
    pub sse: SseSettings,
    /// Paths that serve a channel.
    pub route: Vec<RouteSettings>,
    /// Overrides for some keys or channels; each setting comes from the first rule that has it.
    pub rule: Vec<RuleSettings>,
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
            hosts: Vec::new(),
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytesize::ByteSize;

    use super::*;
    use crate::server::config::values::Span;

    fn read(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_file_holds_the_defaults() {
        assert_eq!(read(DEFAULT_CONFIG), Ok(Settings::default()));
        assert_eq!(read(""), Ok(Settings::default()));
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
}
