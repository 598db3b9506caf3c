//! Bad input from clients: a clear answer or close code, the process unharmed, no other connection disturbed.

mod support;

use std::io::Read;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use support::PATIENCE;
use support::Server;
use support::http;
use support::raw_ws::RawWs;
use support::raw_ws::frame;
use support::raw_ws::upgrade;
use support::subscriber::Subscriber;

const LIMITS: &str =
    "[conn]\nhandshake_timeout = \"1s\"\nmax_message = \"64KiB\"\n[feed]\nmax_line = \"64KiB\"\n";
const MAX: usize = 64 * 1024;

/// A server with small limits and a well-behaved subscriber who was there before.
struct Scene {
    server: Server,
    witness: Subscriber,
    beats: u32,
}

impl Scene {
    fn new(args: &[&str]) -> Scene {
        let server = Server::start(args, LIMITS);
        let witness = server.subscribe("witness/*");
        Scene { server, witness, beats: 0 }
    }

    /// The process lives, and the witness still gets its updates over the same connection.
    fn is_unharmed(&mut self) {
        self.beats += 1;
        let beat = self.beats;
        self.server.feed().apply(json!({"op": "set", "key": "witness/beat", "data": beat}));
        self.witness.wait("the next beat", |list| list[0]["data"] == beat);
        assert!(self.server.is_alive());
    }

    /// A raw request is answered by `status`; gives the response.
    fn raw(&mut self, bytes: &[u8], status: u16) -> http::Response {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let response = http::raw(self.server.listen, bytes).unwrap_or_else(|| panic!("{start:?}: no answer"));
        assert_eq!(response.status, status, "{start:?} was answered by {}", response.head);
        self.is_unharmed();
        response
    }

    /// A request is refused with this status and text.
    fn refuses(&mut self, method: &str, path: &str, body: &str, status: u16, text: &str) {
        let response = self.server.http(method, path, body);
        let what = format!("{method} {path} {}", &body[..body.len().min(80)]);
        assert_eq!((response.status, response.text().trim_end()), (status, text.trim_end()), "{what}");
        self.is_unharmed();
    }

    /// A subscriber that sends these bytes is closed with this code.
    fn closes(&mut self, what: &str, bytes: &[u8], code: u16) {
        let socket = RawWs::open(self.server.listen, "/hostile");
        assert_eq!(socket.close_code_after(bytes), code, "{what}");
        self.is_unharmed();
    }
}

#[test]
fn malformed_requests_are_answered_by_400() {
    let mut scene = Scene::new(&[]);
    for head in [
        "GARBAGE\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "GET /box\r\n\r\n",
        "GET /box HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /box HTTP/1.1\r\nHost: localhost\r\nbad\0name: x\r\n\r\n",
        "POST /box HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n1",
        "POST /box HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n1",
        "POST /box HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        "POST /box HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        scene.raw(head.as_bytes(), 400);
    }
}

