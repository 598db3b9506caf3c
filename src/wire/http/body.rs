//! The body of a request, by length or in chunks.

use httparse::Status;

use crate::wire::http::bad_request::BadRequest;
use crate::wire::http::head::Framing;

/// The longest line that gives a chunk's size, extensions and line end included, in bytes.
const MAX_SIZE_LINE: usize = 256;
/// The most bytes of trailers, line ends included.
const MAX_TRAILERS: usize = 8 * 1024;

/// What a slice of input was to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// How many of its bytes belonged to the body; the rest belongs to the next request.
    pub used: usize,
    /// Whether the body is complete. Until it is, `used` is the whole slice.
    pub done: bool,
}

/// Reads one request's body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: BodyState,
    /// How many more bytes may come in chunks that have not begun.
    room: u64,
    /// The beginning of a line that is incomplete.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum BodyState {
    /// This many bytes, then the end.
    Length(u64),
    /// The line with the next chunk's size.
    Size,
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Trailers up to a blank line, at most this many bytes.
    Trailers(usize),
    Done,
    Failed(BadRequest),
}

impl BodyDecoder {
    /// A body of at most `max_body` bytes; a declared length beyond that fails here.
    pub fn new(framing: Framing, max_body: usize) -> Result<BodyDecoder, BadRequest> {
        let room = max_body as u64;
        let state = match framing {
            Framing::Length(length) if length > room => return Err(BadRequest::BodyTooLarge),
            Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::Size,
        };
        Ok(BodyDecoder { state, room, line: Vec::new() })
    }

    /// Takes the body's part of `input` and appends its content to `out`. After an error it gives the same again.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Fed, BadRequest> {
        let mut rest = input;
        loop {
            match self.step(&mut rest, out) {
                Ok(Some(next)) => self.state = next,
                Ok(None) => {
                    let done = matches!(self.state, BodyState::Done);
                    return Ok(Fed { used: input.len() - rest.len(), done });
                }
                Err(error) => {
                    self.state = BodyState::Failed(error);
                    return Err(error);
                }
            }
        }
    }

    /// The next state, or `None` when it is done or has used up `rest`.
    fn step(&mut self, rest: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<BodyState>, BadRequest> {
        match self.state {
            BodyState::Length(left) | BodyState::Chunk(left) if rest.is_empty() && left > 0 => Ok(None),
            BodyState::Length(0) => Ok(Some(BodyState::Done)),
            BodyState::Chunk(0) => Ok(Some(BodyState::ChunkEnd)),
            BodyState::Length(left) => Ok(Some(BodyState::Length(left - copy(rest, left, out)))),
            BodyState::Chunk(left) => Ok(Some(BodyState::Chunk(left - copy(rest, left, out)))),
            BodyState::Size => {
                let Some(line) = self.take_line(rest, MAX_SIZE_LINE)? else { return Ok(None) };
                let size = parse_size(&line)?;
                self.room = self.room.checked_sub(size).ok_or(BadRequest::BodyTooLarge)?;
                Ok(Some(if size == 0 { BodyState::Trailers(MAX_TRAILERS) } else { BodyState::Chunk(size) }))
            }
            BodyState::ChunkEnd => {
                let Some(line) = self.take_line(rest, 2)? else { return Ok(None) };
                if line == b"\r\n" { Ok(Some(BodyState::Size)) } else { Err(BadRequest::Chunk) }
            }
            BodyState::Trailers(room) => {
                let Some(line) = self.take_line(rest, room)? else { return Ok(None) };
                Ok(Some(if line == b"\r\n" {
                    BodyState::Done
                } else {
                    BodyState::Trailers(room - line.len())
                }))
            }
            BodyState::Done => Ok(None),
            BodyState::Failed(error) => Err(error),
        }
    }

    /// The next line with its end, which is CRLF; `None`: it is incomplete and kept.
    fn take_line(&mut self, rest: &mut &[u8], max: usize) -> Result<Option<Vec<u8>>, BadRequest> {
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        if self.line.len() + end > max {
            return Err(BadRequest::Chunk);
        }
        let (part, after) = rest.split_at(end);
        self.line.extend_from_slice(part);
        *rest = after;
        if !self.line.ends_with(b"\n") {
            return Ok(None);
        }
        if !self.line.ends_with(b"\r\n") {
            return Err(BadRequest::Chunk);
        }
        Ok(Some(std::mem::take(&mut self.line)))
    }
}

fn copy(rest: &mut &[u8], left: u64, out: &mut Vec<u8>) -> u64 {
    let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
    let (part, after) = rest.split_at(count);
    out.extend_from_slice(part);
    *rest = after;
    count as u64
}

