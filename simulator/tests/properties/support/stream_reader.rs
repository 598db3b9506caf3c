//! A client that reads streamed answers, and worlds with something to stream.

use fanfare::flow::limits::Limits;
use fanfare::shard::inspect::Inspection;
use fanfare::shard::io::Door;
use serde_json::{Value, json};
use simulator::clients::application::Application;
use simulator::world::{Peer, World};
use std::collections::BTreeMap;

/// A response as far as it has come.
#[derive(Debug, Default)]
pub struct Got {
    pub head: String,
    pub body: Vec<u8>,
    pub chunks: usize,
    pub whole: bool,
}

/// A client that reads streamed answers.
pub struct Reader {
    pub peer: Peer,
    wire: Vec<u8>,
    pub got: Got,
}

impl Reader {
    pub fn open(world: &mut World, capacity: usize) -> Reader {
        let peer = world.connect(Door::Clients(0), capacity);
        Reader { peer, wire: Vec::new(), got: Got::default() }
    }

    pub fn ask(&mut self, world: &mut World, method: &str, path: &str) {
        world.send(
            self.peer,
            format!("{method} /_/stream/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
        );
    }

    /// Reads what is there; false once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.receive(self.peer) else { return false };
        self.wire.extend(bytes);
        let end_of = |wire: &[u8], mark: &[u8]| wire.windows(mark.len()).position(|w| w == mark);
        while !self.got.whole {
            if self.got.head.is_empty() {
                let Some(end) = end_of(&self.wire, b"\r\n\r\n") else { break };
                self.got.head = String::from_utf8(self.wire.drain(..end + 4).collect()).unwrap();
                continue;
            }
            if let Some(length) = self.got.header("Content-Length") {
                let length: usize = length.parse().unwrap();
                if self.wire.len() < length {
                    break;
                }
                self.got.body = self.wire.drain(..length).collect();
                self.got.whole = true;
                break;
            }
            let Some(end) = end_of(&self.wire, b"\r\n") else { break };
            let len = usize::from_str_radix(std::str::from_utf8(&self.wire[..end]).unwrap(), 16).unwrap();
            if self.wire.len() < end + 2 + len + 2 {
                break;
            }
            self.got.body.extend_from_slice(&self.wire[end + 2..end + 2 + len]);
            self.wire.drain(..end + 2 + len + 2);
            (self.got.whole, self.got.chunks) = (len == 0, self.got.chunks + 1);
        }
        true
    }

    /// The whole answer, read at once.
    pub fn fetch(&mut self, world: &mut World, path: &str) -> Got {
        self.ask(world, "GET", path);
        world.settle(|world| assert!(self.read(world)));
        assert!(self.got.whole, "{path}: {}", self.got.head);
        std::mem::take(&mut self.got)
    }
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Every cut is closed and every stream forgotten.
pub fn nothing_is_left(world: &World) {
    for shard in &world.shards {
        let Inspection { streams, scans, scan_bytes, .. } = shard.inspect();
        assert_eq!((streams, scans, scan_bytes), (0, 0, 0));
    }
}

/// A world with these documents in it.
pub fn filled(shards: u16, limits: Limits, docs: &BTreeMap<String, Value>) -> World {
    let mut world = World::new(5, shards, limits);
    let mut app = Application::open(&mut world);
    for (key, value) in docs {
        app.send(&mut world, &json!({"op": "set", "key": key, "data": value}));
    }
    world.settle(|world| app.read(world));
    world
}

pub fn numbered(count: usize) -> BTreeMap<String, Value> {
    (0..count).map(|i| (format!("n/{i:05}"), json!({"i": i, "text": "y".repeat(300)}))).collect()
}
