//! The head of a request: its line and those headers that the server reads.

use httparse::Status;

use crate::wire::http::bad_request::BadRequest;

/// The usual limit of a head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// The most headers in a head.
const MAX_HEADERS: usize = 100;

/// The method of a request. Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other token.
    Other,
}

impl Method {
    /// The method of that name.
    pub fn from_name(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes; 0 if there is no body.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A header that the server reads; all others are dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $field,)*
        }

        impl Field {
            fn from_name(name: &str) -> Option<Field> {
                $(if name.eq_ignore_ascii_case($name) { return Some(Field::$field); })*
                None
            }
        }
    };
}

fields! {
    Host = "Host",
    Origin = "Origin",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    AccessControlRequestHeaders = "Access-Control-Request-Headers",
    AccessControlRequestMethod = "Access-Control-Request-Method",
    Authorization = "Authorization",
    Connection = "Connection",
    ContentEncoding = "Content-Encoding",
    ContentLength = "Content-Length",
    ContentType = "Content-Type",
    Expect = "Expect",
    LastEventId = "Last-Event-ID",
    SecWebSocketExtensions = "Sec-WebSocket-Extensions",
    SecWebSocketKey = "Sec-WebSocket-Key",
    SecWebSocketProtocol = "Sec-WebSocket-Protocol",
    SecWebSocketVersion = "Sec-WebSocket-Version",
    TransferEncoding = "Transfer-Encoding",
    Upgrade = "Upgrade",
}

/// The head of a request, free of the bytes that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its version.
    pub version: Version,
    /// The target's path, not decoded; begins with `/`, or is `*`.
    pub path: String,
    /// The target's query without its `?`, not decoded.
    pub query: Option<String>,
    /// How its body ends.
    pub framing: Framing,
    fields: Vec<(Field, String)>,
}

/// Parses the head at the beginning of `buf`, which holds everything since the last request. Gives the head and its
/// size in bytes, blank line included; `None` while it is incomplete and within `max_head` bytes.
pub fn parse_head(buf: &[u8], max_head: usize) -> Result<Option<(Head, usize)>, BadRequest> {
    let window = &buf[..buf.len().min(max_head)];
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let size = match request.parse(window) {
        Ok(Status::Complete(size)) => size,
        Ok(Status::Partial) if window.len() == max_head => return Err(BadRequest::HeadTooLarge),
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLarge),
        Err(httparse::Error::Version) if names_a_version(window) => return Err(BadRequest::Version),
        Err(error) => return Err(BadRequest::Malformed(error)),
    };
    let version = if request.version == Some(1) { Version::Http11 } else { Version::Http10 };
    let mut fields = read_fields(request.headers)?;
    let (authority, path, query) = split_target(request.path.unwrap_or_default())?;
    if let Some(authority) = authority {
        // RFC 9112, 3.2.2: the target's host counts, not the header's.
        fields.iter_mut().filter(|(field, _)| *field == Field::Host).for_each(|(_, host)| {
            authority.clone_into(host);
        });
    }
    let method = Method::from_name(request.method.unwrap_or_default());
    let mut head = Head { method, version, path, query, framing: Framing::Length(0), fields };
    if version == Version::Http11 && head.get(Field::Host).is_none() {
        return Err(BadRequest::Host);
    }
    head.framing = head.read_framing()?;
    Ok(Some((head, size)))
}

impl Head {
    /// What can be read of a head that cannot be read whole: enough to tell its page what is wrong.
    pub fn salvage(buf: &[u8]) -> Head {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        // wherever it stops, the headers before that are there
        let _ = httparse::Request::new(&mut headers).parse(&buf[..buf.len().min(MAX_HEAD)]);
        let read = headers.iter().filter(|header| str::from_utf8(header.value).is_ok()).copied();
        let fields = read_fields(&read.collect::<Vec<_>>()).unwrap_or_default();
        Head {
            method: Method::Other,
            version: Version::Http11,
            path: "/".to_owned(),
            query: None,
            framing: Framing::Length(0),
            fields,
        }
    }

