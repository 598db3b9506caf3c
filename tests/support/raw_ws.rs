//! A WebSocket by hand, for frames that a proper client does not send.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;

use super::http;

/// An upgraded connection that sends whatever bytes it is given.
pub struct RawWs(pub TcpStream);

/// The bytes of one masked frame. `first` is its first byte: FIN, reserved bits, opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The upgrade request for `path`, with `extra` header lines.
pub fn upgrade(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

impl RawWs {
    /// Upgrades at `path`.
    pub fn open(to: SocketAddr, path: &str) -> RawWs {
        let mut stream = http::connect(to);
        stream.write_all(upgrade(path, "").as_bytes()).expect("the request is taken");
        let response = http::read(&mut stream).expect("a response");
        assert_eq!(response.status, 101, "{}", response.head);
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        RawWs(stream)
    }

    /// Sends bytes and gives the code with which the server closes (1005: a close frame without one). It may close
    /// before it has read them all.
    pub fn close_code_after(mut self, bytes: &[u8]) -> u16 {
        let _ = self.0.write_all(bytes);
        loop {
            let (opcode, payload) = self.read();
            if opcode == 8 {
                return payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
    }

    /// The opcode and payload of the next frame.
    pub fn read(&mut self) -> (u8, Vec<u8>) {
        let [first, second] = self.take();
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let length = match second {
            126 => u16::from_be_bytes(self.take()) as usize,
            127 => u64::from_be_bytes(self.take()) as usize,
            n => n as usize,
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).expect("the whole frame");
        (first & 0x0F, payload)
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("a close frame before the end");
        bytes
    }
}
