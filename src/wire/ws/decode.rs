//! Bytes from a client to messages and control frames, strict about every rule that RFC 6455 sets a client.

use std::io::Cursor;
use std::mem;
use std::str;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::wire::ws::frame::{CONTROL_MAX, MessageKind};

/// The longest header of a frame, in bytes.
const HEADER_MAX: usize = 14;

/// What was agreed about compression in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing: RSV1 is a violation.
    Off,
    /// permessage-deflate (RFC 7692): RSV1 on a message's first frame marks it as compressed.
    Deflate,
}

/// What came from the client. Payloads are unmasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsEvent<'a> {
    /// A whole message.
    Message {
        /// What it is.
        kind: MessageKind,
        /// Its payload; text is valid UTF-8 unless `compressed`.
        data: &'a [u8],
        /// `data` is to be inflated first; its size and UTF-8 are then the inflater's to check. Always false under
        /// `Compression::Off`.
        compressed: bool,
    },
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// Answers a ping, or is unsolicited.
    Pong(&'a [u8]),
    /// The client closes; nothing comes after this.
    Close {
        /// Its code, if it gave one.
        code: Option<u16>,
        /// Its reason, empty if it gave none.
        reason: &'a str,
    },
}

/// The rule that a client broke. The sentence fits a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A frame without a mask.
    #[error("frames from a client must be masked")]
    Unmasked,
    /// A reserved bit that nobody agreed on.
    #[error("a reserved bit is set without an extension that defines it")]
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// A ping, pong or close in pieces.
    #[error("control frames must not be fragmented")]
    FragmentedControl,
    /// A ping, pong or close over 125 bytes.
    #[error("control frames must not exceed 125 bytes")]
    LongControl,
    /// A continuation of nothing.
    #[error("a continuation frame without a message to continue")]
    OrphanContinuation,
    /// A new message inside a fragmented one.
    #[error("a new message began before the fragmented one ended")]
    InterruptedMessage,
    /// A length in more bytes than it needs.
    #[error("the payload length is not in its shortest form")]
    LongLength,
    /// A length of 2^63 or more.
    #[error("the payload length has its top bit set")]
    LengthTopBit,
    /// A close frame with half a code, or with one that must not be sent.
    #[error("the close frame has no valid code")]
    CloseCode,
    /// A close reason that is not UTF-8.
    #[error("the close reason is not valid UTF-8")]
    CloseReason,
    /// Text that is not UTF-8.
    #[error("the text message is not valid UTF-8")]
    NotUtf8,
    /// A compressed message that cannot be inflated.
    #[error("the compressed message is damaged")]
    Deflate,
    /// A message beyond the limit.
    #[error("the message is larger than this server accepts")]
    TooBig,
}

impl Violation {
    /// The code to close with.
    pub fn code(self) -> u16 {
        match self {
            Violation::Unmasked
            | Violation::ReservedBits
            | Violation::ReservedOpcode
            | Violation::FragmentedControl
            | Violation::LongControl
            | Violation::OrphanContinuation
            | Violation::InterruptedMessage
            | Violation::LongLength
            | Violation::LengthTopBit
            | Violation::CloseCode => 1002,
            Violation::CloseReason | Violation::NotUtf8 | Violation::Deflate => 1007,
            Violation::TooBig => 1009,
        }
    }
}

/// Turns one client's bytes into events. Between messages it holds no memory but itself.
#[derive(Debug)]
pub struct Decoder {
    /// Present only while a frame or a fragmented message is incomplete.
    partial: Option<Box<Partial>>,
    max_message: usize,
    compression: Compression,
    over: bool,
}

impl Decoder {
    /// `max_message`: the most bytes of payload in one message, all fragments together.
    pub fn new(max_message: usize, compression: Compression) -> Decoder {
        Decoder { partial: None, max_message, compression, over: false }
    }

    /// From now on a message has at most so many bytes of payload.
    pub fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// What was agreed about compression.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The next event in `input`, which is moved past what was used. Call it until it gives `None`: then all input
    /// is used up, and what was incomplete is kept for the next bytes. After a close or a violation it swallows
    /// everything. `scratch` carries the event's payload and may be shared by any number of decoders.
    pub fn poll<'a>(
        &mut self,
        input: &mut &[u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<WsEvent<'a>>, Violation> {
        if self.over {
            *input = &[];
            return Ok(None);
        }
        let mut partial = self.partial.take().map_or_else(Partial::default, |partial| *partial);
        let event = match partial.advance(self, input, scratch) {
            Ok(Some(Content::Message { kind, compressed })) => {
                Ok(Some(WsEvent::Message { kind, data: scratch, compressed }))
            }
            Ok(Some(Content::Ping)) => Ok(Some(WsEvent::Ping(scratch))),
            Ok(Some(Content::Pong)) => Ok(Some(WsEvent::Pong(scratch))),
            Ok(Some(Content::Close)) => parse_close(scratch).map(Some),
            Ok(None) => Ok(None),
            Err(violation) => Err(violation),
        };
        self.over = matches!(event, Err(_) | Ok(Some(WsEvent::Close { .. })));
        if !self.over && !partial.is_idle() {
            self.partial = Some(Box::new(partial));
        }
        event
    }
}

#[cfg(test)]
impl Decoder {
    pub(super) fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// How much memory it holds for payload.
    pub(super) fn kept(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.control.capacity() + partial.message.capacity())
    }
}

/// What a frame's payload belongs to.
#[derive(Clone, Copy, Debug)]
enum Content {
    Message { kind: MessageKind, compressed: bool },
    Ping,
    Pong,
    Close,
}

