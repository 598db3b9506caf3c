//! What every publication carries: `~SEQUENCE:TIME~`, which is found again in whatever the server sends.
//!
//! The marker has a fixed width and no character that JSON escapes, so it is readable in a wrapped value, in an
//! escaped string and in a JSON Patch alike.

use memchr::memchr_iter;

const SEQ_DIGITS: usize = 10;
const TIME_DIGITS: usize = 16;
/// Bytes of one marker.
pub const WIDTH: usize = SEQ_DIGITS + TIME_DIGITS + 3;

/// Identity of one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Number of the publication within the run, from 0.
    pub seq: u64,
    /// When it was meant to be sent, nanoseconds of the run's clock.
    pub sent: u64,
}

impl Marker {
    /// The text form, [`WIDTH`] bytes.
    pub fn to_text(self) -> String {
        format!("~{:010}:{:016}~", self.seq, self.sent)
    }

    fn parse_at(bytes: &[u8], at: usize) -> Option<Marker> {
        let mark = bytes.get(at..at + WIDTH)?;
        if mark[0] != b'~' || mark[SEQ_DIGITS + 1] != b':' || mark[WIDTH - 1] != b'~' {
            return None;
        }
        let seq = number(&mark[1..=SEQ_DIGITS])?;
        let sent = number(&mark[SEQ_DIGITS + 2..WIDTH - 1])?;
        Some(Marker { seq, sent })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |sum, c| c.is_ascii_digit().then(|| sum * 10 + u64::from(c - b'0')))
}

/// Finds the marker of a message; remembers where the last one stood, because the next one mostly stands there too.
#[derive(Default)]
pub struct Scanner {
    hint: usize,
}

impl Scanner {
    /// The first marker in `message` and the offset behind it.
    pub fn find(&mut self, message: &[u8]) -> Option<(Marker, usize)> {
        if let Some(marker) = Marker::parse_at(message, self.hint) {
            return Some((marker, self.hint + WIDTH));
        }
        let found = memchr_iter(b'~', message).find_map(|at| Some((at, Marker::parse_at(message, at)?)));
        found.map(|(at, marker)| {
            self.hint = at;
            (marker, at + WIDTH)
        })
    }
}

/// The JSON value `{"m":"MARKER PADDING"}` of exactly `size` bytes (at least what the marker needs).
pub fn value(marker: Marker, size: usize) -> String {
    let text = marker.to_text();
    let pad = padding(size);
    format!("{{\"m\":\"{text}{pad}\"}}")
}

/// What follows the marker in [`value`]: letters and digits only.
pub fn padding(size: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let frame = WIDTH + r#"{"m":""}"#.len();
    (0..size.saturating_sub(frame)).map(|i| LETTERS[(i * 7 + i / 61) % LETTERS.len()] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { seq: 7, sent: 123_456 };

    #[test]
    fn a_value_has_the_size_asked_for() {
        for size in [37, 128, 4096] {
            assert_eq!(value(MARKER, size).len(), size);
        }
        assert_eq!(value(MARKER, 1).len(), WIDTH + 8);
    }

    #[test]
    fn a_marker_is_found_plain_wrapped_escaped_and_in_a_patch() {
        let plain = value(MARKER, 128);
        let wrapped = format!("{{\"channel\":\"~t0~\",\"data\":{plain}}}");
        let escaped = serde_json::to_string(&plain).unwrap();
        let patch = format!("[{{\"op\":\"replace\",\"path\":\"/a~1b\",\"value\":\"{}\"}}]", MARKER.to_text());
        let mut scanner = Scanner::default();
        for message in [&plain, &wrapped, &escaped, &patch, &plain] {
            let (found, end) = scanner.find(message.as_bytes()).unwrap();
            assert_eq!(found, MARKER);
            assert!(message[..end].ends_with(&MARKER.to_text()));
        }
    }

    #[test]
    fn damaged_and_cut_markers_are_not_found() {
        let text = MARKER.to_text();
        let mut scanner = Scanner::default();
        assert_eq!(scanner.find(&text.as_bytes()[..WIDTH - 1]), None);
        assert_eq!(scanner.find(text.replace(':', ";").as_bytes()), None);
        assert_eq!(scanner.find(text.replace('7', "x").as_bytes()), None);
        assert_eq!(scanner.find(b""), None);
    }
}
