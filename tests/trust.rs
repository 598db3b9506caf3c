//! Who may use the server from where: a table of listeners, hosts and origins, each row of which every door obeys with
//! every method.

mod support;

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;

use support::Server;
use support::http;

/// What a row expects of every door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is looked at; a page may read the answer.
    Welcome,
    /// 403, because of the page.
    Page,
    /// 403, because of the name.
    Host,
}
use Verdict::{Host, Page, Welcome};

/// A server and its rows: the values of `Host` (with the port of the door behind it where it ends in a colon) and of
/// `Origin` (the same; none where it is empty), and what is expected.
type Table = (&'static [&'static str], &'static [(&'static str, &'static str, Verdict)]);

/// As it starts without settings.
const DEFAULT: Table = (
    &[],
    &[
        ("127.0.0.1:", "", Welcome),
        ("127.0.0.1:", "http://127.0.0.1:", Welcome),
        ("127.0.0.1:", "http://localhost:3000", Welcome),
        ("localhost:", "https://localhost", Welcome),
        ("LOCALHOST:", "http://127.0.0.1:5173", Welcome),
        ("app.localhost", "http://app.localhost:1", Welcome),
        ("[::1]:", "http://[::1]:8080", Welcome),
        ("127.0.0.1:", "https://evil.example", Page),
        ("127.0.0.1:", "http://localhost.evil.example", Page),
        ("127.0.0.1:", "http://evil-localhost", Page),
        ("127.0.0.1:", "http://192.0.2.1:3000", Page),
        ("127.0.0.1:", "null", Page),
        ("127.0.0.1:", "file://", Page),
        ("127.0.0.1:", "chrome-extension://localhost", Page),
        ("evil.example:", "http://evil.example:", Host),
        ("evil.example:", "http://localhost:3000", Host),
        ("evil.example", "", Host),
        ("127.0.0.1.evil.example", "", Host),
        ("own.example", "", Host),
    ],
);

/// With lists.
const LISTED: Table = (
    &["--origins", "https://app.example", "--hosts", "own.example"],
    &[
        ("127.0.0.1:", "", Welcome),
        ("127.0.0.1:", "https://app.example", Welcome),
        ("127.0.0.1:", "HTTPS://APP.example", Welcome),
        ("127.0.0.1:", "http://localhost:3000", Welcome),
        ("own.example", "", Welcome),
        ("OWN.example:443", "https://own.example", Welcome),
        ("own.example", "https://app.example", Welcome),
        ("127.0.0.1:", "https://own.example", Page),
        ("127.0.0.1:", "http://app.example", Page),
        ("127.0.0.1:", "https://app.example:8443", Page),
        ("127.0.0.1:", "https://app.example.evil.example", Page),
        ("127.0.0.1:", "null", Page),
        ("app.example", "https://app.example", Host),
        ("evil.example", "", Host),
    ],
);

/// Open to all.
const ALL: Table = (
    &["--origins", "*", "--hosts", "*"],
    &[
        ("127.0.0.1:", "https://evil.example", Welcome),
        ("127.0.0.1:", "null", Welcome),
        ("evil.example:", "http://evil.example:", Welcome),
    ],
);

/// Reached from other machines: the clients' listener and the operators'.
const NETWORK: Table = (
    &["--anonymous", "write"],
    &[
        ("own.example:", "", Welcome),
        ("own.example:", "http://own.example:", Welcome),
        ("own.example:", "http://OWN.example:", Welcome),
        ("own.example", "https://own.example", Welcome),
        ("192.0.2.1:", "http://192.0.2.1:", Welcome),
        ("own.example:", "http://own.example:1", Page),
        ("own.example:", "https://app.example", Page),
        ("own.example:", "http://localhost:3000", Page),
        ("own.example:", "null", Page),
    ],
);

/// Paths of channels, as forge and cella have them.
const ROUTES: &str = "[[route]]\npath = '/r/{c}'\nprofile = 'cella'\nchannel = 'r:{c}'\n\
                      [[route]]\npath = '/h'\nprofile = 'hub'\n";

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const PREFLIGHT: &str = "Access-Control-Request-Headers: content-type\r\nAccess-Control-Request-Method: ";

/// A door of the clients' listener: method, path, further headers (of a preflight: the method that it asks for), body,
/// and the status for those who are welcome.
type Door = (&'static str, &'static str, &'static str, &'static str, u16);

const SIMPLE: &str = "Content-Type: text/plain\r\n";

