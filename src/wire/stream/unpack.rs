//! From MessagePack and CBOR to JSON text, piece by piece: the elements of a body as it comes.

use crate::wire::json::{Json, MAX_DEPTH, write_string};
use crate::wire::stream::pack::{LITERAL_EXTENSION, LITERAL_TAG};
use crate::wire::stream::rows::RowError;
use ciborium_ll::{Decoder, Error, Header, simple};
use rmp::Marker;
use std::io::Write as _;

/// What a packed format says next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PackedToken {
    Integer(i128),
    Double(f64),
    Word(&'static str),
    /// A text of so many bytes, which follow.
    Text(usize),
    /// The literal of a number, of so many bytes, which follow.
    Literal(usize),
    /// An array of so many values; `None`: up to a break.
    Array(Option<u64>),
    /// An object of so many members; `None`: up to a break.
    Map(Option<u64>),
    Break,
}

/// An array or object that is open.
#[derive(Debug)]
struct Level {
    map: bool,
    /// How many texts and values are in it, if that was said.
    due: Option<u64>,
    /// How many have come.
    came: u64,
}

/// Where a body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outer {
    /// Before anything.
    Start,
    /// In an array around the elements: so many are still to come; `None`: up to a break.
    Array(Option<u64>),
    /// In a row of elements without anything around them.
    Row,
    /// Behind the array.
    Closed,
}

/// Finds the elements of one body: of one array, or of values one behind the other.
#[derive(Debug)]
pub struct Packs {
    cbor: bool,
    outer: Outer,
    /// Bytes that have arrived and are not used up.
    pub buf: Vec<u8>,
    at: usize,
    open: Vec<Level>,
    /// The element as JSON, as far as it has come.
    text: Vec<u8>,
    whole: bool,
}

impl Packs {
    /// A body in CBOR, or else in MessagePack.
    pub fn new(cbor: bool) -> Packs {
        let (buf, open, text) = Default::default();
        Packs { cbor, outer: Outer::Start, buf, at: 0, open, text, whole: false }
    }

    /// The next element of at most `max` bytes as JSON text; `None`: more bytes are needed, or it is the end. `ended`: no
    /// more bytes will come.
    ///
    /// # Errors
    /// The body is malformed, holds what JSON has no word for, or an element is too large.
    pub fn next(&mut self, ended: bool, max: usize) -> Result<Option<&[u8]>, RowError> {
        if std::mem::take(&mut self.whole) {
            self.text.clear();
        }
        while let Some((token, len)) = self.token()? {
            let behind = match token {
                PackedToken::Text(text) | PackedToken::Literal(text) => len.saturating_add(text),
                _ => len,
            };
            if behind > max.max(16) {
                return Err(RowError::TooLarge(max));
            }
            if self.buf.len() - self.at < behind {
                break;
            }
            if self.open.is_empty() && self.is_around(token) {
                self.at += len;
                continue;
            }
            let text = std::str::from_utf8(&self.buf[self.at + len..self.at + behind])
                .map_err(|_| RowError::Packed("a text is not UTF-8"))?;
            take(&mut self.open, &mut self.text, token, text)?;
            self.at += behind;
            if self.text.len() > max {
                return Err(RowError::TooLarge(max));
            }
            if self.open.is_empty() {
                if let Outer::Array(Some(left)) = &mut self.outer {
                    *left -= 1;
                }
                self.whole = true;
                return Ok(Some(&self.text));
            }
        }
        self.buf.drain(..self.at);
        self.at = 0;
        let complete = match self.outer {
            // MessagePack without any element is a body without any byte
            Outer::Start => !self.cbor,
            Outer::Array(_) => false,
            Outer::Row | Outer::Closed => self.open.is_empty(),
        };
        if ended && !(complete && self.buf.is_empty()) { Err(RowError::BreaksOff) } else { Ok(None) }
    }

    /// What comes next, and the bytes of its header; `None`: it is incomplete.
    fn token(&mut self) -> Result<Option<(PackedToken, usize)>, RowError> {
        if self.open.is_empty() && self.outer == Outer::Array(Some(0)) {
            self.outer = Outer::Closed;
        }
        let rest = &self.buf[self.at..];
        match (self.outer, rest.first()) {
            (_, None) => Ok(None),
            (Outer::Closed, Some(byte)) => Err(RowError::Unexpected(*byte)),
            _ if self.cbor => cbor(rest),
            _ => msgpack(rest),
        }
    }

    /// Whether a token stands around the elements, not in one.
    fn is_around(&mut self, token: PackedToken) -> bool {
        let next = match (self.outer, token) {
            (Outer::Start, PackedToken::Array(count)) => Outer::Array(count),
            (Outer::Start, _) => Outer::Row,
            (Outer::Array(None), PackedToken::Break) => Outer::Closed,
            (outer, _) => outer,
        };
        let before = std::mem::replace(&mut self.outer, next);
        before != next && next != Outer::Row
    }
}

