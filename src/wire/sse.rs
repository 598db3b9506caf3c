//! Server-sent events as chunks of a chunked HTTP/1.1 body. Fields and events are independent of chunks: an event may
//! stand in several.

use std::io::Write;

/// Room before the content of a chunk for its size: eight hex digits and the line end.
pub const ROOM: usize = 10;

/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Makes a chunk of what stands in `buf` behind `ROOM` bytes; it begins where the answer says.
pub fn seal(buf: &mut Vec<u8>) -> usize {
    let size = format!("{:x}\r\n", buf.len() - ROOM);
    let start = ROOM - size.len();
    buf[start..ROOM].copy_from_slice(size.as_bytes());
    buf.extend_from_slice(b"\r\n");
    start
}

/// One chunk; `write` appends its content, at least one byte (an empty chunk would end the body).
pub fn chunk(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut buf = vec![0; ROOM];
    write(&mut buf);
    let start = seal(&mut buf);
    buf.drain(..start);
    buf
}

/// Appends how long the client is to wait before it comes back. It is an event of its own, without effect on others.
pub fn write_retry(ms: u64, out: &mut Vec<u8>) {
    write!(out, "retry: {ms}\n\n").expect("a Vec takes all");
}

/// Appends a comment, which keeps proxies and clients from thinking that the connection is dead.
pub fn write_comment(text: &str, out: &mut Vec<u8>) {
    write_field(":", text, out);
    out.push(b'\n');
}

/// Appends the field that says how far the client has come with this event.
pub fn write_id(id: &str, out: &mut Vec<u8>) {
    write_field("id:", id, out);
}

/// Appends the name of the event.
pub fn write_name(name: &str, out: &mut Vec<u8>) {
    write_field("event:", name, out);
}

/// Appends data that has no line ends, such as JSON in normal form, and ends the event.
pub fn write_json(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    let start = out.len();
    write(out);
    debug_assert!(!out[start..].iter().any(|b| matches!(b, b'\n' | b'\r')), "one line");
    out.extend_from_slice(b"\n\n");
}

/// Appends such data as a field of an event that goes on.
pub fn write_line(json: &[u8], out: &mut Vec<u8>) {
    write_json(out, |out| out.extend_from_slice(json));
    out.pop();
}

/// Appends any text as data, a field for each line, and ends the event. An empty text has a field too, or the client
/// would not see the event.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        write_field("data:", line, out);
    }
    out.push(b'\n');
}

/// One line. Bytes that would end it are left out; a client ignores an id with a NUL in it, so that goes as well.
fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    out.extend(value.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
    out.push(b'\n');
}

#[cfg(test)]
pub mod reader {
    //! The other side: how a browser reads a stream of events (WHATWG HTML, 9.2.6), for tests.

    /// One event as a client sees it.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct SseEvent {
        /// Its name, `message` unless said.
        pub name: String,
        /// Its data, lines joined.
        pub data: String,
        /// The last id that was said, here or before.
        pub id: String,
    }

    /// Reads bytes of a chunked body.
    #[derive(Debug, Default)]
    pub struct SseReader {
        raw: Vec<u8>,
        text: Vec<u8>,
        id: String,
        next_id: String,
        name: String,
        data: String,
        /// The events so far.
        pub events: Vec<SseEvent>,
        /// How often a comment came.
        pub comments: usize,
        /// What `retry:` said last.
        pub retry: Option<u64>,
        /// Whether the body has ended properly.
        pub ended: bool,
    }

    impl SseReader {
        /// The last id that came.
        pub fn id(&self) -> &str {
            &self.id
        }

        /// Takes bytes of the body, in whatever pieces.
        pub fn push(&mut self, bytes: &[u8]) {
            self.raw.extend_from_slice(bytes);
            while let Some(end) = self.raw.windows(2).position(|w| w == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..end]).expect("a size is text");
                let size = usize::from_str_radix(size, 16).expect("a size is hex");
                if self.raw.len() < end + 2 + size + 2 {
                    return;
                }
                assert!(!self.ended, "nothing stands behind the end");
                assert_eq!(&self.raw[end + 2 + size..end + 4 + size], b"\r\n");
                self.text.extend_from_slice(&self.raw[end + 2..end + 2 + size]);
                self.raw.drain(..end + 4 + size);
                self.ended = size == 0;
            }
            while let Some(end) = self.text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                self.line(std::str::from_utf8(&line[..end]).expect("events are UTF-8"));
            }
        }

        fn line(&mut self, line: &str) {
            assert!(!line.contains('\r'));
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => self.dispatch(),
                "" => self.comments += 1,
                "event" => self.name = value.to_owned(),
                "data" => self.data.push_str(&format!("{value}\n")),
                "id" => self.next_id = value.to_owned(),
                "retry" => self.retry = Some(value.parse().expect("digits")),
                other => panic!("the field {other}"),
            }
        }

        fn dispatch(&mut self) {
            self.id.clone_from(&self.next_id);
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            let Some(data) = data.strip_suffix('\n') else { return };
            let name = if name.is_empty() { "message".to_owned() } else { name };
            self.events.push(SseEvent { name, data: data.to_owned(), id: self.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reader::{SseEvent, SseReader};
    use super::{
        LAST_CHUNK, chunk, write_comment, write_id, write_json, write_name, write_retry, write_text,
    };

    fn event(name: &str, data: &str, id: &str) -> SseEvent {
        SseEvent { name: name.into(), data: data.into(), id: id.into() }
    }

    #[test]
    fn fields_are_written_as_the_originals_write_them() {
        let bytes = chunk(|out| {
            write_retry(3000, out);
            write_id("eyJyb29tLTEiOjd9", out);
            write_name("message", out);
            write_json(out, |out| out.extend_from_slice(b"{}"));
            write_comment("ping", out);
        });
        let text = "retry: 3000\n\nid: eyJyb29tLTEiOjd9\nevent: message\ndata: {}\n\n: ping\n\n";
        assert_eq!(bytes, format!("{:x}\r\n{text}\r\n", text.len()).into_bytes());
    }

    #[test]
    fn a_client_reads_what_was_written_in_whatever_pieces() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut wire, mut want) = (Vec::new(), Vec::new());
            let mut last = String::new();
            for n in 0..rng.usize(1..20) {
                let name = *rng.choice(&["message", "change", "ping"]).unwrap();
                let text: String =
                    (0..rng.usize(0..9)).map(|_| *rng.choice(&['a', ' ', ':', '\n', 'é']).unwrap()).collect();
                if rng.bool() {
                    last = format!("id{n}");
                    // an id may come in a chunk of its own
                    wire.extend(chunk(|out| write_id(&last, out)));
                }
                wire.extend(chunk(|out| {
                    write_name(name, out);
                    write_text(&text, out);
                }));
                want.push(event(name, &text, &last));
            }
            wire.extend_from_slice(LAST_CHUNK);
            let mut reader = SseReader::default();
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rng.usize(1..=rest.len()));
                reader.push(piece);
                rest = more;
            }
            assert_eq!((reader.events, reader.ended), (want, true));
        }
    }

    #[test]
    fn nobody_can_add_fields_of_his_own() {
        let mut reader = SseReader::default();
        reader.push(&chunk(|out| {
            write_id("a\nevent: x\0", out);
            write_name("evil\r\ndata: 1\n\ndata: 2", out);
            write_text("one\r\ntwo\rid: three", out);
        }));
        assert_eq!(reader.events, [event("evildata: 1data: 2", "one\ntwo\nid: three", "aevent: x")]);
    }
}
