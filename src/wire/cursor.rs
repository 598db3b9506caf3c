//! The position of a connection in everything that it follows, as one token: base64url of a JSON object.
//!
//! Its members are sorted: `"$e"`, the epoch of the server's histories; `"$k"`, keys with their versions and patterns
//! with the position of each owner; and every channel with its offset.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::wire::feed::{is_channel, object};
use crate::wire::json::write_string;
use crate::wire::key::Name;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// The longest cursor, in bytes: it must come back in the head of a request.
const MAX_TEXT: usize = 8 << 10;
/// Stands for a cursor that would be longer: it cannot be decoded, so a client that sends it gets fresh state.
const TOO_LONG: &str = "-";

/// The position of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch of the histories that the offsets are of. A cursor of another server may lack it.
    pub epoch: Option<Box<str>>,
    /// Documents: by key or pattern.
    pub keys: BTreeMap<Arc<str>, KeyPosition>,
    /// Channels: the offset of the last publication.
    pub channels: BTreeMap<Arc<str>, Offset>,
}

/// The position of a connection in documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPosition {
    /// The version of one document.
    Version(Stamp),
    /// For a pattern, the stamp up to which each owner's changes were received, by shard.
    Owners(Vec<Stamp>),
}

/// A text that is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor could not be honoured")]
pub struct BadCursor;

impl Cursor {
    /// The cursor as text.
    pub fn encode(&self) -> String {
        let mut json = Vec::with_capacity(64);
        self.write(&mut json);
        if BASE64URL_NOPAD.encode_len(json.len()) > MAX_TEXT {
            return TOO_LONG.to_owned();
        }
        BASE64URL_NOPAD.encode(&json)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let channel = |(channel, offset): (&Arc<str>, &Offset), out: &mut Vec<u8>| {
            member(channel, out);
            write!(out, "{offset}").expect("a Vec takes all");
        };
        out.push(b'{');
        // no channel begins with '$': the two others stand between those that come before it and those behind
        self.channels.range::<str, _>((Unbounded, Excluded("$"))).for_each(|one| channel(one, out));
        if let Some(epoch) = &self.epoch {
            member("$e", out);
            write_string(epoch, out);
        }
        if !self.keys.is_empty() {
            member("$k", out);
            out.push(b'{');
            for (name, far) in &self.keys {
                member(name, out);
                far.write(out);
            }
            out.push(b'}');
        }
        self.channels.range::<str, _>((Excluded("$"), Unbounded)).for_each(|one| channel(one, out));
        out.push(b'}');
    }

    /// Decodes a cursor that a client sends back.
    ///
    /// # Errors
    /// It is not a cursor of ours, nor of forge's.
    pub fn decode(text: &str) -> Result<Cursor, BadCursor> {
        if text.len() > MAX_TEXT {
            return Err(BadCursor);
        }
        let json = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| BadCursor)?;
        let members: Map<String, Value> = object(&json).map_err(|_| BadCursor)?;
        let mut cursor = Cursor::default();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("$e", Value::String(epoch)) => cursor.epoch = Some(epoch.into()),
                ("$k", Value::Object(keys)) => cursor.keys = read_keys(keys)?,
                (channel, Value::Number(offset)) if is_channel(channel) => {
                    cursor
                        .channels
                        .insert(channel.into(), offset.as_u64().map(Offset::new).ok_or(BadCursor)?);
                }
                _ => return Err(BadCursor),
            }
        }
        Ok(cursor)
    }
}

impl KeyPosition {
    fn write(&self, out: &mut Vec<u8>) {
        let stamps = match self {
            KeyPosition::Version(version) => std::slice::from_ref(version),
            KeyPosition::Owners(stamps) => stamps,
        };
        for (i, stamp) in stamps.iter().enumerate() {
            write!(out, "{}{stamp:x}", if i == 0 { '"' } else { '.' }).expect("a Vec takes all");
        }
        out.push(b'"');
    }
}

fn member(name: &str, out: &mut Vec<u8>) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    write_string(name, out);
    out.push(b':');
}

fn read_keys(members: Map<String, Value>) -> Result<BTreeMap<Arc<str>, KeyPosition>, BadCursor> {
    let stamp = |text: &str| {
        // what `from_str_radix` would take beside digits
        let digits = !text.starts_with('+');
        Stamp::from_hex(text).filter(|_| digits).ok_or(BadCursor)
    };
    let far = |(name, value): (String, Value)| {
        let (name, Value::String(text)) = (Name::parse_native(&name).map_err(|_| BadCursor)?, value) else {
            return Err(BadCursor);
        };
        let far = match name {
            Name::Key(_) => KeyPosition::Version(stamp(&text)?),
            Name::Pattern(_) => KeyPosition::Owners(text.split('.').map(stamp).collect::<Result<_, _>>()?),
        };
        Ok((name.as_str().into(), far))
    };
    members.into_iter().map(far).collect()
}

#[cfg(test)]
mod tests {
    use super::{BASE64URL_NOPAD, BadCursor, Cursor, KeyPosition, MAX_TEXT};
    use crate::base::offset::Offset;
    use crate::base::stamp::Stamp;

