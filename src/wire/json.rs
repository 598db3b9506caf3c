//! JSON text as fanfare keeps it: checked once on arrival, then carried verbatim.
//!
//! The normal form is compact text: no insignificant blanks, numbers and the order of members as they came, and in
//! strings `<`, `>`, `&`, U+2028 and U+2029 escaped (as Go's `encoding/json` does, so that the text may stand inside
//! HTML). Other characters stay raw, other escapes stay as they came.

pub mod number;
pub mod tree;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// The longest text that is taken, in bytes; spans inside a text fit 32 bits with room for what escaping adds.
pub const MAX_LEN: usize = 512 << 20;

/// One JSON value in normal form; shared by count, never parsed again just to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// Takes one whole value (RFC 8259) with blanks around it.
    ///
    /// # Errors
    /// Says what is wrong and where; anything but blanks behind the value is [`JsonFault::Trailing`].
    pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
        let (json, end) = Json::parse_prefix(bytes)?;
        check_rest(bytes, end)?;
        Ok(json)
    }

    /// Takes the first value and says how many bytes it and the blanks before it took; what follows is not looked at.
    ///
    /// # Errors
    /// As [`Json::parse`], without [`JsonFault::Trailing`].
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Json, usize), JsonError> {
        let mut out = Vec::new();
        let rest = scan(bytes, &mut out)?;
        let end = rest.end;
        // Text that was in normal form already is copied once, straight into its shared place.
        let text: Cow<'_, [u8]> = if out.is_empty() {
            Cow::Borrowed(&bytes[rest])
        } else {
            out.extend_from_slice(&bytes[rest]);
            Cow::Owned(out)
        };
        let text =
            std::str::from_utf8(&text).expect("the scan checked the encoding, and only ASCII was added");
        Ok((Json(text.into()), end))
    }

    /// Appends the normal form of one whole value to `out`, for a caller that splices.
    ///
    /// # Errors
    /// As [`Json::parse`]; `out` is then as it was.
    pub fn normalise_into(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        let before = out.len();
        let end = Json::normalise_prefix_into(bytes, out)?;
        check_rest(bytes, end).inspect_err(|_| out.truncate(before))
    }

    /// Appends the normal form of the first value to `out` and says how many bytes were taken, as
    /// [`Json::parse_prefix`] does.
    ///
    /// # Errors
    /// As [`Json::parse_prefix`]; `out` is then as it was.
    pub fn normalise_prefix_into(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, JsonError> {
        let before = out.len();
        let rest = scan(bytes, out).inspect_err(|_| out.truncate(before))?;
        let end = rest.end;
        out.extend_from_slice(&bytes[rest]);
        Ok(end)
    }

    /// Takes text that is in normal form by construction, such as values put together from pieces of others. What we
    /// wrap around a value may make it nest deeper than arriving text may ([`MAX_DEPTH`]).
    pub(crate) fn from_normalised(text: String) -> Json {
        debug_assert!(is_normal(&text), "not in normal form: {text}");
        Json(text.into())
    }

    /// `null`.
    pub fn null() -> Json {
        Json("null".into())
    }

    /// A string value.
    pub fn string(text: &str) -> Json {
        let mut out = Vec::with_capacity(text.len() + 2);
        write_string(text, &mut out);
        Json::from_normalised(String::from_utf8(out).expect("only ASCII was added to a str"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whether a text is one value in normal form, however deep it nests.
fn is_normal(text: &str) -> bool {
    match Json::parse(text.as_bytes()) {
        Ok(json) => json.as_str() == text,
        Err(error) => error.fault == JsonFault::Depth,
    }
}

/// Text that is not a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, {found} at byte {offset}", found = Found(*.byte))]
pub struct JsonError {
    /// What is wrong.
    pub fault: JsonFault,
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// The byte that stands there, or `None` at the end of the text.
    pub byte: Option<u8>,
}

/// What can be wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// No value where one must be.
    #[error("expected a value")]
    Value,
    /// `true`, `false` or `null` misspelt; holds the word as it should be.
    #[error("expected the literal {0}")]
    Literal(&'static str),
    /// A number breaks off or goes on wrongly.
    #[error("expected a digit")]
    Number,
    /// A member's name is missing.
    #[error("expected the name of a member")]
    Name,
    /// The colon behind a name is missing.
    #[error("expected a colon")]
    Colon,
    /// Between elements of an array.
    #[error("expected a comma or the end of the array")]
    InArray,
    /// Between members of an object.
    #[error("expected a comma or the end of the object")]
    InObject,
    /// A string that does not end, or a raw control character in it.
    #[error("expected the rest of a string")]
    Text,
    /// An escape that JSON does not know.
    #[error("expected a valid escape")]
    Escape,
    /// Half of a surrogate pair: it stands for no character.
    #[error("lone surrogate in a string")]
    Surrogate,
    /// A string is not UTF-8.
    #[error("invalid UTF-8")]
    Encoding,
    /// More than [`MAX_DEPTH`] arrays and objects inside each other.
    #[error("nested more than {MAX_DEPTH} deep")]
    Depth,
    /// Something behind the value.
    #[error("expected nothing more")]
    Trailing,
    /// Longer than [`MAX_LEN`].
    #[error("longer than {MAX_LEN} bytes")]
    Length,
}

/// Words the offending byte.
struct Found(Option<u8>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("found the end"),
            Some(byte @ b' '..=b'~') => write!(f, "found {:?}", char::from(byte)),
            Some(byte) => write!(f, "found 0x{byte:02x}"),
        }
    }
}

/// Appends `text` as a JSON string in normal form, quotes included.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_run(rest);
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let taken = match rest {
            [] => break,
            [b'"', ..] => escape(out, b"\\\""),
            [b'\\', ..] => escape(out, b"\\\\"),
            [b'\n', ..] => escape(out, b"\\n"),
            [b'\r', ..] => escape(out, b"\\r"),
            [b'\t', ..] => escape(out, b"\\t"),
            [0x08, ..] => escape(out, b"\\b"),
            [0x0c, ..] => escape(out, b"\\f"),
            [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => escape(out, separator(*last)) + 2,
            [0xe2, ..] => escape(out, &[0xe2]),
            [byte, ..] => escape(out, &unicode(*byte)),
        };
        rest = &rest[taken..];
    }
    out.push(b'"');
}

/// What a JSON string (with its quotes, in normal form) says. Allocates only if there is an escape in it.
pub fn read_string(quoted: &str) -> Cow<'_, str> {
    if quoted.contains('\\') {
        Cow::Owned(serde_json::from_str(quoted).expect("a string in normal form is valid JSON"))
    } else {
        Cow::Borrowed(&quoted[1..quoted.len() - 1])
    }
}