const DOORS: [Door; 43] = [
    ("GET", "/k", UPGRADE, "", 101),
    ("GET", "/k/*", UPGRADE, "", 101),
    ("GET", "/", UPGRADE, "", 101),
    ("GET", "/ws", UPGRADE, "", 101),
    ("GET", "/ws/deeper", UPGRADE, "", 101),
    ("GET", "/h", UPGRADE, "", 101),
    ("GET", "/sse?channels=a", "", "", 200),
    ("HEAD", "/sse?channels=a", "", "", 405),
    ("POST", "/sse/subscribe", SIMPLE, "{}", 400),
    ("POST", "/sse/unsubscribe", SIMPLE, "{}", 400),
    ("GET", "/r/x", "", "", 200),
    ("GET", "/_/stream/k/*", "", "", 200),
    ("HEAD", "/_/stream/k/*", "", "", 200),
    ("POST", "/_/import", "Content-Type: application/json\r\n", "[{\"key\":\"k\",\"data\":1}]", 200),
    ("POST", "/_/import", SIMPLE, "[]", 415),
    ("POST", "/k", "Expect: 100-continue\r\n", "1", 200),
    ("GET", "/_/import", "", "", 405),
    ("GET", "/_/rooms", "", "", 200),
    ("POST", "/_/rooms", SIMPLE, "{}", 201),
    ("DELETE", "/_/rooms/none", "", "", 404),
    ("POST", "/k", SIMPLE, "1", 200),
    ("POST", "/k/*", SIMPLE, "1", 200),
    ("GET", "/k", "", "", 200),
    ("HEAD", "/k", "", "", 200),
    ("GET", "/k/*", "", "", 200),
    ("PATCH", "/none", "Content-Type: application/json\r\n", "{}", 404),
    ("DELETE", "/none", "", "", 404),
    ("DELETE", "/none/*", "", "", 204),
    ("PUT", "/k", "", "1", 404),
    ("TRACE", "/k", "", "", 404),
    ("OPTIONS", "/k", "", "", 404),
    ("GET", "/?api=keys", "", "", 200),
    ("GET", "/?api=state", "", "", 200),
    ("GET", "/", "Accept: text/html\r\n", "", 200),
    ("GET", "/_/chat", "Accept: text/html\r\n", "", 200),
    ("HEAD", "/_/chat", "", "", 200),
    ("GET", "/_/nowhere", "", "", 404),
    ("GET", "/k?user=%00", "", "", 400),
    ("OPTIONS", "/k", "GET", "", 204),
    ("OPTIONS", "/_/rooms", "POST", "", 204),
    ("OPTIONS", "/_/import", "PUT", "", 204),
    ("OPTIONS", "/sse/subscribe", "PATCH", "", 204),
    ("OPTIONS", "/r/x", "DELETE", "", 204),
];

/// The doors of the operators' listener.
const ADMIN: [Door; 5] = [
    ("GET", "/livez", "", "", 200),
    ("GET", "/readyz", "", "", 200),
    ("HEAD", "/metrics", "", "", 200),
    ("POST", "/metrics", "", "", 405),
    ("GET", "/nowhere", "", "", 404),
];

/// A response's status line and headers, and the body where it says how long it is.
fn ask(to: SocketAddr, host: &str, origin: &str, door: Door) -> (String, String) {
    let (method, path, extra, body, _) = door;
    let extra = if is_preflight(door) { format!("{PREFLIGHT}{extra}\r\n") } else { extra.to_owned() };
    let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut stream = http::connect(to);
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{origin}{extra}{length}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("the request is taken");
    let mut head = http::read_head(&mut stream).expect("a head");
    if head.starts_with("HTTP/1.1 100 ") {
        head = http::read_head(&mut stream).expect("a head behind the permission");
    }
    let mut text =
        vec![0; values(&head, "content-length").first().map_or(0, |n| n.parse().expect("a number"))];
    if method != "HEAD" {
        stream.read_exact(&mut text).expect("the body");
    }
    (head, String::from_utf8(text).expect("text"))
}

