//! The publisher: one connection that takes publications without blocking, over a Unix socket (one JSON object per
//! line), WebSocket (one message each) or HTTP (one pipelined POST each).

use crate::client::{self, Event, Session};
use crate::wire::Template;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes handed over but not yet taken by the server, beyond which nothing more is handed over.
const MAX_PENDING: usize = 256 << 10;
/// The most HTTP requests that wait for a response.
const PIPELINE: usize = 64;

/// Where to publish, and what.
#[derive(Clone, Debug)]
pub struct FeedSpec {
    /// `unix:PATH`, `ws://HOST:PORT/PATH` or `http://HOST:PORT/PATH`.
    pub to: String,
    /// The body of one publication.
    pub body: Template,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Framing {
    Line,
    WebSocket(Box<Session>),
    Http { host: String, path: Template, unanswered: usize },
}

/// An open connection for publications.
pub struct Feed {
    stream: Stream,
    framing: Framing,
    body: Template,
    out: Vec<u8>,
    sent: usize,
    inbox: Vec<u8>,
    /// What the server refused, with the first reason.
    pub refused: u64,
    /// The first refusal's text.
    pub reason: Option<String>,
}

impl Feed {
    /// Connects. The error is a sentence for the user.
    pub fn open(spec: &FeedSpec) -> Result<Feed, String> {
        let fail = |e: std::io::Error| format!("cannot publish to {}: {e}", spec.to);
        let (stream, framing) = if let Some(path) = spec.to.strip_prefix("unix:") {
            (Stream::Unix(UnixStream::connect(path).map_err(fail)?), Framing::Line)
        } else {
            let usage = || {
                format!("--publisher {}: unix:PATH, ws://HOST:PORT/PATH or http://HOST:PORT/PATH", spec.to)
            };
            let (scheme, rest) = spec.to.split_once("://").ok_or_else(usage)?;
            let slash = rest.find('/').unwrap_or(rest.len());
            let (host, path) =
                (rest[..slash].to_owned(), if slash < rest.len() { &rest[slash..] } else { "/" });
            let mut tcp = connect(&host).map_err(fail)?;
            let framing = match scheme {
                "ws" => {
                    tcp.write_all(&client::request(&host, path)).map_err(fail)?;
                    Framing::WebSocket(Box::new(finish_handshake(&mut tcp)?))
                }
                "http" => Framing::Http { path: Template::new(path), host, unanswered: 0 },
                _ => return Err(usage()),
            };
            (Stream::Tcp(tcp), framing)
        };
        match &stream {
            Stream::Unix(unix) => unix.set_nonblocking(true),
            Stream::Tcp(tcp) => tcp.set_nonblocking(true),
        }
        .map_err(fail)?;
        let body = spec.body.clone();
        Ok(Feed { stream, framing, body, out: vec![], sent: 0, inbox: vec![], refused: 0, reason: None })
    }