/// Where the string that opens at `at` ends: the place behind its closing quote. The text must be valid.
pub(crate) fn string_end(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at += run_without(&text[at..], |word| equal(word, b'"') | equal(word, b'\\'));
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
}

/// Appends `bytes`, which stand for one byte of the source.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) -> usize {
    out.extend_from_slice(bytes);
    1
}

/// `\u00xx` for a byte below 0x80.
fn unicode(byte: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// The escape of U+2028 or U+2029, by the last byte of its encoding.
fn separator(last: u8) -> &'static [u8] {
    if last == 0xa8 { b"\\u2028" } else { b"\\u2029" }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// Marks the top bit of bytes that equal `byte`. Only the lowest mark is to be trusted, as the borrow runs upwards.
fn equal(word: u64, byte: u8) -> u64 {
    let x = word ^ (ONES * u64::from(byte));
    x.wrapping_sub(ONES) & !x & TOPS
}

/// How many bytes come before the first one that `marks` marks.
#[inline(always)]
fn run_without(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    let mut rest = bytes;
    while let Some((word, more)) = rest.split_first_chunk() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
        rest = more;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let found = marks(u64::from_le_bytes(last));
    at + (found.trailing_zeros() as usize / 8).min(rest.len())
}

/// How many bytes of a string can stand as they are: up to a quote, a backslash, a control character, one of `<>&`
/// or a byte that may begin U+2028 or U+2029.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    run_without(bytes, |word| {
        let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let angle = equal(word | (ONES * 2), b'>');
        control | angle | equal(word, b'"') | equal(word, b'\\') | equal(word, b'&') | equal(word, 0xe2)
    })
}