fn is_preflight((method, _, asks_for, ..): Door) -> bool {
    method == "OPTIONS" && !asks_for.is_empty()
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

fn check(to: SocketAddr, (host, origin, verdict): (&str, &str, Verdict), door: Door) {
    let with_port =
        |text: &str| if text.ends_with(':') { format!("{text}{}", to.port()) } else { text.into() };
    // schemes end in a colon and slashes, so only what lacks its port does
    let (host, origin) = (with_port(host), with_port(origin));
    let (head, body) = ask(to, &host, &origin, door);
    let cell = format!("{} {} with Host {host}, Origin {origin}:\n{head}{body}", door.0, door.1);
    let status: u16 = head[9..12].parse().expect("a status");
    let allowed = values(&head, "access-control-allow-origin");
    let credentials = values(&head, "access-control-allow-credentials");
    if verdict != Welcome {
        assert_eq!(status, 403, "{cell}");
        assert!(!head.to_lowercase().contains("access-control-"), "{cell}");
        let says = if verdict == Host { "--hosts '" } else { "--origins '" };
        assert!(door.0 == "HEAD" || body.contains(says), "{cell}");
    } else {
        assert_eq!(status, door.4, "{cell}");
        let readable = status != 101 && !origin.is_empty();
        assert_eq!(allowed, if readable { vec![origin.as_str()] } else { vec![] }, "{cell}");
        assert_eq!(credentials, if readable { vec!["true"] } else { vec![] }, "{cell}");
        if is_preflight(door) {
            assert_eq!(values(&head, "access-control-allow-methods"), [door.2], "{cell}");
            assert_eq!(values(&head, "access-control-allow-headers"), ["content-type"], "{cell}");
        }
    }
    let varies = values(&head, "vary").iter().any(|vary| vary.starts_with("Origin"));
    assert!(status == 101 || varies, "{cell}");
}

fn check_all(server: &Server, rows: &[(&str, &str, Verdict)]) {
    server.http("POST", "/k", "1");
    for row in rows {
        // a preflight is always of a page
        for door in DOORS.into_iter().filter(|door| !row.1.is_empty() || !is_preflight(*door)) {
            check(server.listen, *row, door);
        }
        for door in ADMIN {
            check(server.admin, *row, door);
        }
    }
}

#[test]
fn every_door_obeys_the_table_on_loopback() {
    for (args, rows) in [DEFAULT, LISTED, ALL] {
        check_all(&Server::start(args, ROUTES), rows);
    }
}

#[test]
fn every_door_obeys_the_table_where_other_machines_come_in() {
    let (args, rows) = NETWORK;
    check_all(&Server::start_for_all(args, ROUTES), rows);
}

#[test]
fn a_foreign_page_changes_nothing() {
    let server = Server::start(&[], "");
    server.http("POST", "/kept", "\"as it was\"");
    for (method, path, body) in [
        ("POST", "/kept", "2"),
        ("PATCH", "/kept", "{}"),
        ("DELETE", "/kept", ""),
        ("DELETE", "/*", ""),
        ("POST", "/_/import", "[{\"key\":\"kept\",\"data\":3}]"),
        ("POST", "/_/rooms", "{\"id\":\"kept\"}"),
    ] {
        check(server.listen, ("127.0.0.1:", "https://evil.example", Page), (method, path, SIMPLE, body, 403));
    }
    assert_eq!(server.http("GET", "/kept", "").json()["data"], "as it was");
    assert_eq!(server.http("GET", "/_/rooms/kept", "").status, 404);
}

#[test]
fn a_page_that_is_welcome_may_read_why_its_request_cannot_be_read() {
    let server = Server::start(&[], "[ooo]\nmax_body = 10");
    let long = "x".repeat(20_000);
    for (request, status) in [
        ("POST /k HTTP/1.1\r\nContent-Length: 99\r\n", 413),
        ("POST /k HTTP/1.1\r\nContent-Length: x\r\n", 400),
        ("POST /k HTTP/1.1\r\nTransfer-Encoding: gzip\r\n", 400),
        (&format!("GET /k HTTP/1.1\r\nX: {long}\r\n"), 431),
        ("GET /k HTTP/1.1\r\nBad\r\n", 400),
        ("GET /k HTTP/2.0\r\n", 505),
    ] {
        for (origin, allowed) in [("http://localhost:3000", true), ("https://evil.example", false)] {
            let (line, rest) = request.split_once("\r\n").expect("a line");
            let request = format!("{line}\r\nHost: localhost\r\nOrigin: {origin}\r\n{rest}\r\n");
            let response = http::raw(server.listen, request.as_bytes()).expect("an answer");
            assert_eq!(response.status, status, "{request}");
            // of another version of HTTP nothing is read but the number
            let expected = allowed && status != 505;
            assert_eq!(
                response.header("access-control-allow-origin"),
                expected.then_some(origin),
                "{request}"
            );
        }
    }
}

#[test]
fn no_page_shows_ours_in_a_frame() {
    let server = Server::start(&[], "");
    for path in ["/", "/_/chat"] {
        let (head, _) = ask(server.listen, "localhost", "", ("GET", path, "Accept: text/html\r\n", "", 200));
        let csp = values(&head, "content-security-policy");
        assert!(csp.len() == 1 && csp[0].contains("frame-ancestors 'none'"), "{head}");
        assert!(csp[0].starts_with("default-src 'none'; "), "{head}");
        assert_eq!(values(&head, "x-frame-options"), ["DENY"]);
        assert_eq!(values(&head, "x-content-type-options"), ["nosniff"]);
    }
}
