//! The application's connection: lines in, in order, and a bound on how many are under way.

use crate::flow::feed::Write;
use std::ops::Range;

/// How many lines of one connection may wait for their owners.
pub const WINDOW: u32 = 1024;

/// A connection that feeds.
#[derive(Debug, Default)]
pub struct Feed {
    /// Bytes that are not handled yet.
    buf: Vec<u8>,
    /// Where in `buf` the next line begins.
    start: usize,
    /// Where in `buf` no line end has been looked for yet.
    searched: usize,
    /// The number of the last line.
    pub line: u64,
    /// How many lines wait for their owners.
    pub in_flight: u32,
    /// A batch of several owners: goes out when nothing is in flight, and nothing goes before its answer.
    pub barrier: Option<Barrier>,
    /// No more lines will come.
    pub ended: bool,
}

/// Writes that concern several owners.
#[derive(Debug)]
pub struct Barrier {
    /// Its line.
    pub line: u64,
    /// The `id` of its reply.
    pub id: Option<Box<str>>,
    /// What it asks for; empty once it is under way.
    pub writes: Vec<Write>,
    /// Whether it is a single write that all owners must do.
    pub one: bool,
}

/// The next line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole line stands here in `Feed::text`.
    Line(Range<usize>),
    /// More bytes are needed.
    Partial,
    /// The line is too long.
    TooLong,
}

impl Feed {
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

    /// Whether a line may be handled now.
    pub fn is_open(&self) -> bool {
        self.in_flight < WINDOW && self.barrier.is_none()
    }

    /// The next line that is not blank.
    pub fn next(&mut self, max_line: usize) -> Next {
        loop {
            let from = self.searched.max(self.start);
            let end = memchr::memchr(b'\n', &self.buf[from..]).map(|n| from + n);
            let len = end.unwrap_or(self.buf.len()) - self.start;
            if len > max_line {
                return Next::TooLong;
            }
            let end = match end {
                Some(end) => end,
                None if self.ended && len > 0 => self.buf.len(),
                None => {
                    self.searched = self.buf.len();
                    self.compact();
                    return Next::Partial;
                }
            };
            let line = self.start..end;
            self.line += 1;
            self.start = (end + 1).min(self.buf.len());
            self.searched = self.start;
            if !self.buf[line.clone()].trim_ascii().is_empty() {
                return Next::Line(line);
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
    use super::{Feed, Next};

    #[test]
    fn lines_survive_every_cut() {
        let text = b"{\"a\":1}\n\n  {\"b\":2}\r\nlast";
        for step in 1..text.len() {
            let (mut feed, mut got) = (Feed::default(), Vec::new());
            let take = |feed: &mut Feed, got: &mut Vec<_>| {
                while let Next::Line(line) = feed.next(20) {
                    got.push((feed.line, String::from_utf8(feed.text(line).to_vec()).unwrap()));
                }
            };
            for part in text.chunks(step) {
                feed.push(part);
                take(&mut feed, &mut got);
            }
            feed.ended = true;
            take(&mut feed, &mut got);
            let want = [(1, r#"{"a":1}"#), (3, r#"{"b":2}"#), (4, "last")].map(|(n, t)| (n, t.to_owned()));
            assert_eq!((&got[..], feed.held()), (&want[..], 0), "step {step}");
        }
    }

    #[test]
    fn a_line_is_too_long_before_it_ends() {
        let mut feed = Feed::default();
        feed.push(&[b'x'; 10]);
        assert_eq!(feed.next(10), Next::Partial);
        feed.push(b"x");
        assert_eq!(feed.next(10), Next::TooLong);
    }
}