/// Takes one token into an element; `bytes` is its text.
fn take(open: &mut Vec<Level>, out: &mut Vec<u8>, token: PackedToken, text: &str) -> Result<(), RowError> {
    if token == PackedToken::Break {
        let level = open.pop().filter(|level| level.due.is_none() && !(level.map && level.came % 2 == 1));
        let level = level.ok_or(RowError::Packed("a break where none can be"))?;
        out.push(if level.map { b'}' } else { b']' });
        came(open, out);
        return Ok(());
    }
    if let Some(level) = open.last() {
        let name = level.map && level.came.is_multiple_of(2);
        if name && !matches!(token, PackedToken::Text(_)) {
            return Err(RowError::Packed("the name of a member is not a text"));
        }
        match level.came {
            n if level.map && n % 2 == 1 => out.push(b':'),
            0 => {}
            _ => out.push(b','),
        }
    }
    match token {
        PackedToken::Array(count) => return begin(open, out, false, count),
        PackedToken::Map(count) => return begin(open, out, true, count.map(|count| count.saturating_mul(2))),
        PackedToken::Text(_) => write_string(text, out),
        PackedToken::Literal(_) if is_number(text) => out.extend_from_slice(text.as_bytes()),
        PackedToken::Literal(_) => return Err(RowError::Packed("a number that is none")),
        PackedToken::Word(word) => out.extend_from_slice(word.as_bytes()),
        PackedToken::Integer(n) => write!(out, "{n}").expect("a Vec takes all"),
        PackedToken::Double(n) if n.is_finite() => write!(out, "{n:?}").expect("a Vec takes all"),
        PackedToken::Double(_) => return Err(RowError::Packed("a number that is none")),
        PackedToken::Break => unreachable!("handled above"),
    }
    came(open, out);
    Ok(())
}

fn is_number(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit());
    first && Json::parse(text.as_bytes()).is_ok_and(|number| number.as_str() == text)
}

/// How deep an element nests at most: the document, and what the export puts around it.
const ELEMENT_DEPTH: usize = MAX_DEPTH + 1;

fn begin(open: &mut Vec<Level>, out: &mut Vec<u8>, map: bool, due: Option<u64>) -> Result<(), RowError> {
    if open.len() == ELEMENT_DEPTH {
        return Err(RowError::Packed("nested too deep"));
    }
    out.push(if map { b'{' } else { b'[' });
    open.push(Level { map, due, came: 0 });
    close(open, out);
    Ok(())
}

/// A value is complete: it counts in what it stands in.
fn came(open: &mut Vec<Level>, out: &mut Vec<u8>) {
    if let Some(level) = open.last_mut() {
        level.came += 1;
        close(open, out);
    }
}

/// Closes what has got all that it was to hold.
fn close(open: &mut Vec<Level>, out: &mut Vec<u8>) {
    while let Some(level) = open.pop_if(|level| level.due == Some(level.came)) {
        out.push(if level.map { b'}' } else { b']' });
        if let Some(around) = open.last_mut() {
            around.came += 1;
        }
    }
}

const NO_WORD: RowError = RowError::Packed("JSON has no word for a value: bytes, a tag or an extension");

fn cbor(bytes: &[u8]) -> Result<Option<(PackedToken, usize)>, RowError> {
    let mut decoder = Decoder::from(bytes);
    let header = match decoder.pull() {
        Ok(header) => header,
        Err(Error::Io(_)) => return Ok(None),
        Err(Error::Syntax(_)) => return Err(RowError::Unexpected(bytes[0])),
    };
    let token = match header {
        Header::Positive(n) => PackedToken::Integer(n.into()),
        Header::Negative(n) => PackedToken::Integer(!i128::from(n)),
        Header::Float(n) => PackedToken::Double(n),
        Header::Simple(simple::TRUE) => PackedToken::Word("true"),
        Header::Simple(simple::FALSE) => PackedToken::Word("false"),
        Header::Simple(simple::NULL | simple::UNDEFINED) => PackedToken::Word("null"),
        Header::Text(Some(len)) => PackedToken::Text(len),
        Header::Text(None) => return Err(RowError::Packed("a text in pieces")),
        Header::Array(len) => PackedToken::Array(len.map(|len| len as u64)),
        Header::Map(len) => PackedToken::Map(len.map(|len| len as u64)),
        Header::Break => PackedToken::Break,
        Header::Tag(LITERAL_TAG) => match decoder.pull() {
            Ok(Header::Bytes(Some(len))) => PackedToken::Literal(len),
            Err(Error::Io(_)) => return Ok(None),
            _ => return Err(NO_WORD),
        },
        Header::Simple(_) | Header::Bytes(_) | Header::Tag(_) => return Err(NO_WORD),
    };
    Ok(Some((token, decoder.offset())))
}

