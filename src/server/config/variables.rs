//! The `FANFARE_...` variables, each of which overrides one setting.

use std::str::FromStr;

use crate::server::config::Settings;
use crate::server::error::ServerError;

type Setter = fn(&mut Settings, &str) -> Result<(), String>;

/// The variables that hold settings. `[[rule]]` and `[[route]]` have none: a list of tables does not fit a variable.
const VARIABLES: [(&str, Setter); 46] = [
    ("FANFARE_LISTEN", |s, text| put_list(&mut s.listen, text)),
    ("FANFARE_ADMIN", |s, text| put(&mut s.admin, text)),
    ("FANFARE_CORES", |s, text| put(&mut s.cores, text)),
    ("FANFARE_ANONYMOUS", |s, text| text.parse().map(|access| s.anonymous = Some(access))),
    ("FANFARE_PATCH", |s, text| put(&mut s.patch, text)),
    ("FANFARE_ORIGINS", |s, text| put_list(&mut s.origins, text)),
    ("FANFARE_HOSTS", |s, text| put_list(&mut s.hosts, text)),
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
    ("FANFARE_HUB_TAIL_BYTES", |s, text| put(&mut s.hub.tail_bytes, text)),
    ("FANFARE_HUB_TAIL_AGE", |s, text| put(&mut s.hub.tail_age, text)),
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

/// Variables that are not settings: the file's name and the log filter.
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

/// Overrides `settings` by the `FANFARE_...` variables among `variables`; an empty one counts as not set.
/// Returns the names that no setting has.
///
/// # Errors
/// A value is wrong; the message names the variable.
pub fn apply(
    settings: &mut Settings,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<String>, ServerError> {
    let mut unknown = Vec::new();
    for (name, value) in variables {
        if !name.starts_with("FANFARE_") || value.is_empty() || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        match VARIABLES.iter().find(|(known, _)| *known == name) {
            Some((_, set)) => set(settings, &value).map_err(|reason| ServerError::wrong(name, reason))?,
            None => unknown.push(name),
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;
    use crate::flow::limits::documents::PatchMode;
    use crate::server::config::DEFAULT_CONFIG;

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
        let manual = include_str!("../../../docs/src/settings.md");
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
    fn a_variable_overrides_the_file_and_an_unknown_one_is_named() {
        let mut settings: Settings =
            toml::from_str("patch = 'never'\n[conn]\nqueue_bytes = 1").expect("right");
        let variables = [
            ("FANFARE_CONN_QUEUE_BYTES", "2KiB"),
            ("FANFARE_LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
            ("FANFARE_ADMIN", ""),
            ("FANFARE_TYPO", "1"),
            ("FANFARE_LOG", "debug"),
            ("PATH", "/bin"),
        ];
        let unknown = apply(&mut settings, variables.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(unknown.expect("every value is right"), ["FANFARE_TYPO"]);
        assert_eq!(settings.conn.queue_bytes, ByteSize::kib(2));
        assert_eq!(settings.listen.len(), 2);
        assert_eq!(settings.patch, PatchMode::Never);
        assert_eq!(settings.admin, Settings::default().admin);
        let wrong = apply(&mut settings, [("FANFARE_CORES".to_owned(), "x".to_owned())]);
        assert!(wrong.expect_err("x is no core").to_string().starts_with("FANFARE_CORES: "));
    }
}
