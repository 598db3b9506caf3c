//! A simulated subscriber of the ooo dialect: it folds what it gets, and keeps every version that it saw.

use crate::clients::websocket::{Incoming, upgrade};
use crate::world::{Peer, World};
use fanfare::shard::io::Door;
use serde_json::Value;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A subscriber of one path.
#[derive(Debug)]
pub struct Subscriber {
    /// Its connection.
    pub peer: Peer,
    /// What it is subscribed to.
    pub path: String,
    /// The document or list as it has it; `None` before the first state.
    pub doc: Option<Value>,
    /// The version of that.
    pub version: Option<String>,
    /// Everything seen: version and document after each message.
    pub seen: Vec<(String, Value)>,
    /// How many messages came.
    pub messages: usize,
    /// How many of them were snapshots.
    pub snapshots: usize,
    incoming: Incoming,
}

impl Subscriber {
    /// Connects and asks for a path; `has` is the version and document of an earlier connection.
    pub fn open(world: &mut World, path: &str, has: Option<(String, Value)>, capacity: usize) -> Subscriber {
        Subscriber::open_with(world, path, has, capacity, false)
    }

    /// The same, with an offer of permessage-deflate or without.
    pub fn open_with(
        world: &mut World,
        path: &str,
        has: Option<(String, Value)>,
        capacity: usize,
        deflate: bool,
    ) -> Subscriber {
        let peer = world.connect(Door::Clients(0), capacity);
        let query = has.as_ref().map(|(version, _)| format!("?v={version}")).unwrap_or_default();
        world.send(peer, upgrade(&format!("{path}{query}"), deflate).as_bytes());
        let (version, doc) = has.map_or((None, None), |(version, doc)| (Some(version), Some(doc)));
        let (path, incoming) = (path.to_owned(), Incoming::new(deflate));
        Subscriber { peer, path, doc, version, seen: Vec::new(), messages: 0, snapshots: 0, incoming }
    }

    /// Reads what is there and folds it. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.receive(self.peer) else { return false };
        self.incoming.push(&bytes);
        while let Some((opcode, payload)) = self.incoming.next_frame() {
            match opcode {
                OpCode::Data(Data::Binary) => self.fold(&payload),
                OpCode::Control(Control::Ping) => {}
                other => panic!("{other:?} {}", String::from_utf8_lossy(&payload)),
            }
        }
        true
    }

    fn fold(&mut self, payload: &[u8]) {
        let message: Value = serde_json::from_slice(payload).expect("frames are JSON");
        self.messages += 1;
        let data = message["data"].clone();
        if message["snapshot"] == Value::Bool(true) {
            self.snapshots += 1;
            self.doc = Some(data);
        } else {
            let patch: json_patch::Patch = serde_json::from_value(data).expect("patches are patches");
            let doc = self.doc.as_mut().expect("a snapshot comes before a patch");
            json_patch::patch(doc, &patch).unwrap_or_else(|e| panic!("{e}: {message} on {doc}"));
        }
        let version = message["version"].as_str().expect("a version").to_owned();
        self.seen.push((version.clone(), self.doc.clone().expect("folded")));
        self.version = Some(version);
    }
}
