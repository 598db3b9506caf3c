//! Frames of the hub that clients send: one JSON object with a `type`.

use crate::wire::feed::{is_channel, object};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// What a client wants of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Its publications.
    Subscribe,
    /// No more of them.
    Unsubscribe,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

/// Reads a frame; `None` for everything that a plain hub ignores.
pub fn parse(frame: &[u8]) -> Option<(Verb, Arc<str>)> {
    let fields: Fields<'_> = object(frame).ok()?;
    let verb = match &*fields.kind {
        "subscribe" => Verb::Subscribe,
        "unsubscribe" => Verb::Unsubscribe,
        _ => return None,
    };
    is_channel(&fields.channel).then(|| (verb, fields.channel.into()))
}

#[cfg(test)]
mod tests {
    use super::{Verb, parse};

    #[test]
    fn reads_what_the_hook_sends_and_ignores_the_rest() {
        assert_eq!(parse(br#"{"type":"subscribe","channel":"x"}"#), Some((Verb::Subscribe, "x".into())));
        assert_eq!(
            parse(br#"{"channel":"\u0078","type":"unsubscribe"}"#),
            Some((Verb::Unsubscribe, "x".into()))
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