fn parse_size(line: &[u8]) -> Result<u64, BadRequest> {
    // The crate takes a line without any digit for the last chunk.
    if !line[0].is_ascii_hexdigit() {
        return Err(BadRequest::Chunk);
    }
    match httparse::parse_chunk_size(line) {
        Ok(Status::Complete((used, size))) if used == line.len() => Ok(size),
        _ => Err(BadRequest::Chunk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// The content and the rest, or the error; at most `piece` bytes at a time.
    fn read(framing: Framing, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Option<Vec<u8>>), BadRequest> {
        let mut body = BodyDecoder::new(framing, MAX)?;
        let (mut out, mut at) = (Vec::new(), 0);
        loop {
            let input = &bytes[at..bytes.len().min(at + piece)];
            let fed = body.feed(input, &mut out)?;
            at += fed.used;
            if fed.done {
                return Ok((out, Some(bytes[at..].to_vec())));
            }
            assert_eq!(fed.used, input.len(), "an incomplete body leaves nothing");
            if at == bytes.len() {
                return Ok((out, None));
            }
        }
    }

    #[test]
    fn a_body_ends_where_it_says_and_leaves_the_rest_in_every_cut() {
        let chunked = b"4\r\nWiki\r\n5 ;a=\"b\"\r\npedia\r\n00A\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET /";
        for (framing, bytes, content) in [
            (Framing::Length(0), &b"GET /"[..], &b""[..]),
            (Framing::Length(5), b"helloGET /", b"hello"),
            (Framing::Chunked, b"0\r\n\r\nGET /", b""),
            (Framing::Chunked, chunked, b"Wikipedia0123456789"),
        ] {
            for piece in 1..=bytes.len() {
                let expected = (content.to_vec(), Some(b"GET /".to_vec()));
                assert_eq!(read(framing, bytes, piece), Ok(expected), "{piece}");
            }
            let short = &bytes[..bytes.len() - b"GET /".len()];
            for end in 0..short.len() {
                let (out, rest) = read(framing, &short[..end], MAX).unwrap();
                assert!(content.starts_with(&out) && rest.is_none());
            }
        }
    }

    #[test]
    fn malformed_chunks_are_errors_in_every_cut_and_stay_so() {
        let long_size = format!("1;{}\r\n", "x".repeat(MAX_SIZE_LINE));
        let long_trailers = format!("0\r\nA: bc\r\n{}\r\n", "A: b\r\n".repeat(1364));
        for bytes in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            " 1\r\na\r\n",
            "0x1\r\na\r\n",
            ";a\r\n",
            "1\na\r\n",
            "1;a\nb\r\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\r\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "11111111111111111\r\n",
            &long_size,
            &long_trailers,
        ] {
            for piece in [1, 2, 3, bytes.len()] {
                let outcome = read(Framing::Chunked, bytes.as_bytes(), piece);
                assert_eq!(outcome, Err(BadRequest::Chunk), "{:?} by {piece}", bytes.get(..20));
            }
        }
        let mut body = BodyDecoder::new(Framing::Chunked, MAX).unwrap();
        for input in [&b"g\r\n"[..], b"0\r\n\r\n"] {
            assert_eq!(body.feed(input, &mut Vec::new()), Err(BadRequest::Chunk));
        }
    }

    #[test]
    fn the_limits_hold_to_the_byte() {
        let max = MAX as u64;
        assert!(BodyDecoder::new(Framing::Length(max), MAX).is_ok());
        assert_eq!(BodyDecoder::new(Framing::Length(max + 1), MAX).unwrap_err(), BadRequest::BodyTooLarge);
        assert_eq!(BadRequest::BodyTooLarge.status().0, 413);
        let exact = format!("1\r\na\r\n{:x}\r\n{}\r\n0\r\n\r\n", MAX - 1, "b".repeat(MAX - 1));
        assert_eq!(read(Framing::Chunked, exact.as_bytes(), 7).map(|(out, _)| out.len()), Ok(MAX));
        for size in [MAX as u64, u64::MAX] {
            let over = format!("1\r\na\r\n{size:x}\r\n");
            assert_eq!(read(Framing::Chunked, over.as_bytes(), MAX), Err(BadRequest::BodyTooLarge));
        }
        let line = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(MAX_SIZE_LINE - 4));
        assert!(read(Framing::Chunked, line.as_bytes(), 5).is_ok());
        let trailers = format!("0\r\n{}A: {}\r\n\r\n", "A: b\r\n".repeat(1364), "c");
        assert!(read(Framing::Chunked, trailers.as_bytes(), MAX).is_ok_and(|(_, rest)| rest.is_some()));
    }

    #[test]
    fn random_bytes_give_the_same_in_pieces() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..20_000 {
            let alphabet = ["\r\n", "0\r\n", "1\r\na\r\n", "2", "a", ";", "\r", "\n", " ", "ff"];
            let bytes: String = (0..rng.usize(..12)).map(|_| *rng.choice(&alphabet).unwrap()).collect();
            let whole = read(Framing::Chunked, bytes.as_bytes(), MAX);
            let pieces = read(Framing::Chunked, bytes.as_bytes(), rng.usize(1..4));
            assert_eq!(whole, pieces, "{bytes:?}");
        }
    }
}
