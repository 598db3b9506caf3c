//! A row of objects out of a body that comes piece by piece: where each one stands, and what it writes.

use crate::wire::feed::{object, present};
use crate::wire::json::{Json, JsonError};
use crate::wire::key::{Key, KeyError};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Something else stands where an object, a comma or the end should.
    #[error("a row of objects is expected; there is 0x{0:02x} in its place")]
    Unexpected(u8),
    /// The body ends inside the row.
    #[error("the body breaks off")]
    BreaksOff,
    /// An element is larger than may be kept.
    #[error("it is larger than {0} bytes ([ooo] max_body)")]
    TooLarge(usize),
    /// A packed body holds what JSON has no word for, or what makes no sense.
    #[error("{0}")]
    Packed(&'static str),
    /// An element is no JSON object.
    #[error("it is not a JSON object: {0}")]
    Json(String),
    /// An element that does not say what it is called, or what it holds.
    #[error("an element is an item, with \"path\" and \"data\", or has \"key\" and \"data\"")]
    Fields,
    /// The key is invalid.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The data is not JSON, or cannot be stored.
    #[error("{0}")]
    Data(#[from] JsonError),
}

impl RowError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            RowError::Unexpected(_) | RowError::BreaksOff | RowError::Packed(_) | RowError::Json(_) => {
                "invalid_json"
            }
            RowError::TooLarge(_) => "element_too_large",
            RowError::Fields => "invalid_field",
            RowError::Key(_) => "invalid_key",
            RowError::Data(_) => "invalid_data",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowState {
    /// Before the array.
    Start,
    /// Before an element: the first one, or the one behind a comma.
    Before { first: bool },
    /// In an element, so deep; whether in a string, and behind its backslash.
    Inside { depth: u32, text: bool, escape: bool },
    /// Behind an element.
    Behind,
    /// Behind the array.
    Closed,
}

/// Finds the objects of one body: of a JSON array, or of lines.
#[derive(Debug)]
pub struct Rows {
    array: bool,
    state: RowState,
    /// Bytes that have arrived and are not used up.
    pub buf: Vec<u8>,
    start: usize,
    at: usize,
}

impl Rows {
    /// A body that is one array, or else one object per line.
    pub fn new(array: bool) -> Rows {
        let state = if array { RowState::Start } else { RowState::Before { first: true } };
        Rows { array, state, buf: Vec::new(), start: 0, at: 0 }
    }

    /// The next object of at most `max` bytes; `None`: more bytes are needed, or it is the end. `ended`: no more bytes
    /// will come.
    ///
    /// # Errors
    /// The row is malformed or too large; it gives the same again.
    pub fn next(&mut self, ended: bool, max: usize) -> Result<Option<&[u8]>, RowError> {
        while let Some(&byte) = self.buf.get(self.at) {
            let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            let next = match (self.state, byte) {
                (RowState::Inside { depth, text, escape }, byte) => {
                    if self.at - self.start >= max {
                        return Err(RowError::TooLarge(max));
                    }
                    match inside(depth, text, escape, byte) {
                        Some(next) => next,
                        None => {
                            self.at += 1;
                            self.state = RowState::Behind;
                            return Ok(Some(&self.buf[self.start..self.at]));
                        }
                    }
                }
                (state, _) if blank => state,
                (RowState::Start, b'[') => RowState::Before { first: true },
                (RowState::Before { .. }, b'{') => self.begin(),
                (RowState::Behind, b'{') if !self.array => self.begin(),
                (RowState::Before { first: true } | RowState::Behind, b']') if self.array => RowState::Closed,
                (RowState::Behind, b',') if self.array => RowState::Before { first: false },
                (_, byte) => return Err(RowError::Unexpected(byte)),
            };
            self.state = next;
            self.at += 1;
        }
        self.compact();
        match (ended, self.state) {
            (false, _) | (true, RowState::Closed) => Ok(None),
            (true, RowState::Before { .. } | RowState::Behind) if !self.array => Ok(None),
            (true, _) => Err(RowError::BreaksOff),
        }
    }

    fn begin(&mut self) -> RowState {
        self.start = self.at;
        RowState::Inside { depth: 1, text: false, escape: false }
    }

    /// Drops the bytes that are used up.
    fn compact(&mut self) {
        let keep = if matches!(self.state, RowState::Inside { .. }) { self.start } else { self.at };
        self.buf.drain(..keep);
        self.at -= keep;
        self.start = 0;
    }
}

/// The state behind one more byte of an element; `None`: it was the last one.
fn inside(depth: u32, text: bool, escape: bool, byte: u8) -> Option<RowState> {
    let (depth, text, escape) = match (text, byte) {
        (true, _) if escape => (depth, true, false),
        (true, b'\\') => (depth, true, true),
        (_, b'"') => (depth, !text, false),
        (false, b'{' | b'[') => (depth + 1, false, false),
        (false, b'}' | b']') if depth == 1 => return None,
        (false, b'}' | b']') => (depth - 1, false, false),
        _ => (depth, text, false),
    };
    Some(RowState::Inside { depth, text, escape })
}

#[derive(Deserialize)]
struct RowFields<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// What an element writes: an item by its `path`, or `{"key","data"}`.
///
/// # Errors
/// It is neither.
pub fn element(text: &[u8]) -> Result<(Key, Json), RowError> {
    let fields: RowFields<'_> = object(text).map_err(RowError::Json)?;
    let (Some(key), Some(data)) = (fields.key.or(fields.path), fields.data) else {
        return Err(RowError::Fields);
    };
    Ok((Key::parse(&key)?, Json::parse(data.get().as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::{RowError, Rows, element};

    /// The objects of a body that comes by `piece` bytes, and its end.
    fn read(array: bool, body: &str, piece: usize) -> (Vec<String>, Option<RowError>) {
        let (mut rows, mut found) = (Rows::new(array), Vec::new());
        let mut pieces = body.as_bytes().chunks(piece);
        loop {
            let next = pieces.next();
            rows.buf.extend_from_slice(next.unwrap_or(b""));
            loop {
                match rows.next(next.is_none(), 100) {
                    Ok(Some(text)) => found.push(String::from_utf8(text.to_vec()).unwrap()),
                    Ok(None) if next.is_none() => return (found, None),
                    Ok(None) => break,
                    Err(why) => return (found, Some(why)),
                }
            }
        }
    }

    #[test]
    fn objects_are_found_in_every_cut() {
        let objects = [r#"{"a":"}\"]{"}"#, r#"{}"#, r#"{"b":[{"c":[]}],"d":"\\"}"#];
        let array = format!(" [ {} ,{},\n{}] \n", objects[0], objects[1], objects[2]);
        let lines = format!("\n{}\r\n{}{}", objects[0], objects[1], objects[2]);
        for (is_array, body) in [(true, array), (false, lines)] {
            for piece in 1..=body.len() {
                assert_eq!(
                    read(is_array, &body, piece),
                    (objects.map(str::to_owned).to_vec(), None),
                    "{piece}"
                );
            }
        }
        assert_eq!((read(true, "[]", 1), read(false, "", 1)), ((vec![], None), (vec![], None)));
    }

    #[test]
    fn what_is_no_row_is_told_after_what_came_before() {
        let long = format!("[{{}},{{\"a\":\"{}\"}}]", "x".repeat(100));
        for (array, body, before, why) in [
            (true, "", 0, RowError::BreaksOff),
            (true, "[{},", 1, RowError::BreaksOff),
            (true, "[{}", 1, RowError::BreaksOff),
            (true, "[{\"a\":", 0, RowError::BreaksOff),
            (true, "[{},]", 1, RowError::Unexpected(b']')),
            (true, "[{}{}]", 1, RowError::Unexpected(b'{')),
            (true, "[,{}]", 0, RowError::Unexpected(b',')),
            (true, "[1]", 0, RowError::Unexpected(b'1')),
            (true, "{}", 0, RowError::Unexpected(b'{')),
            (true, "[{}] {}", 1, RowError::Unexpected(b'{')),
            (false, "{},{}", 1, RowError::Unexpected(b',')),
            (false, "{}\n{", 1, RowError::BreaksOff),
            (true, &long, 1, RowError::TooLarge(100)),
        ] {
            for piece in 1..=body.len().max(1) {
                let (found, end) = read(array, body, piece);
                assert_eq!((found.len(), end), (before, Some(why.clone())), "{body} by {piece}");
            }
        }
    }

    #[test]
    fn an_element_is_an_item_or_a_key_with_its_data() {
        let ok = |text: &str| element(text.as_bytes()).map(|(k, v)| format!("{}={}", k.as_str(), v.as_str()));
        assert_eq!(
            ok(r#"{"created":1,"index":"1","path":"a/1","data":{"x": 1.0}}"#).unwrap(),
            r#"a/1={"x":1.0}"#
        );
        assert_eq!(ok(r#"{"key":"b","path":"a","data":null}"#).unwrap(), "b=null");
        for (text, code) in [
            (r#"{"key":"b"}"#, "invalid_field"),
            (r#"{"data":1}"#, "invalid_field"),
            (r#"{"key":"b/*","data":1}"#, "invalid_key"),
            (r#"{"key":"ws/1","data":1}"#, "invalid_key"),
            (r#"{"key":1,"data":1}"#, "invalid_json"),
            (r#"{"key":"a","data":tru}"#, "invalid_json"),
        ] {
            assert_eq!(ok(text).unwrap_err().code(), code, "{text}");
        }
    }
}
