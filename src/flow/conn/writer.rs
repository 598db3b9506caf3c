//! The body of a stream: elements in, chunks out, in the format and compression that the client likes.

use crate::flow::encode::frame::Frame;
use crate::wire::stream::{Coding, Format};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt;
use std::io::Write;

/// Room before the content for a chunk's size: eight hex digits and the line end.
const ROOM: usize = 10;
/// A compressor looks back this far at most (its logarithm): what it costs stays under a mebibyte.
const WINDOW: u32 = 17;
const IN_MEMORY: &str = "compressing into memory does not fail";

enum Coder {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

/// Writes a body, chunk by chunk.
pub struct Writer {
    format: Format,
    coder: Coder,
    /// Whether the chunks have their HTTP framing around them.
    chunked: bool,
    threshold: usize,
    /// The content of the next chunk, behind room for its size.
    buf: Vec<u8>,
    first: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("format", &self.format)
            .field("len", &self.buf.len())
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// A body whose chunks are cut at `threshold` bytes; its buffer begins with `size` bytes.
    pub fn new(format: Format, coding: Coding, chunked: bool, threshold: usize, size: usize) -> Writer {
        let room = || vec![0; ROOM];
        let coder = match coding {
            Coding::Plain => Coder::Plain,
            Coding::Gzip => Coder::Gzip(GzEncoder::new(room(), Compression::fast())),
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(room(), 1).expect(IN_MEMORY);
                encoder.window_log(WINDOW).expect("an allowed window");
                Coder::Zstd(encoder)
            }
        };
        let mut buf = Vec::with_capacity(ROOM + size);
        buf.resize(ROOM, 0);
        format.begin(&mut buf);
        Writer { format, coder, chunked, threshold, buf, first: true }
    }

    /// Adds an element; `write` appends its JSON.
    pub fn element(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.format.element(self.first, &mut self.buf, write);
        self.first = false;
    }

    /// Whether a chunk is due.
    pub fn is_full(&self) -> bool {
        self.buf.len() - ROOM > self.threshold
    }

    /// Whether there is something that could be sent before it is due.
    pub fn has_elements(&self) -> bool {
        !self.first && self.buf.len() > ROOM
    }

    /// What is there, as a chunk.
    pub fn cut(&mut self) -> Frame {
        self.seal(false)
    }

    /// The end, with all that is left.
    pub fn finish(&mut self) -> Frame {
        self.format.end(&mut self.buf);
        self.seal(true)
    }

    fn seal(&mut self, last: bool) -> Frame {
        let content = &self.buf[ROOM..];
        match &mut self.coder {
            Coder::Plain => {}
            Coder::Gzip(encoder) => {
                encoder.write_all(content).expect(IN_MEMORY);
                if last { encoder.try_finish() } else { encoder.flush() }.expect(IN_MEMORY);
                self.buf = std::mem::replace(encoder.get_mut(), vec![0; ROOM]);
            }
            Coder::Zstd(encoder) => {
                encoder.write_all(content).expect(IN_MEMORY);
                if last { encoder.do_finish() } else { encoder.flush() }.expect(IN_MEMORY);
                self.buf = std::mem::replace(encoder.get_mut(), vec![0; ROOM]);
            }
        }
        let len = self.buf.len() - ROOM;
        let mut start = ROOM;
        if self.chunked && len > 0 {
            let size = format!("{len:x}\r\n");
            start = ROOM - size.len();
            self.buf[start..ROOM].copy_from_slice(size.as_bytes());
            self.buf.extend_from_slice(b"\r\n");
        }
        if self.chunked && last {
            self.buf.extend_from_slice(b"0\r\n\r\n");
        }
        let frame = Frame::from(&self.buf[start..]);
        self.buf.truncate(ROOM);
        // one large element does not make the buffer large for good
        self.buf.shrink_to(4 * self.threshold);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::wire::stream::{Coding, Format};
    use std::io::Read;

    /// The body that a client would see, and its chunks.
    fn body(coding: Coding, sizes: &[usize]) -> (Vec<u8>, usize) {
        let mut writer = Writer::new(Format::Json, coding, true, 32768, 51200);
        let mut wire = Vec::new();
        for size in sizes {
            writer.element(|out| out.extend(format!("\"{}\"", "x".repeat(*size)).bytes()));
            if writer.is_full() {
                wire.extend_from_slice(&writer.cut());
            }
        }
        wire.extend_from_slice(&writer.finish());
        let (mut at, mut content, mut chunks) = (0, Vec::new(), 0);
        loop {
            let end = at + wire[at..].windows(2).position(|w| w == b"\r\n").unwrap();
            let len = usize::from_str_radix(std::str::from_utf8(&wire[at..end]).unwrap(), 16).unwrap();
            content.extend_from_slice(&wire[end + 2..end + 2 + len]);
            at = end + 2 + len + 2;
            if len == 0 {
                assert_eq!(at, wire.len(), "nothing behind the last chunk");
                return (content, chunks);
            }
            chunks += 1;
        }
    }

    #[test]
    fn upstream_bug_s1_the_last_element_may_cross_the_threshold() {
        for sizes in [&[32765][..], &[32766], &[40000], &[20000; 2], &[20000; 3], &[20000; 4], &[]] {
            let (content, chunks) = body(Coding::Plain, sizes);
            let values: Vec<String> = serde_json::from_slice(&content).expect("one JSON array");
            assert_eq!(values.iter().map(String::len).collect::<Vec<_>>(), sizes);
            assert!(chunks <= sizes.len() + 1);
        }
        assert_eq!(body(Coding::Plain, &[]), (b"[]".to_vec(), 1));
    }

    #[test]
    fn compressed_bodies_are_the_same_bodies() {
        let sizes = [1, 50000, 3, 40000, 40000];
        let plain = body(Coding::Plain, &sizes).0;
        let (mut gzip, mut zstd) = (Vec::new(), Vec::new());
        flate2::read::GzDecoder::new(&body(Coding::Gzip, &sizes).0[..]).read_to_end(&mut gzip).unwrap();
        zstd::Decoder::new(&body(Coding::Zstd, &sizes).0[..]).unwrap().read_to_end(&mut zstd).unwrap();
        assert!(gzip == plain && zstd == plain);
        assert_eq!(body(Coding::Zstd, &sizes).1, 4, "each chunk is flushed");
    }
}
