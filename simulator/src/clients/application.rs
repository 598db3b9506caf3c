//! A simulated application at the feed.

use crate::world::{Peer, World};
use fanfare::shard::io::Door;
use serde_json::Value;

/// An application at the feed.
#[derive(Debug)]
pub struct Application {
    /// Its connection.
    pub peer: Peer,
    /// The replies so far, in order.
    pub replies: Vec<Value>,
    buf: Vec<u8>,
}

impl Application {
    /// Connects to the feed.
    pub fn open(world: &mut World) -> Application {
        Application { peer: world.connect(Door::Feed, 1 << 20), replies: Vec::new(), buf: Vec::new() }
    }

    /// Sends one line.
    pub fn send(&mut self, world: &mut World, op: &Value) {
        world.send(self.peer, format!("{op}\n").as_bytes());
    }

    /// Reads the replies that are there.
    pub fn read(&mut self, world: &mut World) {
        self.buf.extend(world.receive(self.peer).expect("a feed stays open"));
        while let Some(end) = self.buf.iter().position(|b| *b == b'\n') {
            self.replies.push(serde_json::from_slice(&self.buf[..end]).expect("replies are JSON"));
            self.buf.drain(..=end);
        }
    }
}
