//! One WebSocket subscriber as a state machine: bytes in, events out, no socket.
//!
//! A server may send neither masked frames nor extension bits here, and whatever else RFC 6455 forbids it: such a
//! connection ends with a [`Fault`], so a broken server cannot look fast.

use std::io::Cursor;
use std::sync::LazyLock;
use tungstenite::handshake::{client::generate_key, derive_accept_key};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// What a server did wrong, or a refusal; ends the connection.
pub type Fault = String;

/// What was received.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The handshake is done.
    Opened,
    /// A whole message.
    Message(&'a [u8]),
    /// Answer with a pong of the same bytes.
    Ping(&'a [u8]),
    /// The server closes with this code (1005: none given).
    Closed(u16),
}

/// The longest message that is accepted, so that a broken length cannot fill the memory.
const MAX_MESSAGE: u64 = 256 << 20;
const MAX_HEAD: usize = 16 << 10;

/// One key serves all connections: it only proves that the server speaks WebSocket.
static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = generate_key();
    let accept = derive_accept_key(key.as_bytes());
    (key, accept)
});

/// The handshake request.
pub fn request(host: &str, path: &str) -> Vec<u8> {
    let key = &KEY.0;
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Appends one masked client frame.
pub fn put_frame(opcode: OpCode, body: &[u8], out: &mut Vec<u8>) {
    // A fixed mask: it exists to protect proxies from scripts in browsers.
    let header = FrameHeader { opcode, mask: Some([0x37, 0xfa, 0x21, 0x3d]), ..FrameHeader::default() };
    let frame = Frame::from_payload(header, body.to_vec().into());
    frame.format(out).expect("writing to a Vec cannot fail");
}

/// The receiving half of one connection.
#[derive(Debug, Default)]
pub struct Session {
    open: bool,
    /// Which data frames are right: binary, text, or either.
    binary: Option<bool>,
    /// A head or frame cut by the end of a read.
    partial: Vec<u8>,
    /// The message that fragments build up.
    message: Option<Vec<u8>>,
    /// Frames received.
    pub frames: u64,
}

impl Session {
    /// A connection whose handshake request has been sent.
    pub fn new(binary: Option<bool>) -> Session {
        Session { binary, ..Session::default() }
    }

    /// Takes what one read brought and hands every event to `sink`, in order.
    pub fn handle_bytes(&mut self, bytes: &[u8], sink: &mut impl FnMut(Event)) -> Result<(), Fault> {
        if self.partial.is_empty() {
            let used = self.consume(bytes, sink)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.partial);
        held.extend_from_slice(bytes);
        let used = self.consume(&held, sink)?;
        if used < held.len() {
            held.drain(..used);
            self.partial = held;
        }
        Ok(())
    }

    /// Bytes of complete heads and frames at the front of `bytes`.
    fn consume(&mut self, bytes: &[u8], sink: &mut impl FnMut(Event)) -> Result<usize, Fault> {
        let mut used = 0;
        if !self.open {
            let Some(head) = check_head(bytes)? else { return Ok(0) };
            self.open = true;
            used = head;
            sink(Event::Opened);
        }
        while used < bytes.len() {
            let mut cursor = Cursor::new(&bytes[used..]);
            let parsed = FrameHeader::parse(&mut cursor).map_err(|e| format!("bad frame: {e}"))?;
            let Some((header, length)) = parsed else { break };
            if length > MAX_MESSAGE {
                return Err(format!("frame of {length} bytes"));
            }
            let start = used + cursor.position() as usize;
            let Some(body) = bytes.get(start..start + length as usize) else { break };
            used = start + body.len();
            self.frames += 1;
            self.handle_frame(&header, body, sink)?;
        }
        Ok(used)
    }

    fn handle_frame(
        &mut self,
        header: &FrameHeader,
        body: &[u8],
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Fault> {
        if header.rsv1 || header.rsv2 || header.rsv3 || header.mask.is_some() {
            return Err("a masked frame, or an extension that was not offered".into());
        }
        match header.opcode {
            OpCode::Data(data) => return self.handle_data(data, header.is_final, body, sink),
            OpCode::Control(_) if body.len() > 125 || !header.is_final => {
                return Err("a long or fragmented control frame".into());
            }
            OpCode::Control(Control::Ping) => sink(Event::Ping(body)),
            OpCode::Control(Control::Close) => {
                sink(Event::Closed(body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))));
            }
            OpCode::Control(_) => {}
        }
        Ok(())
    }

    fn handle_data(
        &mut self,
        data: Data,
        last: bool,
        body: &[u8],
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Fault> {
        match (data, &mut self.message) {
            (Data::Continue, None) | (Data::Text | Data::Binary, Some(_)) => {
                return Err("fragments out of order".into());
            }
            (Data::Continue, Some(message)) => message.extend_from_slice(body),
            (_, None) => {
                if self.binary.is_some_and(|binary| binary != (data == Data::Binary)) {
                    return Err(format!("a {data} frame, which this dialect does not have"));
                }
                if last {
                    sink(Event::Message(body));
                    return Ok(());
                }
                self.message = Some(body.to_vec());
            }
            (Data::Reserved(_), Some(_)) => return Err("an unknown opcode".into()),
        }
        if let Some(message) = self.message.take_if(|_| last) {
            sink(Event::Message(&message));
        }
        Ok(())
    }
}

/// The length of a complete and right response head, `None` while it is incomplete.
fn check_head(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|e| format!("handshake: {e}"))?;
    let httparse::Status::Complete(length) = status else {
        return if bytes.len() > MAX_HEAD { Err("handshake: endless head".into()) } else { Ok(None) };
    };
    let code = response.code.unwrap_or(0);
    if code != 101 {
        return Err(format!("handshake answered with {code}"));
    }
    let accept =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.is_none_or(|header| header.value != KEY.1.as_bytes()) {
        return Err("handshake: wrong Sec-WebSocket-Accept".into());
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_bytes() -> Vec<u8> {
        let accept = &KEY.1;
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {accept}\r\n\r\n");
        let mut bytes = head.into_bytes();
        let long = vec![b'x'; 70_000];
        let frames = [
            (OpCode::Data(Data::Text), true, &b"one"[..]),
            (OpCode::Data(Data::Text), false, b"tw"),
            (OpCode::Control(Control::Ping), true, b"p"),
            (OpCode::Data(Data::Continue), true, b"o"),
            (OpCode::Data(Data::Text), true, &long),
            (OpCode::Control(Control::Close), true, &1013u16.to_be_bytes()),
        ];
        for (opcode, is_final, body) in frames {
            FrameHeader { opcode, is_final, ..FrameHeader::default() }
                .format(body.len() as u64, &mut bytes)
                .unwrap();
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn events(session: &mut Session, pieces: &[&[u8]]) -> Result<Vec<String>, Fault> {
        let mut seen = Vec::new();
        for piece in pieces {
            session.handle_bytes(piece, &mut |event| {
                seen.push(match event {
                    Event::Message(body) if body.len() > 100 => format!("long {}", body.len()),
                    Event::Message(body) => String::from_utf8_lossy(body).into_owned(),
                    other => format!("{other:?}"),
                });
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn the_cuts_between_reads_do_not_matter() {
        let bytes = server_bytes();
        let want = ["Opened", "one", "Ping([112])", "two", "long 70000", "Closed(1013)"];
        for size in [1, 2, 3, 7, 64, 1000, 100_000] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(events(&mut Session::new(Some(false)), &pieces).unwrap(), want);
        }
    }

    #[test]
    fn what_a_server_may_not_do_ends_the_connection() {
        let bytes = server_bytes();
        assert!(events(&mut Session::new(Some(true)), &[&bytes]).is_err(), "text where binary is due");
        for bad in [[0xc1, 0], [0x81, 0x80], [0x80, 0], [0x89, 126], [0x83, 0], [0x09, 0]] {
            let mut session = Session { open: true, ..Session::default() };
            assert!(events(&mut session, &[&bad, &[0, 0, 0, 0], &[0; 200]]).is_err(), "{bad:x?}");
        }
        assert!(events(&mut Session::new(None), &[b"HTTP/1.1 404 Not Found\r\n\r\n"]).is_err());
        assert!(events(&mut Session::new(None), &[b"HTTP/1.1 101 OK\r\n\r\n"]).is_err());
    }

    #[test]
    fn client_frames_are_masked() {
        let mut out = Vec::new();
        put_frame(OpCode::Data(Data::Text), b"hi", &mut out);
        assert_eq!(out, [0x81, 0x82, 0x37, 0xfa, 0x21, 0x3d, b'h' ^ 0x37, b'i' ^ 0xfa]);
    }
}
