//! Frames out: their kinds and their headers.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest payload of a control frame, in bytes.
pub(super) const CONTROL_MAX: usize = 125;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// What a frame from the server is. Close frames have a payload of their own form: `encode_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A whole message.
    Message(MessageKind),
    /// Asks for a pong; at most 125 bytes.
    Ping,
    /// Answers a ping with its payload; at most 125 bytes.
    Pong,
}

impl Opcode {
    fn code(self) -> OpCode {
        match self {
            Opcode::Message(MessageKind::Text) => OpCode::Data(Data::Text),
            Opcode::Message(MessageKind::Binary) => OpCode::Data(Data::Binary),
            Opcode::Ping => OpCode::Control(Control::Ping),
            Opcode::Pong => OpCode::Control(Control::Pong),
        }
    }
}

/// The size in bytes of the header before a payload of `payload_len` bytes: 2, 4 or 10.
pub fn header_len(payload_len: usize) -> usize {
    FrameHeader::default().len(payload_len as u64)
}

/// Appends the header of one final, unmasked frame; the caller appends `payload_len` bytes after it.
pub fn encode_into(op: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    debug_assert!(matches!(op, Opcode::Message(_)) || payload_len <= CONTROL_MAX);
    write_header(op.code(), payload_len, out);
}

/// One final, unmasked frame.
pub fn encode(op: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header_len(payload.len()) + payload.len());
    encode_into(op, payload.len(), &mut out);
    out.extend_from_slice(payload);
    out
}

/// A close frame; without a code the peer sees 1005. The reason is cut to what fits, 123 bytes, at a character's
/// end; without a code there is no room for one, so it is left out.
pub fn encode_close(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(CONTROL_MAX);
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        let mut end = reason.len().min(CONTROL_MAX - 2);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        payload.extend_from_slice(&reason.as_bytes()[..end]);
    }
    let mut out = Vec::with_capacity(2 + payload.len());
    write_header(OpCode::Control(Control::Close), payload.len(), &mut out);
    out.extend_from_slice(&payload);
    out
}

fn write_header(opcode: OpCode, payload_len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload_len as u64, out).expect("a Vec takes every write");
}