    /// For the poller.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Unix(unix) => unix.as_fd(),
            Stream::Tcp(tcp) => tcp.as_fd(),
        }
    }

    /// Whether one more publication may be handed over now; if not, the server is pushing back.
    pub fn has_room(&self) -> bool {
        let answered = !matches!(self.framing, Framing::Http { unanswered, .. } if unanswered >= PIPELINE);
        answered && self.pending() < MAX_PENDING
    }

    fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Queues one publication; [`Feed::flush`] sends it.
    pub fn push(&mut self, topic: usize, payload: &str) {
        match &mut self.framing {
            Framing::Line => {
                self.body.fill(topic, payload, &mut self.out);
                self.out.push(b'\n');
            }
            Framing::WebSocket(_) => {
                let mut body = Vec::with_capacity(payload.len() + 64);
                self.body.fill(topic, payload, &mut body);
                client::put_frame(OpCode::Data(Data::Text), &body, &mut self.out);
            }
            Framing::Http { host, path, unanswered } => {
                let mut body = Vec::with_capacity(payload.len() + 64);
                self.body.fill(topic, payload, &mut body);
                let (path, length) = (path.for_topic(topic), body.len());
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
                );
                self.out.extend_from_slice(head.as_bytes());
                self.out.extend_from_slice(&body);
                *unanswered += 1;
            }
        }
    }

    /// Queues a line as it is; only for a Unix socket. [`Feed::flush`] sends it.
    pub fn push_line(&mut self, line: &str) -> Result<(), String> {
        if !matches!(self.framing, Framing::Line) {
            return Err("the documents of `stream` are fed over --publisher unix:PATH".into());
        }
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        Ok(())
    }

    /// Sends what the socket takes now. `Err` when the connection is gone.
    pub fn flush(&mut self) -> Result<(), String> {
        while self.pending() > 0 {
            let rest = &self.out[self.sent..];
            let wrote = match &mut self.stream {
                Stream::Unix(unix) => unix.write(rest),
                Stream::Tcp(tcp) => tcp.write(rest),
            };
            match wrote {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("the server closed the publisher's connection: {e}")),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads the server's responses. `Err` when the connection is gone.
    pub fn handle_readable(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        loop {
            let got = match &mut self.stream {
                Stream::Unix(unix) => unix.read(buffer),
                Stream::Tcp(tcp) => tcp.read(buffer),
            };
            match got {
                Ok(0) => return Err("the server closed the publisher's connection".into()),
                Ok(n) => self.handle_answer(&buffer[..n])?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("publisher: {e}")),
            }
        }
    }

    fn handle_answer(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.framing {
            Framing::Line => {
                self.inbox.extend_from_slice(bytes);
                while let Some(end) = memchr::memchr(b'\n', &self.inbox) {
                    // No line asks for a reply, so every reply is a refusal.
                    let line: Vec<u8> = self.inbox.drain(..=end).collect();
                    self.refuse(&line);
                }
                Ok(())
            }
            Framing::WebSocket(session) => {
                let (out, mut closed) = (&mut self.out, None);
                session.handle_bytes(bytes, &mut |event| match event {
                    Event::Ping(body) => client::put_frame(OpCode::Control(Control::Pong), body, out),
                    Event::Closed(code) => closed = Some(code),
                    Event::Opened | Event::Message(_) => {}
                })?;
                closed.map_or(Ok(()), |code| {
                    Err(format!("the server closed the publisher's connection: {code}"))
                })
            }
            Framing::Http { .. } => {
                self.inbox.extend_from_slice(bytes);
                while let Some((code, length)) = http_answer(&self.inbox)? {
                    let answer: Vec<u8> = self.inbox.drain(..length).collect();
                    if let Framing::Http { unanswered, .. } = &mut self.framing {
                        *unanswered = unanswered.saturating_sub(1);
                    }
                    if !(200..300).contains(&code) {
                        self.refuse(&answer);
                    }
                }
                Ok(())
            }
        }
    }

    fn refuse(&mut self, text: &[u8]) {
        self.refused += 1;
        self.reason.get_or_insert_with(|| String::from_utf8_lossy(text).trim().chars().take(200).collect());
    }
}

fn connect(host: &str) -> std::io::Result<TcpStream> {
    let addr = host.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let tcp = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(tcp)
}

fn finish_handshake(tcp: &mut TcpStream) -> Result<Session, String> {
    let mut session = Session::new(None);
    let mut buffer = [0; 4096];
    let mut open = false;
    while !open {
        let got = tcp.read(&mut buffer).map_err(|e| format!("publisher handshake: {e}"))?;
        if got == 0 {
            return Err("publisher handshake: the server closed the connection".into());
        }
        session.handle_bytes(&buffer[..got], &mut |event| open |= event == Event::Opened)?;
    }
    Ok(session)
}

/// Status and whole length of the first response, `None` while it is incomplete.
fn http_answer(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|e| format!("publisher: {e}"))?;
    let httparse::Status::Complete(head) = status else { return Ok(None) };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    if header("transfer-encoding").is_some() {
        return Err("publisher: chunked answers are not supported".into());
    }
    let body: usize = header("content-length").and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let whole = head + body;
    Ok((bytes.len() >= whole).then_some((response.code.unwrap_or(0), whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_from_a_pipelined_stream() {
        let one = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc";
        let both = [&one[..], b"HTTP/1.1 403 Forbidden\r\n\r\n"].concat();
        assert_eq!(http_answer(&both).unwrap(), Some((202, one.len())));
        assert_eq!(http_answer(&both[one.len()..]).unwrap(), Some((403, 26)));
        assert_eq!(http_answer(&one[..one.len() - 1]).unwrap(), None);
        assert!(http_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