    /// The value of a header; several of one name are joined by `, `.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str())
    }

    /// The members of a header that is a comma-separated list, trimmed.
    pub fn list(&self, field: Field) -> impl Iterator<Item = &str> {
        let members = self.get(field).unwrap_or_default().split(',').map(str::trim);
        members.filter(|member| !member.is_empty())
    }

    /// Whether a list names `member`, in whatever case.
    pub fn lists(&self, field: Field, member: &str) -> bool {
        self.list(field).any(|listed| listed.eq_ignore_ascii_case(member))
    }

    /// Whether the client wants to use the connection again.
    pub fn keep_alive(&self) -> bool {
        let asked = self.version == Version::Http11 || self.lists(Field::Connection, "keep-alive");
        asked && !self.lists(Field::Connection, "close")
    }

    /// Whether it asks for a WebSocket; `upgrade` says whether it does so properly.
    pub fn wants_websocket(&self) -> bool {
        self.lists(Field::Upgrade, "websocket")
    }

    /// Whether the client waits for `CONTINUE` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.lists(Field::Expect, "100-continue")
    }

    fn read_framing(&self) -> Result<Framing, BadRequest> {
        let Some(coding) = self.get(Field::TransferEncoding) else {
            return self.get(Field::ContentLength).map_or(Ok(Framing::Length(0)), parse_length);
        };
        if self.get(Field::ContentLength).is_some() {
            return Err(BadRequest::TwoLengths);
        }
        if self.version == Version::Http10 || !coding.eq_ignore_ascii_case("chunked") {
            return Err(BadRequest::TransferEncoding);
        }
        Ok(Framing::Chunked)
    }
}

fn read_fields(headers: &[httparse::Header<'_>]) -> Result<Vec<(Field, String)>, BadRequest> {
    let mut fields: Vec<(Field, String)> = Vec::new();
    for header in headers {
        let Some(field) = Field::from_name(header.name) else { continue };
        let value = str::from_utf8(header.value).map_err(|_| BadRequest::HeaderText)?;
        match fields.iter_mut().find(|(name, _)| *name == field) {
            Some(_) if field == Field::Host => return Err(BadRequest::Host),
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => fields.push((field, value.to_owned())),
        }
    }
    Ok(fields)
}

/// A repeated length is one length only while all agree; digits alone, since `+5` or `5 6` means something else to
/// the next reader of the same bytes.
fn parse_length(value: &str) -> Result<Framing, BadRequest> {
    let mut length = None;
    for member in value.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        let digits = !member.is_empty() && member.bytes().all(|byte| byte.is_ascii_digit());
        let member = member.parse().ok().filter(|_| digits).ok_or(BadRequest::ContentLength)?;
        if length.is_some_and(|length: u64| length != member) {
            return Err(BadRequest::ContentLength);
        }
        length = Some(member);
    }
    length.map(Framing::Length).ok_or(BadRequest::ContentLength)
}

/// The authority, if it names one, the path and the query.
fn split_target(target: &str) -> Result<(Option<&str>, String, Option<String>), BadRequest> {
    let absolute = ["http://", "https://"].iter().find_map(|scheme| {
        target.split_at_checked(scheme.len()).filter(|(start, _)| start.eq_ignore_ascii_case(scheme))
    });
    let (authority, local) = match absolute {
        Some((_, rest)) => {
            let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(authority), local)
        }
        None if target.starts_with('/') || target == "*" => (None, target),
        None => return Err(BadRequest::Target),
    };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (local, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    Ok((authority, path.to_owned(), query))
}

