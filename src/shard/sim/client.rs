//! Simulated clients: an ooo subscriber that folds what it gets, and an application that feeds.

use super::{Line, World};
use crate::shard::io::Door;
use flate2::{Decompress, FlushDecompress};
use serde_json::Value;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A subscriber of the ooo dialect.
#[derive(Debug)]
pub struct Subscriber {
    pub line: Line,
    pub path: String,
    pub doc: Option<Value>,
    pub version: Option<String>,
    /// Everything seen: version and document after each message.
    pub seen: Vec<(String, Value)>,
    pub messages: usize,
    pub snapshots: usize,
    buf: Vec<u8>,
    greeted: bool,
    /// Whether it offers permessage-deflate.
    offers: bool,
}

impl Subscriber {
    /// Connects and asks for a path; `has` is the document and version of an earlier connection.
    pub fn open(world: &mut World, path: &str, has: Option<(String, Value)>, room: usize) -> Subscriber {
        Subscriber::offering(world, path, has, room, false)
    }

    /// The same, with an offer of permessage-deflate or without.
    pub fn offering(
        world: &mut World,
        path: &str,
        has: Option<(String, Value)>,
        room: usize,
        offers: bool,
    ) -> Subscriber {
        let line = world.connect(Door::Clients(0), room);
        let query = has.as_ref().map(|(version, _)| format!("?v={version}")).unwrap_or_default();
        let offer = if offers { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let request = format!(
            "GET /{path}{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        world.say(line, request.as_bytes());
        let (version, doc) = has.map_or((None, None), |(version, doc)| (Some(version), Some(doc)));
        let path = path.to_owned();
        let (seen, buf) = (Vec::new(), Vec::new());
        Subscriber { line, path, doc, version, seen, messages: 0, snapshots: 0, buf, greeted: false, offers }
    }

    /// Reads what is there and folds it. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.hear(self.line) else { return false };
        self.buf.extend(bytes);
        if !self.greeted {
            let Some(end) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") else { return true };
            assert!(self.buf.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&self.buf));
            let head: Vec<u8> = self.buf.drain(..end + 4).collect();
            let agreed = String::from_utf8(head).expect("text").contains("permessage-deflate; server_no_");
            assert_eq!(agreed, self.offers);
            self.greeted = true;
        }
        while let Some((opcode, rsv1, payload)) = next_frame(&mut self.buf) {
            assert!(self.offers || !rsv1, "it cannot inflate");
            let payload = if rsv1 { inflate(&payload) } else { payload };
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

/// Inflates one message, remembering nothing of earlier ones.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let data = [payload, &[0, 0, 0xff, 0xff]].concat();
    let (mut out, mut state) = (Vec::with_capacity(1 << 20), Decompress::new(false));
    state.decompress_vec(&data, &mut out, FlushDecompress::Sync).expect("what the server deflates");
    assert_eq!(state.total_in() as usize, data.len());
    out
}

/// Cuts the next whole frame off: its opcode, RSV1 and payload.
pub fn next_frame(buf: &mut Vec<u8>) -> Option<(OpCode, bool, Vec<u8>)> {
    let mut cursor = std::io::Cursor::new(&buf[..]);
    let (header, len) = FrameHeader::parse(&mut cursor).expect("frames are well-formed")?;
    assert!(header.is_final && header.mask.is_none());
    let (start, len) = (cursor.position() as usize, len as usize);
    if buf.len() < start + len {
        return None;
    }
    let payload = buf[start..start + len].to_vec();
    buf.drain(..start + len);
    Some((header.opcode, header.rsv1, payload))
}

/// An application at the feed.
#[derive(Debug)]
pub struct Application {
    pub line: Line,
    buf: Vec<u8>,
    pub replies: Vec<Value>,
}

impl Application {
    pub fn open(world: &mut World) -> Application {
        Application { line: world.connect(Door::Feed, 1 << 20), buf: Vec::new(), replies: Vec::new() }
    }

    pub fn send(&mut self, world: &mut World, op: &Value) {
        world.say(self.line, format!("{op}\n").as_bytes());
    }

    pub fn read(&mut self, world: &mut World) {
        self.buf.extend(world.hear(self.line).expect("a feed stays open"));
        while let Some(end) = self.buf.iter().position(|b| *b == b'\n') {
            self.replies.push(serde_json::from_slice(&self.buf[..end]).expect("replies are JSON"));
            self.buf.drain(..=end);
        }
    }
}