fn msgpack(bytes: &[u8]) -> Result<Option<(PackedToken, usize)>, RowError> {
    use Marker::*;
    let marker = Marker::from_u8(bytes[0]);
    let width = match marker {
        U8 | I8 | Str8 | FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 => 1,
        U16 | I16 | Str16 | Array16 | Map16 | Ext8 => 2,
        Ext16 => 3,
        U32 | I32 | F32 | Str32 | Array32 | Map32 => 4,
        Ext32 => 5,
        U64 | I64 | F64 => 8,
        _ => 0,
    };
    let Some(wide) = bytes.get(1..=width) else { return Ok(None) };
    let n = wide.iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
    let token = match marker {
        FixPos(n) => PackedToken::Integer(n.into()),
        FixNeg(n) => PackedToken::Integer(n.into()),
        U8 | U16 | U32 | U64 => PackedToken::Integer(n.into()),
        I8 => PackedToken::Integer((n as i8).into()),
        I16 => PackedToken::Integer((n as i16).into()),
        I32 => PackedToken::Integer((n as i32).into()),
        I64 => PackedToken::Integer((n as i64).into()),
        F32 => PackedToken::Double(f32::from_bits(n as u32).into()),
        F64 => PackedToken::Double(f64::from_bits(n)),
        Null => PackedToken::Word("null"),
        True => PackedToken::Word("true"),
        False => PackedToken::Word("false"),
        FixStr(len) => PackedToken::Text(len.into()),
        Str8 | Str16 | Str32 => PackedToken::Text(n as usize),
        FixArray(len) => PackedToken::Array(Some(len.into())),
        Array16 | Array32 => PackedToken::Array(Some(n)),
        FixMap(len) => PackedToken::Map(Some(len.into())),
        Map16 | Map32 => PackedToken::Map(Some(n)),
        // the type of an extension is the last byte of its header
        FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 | Ext8 | Ext16 | Ext32
            if n as i8 == LITERAL_EXTENSION =>
        {
            PackedToken::Literal(match marker {
                FixExt1 => 1,
                FixExt2 => 2,
                FixExt4 => 4,
                FixExt8 => 8,
                FixExt16 => 16,
                _ => (n >> 8) as usize,
            })
        }
        Reserved => return Err(RowError::Unexpected(bytes[0])),
        _ => return Err(NO_WORD),
    };
    Ok(Some((token, 1 + width)))
}

#[cfg(test)]
mod tests {
    use super::Packs;
    use crate::wire::json::number;
    use crate::wire::stream::{Format, RowError};
    use fastrand::Rng;
    use serde_json::{Value, json};
    use std::cmp::Ordering;

    /// The elements of a body that comes by `piece` bytes, and its end.
    fn read(cbor: bool, body: &[u8], piece: usize) -> (Vec<String>, Option<RowError>) {
        let (mut packs, mut found) = (Packs::new(cbor), Vec::new());
        let mut pieces = body.chunks(piece);
        loop {
            let next = pieces.next();
            packs.buf.extend_from_slice(next.unwrap_or(b""));
            loop {
                match packs.next(next.is_none(), 4000) {
                    Ok(Some(text)) => found.push(String::from_utf8(text.to_vec()).expect("JSON is text")),
                    Ok(None) => break,
                    Err(why) => return (found, Some(why)),
                }
            }
            if next.is_none() {
                return (found, None);
            }
        }
    }

    fn value(rng: &mut Rng, depth: u32) -> Value {
        match rng.u8(0..if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => rng.bool().into(),
            2 => (rng.i64(..) >> rng.u32(0..64)).into(),
            3 => (f64::from(rng.i32(..)) / 8.0).into(),
            4 => "é\"x".repeat(rng.usize(0..20)).into(),
            5 => (0..rng.usize(0..20)).map(|_| value(rng, depth - 1)).collect(),
            _ => Value::Object(
                (0..rng.usize(0..20)).map(|i| (format!("m{i}"), value(rng, depth - 1))).collect(),
            ),
        }
    }

    #[test]
    fn what_was_packed_comes_back_however_it_is_cut() {
        let mut rng = Rng::with_seed(11);
        for round in 0..300 {
            let values: Vec<Value> =
                (0..rng.usize(0..4)).map(|_| json!({"data": value(&mut rng, 2)})).collect();
            let values: Vec<&Value> = values.iter().filter(|value| value.to_string().len() < 4000).collect();
            for format in [Format::Cbor, Format::Msgpack] {
                let mut body = Vec::new();
                format.begin(&mut body);
                for value in &values {
                    format
                        .element(false, &mut body, |out| out.extend_from_slice(value.to_string().as_bytes()));
                }
                format.end(&mut body);
                let (found, end) = read(format == Format::Cbor, &body, rng.usize(1..200));
                let found: Vec<Value> =
                    found.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
                assert_eq!(
                    (found.iter().collect::<Vec<_>>(), end),
                    (values.clone(), None),
                    "{round} {format:?}"
                );
            }
        }
    }