/// Anything but blanks from `at` on is an error.
fn check_rest(bytes: &[u8], at: usize) -> Result<(), JsonError> {
    match bytes[at..].iter().position(|byte| !is_blank(*byte)) {
        None => Ok(()),
        Some(more) => {
            Err(JsonError { fault: JsonFault::Trailing, offset: at + more, byte: Some(bytes[at + more]) })
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Checks the first value of `bytes`. What must change is appended to `out` together with all that stands before it;
/// the range is the rest, to be appended as it is, and its end is the end of the value.
fn scan(bytes: &[u8], out: &mut Vec<u8>) -> Result<Range<usize>, JsonError> {
    if bytes.len() > MAX_LEN {
        return Err(JsonError { fault: JsonFault::Length, offset: MAX_LEN, byte: Some(bytes[MAX_LEN]) });
    }
    let mut scan = Scanner { bytes, at: 0, kept: 0, out };
    scan.value()?;
    let Scanner { at, kept, .. } = scan;
    match std::str::from_utf8(&bytes[..at]) {
        Ok(_) => Ok(kept..at),
        Err(e) => {
            let offset = e.valid_up_to();
            Err(JsonError { fault: JsonFault::Encoding, offset, byte: Some(bytes[offset]) })
        }
    }
}

/// One pass over a text.
struct Scanner<'a, 'o> {
    bytes: &'a [u8],
    at: usize,
    /// Everything before it is in `out`; from here to `at` nothing had to change.
    kept: usize,
    out: &'o mut Vec<u8>,
}

impl Scanner<'_, '_> {
    /// One value with all that is in it; nesting is a bit per level, not a call per level.
    fn value(&mut self) -> Result<(), JsonError> {
        let mut depth = 0;
        let mut objects: u128 = 0;
        loop {
            self.blanks();
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b'{') => {
                    depth = self.open(depth)?;
                    objects = objects << 1 | 1;
                    if self.peek() != Some(b'}') {
                        self.name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    depth = self.open(depth)?;
                    objects <<= 1;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return self.fail(JsonFault::Value),
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.blanks();
                let in_object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if in_object {
                            self.name()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => {}
                    Some(b']') if !in_object => {}
                    _ => return self.fail(if in_object { JsonFault::InObject } else { JsonFault::InArray }),
                }
                self.at += 1;
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn fail<T>(&self, fault: JsonFault) -> Result<T, JsonError> {
        Err(JsonError { fault, offset: self.at, byte: self.peek() })
    }

    /// Goes into a container and to what comes first in it.
    fn open(&mut self, depth: usize) -> Result<usize, JsonError> {
        if depth == MAX_DEPTH {
            return self.fail(JsonFault::Depth);
        }
        self.at += 1;
        self.blanks();
        Ok(depth + 1)
    }

    /// Leaves out blanks.
    #[inline]
    fn blanks(&mut self) {
        if self.peek().is_some_and(is_blank) {
            self.out.extend_from_slice(&self.bytes[self.kept..self.at]);
            while self.peek().is_some_and(is_blank) {
                self.at += 1;
            }
            self.kept = self.at;
        }
    }

    /// A member's name and the colon.
    fn name(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.peek() != Some(b'"') {
            return self.fail(JsonFault::Name);
        }
        self.string()?;
        self.blanks();
        if self.peek() != Some(b':') {
            return self.fail(JsonFault::Colon);
        }
        self.at += 1;
        Ok(())
    }

    /// Writes `bytes` in the place of the next `len` ones.
    fn instead(&mut self, len: usize, bytes: &[u8]) {
        self.out.extend_from_slice(&self.bytes[self.kept..self.at]);
        self.out.extend_from_slice(bytes);
        self.at += len;
        self.kept = self.at;
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.bytes[self.at..] {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', ..] => self.escape()?,
                [byte @ (b'<' | b'>' | b'&'), ..] => self.instead(1, &unicode(byte)),
                [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => self.instead(3, separator(last)),
                [0xe2, ..] => self.at += 1,
                _ => return self.fail(JsonFault::Text),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let start = self.at;
                let high = self.unit()?;
                let paired = match high {
                    0xd800..=0xdbff if self.bytes[self.at..].starts_with(b"\\u") => {
                        self.at += 1;
                        matches!(self.unit()?, 0xdc00..=0xdfff)
                    }
                    0xd800..=0xdfff => false,
                    _ => true,
                };
                if !paired {
                    self.at = start;
                    return self.fail(JsonFault::Surrogate);
                }
            }
            _ => return self.fail(JsonFault::Escape),
        }
        Ok(())
    }

    /// The four digits behind a `u`.
    fn unit(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            self.at += 1;
            match self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => unit = unit << 4 | digit,
                None => return self.fail(JsonFault::Escape),
            }
        }
        self.at += 1;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fail(JsonFault::Number) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.at += self.bytes[self.at..].iter().zip(word.as_bytes()).take_while(|(a, b)| a == b).count();
        self.fail(JsonFault::Literal(word))
    }
}

#[cfg(test)]
mod tests;
