//! Writes responses whose body is known, and the heads of those that are streamed.

use std::borrow::Cow;
use std::io::Write;
use std::ops::RangeInclusive;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::wire::http::bad_request::BadRequest;
use crate::wire::http::head::{Field, Head, Method, Version};

/// What a client that sent `Expect: 100-continue` waits for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The sizes of bodies that are compressed, in bytes: the largest takes about 5 ms.
const GZIP: RangeInclusive<usize> = 1 << 10..=1 << 20;

/// A response on its way to bytes. Without `answering` or `closing` it keeps the connection and has its body.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    status: u16,
    headers: Vec<(&'static str, Cow<'a, str>)>,
    body: Cow<'a, [u8]>,
    close: bool,
    without_body: bool,
    framing: Framed,
}

/// How the client finds the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framed {
    Length,
    Chunked,
    Close,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'a str,
    detail: &'a str,
}

impl From<BadRequest> for Response<'static> {
    /// The response after which the connection is to be closed.
    fn from(bad: BadRequest) -> Response<'static> {
        let (status, code) = bad.status();
        let response = Response::problem(status, code, &bad.to_string()).closing();
        match bad {
            BadRequest::WebSocketVersion => response
                .header("Connection", "upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13"),
            _ => response,
        }
    }
}

impl<'a> Response<'a> {
    /// Without a body.
    pub fn new(status: u16) -> Response<'a> {
        let body = Cow::Borrowed(&[][..]);
        Response {
            status,
            headers: Vec::new(),
            body,
            close: false,
            without_body: false,
            framing: Framed::Length,
        }
    }

    /// Plain text.
    pub fn text(status: u16, text: &'a str) -> Response<'a> {
        Response::new(status).body("text/plain; charset=utf-8", text.as_bytes())
    }

    /// `application/problem+json`: `code` is for programs, `detail` a sentence for people.
    pub fn problem(status: u16, code: &str, detail: &str) -> Response<'a> {
        let problem = Problem { r#type: "about:blank", title: reason(status), status, code, detail };
        let body = serde_json::to_vec(&problem).expect("strings and a number are JSON");
        Response::new(status).body("application/problem+json", body)
    }

    /// With this body.
    pub fn body(mut self, content_type: &'a str, body: impl Into<Cow<'a, [u8]>>) -> Response<'a> {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// With one more header. `Content-Length` is not the caller's, nor is `Connection: close`.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Response<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// With several more headers.
    pub fn headers(
        mut self,
        headers: impl IntoIterator<Item = (&'static str, Cow<'a, str>)>,
    ) -> Response<'a> {
        self.headers.extend(headers);
        self
    }

    /// As the client asks: closes unless it keeps the connection, and leaves out the body for `HEAD`.
    pub fn answering(mut self, head: &Head) -> Response<'a> {
        self.close |= !head.keep_alive();
        self.without_body = head.method == Method::Head;
        self
    }

    /// As the client asked, with a body that the caller sends behind the head: in chunks, or up to the end of the
    /// connection where the client does not know them.
    pub fn streaming(self, head: &Head) -> Response<'a> {
        let chunked = head.version == Version::Http11;
        let mut response = self.answering(head);
        response.framing = if chunked { Framed::Chunked } else { Framed::Close };
        response.close |= !chunked;
        response
    }

    /// Compressed by gzip if the client takes that and the body is neither too small to gain by it nor so large that
    /// compressing it would hold up everything else. For `HEAD` too, whose headers are those of `GET`.
    pub fn compressed_for(mut self, head: &Head) -> Response<'a> {
        if !GZIP.contains(&self.body.len()) || !accepts_gzip(head) {
            return self;
        }
        let mut gzip = GzEncoder::new(Vec::with_capacity(self.body.len() / 2), Compression::fast());
        gzip.write_all(&self.body).expect("a Vec takes every write");
        self.body = Cow::Owned(gzip.finish().expect("a Vec takes every write"));
        self.header("Content-Encoding", "gzip")
    }

    /// Says that the connection will be closed.
    pub fn closing(mut self) -> Response<'a> {
        self.close = true;
        self
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the connection is to be closed after it.
    pub fn closes(&self) -> bool {
        self.close
    }

    /// The bytes. `Content-Length` is always there, except where RFC 9110, 8.6, forbids it (1xx, 204); 304 and those
    /// never have a body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        start(self.status, &mut out);
        for (name, value) in &self.headers {
            write_header(name, value, &mut out);
        }
        let bodiless = matches!(self.status, 100..200 | 204 | 304);
        match self.framing {
            Framed::Length if bodiless => {}
            Framed::Length => {
                write!(out, "Content-Length: {}\r\n", self.body.len()).expect("a Vec takes every write");
            }
            Framed::Chunked => write_header("Transfer-Encoding", "chunked", &mut out),
            Framed::Close => {}
        }
        write_header("Connection", if self.close { "close" } else { "keep-alive" }, &mut out);
        out.extend_from_slice(b"\r\n");
        if !bodiless && !self.without_body {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// Whether `Accept-Encoding` allows gzip: by name, or, where it is not named, by `*`.
fn accepts_gzip(head: &Head) -> bool {
    let weight = |name: &str| {
        let mut codings = head.list(Field::AcceptEncoding).map(|coding| coding.split(';').map(str::trim));
        codings.find_map(|mut parts| {
            parts.next().filter(|coding| coding.eq_ignore_ascii_case(name))?;
            let weight = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
            Some(weight.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

/// Appends a status line.
pub(super) fn start(status: u16, out: &mut Vec<u8>) {
    write!(out, "HTTP/1.1 {status} {}\r\n", reason(status)).expect("a Vec takes every write");
}

/// Appends a header line. Bytes that could end it are left out of the value.
pub(super) fn write_header(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(b"\r\n");
}

/// The phrase of a status; empty for those that the server does not use.
fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        207 => "Multi-Status",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{MAX_HEAD, parse_head};

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0
    }

    fn written(response: &Response<'_>) -> String {
        String::from_utf8(response.encode()).unwrap()
    }

    #[test]
    fn a_response_says_its_length_and_what_becomes_of_the_connection() {
        let text = Response::text(404, "no\n");
        let expected = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Length: 3\r\nConnection: keep-alive\r\n\r\nno\n";
        assert_eq!(written(&text), expected);
        let closing = text.clone().answering(&head("GET / HTTP/1.0\r\n\r\n"));
        assert_eq!(written(&closing), expected.replace("keep-alive", "close"));
        assert!(closing.closes() && !text.closes());
        let kept = closing.answering(&head("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(kept.closes(), "what closes is not kept open again");
        let bodiless = text.answering(&head("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(written(&bodiless), expected.strip_suffix("no\n").unwrap());
    }

    #[test]
    fn gzip_goes_to_those_who_take_it_and_only_where_it_pays() {
        use std::io::Read;
        let text = "abcdefgh".repeat(1000);
        let sent = |method: &str, accept: &str, body: &str| {
            let head = head(&format!("{method} / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accept}\r\n\r\n"));
            let bytes = Response::text(200, body).answering(&head).compressed_for(&head).encode();
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end + 4..].to_vec())
        };
        let gzipped = |accept: &str| sent("GET", accept, &text).0.contains("\r\nContent-Encoding: gzip");
        for accept in ["gzip", "GZIP", "deflate, gzip;q=0.5", "br;q=1.0, *;q=0.1", "gzip; q=1"] {
            assert!(gzipped(accept), "{accept}");
        }
        for accept in ["", "identity", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "br", "gzip;q=x", "xgzip"] {
            assert!(!gzipped(accept), "{accept}");
        }
        let (head, body) = sent("GET", "gzip", &text);
        assert!(body.len() < 200 && head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        let mut back = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
        assert_eq!(sent("HEAD", "gzip", &text), (head, Vec::new()), "the headers of GET and no body");
        for (len, zipped) in [(1023, false), (1024, true), (1 << 20, true), ((1 << 20) + 1, false)] {
            let (head, body) = sent("GET", "gzip", &"a".repeat(len));
            assert_eq!((head.contains("gzip"), body.len() < len), (zipped, zipped), "{len}");
        }
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 304] {
            let bytes = written(&Response::text(status, "never"));
            assert!(bytes.ends_with("\r\n\r\n") && !bytes.contains("Content-Length"), "{bytes}");
        }
        assert!(written(&Response::new(200)).contains("Content-Length: 0\r\n"));
    }

    #[test]
    fn a_problem_is_json_with_code_and_detail() {
        let bytes = written(&Response::problem(409, "already_exists", "room \"a\" exists"));
        let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: application/problem+json\r\n"));
        let expected = serde_json::json!({"type": "about:blank", "title": "Conflict", "status": 409,
            "code": "already_exists", "detail": "room \"a\" exists"});
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), expected);
    }

    #[test]
    fn a_header_value_cannot_become_a_second_header() {
        let bytes = written(&Response::new(200).header("X-Name", "a\r\nSet-Cookie: b\n\r\n\0c"));
        assert!(bytes.contains("\r\nX-Name: aSet-Cookie: bc\r\n"), "{bytes}");
    }

    #[test]
    fn every_status_in_use_has_its_phrase() {
        for status in [
            101, 200, 201, 204, 207, 301, 304, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 426,
            429, 431, 500, 501, 503, 505,
        ] {
            assert_ne!(reason(status), "", "{status}");
        }
    }

    #[test]
    fn a_bad_request_is_answered_and_the_connection_closed() {
        use crate::wire::http::BadRequest;
        let old = Response::from(BadRequest::WebSocketVersion);
        assert!(old.closes());
        let bytes = written(&old);
        assert!(bytes.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{bytes}");
        assert!(bytes.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{bytes}");
        let bytes = written(&Response::from(BadRequest::Malformed(httparse::Error::Token)));
        assert!(bytes.starts_with("HTTP/1.1 400 ") && bytes.contains("\r\nConnection: close\r\n"), "{bytes}");
    }
}