/// A frame whose payload is still coming.
#[derive(Debug)]
struct OpenFrame {
    content: Content,
    last: bool,
    /// Turned so that it begins at the next byte of payload.
    mask: [u8; 4],
    left: usize,
}

/// What is incomplete.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; HEADER_MAX],
    header_len: usize,
    frame: Option<OpenFrame>,
    /// Payload of an incomplete control frame, apart because it may stand between a message's fragments.
    control: Vec<u8>,
    /// The fragmented message that waits for its next frame.
    open: Option<Content>,
    message: Vec<u8>,
    /// How much of `message` is known to be whole UTF-8 characters, if it is text.
    checked: usize,
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.open.is_none()
    }

    /// Runs to the end of the next control frame or message, whose payload it leaves in `scratch`, or of the input.
    fn advance(
        &mut self,
        rules: &Decoder,
        input: &mut &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Content>, Violation> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(rules, input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let (payload, rest) = input.split_at(frame.left.min(input.len()));
            *input = rest;
            frame.left -= payload.len();
            let plain_text =
                matches!(frame.content, Content::Message { kind: MessageKind::Text, compressed: false });
            let buffer = match frame.content {
                Content::Message { .. } => &mut self.message,
                Content::Ping | Content::Pong | Content::Close => &mut self.control,
            };
            if frame.last && frame.left == 0 && buffer.is_empty() {
                scratch.clear();
                scratch.extend_from_slice(payload);
                unmask(scratch, frame.mask);
            } else {
                let start = buffer.len();
                buffer.extend_from_slice(payload);
                unmask(&mut buffer[start..], frame.mask);
                frame.mask.rotate_left(payload.len() % 4);
                if plain_text {
                    self.checked += whole_characters(&self.message[self.checked..])?;
                }
                if frame.left > 0 {
                    self.frame = Some(frame);
                    return Ok(None);
                }
                if !frame.last {
                    continue;
                }
                *scratch = match frame.content {
                    Content::Message { .. } => mem::take(&mut self.message),
                    Content::Ping | Content::Pong | Content::Close => mem::take(&mut self.control),
                };
            }
            if plain_text {
                str::from_utf8(&scratch[self.checked..]).map_err(|_| Violation::NotUtf8)?;
            }
            return Ok(Some(frame.content));
        }
    }

    /// Takes a frame's header from what was kept and `input`. `None`: all of `input` was kept.
    fn read_header(&mut self, rules: &Decoder, input: &mut &[u8]) -> Result<Option<OpenFrame>, Violation> {
        let kept = self.header_len;
        let fresh = input.len().min(HEADER_MAX - kept);
        self.header[kept..kept + fresh].copy_from_slice(&input[..fresh]);
        let mut cursor = Cursor::new(&self.header[..kept + fresh]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation::ReservedOpcode)?;
        let Some((header, len)) = parsed else {
            self.header_len += fresh;
            *input = &input[fresh..];
            return Ok(None);
        };
        let size = cursor.position() as usize;
        // Never backwards: what was kept was too short to be parsed.
        *input = &input[size - kept..];
        self.header_len = 0;
        if header.len(len) != size {
            return Err(Violation::LongLength);
        }
        self.admit(rules, &header, len).map(Some)
    }

    /// Holds a header against every rule, before a byte of its payload is kept.
    fn admit(&mut self, rules: &Decoder, header: &FrameHeader, len: u64) -> Result<OpenFrame, Violation> {
        let mask = header.mask.ok_or(Violation::Unmasked)?;
        let first_of_message = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        let rsv1_allowed = rules.compression == Compression::Deflate && first_of_message;
        if header.rsv2 || header.rsv3 || (header.rsv1 && !rsv1_allowed) {
            return Err(Violation::ReservedBits);
        }
        let begin = |kind| Content::Message { kind, compressed: header.rsv1 };
        let content = match header.opcode {
            OpCode::Data(Data::Text) => begin(MessageKind::Text),
            OpCode::Data(Data::Binary) => begin(MessageKind::Binary),
            OpCode::Data(Data::Continue) => self.open.ok_or(Violation::OrphanContinuation)?,
            OpCode::Control(Control::Ping) => Content::Ping,
            OpCode::Control(Control::Pong) => Content::Pong,
            OpCode::Control(Control::Close) => Content::Close,
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(Violation::ReservedOpcode);
            }
        };
        if first_of_message && self.open.is_some() {
            return Err(Violation::InterruptedMessage);
        }
        if len >> 63 != 0 {
            return Err(Violation::LengthTopBit);
        }
        match content {
            Content::Message { .. } => {
                if len > rules.max_message.saturating_sub(self.message.len()) as u64 {
                    return Err(Violation::TooBig);
                }
                self.open = (!header.is_final).then_some(content);
            }
            Content::Ping | Content::Pong | Content::Close => {
                if !header.is_final {
                    return Err(Violation::FragmentedControl);
                }
                if len > CONTROL_MAX as u64 {
                    return Err(Violation::LongControl);
                }
            }
        }
        Ok(OpenFrame { content, last: header.is_final, mask, left: len as usize })
    }
}

/// How many bytes of `text` are whole characters; the rest is the beginning of one.
fn whole_characters(text: &[u8]) -> Result<usize, Violation> {
    match str::from_utf8(text) {
        Ok(_) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Violation::NotUtf8),
    }
}

fn parse_close(payload: &[u8]) -> Result<WsEvent<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(WsEvent::Close { code: None, reason: "" }),
            _ => Err(Violation::CloseCode),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Violation::CloseCode);
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
    Ok(WsEvent::Close { code: Some(code), reason })
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let mask8 = [a, b, c, d, a, b, c, d];
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(mask8)).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask8) {
        *byte ^= mask;
    }
}