#[test]
fn an_oversized_head_is_answered_by_431() {
    let mut scene = Scene::new(&[]);
    let long = "x".repeat(256 * 1024);
    scene.raw(format!("GET /box HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n").as_bytes(), 431);
    let many = "X-Many: 1\r\n".repeat(20_000);
    scene.raw(format!("GET /box HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes(), 431);
}

#[test]
fn a_broken_upgrade_is_refused_before_it_is_one() {
    let mut scene = Scene::new(&[]);
    let whole = upgrade("/box", "");
    let mut broken = |from: &str, to: &str| {
        let response = http::raw(scene.server.listen, whole.replace(from, to).as_bytes()).expect("an answer");
        assert!(matches!(response.status, 400 | 426), "{to:?}: {}", response.head);
        scene.is_unharmed();
    };
    broken("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    broken("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: short");
    broken("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 7");
}

/// After how long is held in virtual time, in `simulator/tests/properties/connections.rs`.
#[test]
fn a_half_open_handshake_is_closed() {
    let mut scene = Scene::new(&[]);
    let partial = &upgrade("/box", "").into_bytes()[..60];
    for sent in [&b""[..], b"GET ", partial] {
        let mut stream = http::connect(scene.server.listen);
        stream.write_all(sent).expect("the bytes are taken");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the server closes it");
        scene.is_unharmed();
    }
    // One byte now and then does not keep a handshake open.
    let start = Instant::now();
    let mut stream = http::connect(scene.server.listen);
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let mut bytes = b"GET /".iter().chain(std::iter::repeat(&b'a'));
    while stream.write_all(&[*bytes.next().expect("endless")]).is_ok() && stream.read(&mut [0; 512]).is_err()
    {
        assert!(start.elapsed() < PATIENCE, "one byte now and then keeps it open");
    }
    scene.is_unharmed();
}

#[test]
fn frames_against_the_protocol_close_with_their_code() {
    let mut scene = Scene::new(&[]);
    let mut unmasked = frame(0x81, b"");
    unmasked[1] &= 0x7F;
    scene.closes("an unmasked frame", &unmasked, 1002);
    scene.closes("an unmasked frame with payload", b"\x81\x02hi", 1002);
    for (what, bit) in [("RSV1", 0x40), ("RSV2", 0x20), ("RSV3", 0x10)] {
        scene.closes(what, &frame(0x81 | bit, b"x"), 1002);
    }
    for opcode in [3, 7, 0xB, 0xF] {
        scene.closes("a reserved opcode", &frame(0x80 | opcode, b"x"), 1002);
    }
    scene.closes("a fragmented ping", &frame(0x09, b"x"), 1002);
    scene.closes("a ping of 126 bytes", &frame(0x89, &[0; 126]), 1002);
    scene.closes("a continuation of nothing", &frame(0x80, b"x"), 1002);
    scene.closes("a new message within a message", &[frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002);
    scene.closes("a close of one byte", &frame(0x88, b"x"), 1002);
    scene.closes("a close with code 1005", &frame(0x88, &1005_u16.to_be_bytes()), 1002);
    scene.closes("invalid UTF-8", &frame(0x81, b"ab\xFF"), 1007);
    scene.closes("a character cut off", &frame(0x81, "ä".as_bytes().split_last().expect("two").1), 1007);
    scene.closes(
        "a surrogate across fragments",
        &[frame(0x01, b"\xED"), frame(0x80, b"\xA0\x80")].concat(),
        1007,
    );
    scene.closes("a close with a reason that is not UTF-8", &frame(0x88, b"\x03\xE8\xFF"), 1007);
}

#[test]
fn messages_over_the_limit_close_with_1009_and_up_to_it_are_taken() {
    let mut scene = Scene::new(&[]);
    scene.closes("one frame over the limit", &frame(0x82, &vec![0; MAX + 1]), 1009);
    let part = vec![0; MAX / 2 + 1];
    scene.closes("two fragments over the limit", &[frame(0x02, &part), frame(0x80, &part)].concat(), 1009);
    let announced = [&b"\x82\xFF"[..], &(i64::MAX as u64).to_be_bytes(), b"\x01\x02\x03\x04"].concat();
    scene.closes("a frame that only announces to be huge", &announced, 1009);

    let mut socket = RawWs::open(scene.server.listen, "/hostile");
    let all =
        [frame(0x82, &vec![0; MAX]), frame(0x01, "ä".as_bytes().split_at(1).0), frame(0x89, b"still here")];
    socket.0.write_all(&all.concat()).expect("the frames are taken");
    let (opcode, payload) =
        std::iter::repeat_with(|| socket.read()).find(|(opcode, _)| *opcode != 2).expect("endless");
    assert_eq!((opcode, payload.as_slice()), (0xA, &b"still here"[..]));
    scene.is_unharmed();
}

#[test]
fn invalid_bodies_are_answered_by_400_and_change_nothing() {
    let mut scene = Scene::new(&[]);
    assert_eq!(scene.server.http("POST", "/box", r#"{"b":{"c":1}}"#).status, 200);
    let before = scene.server.http("GET", "/box", "").json();
    for method in ["POST", "PATCH"] {
        scene.refuses(method, "/box", "", 400, "EOF");
        scene.refuses(method, "/box", "not json", 400, "json: invalid character o as null");
    }
    scene.refuses("PATCH", "/box", r#"{"b":1}"#, 400, r#"merge: patch value must be object for key "b""#);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for body in ["{", "{\"a\":}", "[1,]", "\"open", "1.", "\"\\x\"", "nul", "\u{7f}", &deep, &deep[..100_000]]
    {
        let response = scene.server.http("POST", "/box", body);
        assert_eq!(response.status, 400, "{}", &body[..body.len().min(80)]);
        assert!(!response.body.is_empty(), "a 400 says why");
        scene.is_unharmed();
    }
    let utf8 = http::request(scene.server.listen, "POST", "/box", b"\"\xFF\"");
    assert_eq!(utf8.status, 400, "invalid UTF-8");
    assert_eq!(scene.server.http("GET", "/box", "").json(), before);

    // What follows the first value is ignored, as upstream does.
    assert_eq!(scene.server.http("POST", "/box", r#"{"a":1} trailing"#).status, 200);
    assert_eq!(scene.server.http("GET", "/box", "").json()["data"], json!({"a": 1}));
}

#[test]
fn a_body_over_10_mib_is_answered_by_413() {
    let mut scene = Scene::new(&[]);
    let body = format!("\"{}\"", "x".repeat(10 * 1024 * 1024));
    scene.refuses("POST", "/box", &body, 413, "Request Entity Too Large");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head = "POST /box HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    scene.raw((head.to_owned() + &chunked).as_bytes(), 413);
    scene.refuses("GET", "/box", "", 404, "ooo: empty key");
}

#[test]
fn keys_against_the_rules_are_refused_with_their_texts() {
    let mut scene = Scene::new(&[]);
    let invalid = "ooo: key is not valid";
    for key in ["-box", "box-", ".box", "box/", "_box", "box/**", "**", "a/b**c", "box/_"] {
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            scene.refuses(method, &format!("/{key}"), "1", 400, invalid);
        }
        let response =
            http::raw(scene.server.listen, upgrade(&format!("/{key}"), "").as_bytes()).expect("an answer");
        assert_eq!((response.status, response.text().trim_end()), (400, invalid), "a subscription to {key}");
    }
    for key in ["bo$x", "bo%20x", "b=x", "b%C3%A4r"] {
        scene.refuses("POST", &format!("/{key}"), "1", 404, "404 page not found");
    }
    assert_eq!(scene.server.http("GET", "/box//lid", "").status, 400);
    scene.refuses("POST", "/users/*/posts/*", "1", 400, "key: contains more than one glob pattern");
    scene.refuses("POST", "/users/*/posts", "1", 400, "key: glob pattern must be at the end of the path");
    scene.refuses("PATCH", "/users/*", "{}", 400, "ooo: glob pattern not allowed for this operation");
    scene.refuses("PATCH", "/missing", "{}", 404, "ooo: not found");
    scene.refuses("GET", "/missing", "", 404, "ooo: empty key");
    scene.refuses("DELETE", "/missing", "", 404, "storage: not found");
    for key in ["a", "ab", "x/_y/z", "a-b_c.d", "9"] {
        assert_eq!(scene.server.http("POST", &format!("/{key}"), "1").status, 200, "{key} is a key");
    }
}

#[test]
fn a_refused_write_is_a_403_with_a_sentence_and_reading_goes_on() {
    let mut scene = Scene::new(&["--anonymous", "read"]);
    scene.server.feed().apply(json!({"op": "set", "key": "box", "data": 1}));
    for (method, path) in [("POST", "/box"), ("POST", "/box/*"), ("PATCH", "/box"), ("DELETE", "/box")] {
        let response = scene.server.http(method, path, "{}");
        assert_eq!(response.status, 403, "{method} {path}");
        assert!(response.text().split(' ').count() > 3, "not a sentence: {:?}", response.text());
        scene.is_unharmed();
    }
    assert_eq!(scene.server.http("GET", "/box", "").json()["data"], 1);
    let mut subscriber = scene.server.subscribe("box");
    subscriber.wait("the value", |item| item["data"] == 1);
}

#[test]
fn bad_feed_lines_are_answered_with_their_number_and_the_connection_goes_on() {
    let mut scene = Scene::new(&[]);
    let mut feed = scene.server.feed();
    feed.apply(json!({"op": "set", "key": "box", "data": {"a": [1, 2]}}));
    let patch = |ops: Value| json!({"op": "patch", "key": "box", "patch": ops}).to_string();
    let deep = format!(r#"{{"op":"set","key":"deep","data":{}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let lines = [
        "not json".to_owned(),
        "{\"op\":\"set\"".to_owned(),
        "[]".to_owned(),
        "7".to_owned(),
        "{}".to_owned(),
        r#"{"op":"fly","key":"box"}"#.to_owned(),
        r#"{"op":"set","data":1}"#.to_owned(),
        r#"{"op":"set","key":"box"}"#.to_owned(),
        r#"{"op":"set","key":7,"data":1}"#.to_owned(),
        r#"{"op":"set","key":"box/*","data":1}"#.to_owned(),
        r#"{"op":"push","key":"box","data":1}"#.to_owned(),
        deep,
        patch(json!({"op": "add"})),
        patch(json!([{"op": "fly", "path": "/a"}])),
        patch(json!([{"op": "replace", "path": "/missing", "value": 1}])),
        patch(json!([{"op": "remove", "path": "/a/7"}])),
        patch(json!([{"op": "add", "path": "/a/01", "value": 1}])),
        patch(json!([{"op": "add", "path": "no slash", "value": 1}])),
        patch(json!([{"op": "test", "path": "/a/0", "value": 2}])),
        patch(json!([{"op": "replace", "path": "/a/0", "value": 9}, {"op": "remove", "path": "/missing"}])),
        r#"{"op":"patch","key":"missing","patch":[{"op":"remove","path":"/a"}]}"#.to_owned(),
        r#"{"op":"batch","ops":[{"op":"set","key":"box","data":0},{"op":"fly"}]}"#.to_owned(),
    ];
    for (n, line) in lines.iter().enumerate() {
        feed.send(line.as_bytes());
        let reply = feed.reply().expect("the connection goes on");
        let what = format!("{} was answered by {reply}", &line[..line.len().min(120)]);
        assert_eq!(reply["line"], n + 2, "{what}");
        assert!(reply["error"]["code"].as_str().is_some_and(|code| !code.is_empty()), "{what}");
        assert!(reply["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    }
    for key in ["-box", "box//lid", "ws/x", "_/x", "sse", ""] {
        feed.send(json!({"op": "set", "key": key, "data": 1}).to_string().as_bytes());
        assert_eq!(feed.reply().expect("a reply")["error"]["code"], "invalid_key", "{key:?}");
    }
    feed.send(b"{\"op\":\"set\",\"key\":\"box\",\"data\":\"\xFF\"}");
    assert!(feed.reply().expect("a reply")["error"].is_object(), "invalid UTF-8");
    feed.send(br#"{"id":"mine","op":"del","key":"-"}"#);
    assert_eq!(feed.reply().expect("a reply")["id"], "mine", "an error carries the id of its line");
    assert_eq!(
        scene.server.http("GET", "/box", "").json()["data"],
        json!({"a": [1, 2]}),
        "no bad line did anything"
    );
    feed.apply(json!({"op": "set", "key": "box", "data": "good"}));
    scene.is_unharmed();
}

#[test]
fn a_feed_line_over_the_limit_is_answered_and_closes_that_connection_only() {
    let mut scene = Scene::new(&[]);
    let mut other = scene.server.feed();
    for end in ["", "\n"] {
        let mut feed = scene.server.feed();
        feed.apply(json!({"op": "set", "key": "box", "data": 1}));
        let long = json!({"op": "set", "key": "box", "data": "x".repeat(2 * MAX)}).to_string() + end;
        let _ = feed.stream.write_all(long.as_bytes());
        let reply = feed.reply().expect("an answer before the end");
        assert_eq!(reply["line"], 2);
        assert!(reply["error"]["message"].is_string(), "{reply}");
        assert!(feed.reply().is_none(), "the connection stays open");
        other.apply(json!({"op": "set", "key": "box", "data": 2}));
        scene.is_unharmed();
    }
}

#[test]
fn connections_that_vanish_leave_nothing_behind() {
    let mut scene = Scene::new(&[]);
    for n in 0..200 {
        let mut socket = RawWs::open(scene.server.listen, "/witness/*");
        if n % 2 == 0 {
            socket.0.write_all(&frame(0x81, b"half a frame")[..7]).expect("the bytes are taken");
        }
        // Unread bytes at close make the kernel reset the connection.
        drop(socket);
    }
    scene.is_unharmed();
    let pools = || scene.server.http("GET", "/?api=state", "").json();
    support::wait_for("the pools to empty", || (pools()["totalConnections"] == 1).then_some(()));
}
