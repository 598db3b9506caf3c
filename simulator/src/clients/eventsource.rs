//! A simulated browser's reader of server-sent events.

use crate::clients::event_reader::{Event, Reader};
use crate::world::{Peer, World};
use fanfare::shard::io::Door;
use serde_json::Value;

/// One connection, or several one behind the other: it comes back with the last id.
#[derive(Debug)]
pub struct EventSource {
    /// Its present connection.
    pub peer: Peer,
    /// Everything seen since it was made.
    pub got: Vec<Event>,
    /// What it asks for.
    pub target: String,
    /// What it has made of the present response.
    pub reader: Reader,
    /// The head of the response.
    pub head: String,
    /// The last id of earlier connections.
    last: String,
    buf: Vec<u8>,
}

impl EventSource {
    /// Connects and asks for a path with its query.
    pub fn open(world: &mut World, target: &str, capacity: usize) -> EventSource {
        EventSource::resume(world, target, "", capacity)
    }

    /// Connects with the id that it saw last.
    pub fn resume(world: &mut World, target: &str, last: &str, capacity: usize) -> EventSource {
        let peer = world.connect(Door::Clients(0), capacity);
        let header = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        world.send(peer, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n").as_bytes());
        let (got, buf, reader) = Default::default();
        let target = target.to_owned();
        EventSource { peer, got, target, reader, head: String::new(), last: last.to_owned(), buf }
    }

    /// The last id that it saw, this time or before.
    pub fn id(&self) -> String {
        if self.reader.id().is_empty() { self.last.clone() } else { self.reader.id().to_owned() }
    }

    /// Breaks off and comes back, as a browser does.
    pub fn reconnect(&mut self, world: &mut World, capacity: usize) {
        self.read(world);
        world.disconnect(self.peer);
        let next = EventSource::resume(world, &self.target, &self.id(), capacity);
        let got = std::mem::take(&mut self.got);
        *self = EventSource { got, ..next };
    }

    /// Reads what is there. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.receive(self.peer) else { return false };
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
