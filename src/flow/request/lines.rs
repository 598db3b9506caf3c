//! The feed's lines, cut out of bytes as they come.

use std::ops::Range;

/// Bytes of the feed that are not handled yet. Call order: `push` for bytes that come; then `next` until it says
/// [`NextLine::Partial`].
#[derive(Debug, Default)]
pub struct LineBuffer {
    /// Bytes that are not handled yet.
    buf: Vec<u8>,
    /// Where in `buf` the next line begins.
    start: usize,
    /// Where in `buf` no line end has been looked for yet.
    searched: usize,
    /// The number of the last line.
    pub number: u64,
    /// No more bytes will come: what is left is the last line.
    pub ended: bool,
}

/// The next line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum NextLine {
    /// A whole line stands here in `LineBuffer::text`.
    Line(Range<usize>),
    /// More bytes are needed.
    Partial,
    /// The line is too long.
    TooLong,
}

impl LineBuffer {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buf.len() {
            self.buf.clear();
            (self.start, self.searched) = (0, 0);
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Bytes that are not handled yet.
    pub fn held(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The next line that is not blank.
    pub fn next(&mut self, max_line: usize) -> NextLine {
        loop {
            let from = self.searched.max(self.start);
            let end = memchr::memchr(b'\n', &self.buf[from..]).map(|n| from + n);
            let len = end.unwrap_or(self.buf.len()) - self.start;
            if len > max_line {
                return NextLine::TooLong;
            }
            let end = match end {
                Some(end) => end,
                None if self.ended && len > 0 => self.buf.len(),
                None => {
                    self.searched = self.buf.len();
                    self.compact();
                    return NextLine::Partial;
                }
            };
            let line = self.start..end;
            self.number += 1;
            self.start = (end + 1).min(self.buf.len());
            self.searched = self.start;
            if !self.buf[line.clone()].trim_ascii().is_empty() {
                return NextLine::Line(line);
            }
        }
    }

    /// A line that `next` has found.
    pub fn text(&self, line: Range<usize>) -> &[u8] {
        self.buf[line].trim_ascii()
    }

    /// Moves an incomplete line to the front, and lets a large buffer go.
    fn compact(&mut self) {
        self.buf.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buf.is_empty() {
            self.buf = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineBuffer, NextLine};

    #[test]
    fn lines_survive_every_cut() {
        let text = b"{\"a\":1}\n\n  {\"b\":2}\r\nlast";
        for step in 1..text.len() {
            let (mut lines, mut got) = (LineBuffer::default(), Vec::new());
            let take = |lines: &mut LineBuffer, got: &mut Vec<_>| {
                while let NextLine::Line(line) = lines.next(20) {
                    got.push((lines.number, String::from_utf8(lines.text(line).to_vec()).unwrap()));
                }
            };
            for part in text.chunks(step) {
                lines.push(part);
                take(&mut lines, &mut got);
            }
            lines.ended = true;
            take(&mut lines, &mut got);
            let want = [(1, r#"{"a":1}"#), (3, r#"{"b":2}"#), (4, "last")].map(|(n, t)| (n, t.to_owned()));
            assert_eq!((&got[..], lines.held()), (&want[..], 0), "step {step}");
        }
    }

    #[test]
    fn a_line_is_too_long_before_it_ends() {
        let mut lines = LineBuffer::default();
        lines.push(&[b'x'; 10]);
        assert_eq!(lines.next(10), NextLine::Partial);
        lines.push(b"x");
        assert_eq!(lines.next(10), NextLine::TooLong);
    }
}
