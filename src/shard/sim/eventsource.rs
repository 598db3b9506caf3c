//! A simulated browser's reader of server-sent events.

use super::{Line, World};
use crate::shard::io::Door;
use crate::wire::sse::reader::{SseEvent, SseReader};
use serde_json::Value;

/// One connection, or several one behind the other: it comes back with the last id.
#[derive(Debug)]
pub struct EventSource {
    pub line: Line,
    /// Everything seen since it was made.
    pub got: Vec<SseEvent>,
    /// What it asks for.
    pub target: String,
    pub reader: SseReader,
    /// The head of the response.
    pub head: String,
    /// The last id of earlier connections.
    last: String,
    buf: Vec<u8>,
}

impl EventSource {
    /// Connects and asks for a path with its query.
    pub fn open(world: &mut World, target: &str, room: usize) -> EventSource {
        EventSource::resume(world, target, "", room)
    }

    /// Connects with the id that it saw last.
    pub fn resume(world: &mut World, target: &str, last: &str, room: usize) -> EventSource {
        let line = world.connect(Door::Clients(0), room);
        let header = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        world.say(line, format!("GET {target} HTTP/1.1\r\nHost: h\r\n{header}\r\n").as_bytes());
        let (got, buf, reader) = Default::default();
        let target = target.to_owned();
        EventSource { line, got, target, reader, head: String::new(), last: last.to_owned(), buf }
    }

    /// The last id that it saw, this time or before.
    pub fn id(&self) -> String {
        if self.reader.id().is_empty() { self.last.clone() } else { self.reader.id().to_owned() }
    }

    /// Breaks off and comes back, as a browser does.
    pub fn again(&mut self, world: &mut World, room: usize) {
        self.read(world);
        world.hang_up(self.line);
        let next = EventSource::resume(world, &self.target, &self.id(), room);
        let got = std::mem::take(&mut self.got);
        *self = EventSource { got, ..next };
    }

    /// Reads what is there. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.hear(self.line) else { return false };
        self.buf.extend(bytes);
        if self.head.is_empty() {
            let Some(end) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") else { return true };
            self.head = String::from_utf8(self.buf.drain(..end + 4).collect()).expect("a head is text");
            assert!(self.head.starts_with("HTTP/1.1 200 "), "{}", self.head);
        }
        self.reader.push(&std::mem::take(&mut self.buf));
        self.got.append(&mut self.reader.events);
        true
    }

    /// The data of the events of that name.
    pub fn data(&self, name: &str) -> Vec<Value> {
        let named = self.got.iter().filter(|event| event.name == name);
        named.map(|event| serde_json::from_str(&event.data).expect("data is JSON")).collect()
    }
}
