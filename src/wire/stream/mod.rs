//! The formats of streamed HTTP: how a row of JSON values stands in a body.

mod pack;
mod rows;
mod unpack;

pub use pack::{cbor, msgpack};
pub use rows::{RowError, element};

use rows::Rows;
use unpack::Packs;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON array.
    Json,
    /// One JSON value per line.
    Ndjson,
    /// MessagePack values, one behind the other.
    Msgpack,
    /// One CBOR array of indefinite length.
    Cbor,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Plain,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

impl Format {
    /// The format of a media type, without parameters; ranges and the empty text are JSON.
    pub fn of(media_type: &str) -> Option<Format> {
        match media_type.to_ascii_lowercase().as_str() {
            "" | "*/*" | "application/*" | "application/json" => Some(Format::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Format::Ndjson),
            "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
                Some(Format::Msgpack)
            }
            "application/cbor" => Some(Format::Cbor),
            _ => None,
        }
    }

    /// The format that an `Accept` header (its members) likes best; `None` if it takes none of them.
    pub fn accepted<'a>(accept: impl Iterator<Item = &'a str>) -> Option<Format> {
        let mut accept = accept.peekable();
        if accept.peek().is_none() {
            return Some(Format::Json);
        }
        best(accept.filter_map(|range| {
            let (name, quality) = quality(range);
            Some((Format::of(name)?, quality))
        }))
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Msgpack => "application/msgpack",
            Format::Cbor => "application/cbor",
        }
    }

    /// Appends what stands before the elements.
    pub fn begin(self, out: &mut Vec<u8>) {
        match self {
            Format::Json => out.push(b'['),
            Format::Cbor => out.push(0x9f),
            Format::Ndjson | Format::Msgpack => {}
        }
    }

    /// Appends an element; `write` appends its JSON in normal form.
    pub fn element(self, first: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Format::Json => {
                if !first {
                    out.push(b',');
                }
                write(out);
            }
            Format::Ndjson => {
                write(out);
                out.push(b'\n');
            }
            Format::Msgpack | Format::Cbor => {
                let mut json = Vec::new();
                write(&mut json);
                let text = std::str::from_utf8(&json).expect("JSON in normal form is text");
                if self == Format::Cbor { cbor(text, out) } else { msgpack(text, out) }
            }
        }
    }

    /// Appends what stands behind the elements.
    pub fn end(self, out: &mut Vec<u8>) {
        match self {
            Format::Json => out.push(b']'),
            Format::Cbor => out.push(0xff),
            Format::Ndjson | Format::Msgpack => {}
        }
    }
}

/// The elements of one body that comes piece by piece.
#[derive(Debug)]
pub enum Elements {
    /// Objects as JSON text.
    Rows(Rows),
    /// Packed values.
    Packs(Packs),
}

impl Elements {
    /// A body in that format.
    pub fn new(format: Format) -> Elements {
        match format {
            Format::Json | Format::Ndjson => Elements::Rows(Rows::new(format == Format::Json)),
            Format::Msgpack | Format::Cbor => Elements::Packs(Packs::new(format == Format::Cbor)),
        }
    }

    /// Where what comes is appended.
    pub fn buf(&mut self) -> &mut Vec<u8> {
        match self {
            Elements::Rows(rows) => &mut rows.buf,
            Elements::Packs(packs) => &mut packs.buf,
        }
    }

    /// The next element of at most `max` bytes as JSON text; `None`: more bytes are needed, or it is the end. `ended`: no
    /// more bytes will come.
    ///
    /// # Errors
    /// The row is malformed, or an element is too large.
    pub fn next(&mut self, ended: bool, max: usize) -> Result<Option<&[u8]>, RowError> {
        match self {
            Elements::Rows(rows) => rows.next(ended, max),
            Elements::Packs(packs) => packs.next(ended, max),
        }
    }
}

impl Coding {
    /// The coding that an `Accept-Encoding` header (its members) likes best.
    pub fn accepted<'a>(accept: impl Iterator<Item = &'a str>) -> Coding {
        let known = accept.filter_map(|coding| {
            let (name, quality) = quality(coding);
            match name.to_ascii_lowercase().as_str() {
                "zstd" => Some((Coding::Zstd, quality)),
                "gzip" | "x-gzip" => Some((Coding::Gzip, quality)),
                _ => None,
            }
        });
        best(known).unwrap_or(Coding::Plain)
    }

    /// Its name in `Content-Encoding`.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Coding::Plain => None,
            Coding::Gzip => Some("gzip"),
            Coding::Zstd => Some("zstd"),
        }
    }
}

/// The first of the best; what has no quality is refused.
fn best<T>(choices: impl Iterator<Item = (T, f32)>) -> Option<T> {
    let wanted = choices.filter(|(_, quality)| *quality > 0.0);
    let best = wanted.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(choice, _)| choice)
}

/// A member of a list with its quality: `gzip;q=0.5`.
fn quality(member: &str) -> (&str, f32) {
    let mut parts = member.split(';').map(str::trim);
    let name = parts.next().unwrap_or("");
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim() == "q");
    (name, weight.map_or(1.0, |(_, q)| q.trim().parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::{Coding, Format};

    #[test]
    fn the_best_that_is_known_is_chosen() {
        let format = |accept: &str| Format::accepted(accept.split(',').filter(|a| !a.is_empty()));
        for (accept, want) in [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Format::Json)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/json;q=0.5,application/cbor", Some(Format::Cbor)),
            ("application/x-msgpack; q=1,application/cbor;q=0.9", Some(Format::Msgpack)),
            ("text/csv", None),
            ("application/cbor;q=0", None),
        ] {
            assert_eq!(format(accept), want, "{accept}");
        }
        let coding = |accept: &str| Coding::accepted(accept.split(','));
        assert_eq!(coding("gzip, deflate, br"), Coding::Gzip);
        assert_eq!(coding("zstd;q=0,gzip;q=0.1"), Coding::Gzip);
        assert_eq!(coding("gzip;q=0.2,zstd"), Coding::Zstd);
        assert_eq!(
            (coding("br"), coding(""), coding("identity")),
            (Coding::Plain, Coding::Plain, Coding::Plain)
        );
    }
}
