//! Simulated clients: an ooo subscriber that folds what it gets, and an application that feeds.

use super::{Line, World};
use crate::shard::io::Door;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde::Deserialize;
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
        world.say(line, upgrade(&format!("{path}{query}"), offers).as_bytes());
        let (version, doc) = has.map_or((None, None), |(version, doc)| (Some(version), Some(doc)));
        let path = path.to_owned();
        let (seen, buf) = (Vec::new(), Vec::new());
        Subscriber { line, path, doc, version, seen, messages: 0, snapshots: 0, buf, greeted: false, offers }
    }

    /// Reads what is there and folds it. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.hear(self.line) else { return false };
        self.buf.extend(bytes);
        if !self.greeted && !greeted(&mut self.buf, self.offers) {
            return true;
        }
        self.greeted = true;
        while let Some((opcode, payload)) = next_frame(&mut self.buf, self.offers) {
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

/// Reads a frame, however deep it nests.
fn read_json(payload: &[u8]) -> Value {
    let mut reader = serde_json::Deserializer::from_slice(payload);
    reader.disable_recursion_limit();
    Value::deserialize(&mut reader).expect("frames are JSON")
}

/// Deflates one message.
fn deflate(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let mut state = Compress::new(Compression::best(), false);
    state.compress_vec(data, &mut out, FlushCompress::Sync).expect("there is room");
    out.truncate(out.len() - 4);
    out
}

/// Inflates one message, remembering nothing of earlier ones.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let data = [payload, &[0, 0, 0xff, 0xff]].concat();
    let (mut out, mut state) = (Vec::with_capacity(1 << 20), Decompress::new(false));
    state.decompress_vec(&data, &mut out, FlushDecompress::Sync).expect("what the server deflates");
    assert_eq!(state.total_in() as usize, data.len());
    out
}

/// Cuts the next whole frame off: its opcode and payload, inflated if need be.
pub fn next_frame(buf: &mut Vec<u8>, offered: bool) -> Option<(OpCode, Vec<u8>)> {
    let mut cursor = std::io::Cursor::new(&buf[..]);
    let (header, len) = FrameHeader::parse(&mut cursor).expect("frames are well-formed")?;
    assert!(header.is_final && header.mask.is_none());
    let (start, len) = (cursor.position() as usize, len as usize);
    if buf.len() < start + len {
        return None;
    }
    let mut payload = buf[start..start + len].to_vec();
    buf.drain(..start + len);
    if header.rsv1 {
        assert!(offered, "it cannot inflate");
        payload = inflate(&payload);
    }
    Some((header.opcode, payload))
}

/// A subscriber of channels on the hub.
#[derive(Debug)]
pub struct Listener {
    pub line: Line,
    /// The publications, in order.
    pub got: Vec<Value>,
    /// The code and reason of a close frame.
    pub closed: Option<(u16, String)>,
    /// Whether it answers pings.
    pub answers: bool,
    buf: Vec<u8>,
    greeted: bool,
    offers: bool,
}

impl Listener {
    /// Connects with that query, such as `channels=a,b`; some offer permessage-deflate, some do not.
    pub fn open(world: &mut World, query: &str, room: usize) -> Listener {
        Listener::with(world, query, "", room)
    }

    /// The same, by agreement on the native dialect.
    pub fn native(world: &mut World, query: &str) -> Listener {
        Listener::with(world, query, "Sec-WebSocket-Protocol: fanfare.v1\r\n", 1 << 20)
    }

    fn with(world: &mut World, query: &str, header: &str, room: usize) -> Listener {
        let line = world.connect(Door::Clients(0), room);
        let offers = world.rng.bool();
        let head =
            upgrade(&format!("ws?{query}"), offers).replacen("\r\n\r\n", &format!("\r\n{header}\r\n"), 1);
        world.say(line, head.as_bytes());
        let (got, buf) = Default::default();
        Listener { line, got, closed: None, answers: true, buf, greeted: false, offers }
    }

    /// Sends a frame, deflated if that was agreed.
    pub fn send(&mut self, world: &mut World, frame: &Value) {
        self.send_text(world, frame.to_string().as_bytes());
    }

    /// Sends a text, whatever it is.
    pub fn send_text(&mut self, world: &mut World, text: &[u8]) {
        let payload = if self.offers { deflate(text) } else { text.to_vec() };
        self.frame(world, OpCode::Data(Data::Text), self.offers, &payload);
    }

    fn control(&mut self, world: &mut World, kind: Control, payload: &[u8]) {
        self.frame(world, OpCode::Control(kind), false, payload);
    }

    fn frame(&mut self, world: &mut World, opcode: OpCode, deflated: bool, payload: &[u8]) {
        let header =
            FrameHeader { opcode, rsv1: deflated, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).expect("a Vec takes all");
        bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ [1, 2, 3, 4][i % 4]));
        world.say(self.line, &bytes);
    }

    /// Takes out what has come.
    pub fn take(&mut self, world: &mut World) -> Vec<Value> {
        self.read(world);
        std::mem::take(&mut self.got)
    }

    /// Reads what is there. False once the connection is gone.
    pub fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.hear(self.line) else { return false };
        self.buf.extend(bytes);
        if !self.greeted && !greeted(&mut self.buf, self.offers) {
            return true;
        }
        self.greeted = true;
        while let Some((opcode, payload)) = next_frame(&mut self.buf, self.offers) {
            match opcode {
                OpCode::Data(Data::Text) => self.got.push(read_json(&payload)),
                OpCode::Control(Control::Ping) => {
                    if self.answers {
                        self.control(world, Control::Pong, &payload);
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

fn upgrade(target: &str, offers: bool) -> String {
    let offer = if offers { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET /{target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
}

/// Cuts the answer to the handshake off; false while it is incomplete.
fn greeted(buf: &mut Vec<u8>, offered: bool) -> bool {
    let Some(end) = buf.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let head = String::from_utf8(buf.drain(..end + 4).collect()).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
    assert_eq!(head.contains(agreed), offered, "{head}");
    assert_eq!(head.contains("Extensions"), offered, "{head}");
    true
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
