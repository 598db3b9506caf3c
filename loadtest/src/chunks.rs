//! The chunked body of an HTTP/1.1 response, taken apart as it comes; its framing must be exact.

use crate::client::Fault;

/// The longest line with a chunk's size.
const MAX_LINE: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line with the next chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk are still to come.
    Content(usize),
    /// In the line end behind a chunk.
    End,
    /// In the line end behind the last chunk: no trailers are expected.
    LastEnd,
    /// Behind the body.
    Done,
}

/// One body.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    line: Vec<u8>,
}

impl Chunks {
    /// The next piece of content at the front of `bytes`, which goes on behind it; `None` when all of them are used up.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        while !bytes.is_empty() {
            if let State::Content(left) = self.state {
                let (piece, rest) = bytes.split_at(left.min(bytes.len()));
                *bytes = rest;
                self.state =
                    if piece.len() == left { State::End } else { State::Content(left - piece.len()) };
                return Ok(Some(piece));
            }
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let (part, rest) = bytes.split_at(end);
            self.line.extend_from_slice(part);
            *bytes = rest;
            if self.line.len() > MAX_LINE {
                return Err("a chunk without a size".into());
            }
            if self.line.ends_with(b"\n") {
                self.state = self.behind_line()?;
                self.line.clear();
            }
        }
        Ok(None)
    }

    /// Whether the last chunk has come.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn behind_line(&self) -> Result<State, Fault> {
        let wrong = || format!("bad chunk line {:?}", String::from_utf8_lossy(&self.line));
        let text = self.line.strip_suffix(b"\r\n").ok_or_else(wrong)?;
        match self.state {
            State::Size => {
                let text = std::str::from_utf8(text).map_err(|_| wrong())?;
                let size = usize::from_str_radix(text, 16).map_err(|_| wrong())?;
                Ok(if size == 0 { State::LastEnd } else { State::Content(size) })
            }
            State::End if text.is_empty() => Ok(State::Size),
            State::LastEnd if text.is_empty() => Ok(State::Done),
            _ => Err(wrong()),
        }
    }
}

/// The status of a complete response head, whether its body is chunked, its content type, and its length; `None` while it
/// is incomplete.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|e| format!("bad response: {e}"))?;
    let httparse::Status::Complete(length) = status else {
        return if bytes.len() > 16 << 10 { Err("an endless head".into()) } else { Ok(None) };
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    };
    Ok(Some(Head {
        status: response.code.unwrap_or(0),
        chunked: header("transfer-encoding").is_some_and(|coding| coding == "chunked"),
        kind: header("content-type").unwrap_or_default(),
        total: header("x-total-count").and_then(|total| total.parse().ok()),
        length,
    }))
}

/// What matters of a response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Whether the body is chunked.
    pub chunked: bool,
    /// The content type, in lower case.
    pub kind: String,
    /// `X-Total-Count`, if it is a number.
    pub total: Option<u64>,
    /// The bytes of the head.
    pub length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, bool), Fault> {
        let (mut chunks, mut out) = (Chunks::default(), Vec::new());
        for mut part in bytes.chunks(piece) {
            while let Some(content) = chunks.next(&mut part)? {
                out.extend_from_slice(content);
            }
        }
        Ok((out, chunks.is_done()))
    }

    #[test]
    fn the_cuts_between_reads_do_not_matter() {
        let bytes = b"4\r\nWiki\r\nA\r\npedia\r\nab\n\r\n0\r\n\r\n";
        for piece in 1..=bytes.len() {
            assert_eq!(read(bytes, piece).unwrap(), (b"Wikipedia\r\nab\n".to_vec(), true), "{piece}");
        }
        assert!(!read(&bytes[..bytes.len() - 2], 3).unwrap().1, "it breaks off");
    }

    #[test]
    fn wrong_framing_is_a_fault() {
        for bad in ["x\r\n", "4\nWiki\r\n", "4\r\nWikip\r\n", "\r\n", "0\r\nA: b\r\n\r\n", "0\r\n\r\nmore\n"]
        {
            assert!(read(bad.as_bytes(), 1).is_err(), "{bad:?}");
        }
        assert!(read(&[b'1'; 100], 100).is_err());
    }

    #[test]
    fn a_head_says_what_follows() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\nTransfer-Encoding: chunked\r\nX-Total-Count: 7\r\n\r\nrest";
        let want = Head {
            status: 200,
            chunked: true,
            kind: "text/event-stream".into(),
            total: Some(7),
            length: text.len() - 4,
        };
        assert_eq!(head(text).unwrap(), Some(want));
        assert_eq!(head(&text[..40]).unwrap(), None);
        assert!(head(b"nonsense\r\n\r\n").is_err() && head(&[b'a'; 20_000]).is_err());
    }
}
