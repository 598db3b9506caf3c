//! One HTTP request of a command: sends a head, reads a status and the content of a body.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A response whose head has been read. Reading gives the content of its body, without its framing; a body that breaks off
/// is an error.
pub struct HttpResponse {
    /// The first line of the head.
    pub status: String,
    stream: BufReader<TcpStream>,
    body: Remaining,
}

enum Remaining {
    /// Up to the end of the connection.
    Close,
    /// In chunks: so many bytes of the current one are left; `None`: before the first one.
    Chunks(Option<u64>),
    /// Everything is read.
    Done,
}

impl HttpResponse {
    /// The status as a number; 0 if there is none.
    pub fn code(&self) -> u16 {
        self.status.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The status and the beginning of the body, for a message.
    pub fn refusal(self) -> String {
        let (status, mut body) = (self.status.trim_end().to_owned(), String::new());
        let _ = self.take(1 << 16).read_to_string(&mut body);
        format!("{status} {}", body.trim())
    }

    /// Goes on to the next chunk; false if there is none.
    fn next_chunk(&mut self, first: bool) -> io::Result<bool> {
        let mut line = String::new();
        if !first {
            self.stream.read_line(&mut line)?;
            line.clear();
        }
        self.stream.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(|_| broken_off())?;
        self.body = Remaining::Chunks(Some(size));
        if size == 0 {
            self.stream.read_exact(&mut [0; 2])?;
            self.body = Remaining::Done;
        }
        Ok(size > 0)
    }
}

impl Read for HttpResponse {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = match self.body {
            Remaining::Done => return Ok(0),
            Remaining::Close => return self.stream.read(out),
            Remaining::Chunks(Some(left)) if left > 0 => left,
            Remaining::Chunks(before) => {
                if !self.next_chunk(before.is_none())? {
                    return Ok(0);
                }
                return self.read(out);
            }
        };
        let most = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.stream.read(&mut out[..most])?;
        if count == 0 && most > 0 {
            return Err(broken_off());
        }
        self.body = Remaining::Chunks(Some(left - count as u64));
        Ok(count)
    }
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server broke off the response")
}

/// `HOST:PORT` of `http://HOST:PORT` or `ws://HOST:PORT`.
///
/// # Errors
/// The URL has another form.
pub fn host(url: &str) -> Result<&str, String> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
    let host = host.map(|rest| rest.trim_end_matches('/')).filter(|host| !host.contains('/'));
    host.ok_or_else(|| "the URL is http://HOST:PORT".to_owned())
}

/// Gets `target`; `headers` are whole lines. `timeout` holds for connecting and for each pause.
///
/// # Errors
/// The server cannot be reached, or does not answer.
pub fn get(host: &str, target: &str, headers: &[String], timeout: Duration) -> io::Result<HttpResponse> {
    let mut stream = connect(host, timeout)?;
    let mut head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    let mut status = String::new();
    stream.read_line(&mut status)?;
    let mut body = Remaining::Close;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection closed before the response",
            ));
        }
        if line.to_ascii_lowercase().trim_end() == "transfer-encoding: chunked" {
            body = Remaining::Chunks(None);
        }
        if line == "\r\n" {
            return Ok(HttpResponse { status, stream, body });
        }
    }
}

fn connect(host: &str, timeout: Duration) -> io::Result<TcpStream> {
    // In an IPv6 address a port follows only the closing bracket.
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
