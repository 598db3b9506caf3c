//! The client's side of WebSocket: the request, frames out, frames in, with permessage-deflate or without.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

/// A mask, as each frame of a client must have one.
const MASK: [u8; 4] = [1, 2, 3, 4];

/// The request for a WebSocket at `/target`, with an offer of permessage-deflate or without.
pub fn upgrade(target: &str, deflate: bool) -> String {
    let offer = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET /{target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
}

/// A frame as a client sends it.
pub fn frame(opcode: OpCode, deflated: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { opcode, rsv1: deflated, mask: Some(MASK), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).expect("a Vec takes all");
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]));
    bytes
}

/// Deflates one message.
pub fn deflate(data: &[u8]) -> Vec<u8> {
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

/// What comes from the server: the response to the handshake, then frames.
#[derive(Debug)]
pub struct Incoming {
    buf: Vec<u8>,
    upgraded: bool,
    /// Whether permessage-deflate was offered.
    deflate: bool,
}

impl Incoming {
    /// Nothing has come yet.
    pub fn new(deflate: bool) -> Incoming {
        Incoming { buf: Vec::new(), upgraded: false, deflate }
    }

    /// Some bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
        self.upgraded = self.upgraded || self.take_response();
    }

    /// Cuts the response to the handshake off; false while it is incomplete.
    fn take_response(&mut self) -> bool {
        let Some(end) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
        let head = String::from_utf8(self.buf.drain(..end + 4).collect()).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
        assert_eq!(head.contains(agreed), self.deflate, "{head}");
        assert_eq!(head.contains("Extensions"), self.deflate, "{head}");
        true
    }

    /// Cuts the next whole frame off: its opcode and payload, inflated if need be.
    pub fn next_frame(&mut self) -> Option<(OpCode, Vec<u8>)> {
        if !self.upgraded {
            return None;
        }
        let mut cursor = std::io::Cursor::new(&self.buf[..]);
        let (header, len) = FrameHeader::parse(&mut cursor).expect("frames are well-formed")?;
        assert!(header.is_final && header.mask.is_none());
        let (start, len) = (cursor.position() as usize, len as usize);
        if self.buf.len() < start + len {
            return None;
        }
        let mut payload = self.buf[start..start + len].to_vec();
        self.buf.drain(..start + len);
        if header.rsv1 {
            assert!(self.deflate, "it cannot inflate");
            payload = inflate(&payload);
        }
        Some((header.opcode, payload))
    }
}
