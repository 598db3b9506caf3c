//! Frames of the hub that clients send: one JSON object with a `type`.

use crate::wire::feed::{is_channel, object, present};
use crate::wire::key::Name;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The publications of a channel.
    Subscribe(Arc<str>),
    /// No more of them.
    Unsubscribe(Arc<str>),
    /// The documents of a key or pattern.
    Follow {
        /// Which.
        name: Name,
        /// `auto`, `snapshot` or `patch`.
        mode: Option<Box<str>>,
        /// At most so many deliveries a second; 0: as they come.
        max_hz: u32,
        /// What the client has: keys and versions.
        versions: Vec<(Box<str>, Box<str>)>,
    },
    /// No more of them.
    Unfollow(Name),
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mode: Option<Cow<'a, str>>,
    #[serde(default)]
    max_hz: u32,
    #[serde(borrow, default, deserialize_with = "present")]
    versions: Option<&'a RawValue>,
}

/// Reads a frame; `None` for everything that a plain hub ignores.
pub fn parse(frame: &[u8]) -> Option<Ask> {
    let fields: Fields<'_> = object(frame).ok()?;
    let on = match &*fields.kind {
        "subscribe" => true,
        "unsubscribe" => false,
        _ => return None,
    };
    if let Some(key) = fields.key {
        let name = Name::parse_native(&key).ok()?;
        if !on {
            return Some(Ask::Unfollow(name));
        }
        let versions: std::collections::HashMap<Box<str>, Box<str>> =
            fields.versions.and_then(|v| serde_json::from_str(v.get()).ok()).unwrap_or_default();
        let mode = fields.mode.map(|mode| (*mode).into());
        return Some(Ask::Follow {
            name,
            mode,
            max_hz: fields.max_hz,
            versions: versions.into_iter().collect(),
        });
    }
    let channel: Arc<str> = fields.channel.filter(|name| is_channel(name)).map(|name| (*name).into())?;
    Some(if on { Ask::Subscribe(channel) } else { Ask::Unsubscribe(channel) })
}

#[cfg(test)]
mod tests {
    use super::{Ask, parse};

    #[test]
    fn reads_what_the_hook_sends_and_ignores_the_rest() {
        assert_eq!(parse(br#"{"type":"subscribe","channel":"x"}"#), Some(Ask::Subscribe("x".into())));
        assert_eq!(
            parse(br#"{"channel":"\u0078","type":"unsubscribe"}"#),
            Some(Ask::Unsubscribe("x".into()))
        );
        for other in [
            "",
            "[]",
            "{}",
            r#"{"type":"subscribe"}"#,
            r#"{"type":1,"channel":"x"}"#,
            r#"{"type":"subscribe","channel":"$x"}"#,
        ] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }
}
