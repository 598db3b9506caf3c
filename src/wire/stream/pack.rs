//! From JSON text in normal form to MessagePack and CBOR. A number that is neither an integer of 64 bits nor a double without
//! loss goes as its literal, which [`unpack`](super::unpack) takes back.

use crate::wire::json::{number, read_string, string_end};
use ciborium_ll::{Encoder, Header, simple};
use rmp::encode as rmp;
use std::cmp::Ordering;

/// The extension type of a number's literal in MessagePack; applications have 0 to 127.
pub const LITERAL_EXTENSION: i8 = 74;

/// The tag of a JSON text in CBOR, which is a byte string (IANA: "Embedded JSON Object").
pub const LITERAL_TAG: u64 = 262;

/// What a text is made of, in the order in which a packed format names it.
enum Token<'a> {
    /// An array of so many elements; they follow.
    Array(usize),
    /// An object of so many members; names and values follow.
    Object(usize),
    /// A string or a name, with its quotes.
    Text(&'a str),
    /// A number.
    Number(&'a str),
    True,
    False,
    Null,
}

/// Appends a JSON value as MessagePack.
pub fn msgpack(json: &str, out: &mut Vec<u8>) {
    const ALL: &str = "a Vec takes all";
    tokens(json, |token| match token {
        Token::Array(len) => drop(rmp::write_array_len(out, len as u32).expect(ALL)),
        Token::Object(len) => drop(rmp::write_map_len(out, len as u32).expect(ALL)),
        Token::Text(text) => rmp::write_str(out, &read_string(text)).expect(ALL),
        Token::True => rmp::write_bool(out, true).expect(ALL),
        Token::False => rmp::write_bool(out, false).expect(ALL),
        Token::Null => rmp::write_nil(out).expect(ALL),
        Token::Number(text) => match Number::read(text) {
            Number::Positive(n) => drop(rmp::write_uint(out, n).expect(ALL)),
            Number::Negative(n) => drop(rmp::write_sint(out, n).expect(ALL)),
            Number::Double(n) => rmp::write_f64(out, n).expect(ALL),
            Number::Literal => {
                rmp::write_ext_meta(out, text.len() as u32, LITERAL_EXTENSION).expect(ALL);
                out.extend_from_slice(text.as_bytes());
            }
        },
    });
}

/// Appends a JSON value as CBOR.
pub fn cbor(json: &str, out: &mut Vec<u8>) {
    const ALL: &str = "a Vec takes all";
    let mut encoder = Encoder::from(out);
    tokens(json, |token| {
        let header = match token {
            Token::Array(len) => Header::Array(Some(len)),
            Token::Object(len) => Header::Map(Some(len)),
            Token::Text(text) => return encoder.text(&read_string(text), None).expect(ALL),
            Token::True => Header::Simple(simple::TRUE),
            Token::False => Header::Simple(simple::FALSE),
            Token::Null => Header::Simple(simple::NULL),
            Token::Number(text) => match Number::read(text) {
                Number::Positive(n) => Header::Positive(n),
                // CBOR's negative integers count from -1
                Number::Negative(n) => Header::Negative(!n as u64),
                Number::Double(n) => Header::Float(n),
                Number::Literal => {
                    encoder.push(Header::Tag(LITERAL_TAG)).expect(ALL);
                    return encoder.bytes(text.as_bytes(), None).expect(ALL);
                }
            },
        };
        encoder.push(header).expect(ALL);
    });
}

enum Number {
    Positive(u64),
    Negative(i64),
    Double(f64),
    /// None of them has its value.
    Literal,
}

/// A literal without exponent of so many bytes has at most 15 digits behind its point or sign: a double tells all such apart.
const PLAIN: usize = 16;

impl Number {
    fn read(text: &str) -> Number {
        if let Ok(n) = text.parse() {
            return Number::Positive(n);
        }
        match text.parse() {
            // -0 is a double
            Ok(n) if n < 0 => return Number::Negative(n),
            _ => {}
        }
        let double: f64 = text.parse().unwrap_or(f64::NAN);
        let plain = text.len() <= PLAIN && text.contains('.') && !text.contains(['e', 'E']);
        let same = || number::compare(text, &format!("{double:?}")).is_some_and(Ordering::is_eq);
        if double.is_finite() && (plain || same()) { Number::Double(double) } else { Number::Literal }
    }
}

/// Reads a text in two passes: the first counts what is in each container, as that is to be said before it.
fn tokens(json: &str, mut each: impl FnMut(Token<'_>)) {
    let text = json.as_bytes();
    let counts = counts(text);
    let (mut at, mut container) = (0, 0);
    while at < text.len() {
        let end = match text[at] {
            b'"' => string_end(text, at),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => at + 1,
            _ => {
                let rest = text[at..].iter().position(|byte| matches!(byte, b',' | b']' | b'}'));
                rest.map_or(text.len(), |len| at + len)
            }
        };
        let piece = &json[at..end];
        match text[at] {
            b'{' | b'[' => {
                let len = counts[container];
                container += 1;
                each(if text[at] == b'{' { Token::Object(len) } else { Token::Array(len) });
            }
            b'}' | b']' | b',' | b':' => {}
            b'"' => each(Token::Text(piece)),
            b't' => each(Token::True),
            b'f' => each(Token::False),
            b'n' => each(Token::Null),
            _ => each(Token::Number(piece)),
        }
        at = end;
    }
}

/// How much is in each container, in the order in which they open.
fn counts(text: &[u8]) -> Vec<usize> {
    let (mut counts, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => {
                open.push(counts.len());
                // what is in it is one more than the commas, unless it closes at once
                counts.push(usize::from(!matches!(text.get(at + 1), Some(b'}' | b']'))));
            }
            b'}' | b']' => drop(open.pop()),
            b',' => counts[*open.last().expect("a comma stands in a container")] += 1,
            _ => {}
        }
        at += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::{cbor, msgpack};

    fn packed(json: &str) -> (Vec<u8>, Vec<u8>) {
        let (mut m, mut c) = (Vec::new(), Vec::new());
        msgpack(json, &mut m);
        cbor(json, &mut c);
        (m, c)
    }

    #[test]
    fn every_kind_of_value_is_packed_as_the_standards_say() {
        for (json, m, c) in [
            ("null", &b"\xc0"[..], &b"\xf6"[..]),
            ("true", b"\xc3", b"\xf5"),
            ("false", b"\xc2", b"\xf4"),
            ("7", b"\x07", b"\x07"),
            ("-1", b"\xff", b"\x20"),
            ("-500", b"\xd1\xfe\x0c", b"\x39\x01\xf3"),
            (
                "18446744073709551615",
                b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            ),
            ("1.5", b"\xcb\x3f\xf8\0\0\0\0\0\0", b"\xf9\x3e\x00"),
            ("1e400", b"\xc7\x05\x4a1e400", b"\xd9\x01\x06\x451e400"),
            (
                "36893488147419103233",
                b"\xc7\x14\x4a36893488147419103233",
                b"\xd9\x01\x06\x5436893488147419103233",
            ),
            ("\"a\\n\"", b"\xa2a\n", b"\x62a\n"),
            ("[]", b"\x90", b"\x80"),
            ("{}", b"\x80", b"\xa0"),
            ("[[],{},[1]]", b"\x93\x90\x80\x91\x01", b"\x83\x80\xa0\x81\x01"),
            (
                "{\"a,]\":{\"b\":[1,2]},\"c\":\"{\"}",
                b"\x82\xa3a,]\x81\xa1b\x92\x01\x02\xa1c\xa1{",
                b"\xa2\x63a,]\xa1\x61b\x82\x01\x02\x61c\x61{",
            ),
        ] {
            assert_eq!(packed(json), (m.to_vec(), c.to_vec()), "{json}");
        }
        let deep = "[".repeat(129) + &"]".repeat(129);
        assert_eq!(packed(&deep).0.len(), 129);
    }
}