    fn channels(list: &[(&str, u64)]) -> Cursor {
        let channels = list.iter().map(|(name, offset)| ((*name).into(), Offset::new(*offset))).collect();
        Cursor { channels, ..Cursor::default() }
    }

    fn json(cursor: &Cursor) -> String {
        String::from_utf8(BASE64URL_NOPAD.decode(cursor.encode().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn forges_own_cursors_are_written_and_read() {
        for (text, list) in [
            ("eyJyb29tLTEiOjd9", &[("room-1", 7)][..]),
            ("eyJyb29tLTEiOjMsInJvb20tMiI6OX0", &[("room-1", 3), ("room-2", 9)]),
            ("e30", &[]),
        ] {
            assert_eq!(channels(list).encode(), text);
            assert_eq!(Cursor::decode(text), Ok(channels(list)));
        }
    }

    #[test]
    fn members_are_sorted_and_every_kind_has_its_place() {
        let mut cursor = channels(&[("a", 1), ("!", 2), ("é\"", 3), ("-", 4)]);
        cursor.epoch = Some("18e9".into());
        cursor.keys.insert("b/1".into(), KeyPosition::Version(Stamp::new(0x18e9c3)));
        cursor.keys.insert("b/*".into(), KeyPosition::Owners([1, 0, u64::MAX].map(Stamp::new).into()));
        let text =
            r#"{"!":2,"$e":"18e9","$k":{"b/*":"1.0.ffffffffffffffff","b/1":"18e9c3"},"-":4,"a":1,"é\"":3}"#;
        assert_eq!(json(&cursor), text);
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
    }

    #[test]
    fn what_is_hostile_or_foreign_is_refused() {
        for text in ["", "not-base64!!!", "//++", "eyJyb29tLTEiOjd9==", "eyJyb29tLTEiOjd9=", "e31", "-", "é"]
        {
            assert_eq!(Cursor::decode(text), Err(BadCursor), "{text}");
        }
        for json in [
            "",
            "not json",
            "[1]",
            "7",
            "null",
            r#"{"room":"7"}"#,
            r#"{"room":null}"#,
            r#"{"room":-1}"#,
            r#"{"room":1.5}"#,
            r#"{"room":1e3}"#,
            r#"{"room":18446744073709551616}"#,
            r#"{"room":7} x"#,
            r#"{"":7}"#,
            r#"{"$x":7}"#,
            r#"{"$e":7}"#,
            r#"{"$k":7}"#,
            r#"{"$k":{"a":7}}"#,
            r#"{"$k":{"a":""}}"#,
            r#"{"$k":{"a":"+1"}}"#,
            r#"{"$k":{"a":"1.2"}}"#,
            r#"{"$k":{"a":"x"}}"#,
            r#"{"$k":{"a/*":"1..2"}}"#,
            r#"{"$k":{"/a":"1"}}"#,
            r#"{"$k":{"a":"11111111111111111"}}"#,
        ] {
            assert_eq!(Cursor::decode(&BASE64URL_NOPAD.encode(json.as_bytes())), Err(BadCursor), "{json}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(Cursor::decode(&BASE64URL_NOPAD.encode(deep.as_bytes())), Err(BadCursor));
    }

    #[test]
    fn a_random_cursor_comes_back_the_same_and_random_text_never_panics() {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..3000 {
            let epoch = rng.bool().then(|| format!("{:x}", rng.u64(..)).into());
            let mut cursor = Cursor { epoch, ..Cursor::default() };
            for _ in 0..rng.usize(0..5) {
                let name: String = (0..rng.usize(1..5))
                    .map(|_| *rng.choice(&['!', 'a', '"', '-', '\u{1f600}']).unwrap())
                    .collect();
                cursor.channels.insert(name.into(), Offset::new(rng.u64(..)));
                cursor.keys.insert(
                    format!("k/{}", rng.u8(..)).into(),
                    KeyPosition::Version(Stamp::new(rng.u64(..))),
                );
                let owners = (0..rng.usize(1..9)).map(|_| Stamp::new(rng.u64(..) >> rng.u8(0..64))).collect();
                cursor.keys.insert(format!("{}/*", rng.u8(..)).into(), KeyPosition::Owners(owners));
            }
            let text = cursor.encode();
            assert_eq!(Cursor::decode(&text), Ok(cursor), "{text}");
            let mut bytes = text.into_bytes();
            let at = rng.usize(..bytes.len());
            bytes[at] = *rng.choice(b"Aaz0-_=/+ ").unwrap();
            let _ = Cursor::decode(std::str::from_utf8(&bytes).unwrap());
        }
    }

    #[test]
    fn one_that_could_not_come_back_is_replaced_by_one_that_means_fresh_state() {
        let mut cursor = Cursor::default();
        for n in 0..2000 {
            cursor.channels.insert(format!("channel-{n}").into(), Offset::new(n));
            let text = cursor.encode();
            assert!(text.len() <= MAX_TEXT);
            let back = Cursor::decode(&text);
            assert!(back == Ok(cursor.clone()) || text == "-" && back.is_err());
        }
        assert_eq!(cursor.encode(), "-");
    }
}
