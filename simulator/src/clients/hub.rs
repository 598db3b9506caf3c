//! A simulated client of the hub.

use crate::clients::websocket::{Incoming, deflate, frame, upgrade};
use crate::world::{Peer, World};
use fanfare::shard::io::Door;
use serde::Deserialize;
use serde_json::Value;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A client of the hub.
#[derive(Debug)]
pub struct HubClient {
    /// Its connection.
    pub peer: Peer,
    /// The messages, in order.
    pub got: Vec<Value>,
    /// The code and reason of a close frame.
    pub closed: Option<(u16, String)>,
    /// Whether it answers pings.
    pub answers_pings: bool,
    incoming: Incoming,
    deflates: bool,
}

impl HubClient {
    /// Connects with that query, such as `channels=a,b`; some offer permessage-deflate, some do not.
    pub fn open(world: &mut World, query: &str, capacity: usize) -> HubClient {
        HubClient::with_header(world, query, "", capacity)
    }

    /// The same, by agreement on the native dialect.
    pub fn native(world: &mut World, query: &str) -> HubClient {
        HubClient::with_header(world, query, "Sec-WebSocket-Protocol: fanfare.v1\r\n", 1 << 20)
    }

    fn with_header(world: &mut World, query: &str, header: &str, capacity: usize) -> HubClient {
        let peer = world.connect(Door::Clients(0), capacity);
        let deflates = world.rng.bool();
        let request = upgrade(&format!("ws?{query}"), deflates);
        let request = request.replacen("\r\n\r\n", &format!("\r\n{header}\r\n"), 1);
        world.send(peer, request.as_bytes());
        let incoming = Incoming::new(deflates);
        HubClient { peer, got: Vec::new(), closed: None, answers_pings: true, incoming, deflates }
    }

    /// Sends a message, deflated if that was agreed.
    pub fn send(&mut self, world: &mut World, message: &Value) {
        self.send_text(world, message.to_string().as_bytes());
    }

    /// Sends a text, whatever it is.
    pub fn send_text(&mut self, world: &mut World, text: &[u8]) {
        let payload = if self.deflates { deflate(text) } else { text.to_vec() };
        world.send(self.peer, &frame(OpCode::Data(Data::Text), self.deflates, &payload));
    }

    /// Takes out what has come.
    pub fn take(&mut self, world: &mut World) -> Vec<Value> {
        self.read(world);
        std::mem::take(&mut self.got)
    }

    /// Reads what is there. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.receive(self.peer) else { return false };
        self.incoming.push(&bytes);
        while let Some((opcode, payload)) = self.incoming.next_frame() {
            match opcode {
                OpCode::Data(Data::Text) => self.got.push(read_json(&payload)),
                OpCode::Control(Control::Ping) => {
                    if self.answers_pings {
                        world.send(self.peer, &frame(OpCode::Control(Control::Pong), false, &payload));
                    }
                }
                OpCode::Control(Control::Close) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    self.closed = Some((code, String::from_utf8_lossy(&payload[2..]).into_owned()));
                }
                other => panic!("{other:?}"),
            }
        }
        true
    }
}

/// Reads a message, however deep it nests.
fn read_json(payload: &[u8]) -> Value {
    let mut reader = serde_json::Deserializer::from_slice(payload);
    reader.disable_recursion_limit();
    Value::deserialize(&mut reader).expect("frames are JSON")
}
