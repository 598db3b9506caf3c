//! One subscriber of server-sent events as a state machine: bytes in, events out, no socket.
//!
//! Each event with data is one message, its `data` lines joined; comments and events without data are passed over.

use crate::chunks::{self, Chunks};
use crate::client::{Event, Fault};
use memchr::memchr_iter;

/// The longest event that is accepted.
const MAX_EVENT: usize = 256 << 20;

/// The request.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
    )
    .into_bytes()
}

/// The receiving half of one connection.
#[derive(Debug, Default)]
pub struct Events {
    open: bool,
    /// `None`: the body is not chunked and goes on to the end of the connection.
    chunks: Option<Chunks>,
    /// A head or event cut by the end of a read.
    partial: Vec<u8>,
    /// Events received.
    pub frames: u64,
}

impl Events {
    /// Takes what one read brought and hands every event to `sink`, in order.
    pub fn handle_bytes(&mut self, bytes: &[u8], sink: &mut impl FnMut(Event)) -> Result<(), Fault> {
        if self.open {
            return self.body(bytes, sink);
        }
        self.partial.extend_from_slice(bytes);
        let Some(head) = chunks::head(&self.partial)? else { return Ok(()) };
        if head.status != 200 || !head.kind.starts_with("text/event-stream") {
            return Err(format!("answered with {} {}", head.status, head.kind));
        }
        self.open = true;
        self.chunks = head.chunked.then(Chunks::default);
        let rest = std::mem::take(&mut self.partial).split_off(head.length);
        sink(Event::Opened);
        self.body(&rest, sink)
    }

    fn body(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Event)) -> Result<(), Fault> {
        let Some(mut chunks) = self.chunks.take() else { return self.text(bytes, sink) };
        while let Some(piece) = chunks.next(&mut bytes)? {
            self.text(piece, sink)?;
        }
        if chunks.is_done() {
            return Err("the event stream has ended".into());
        }
        self.chunks = Some(chunks);
        Ok(())
    }

    fn text(&mut self, text: &[u8], sink: &mut impl FnMut(Event)) -> Result<(), Fault> {
        if self.partial.is_empty() {
            let used = self.split(text, sink);
            self.partial.extend_from_slice(&text[used..]);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.partial);
        held.extend_from_slice(text);
        let used = self.split(&held, sink);
        held.drain(..used);
        if held.len() > MAX_EVENT {
            return Err("an endless event".into());
        }
        self.partial = held;
        Ok(())
    }

    /// Bytes of the whole events at the front of `text`: each ends with an empty line.
    fn split(&mut self, text: &[u8], sink: &mut impl FnMut(Event)) -> usize {
        let (mut from, mut line) = (0, 0);
        for end in memchr_iter(b'\n', text) {
            if matches!(&text[line..end], b"" | b"\r") {
                self.event(&text[from..line], sink);
                from = end + 1;
            }
            line = end + 1;
        }
        from
    }

    fn event(&mut self, event: &[u8], sink: &mut impl FnMut(Event)) {
        let lines = event.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
        let mut data = data.map(|data| data.strip_prefix(b" ").unwrap_or(data));
        let Some(first) = data.next() else { return };
        self.frames += 1;
        match data.next() {
            None => sink(Event::Message(first)),
            Some(second) => {
                let all: Vec<&[u8]> = [first, second].into_iter().chain(data).collect();
                sink(Event::Message(&all.join(&b'\n')));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn chunk(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    fn events(bytes: &[u8], piece: usize) -> Result<Vec<String>, Fault> {
        let (mut session, mut seen) = (Events::default(), Vec::new());
        for part in bytes.chunks(piece) {
            session.handle_bytes(part, &mut |event| {
                seen.push(match event {
                    Event::Message(data) => String::from_utf8_lossy(data).into_owned(),
                    other => format!("{other:?}"),
                });
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn each_event_with_data_is_one_message_however_the_bytes_are_cut() {
        let body = [
            "retry: 3000\n\n",
            "event: connected\ndata: {}\n\n",
            ": ping\n\n",
            "id: a\ndata:one\r\n\r\n",
            "data: two\ndata: lines\n",
            "\n",
        ];
        let wire = HEAD.to_owned() + &body.map(chunk).concat();
        let want = ["Opened", "{}", "one", "two\nlines"];
        for piece in 1..=wire.len() {
            assert_eq!(events(wire.as_bytes(), piece).unwrap(), want, "{piece}");
        }
        let plain = HEAD.replace("Transfer-Encoding: chunked\r\n", "") + &body.concat();
        assert_eq!(events(plain.as_bytes(), 5).unwrap(), want);
    }

    #[test]
    fn an_end_a_refusal_and_another_type_are_faults() {
        let refused = HEAD.replace("200 OK", "503 Busy");
        let other = HEAD.replace("event-stream", "html");
        for wire in [format!("{HEAD}0\r\n\r\n"), refused, other, format!("{HEAD}zz\r\n")] {
            assert!(events(wire.as_bytes(), 7).is_err(), "{wire}");
        }
    }
}