/// Whether the third word of the request line looks like a version.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.trim_ascii_start();
    let mut words = line.splitn(3, |&byte| byte == b' ').skip(2);
    words.next().is_some_and(|word| word.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, BadRequest> {
        let whole = parse_head(text.as_bytes(), MAX_HEAD);
        whole.map(|parsed| parsed.expect("a complete head").0)
    }

    #[test]
    fn every_field_that_is_read_arrives_and_the_rest_is_dropped() {
        let text = b"PATCH /things/1%20?v=a&b HTTP/1.1\r\nhOsT: h:1\r\nX-Other: \xff\r\nAccept: a\r\nACCEPT: b , ,c\r\n\
                     Last-Event-ID: \xc3\xa9\r\nContent-Length: 7\r\n\r\n";
        let (head, size) = parse_head(text, MAX_HEAD).unwrap().unwrap();
        assert_eq!(size, text.len());
        assert_eq!((head.method, head.version), (Method::Patch, Version::Http11));
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/things/1%20", Some("v=a&b")));
        assert_eq!((head.get(Field::Host), head.get(Field::LastEventId)), (Some("h:1"), Some("é")));
        assert_eq!(head.list(Field::Accept).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(head.lists(Field::Accept, "B") && !head.lists(Field::Accept, "d"));
        assert_eq!((head.framing, head.get(Field::Origin)), (Framing::Length(7), None));
        assert_eq!(head.fields.len(), 4);
        let text = b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: \xff\r\n\r\n";
        assert_eq!(parse_head(text, MAX_HEAD), Err(BadRequest::HeaderText));
    }

    #[test]
    fn the_methods_are_told_apart_and_an_unknown_one_is_no_error() {
        for (name, method) in [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("POST", Method::Post),
            ("PUT", Method::Put),
            ("PATCH", Method::Patch),
            ("DELETE", Method::Delete),
            ("OPTIONS", Method::Options),
            ("get", Method::Other),
            ("BREW", Method::Other),
        ] {
            assert_eq!(parse(&format!("{name} / HTTP/1.1\r\nHost:\r\n\r\n")).unwrap().method, method);
        }
    }

    #[test]
    fn every_form_of_target_gives_its_path() {
        for (target, path, query, host) in [
            ("/", "/", None, "h"),
            ("/a?", "/a", Some(""), "h"),
            ("/a?b?c", "/a", Some("b?c"), "h"),
            ("*", "*", None, "h"),
            ("http://other:1/a?b", "/a", Some("b"), "other:1"),
            ("HTTPS://other", "/", None, "other"),
            ("http://other?b=/", "/", Some("b=/"), "other"),
        ] {
            let head = parse(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap();
            assert_eq!((head.path.as_str(), head.query.as_deref()), (path, query), "{target}");
            assert_eq!(head.get(Field::Host), Some(host), "{target}");
        }
        for target in ["a", "h:443", "ftp://h/", "?a", "**"] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(parse(&text), Err(BadRequest::Target), "{target}");
        }
    }

    #[test]
    fn nothing_that_could_smuggle_a_request_passes() {
        use BadRequest::{ContentLength, Host, TransferEncoding, TwoLengths};
        for (headers, error) in [
            ("Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", TwoLengths),
            ("Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0", TwoLengths),
            ("Host: h\r\nContent-Length: 5\r\nContent-Length: 6", ContentLength),
            ("Host: h\r\nContent-Length: 5, 6", ContentLength),
            ("Host: h\r\nContent-Length: 5,", ContentLength),
            ("Host: h\r\nContent-Length: +5", ContentLength),
            ("Host: h\r\nContent-Length: -5", ContentLength),
            ("Host: h\r\nContent-Length: 0x5", ContentLength),
            ("Host: h\r\nContent-Length: 5 6", ContentLength),
            ("Host: h\r\nContent-Length:", ContentLength),
            ("Host: h\r\nContent-Length: ٥", ContentLength),
            ("Host: h\r\nContent-Length: 18446744073709551616", ContentLength),
            ("Host: h\r\nTransfer-Encoding: gzip, chunked", TransferEncoding),
            ("Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
            ("Host: h\r\nTransfer-Encoding: identity", TransferEncoding),
            ("Host: h\r\nTransfer-Encoding: xchunked", TransferEncoding),
            (
                "Host: h\r\nTransfer-Encoding: \x0bchunked",
                BadRequest::Malformed(httparse::Error::HeaderValue),
            ),
            ("Host: h\r\nTransfer-Encoding:", TransferEncoding),
            ("Host: h\r\nTransfer-Encoding : chunked", BadRequest::Malformed(httparse::Error::HeaderName)),
            ("Host: h\r\nX: a\r\n folded: b", BadRequest::Malformed(httparse::Error::HeaderName)),
            ("Host: h\r\nHost: h", Host),
            ("Accept: a", Host),
        ] {
            assert_eq!(parse(&format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n")), Err(error), "{headers}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse(old), Err(TransferEncoding));
        let same = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5, 05\r\n\r\n";
        assert_eq!(parse(same).unwrap().framing, Framing::Length(5));
        let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().framing, Framing::Chunked);
    }

    #[test]
    fn versions_other_than_1_0_and_1_1_are_505_and_nonsense_is_400() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3"] {
            let text = format!("PRI * {version}\r\n\r\n");
            assert_eq!(parse(&text).map_err(BadRequest::status), Err((505, "http_version")));
        }
        for text in
            ["GET / FOO/1.1\r\n\r\n", "GET /  HTTP/1.1\r\n\r\n", "GET /\r\n\r\n", "\0\r\n\r\n", " / \r\n"]
        {
            assert_eq!(parse(text).map_err(|error| error.status().0), Err(400), "{text:?}");
        }
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().version, Version::Http10);
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        for (version, connection, kept) in [
            ("1.1", "", true),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: keep-alive, close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: x, Keep-Alive\r\n", true),
        ] {
            let head = parse(&format!("GET / HTTP/{version}\r\nHost: h\r\n{connection}\r\n")).unwrap();
            assert_eq!(head.keep_alive(), kept, "{version} {connection}");
        }
    }

    #[test]
    fn the_limits_hold_to_the_byte_and_to_the_header() {
        let head = "GET /abc HTTP/1.1\r\nHost: h\r\n\r\n";
        let with_body = format!("{head}body");
        for text in [head, with_body.as_str()] {
            let parsed = parse_head(text.as_bytes(), head.len()).unwrap();
            assert_eq!(parsed.map(|(_, size)| size), Some(head.len()));
            assert_eq!(parse_head(text.as_bytes(), head.len() - 1), Err(BadRequest::HeadTooLarge));
        }
        let many = |count| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
        assert!(parse(&many(MAX_HEADERS)).is_ok());
        assert_eq!(parse(&many(MAX_HEADERS + 1)), Err(BadRequest::HeadTooLarge));
        assert_eq!(BadRequest::HeadTooLarge.status().0, 431);
    }

    #[test]
    fn every_cut_of_a_head_waits_and_then_gives_the_same() {
        for text in [
            "\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        ] {
            let whole = parse_head(text.as_bytes(), MAX_HEAD);
            let mut seen = (1..=text.len()).map(|end| parse_head(&text.as_bytes()[..end], MAX_HEAD));
            assert_eq!(seen.find(|outcome| *outcome != Ok(None)), Some(whole), "{text}");
        }
    }

    #[test]
    fn random_heads_never_panic() {
        let mut rng = fastrand::Rng::with_seed(3);
        let base =
            b"POST http://h/a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close, x\r\n\r\n";
        for _ in 0..20_000 {
            let mut bytes = base.to_vec();
            for _ in 0..rng.usize(..4) {
                let at = rng.usize(..bytes.len());
                let any = rng.u8(..);
                bytes[at] = *rng.choice(&[any, b'\r', b'\n', b' ', b':', 0xff]).unwrap();
            }
            if let Ok(Some((head, size))) = parse_head(&bytes, MAX_HEAD) {
                assert!(size <= bytes.len() && (head.path.starts_with('/') || head.path == "*"));
            }
        }
    }
}