    #[test]
    fn numbers_of_any_size_and_the_deepest_document_come_back() {
        let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
        for text in [
            "1e400",
            "-1e400",
            "1e-400",
            "36893488147419103233",
            "-9223372036854775809",
            "0.10000000000000000001",
            "12345678901234567890.5",
            "1e4000000000000000",
            &format!("1{}", "0".repeat(300)),
            &format!("0.{}1", "0".repeat(3000)),
            &deep,
        ] {
            for format in [Format::Cbor, Format::Msgpack] {
                let (mut body, element) = (Vec::new(), format!("{{\"data\":{text}}}"));
                format.begin(&mut body);
                format.element(false, &mut body, |out| out.extend_from_slice(element.as_bytes()));
                format.end(&mut body);
                for piece in [1, 3, 5000] {
                    let (found, end) = read(format == Format::Cbor, &body, piece);
                    assert_eq!((found.len(), end), (1, None), "{format:?} {text}");
                    let data = found[0].strip_prefix("{\"data\":").and_then(|rest| rest.strip_suffix('}'));
                    let same = data.is_some_and(|data| {
                        data == text || number::compare(data, text).is_some_and(Ordering::is_eq)
                    });
                    assert!(same, "{format:?} {text}: {}", found[0]);
                }
            }
        }
    }

    #[test]
    fn arrays_of_a_known_length_are_taken_too() {
        for piece in 1..8 {
            let want = (vec!["{\"a\":1}".to_owned(), "[]".to_owned()], None);
            assert_eq!(read(false, b"\x92\x81\xa1a\x01\x90", piece), want);
            assert_eq!(read(true, b"\x82\xbf\x61a\x01\xff\x80", piece), want);
        }
        assert_eq!((read(false, b"", 1), read(false, b"\x90", 1)), ((vec![], None), (vec![], None)));
    }

    #[test]
    fn what_is_no_row_is_told_after_what_came_before() {
        let long = [&b"\x9f\xa1\x61a\x79\x0f\xa0"[..], &[b'x'; 4000]].concat();
        let deep = [0x81; 200];
        for (cbor, body, before, code) in [
            (true, &b""[..], 0, "invalid_json"),
            (true, b"\x9f\xa0", 1, "invalid_json"),
            (true, b"\x82\xa0", 1, "invalid_json"),
            (false, b"\x80\x81\xa1a", 1, "invalid_json"),
            (false, b"\x91\x80\x80", 1, "invalid_json"),
            (true, b"\x9f\xa0\xff\xa0", 1, "invalid_json"),
            (true, b"\x9f\xa1\x01\x02\xff", 0, "invalid_json"),
            (true, b"\x9f\xbf\x61a\xff\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\xff\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\x41x\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\xc1\x01\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\xf9\x7e\x00\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61\xff\x01\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 0, "element_too_large"),
            (false, b"\x81\xa1a\xc4\x01x", 0, "invalid_json"),
            (false, b"\x81\xa1a\xd4\x49\x31", 0, "invalid_json"),
            (false, b"\x81\xa1a\xd4\x4ax", 0, "invalid_json"),
            (false, b"\x81\xa1a\xd5\x4a01", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\xd9\x01\x06\x43[1]\xff", 0, "invalid_json"),
            (true, b"\x9f\xa1\x61a\xd9\x01\x06\x01\xff", 0, "invalid_json"),
            (false, b"\xc1", 0, "invalid_json"),
            (true, &long, 0, "element_too_large"),
            (true, &deep, 0, "invalid_json"),
        ] {
            for piece in [1, 2, 3, 100, 5000] {
                let (found, end) = read(cbor, body, piece);
                let end = end.map(|why| why.code());
                assert_eq!(
                    (found.len(), end),
                    (before, Some(code)),
                    "{:x?} by {piece}",
                    &body[..body.len().min(20)]
                );
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_give_the_same_in_pieces() {
        let mut rng = Rng::with_seed(12);
        for _ in 0..20_000 {
            let alphabet = b"\x80\x81\x82\x90\x91\x9f\xa0\xa1\xbf\xffa\x61\xc0\xd9\x01\x9b\xbb\xdc\x00";
            let body: Vec<u8> = (0..rng.usize(..16)).map(|_| *rng.choice(alphabet).unwrap()).collect();
            let cbor = rng.bool();
            assert_eq!(read(cbor, &body, 100), read(cbor, &body, rng.usize(1..4)), "{cbor} {body:x?}");
        }
    }
}
