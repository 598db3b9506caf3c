//! The smallest HTTP client: one request, one response, one connection.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;

use serde_json::Value;

use super::PATIENCE;

/// A response, read whole.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and headers as they came.
    pub head: String,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// A header's value; names in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Connects with the timeout of the tests.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// One request on a connection of its own.
pub fn request(to: SocketAddr, method: &str, path: &str, body: &[u8]) -> Response {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nAccept: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    raw(to, &bytes).expect("a response")
}

/// Sends bytes as they are and reads what comes back. The server may answer and close before it has read them all;
/// `None` if it closes without an answer.
pub fn raw(to: SocketAddr, bytes: &[u8]) -> Option<Response> {
    let mut stream = connect(to);
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

/// Reads one response; `None` at an end without one.
pub fn read(stream: &mut TcpStream) -> Option<Response> {
    let head = read_head(stream)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut response = Response { status: status.expect("a status line"), head, body: Vec::new() };
    if matches!(response.status, 101 | 204 | 304) {
        return Some(response);
    }
    match response.header("content-length").map(|n| n.parse().expect("a number")) {
        Some(length) => {
            response.body.resize(length, 0);
            stream.read_exact(&mut response.body).expect("the body in time");
        }
        None => {
            let end = stream.read_to_end(&mut response.body);
            assert!(
                !end.is_err_and(|e| e.kind() != ErrorKind::ConnectionReset),
                "no end of the body in time"
            );
            if response.header("transfer-encoding").is_some() {
                response.body = unchunked(&response.body);
            }
        }
    }
    Some(response)
}

/// A body without its chunks; that of an answer to `HEAD` has none.
fn unchunked(mut wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while !wire.is_empty() {
        let end = wire.windows(2).position(|w| w == b"\r\n").expect("a chunk's size");
        let size =
            std::str::from_utf8(&wire[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let (chunk, rest) = wire[end + 2..].split_at(size.expect("a size"));
        body.extend_from_slice(chunk);
        wire = rest.strip_prefix(b"\r\n").expect("the chunk's end");
        if chunk.is_empty() {
            assert!(wire.is_empty(), "nothing behind the last chunk");
        }
    }
    body
}

/// Reads up to the empty line, byte by byte so as to take nothing of what follows.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return None,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
            Err(e) => panic!("no response in time: {e}"),
            Ok(_) => head.push(byte[0]),
        }
    }
    Some(String::from_utf8(head).expect("a head in ASCII"))
}
