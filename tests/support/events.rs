//! A reader of server-sent events, written from the WHATWG text alone: chunks, fields, events.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use super::PATIENCE;
use super::http;

/// One event as a page would see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` unless said.
    pub name: String,
    /// Its data.
    pub data: String,
    /// The last id so far.
    pub id: String,
}

impl Event {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
}

/// One stream of events.
pub struct Events {
    stream: TcpStream,
    /// Status line and headers.
    pub head: String,
    raw: Vec<u8>,
    text: Vec<u8>,
    /// The last id.
    pub id: String,
    /// What `retry:` said.
    pub retry: Option<u64>,
    /// Comments so far.
    pub comments: usize,
    /// Whether the server has ended the body.
    pub ended: bool,
}

impl Events {
    /// Asks for `path`; `last` is the last id of an earlier connection.
    pub fn open(to: SocketAddr, path: &str, last: Option<&str>) -> Events {
        Events::over(http::connect(to), path, last)
    }

    /// The same over an open connection.
    pub fn over(mut stream: TcpStream, path: &str, last: Option<&str>) -> Events {
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).expect("the request is sent");
        let (raw, text) = (Vec::new(), Vec::new());
        let (id, head) = (String::new(), String::new());
        let mut events = Events { stream, head, raw, text, id, retry: None, comments: 0, ended: false };
        while !events.raw.windows(4).any(|w| w == b"\r\n\r\n") {
            assert!(events.fill(PATIENCE), "a response");
        }
        let end = events.raw.windows(4).position(|w| w == b"\r\n\r\n").expect("it is there") + 4;
        events.head = String::from_utf8(events.raw.drain(..end).collect()).expect("a head is text");
        assert!(events.head.starts_with("HTTP/1.1 200 "), "{}", events.head);
        events.unchunk();
        events
    }

    /// Reads some bytes; false if none came in time, or none will.
    fn fill(&mut self, timeout: Duration) -> bool {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout");
        let mut buf = [0; 16 << 10];
        match self.stream.read(&mut buf) {
            Ok(0) => false,
            Ok(n) => {
                self.raw.extend_from_slice(&buf[..n]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
            Err(e) => panic!("the connection broke: {e}"),
        }
    }

    fn unchunk(&mut self) {
        while let Some(end) = self.raw.windows(2).position(|w| w == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..end]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|e| panic!("{e}: {size}"));
            if self.raw.len() < end + size + 4 {
                return;
            }
            self.ended = size == 0;
            self.text.extend_from_slice(&self.raw[end + 2..end + 2 + size]);
            self.raw.drain(..end + size + 4);
        }
    }

    /// The next event, if one comes in time.
    pub fn next_in(&mut self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        loop {
            while let Some(end) = self.text.windows(2).position(|w| w == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = self.block(std::str::from_utf8(&block).expect("events are UTF-8"));
                if event.is_some() {
                    return event;
                }
            }
            // keep-alives come however long nothing happens
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left) {
                return None;
            }
            self.unchunk();
        }
    }

    /// The next event.
    pub fn next(&mut self) -> Event {
        self.next_in(PATIENCE).expect("an event in time")
    }

    fn block(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data) = ("message".to_owned(), Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = value.to_owned(),
                "data" => data.push(value),
                "id" => self.id = value.to_owned(),
                "retry" => self.retry = value.parse().ok(),
                "" => self.comments += usize::from(!line.is_empty()),
                other => panic!("the field {other} in {block:?}"),
            }
        }
        (!data.is_empty()).then(|| Event { name, data: data.join("\n"), id: self.id.clone() })
    }
}
