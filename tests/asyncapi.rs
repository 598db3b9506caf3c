//! `docs/src/asyncapi.json` against real frames: a session that provokes every frame of the hub, both ways.

mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;
use support::raw_ws::{RawWs, frame, upgrade};
use support::tools::{need, npm_ci};
use support::{Feed, PATIENCE, Server, http};

const CONFIG: &str = r#"
[hub]
session_ttl = "10s"
ping_interval = "2s"
connections_per_user = 2

[[rule]]
channel = "news"
history = 100
"#;

/// Every frame, as `check.js` reads it.
type Log = Arc<Mutex<Vec<String>>>;

/// A client of the hub that notes what it sends and gets; a thread of its own reads, and answers pings.
struct Client {
    log: Log,
    writer: Arc<Mutex<TcpStream>>,
    frames: Receiver<Value>,
    asked: u32,
}

fn note(log: &Log, from: &str, frame: &Value) {
    log.lock().expect("nobody panics with it").push(json!({"from": from, "frame": frame}).to_string());
}

impl Client {
    fn open(server: &Server, log: &Log, path: &str, extra: &str) -> Client {
        let mut stream = http::connect(server.listen);
        stream.write_all(upgrade(path, extra).as_bytes()).expect("the request is taken");
        let response = http::read(&mut stream).expect("a response");
        assert_eq!(response.status, 101, "{}", response.head);
        let writer = Arc::new(Mutex::new(stream.try_clone().expect("a second handle")));
        let (sender, frames) = channel();
        let (pongs, seen, mut socket) = (writer.clone(), log.clone(), RawWs(stream));
        thread::spawn(move || {
            loop {
                match socket.read() {
                    (1, text) => {
                        let frame = serde_json::from_slice(&text).expect("a frame is JSON");
                        note(&seen, "server", &frame);
                        let _ = sender.send(frame);
                    }
                    (9, payload) => {
                        let _ =
                            pongs.lock().expect("nobody panics with it").write_all(&frame(0x8A, &payload));
                    }
                    _ => return,
                }
            }
        });
        Client { log: log.clone(), writer, frames, asked: 0 }
    }

    fn send(&mut self, said: Value) {
        note(&self.log, "client", &said);
        let bytes = frame(0x81, said.to_string().as_bytes());
        self.writer.lock().expect("nobody panics with it").write_all(&bytes).expect("the frame is taken");
    }

    /// Sends a frame and waits for its answer.
    fn ask(&mut self, mut said: Value) -> Value {
        self.asked += 1;
        let request = json!(self.asked);
        said["request_id"] = request.clone();
        self.send(said);
        self.until("an answer", |frame| frame["request_id"] == request)
    }

    /// The next frame of which this holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let next = || self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut frames = std::iter::from_fn(|| next().ok());
        frames.find(|frame| holds(frame)).unwrap_or_else(|| panic!("waited for {what}"))
    }

    /// The next frame of that type.
    fn kind(&mut self, kind: &str) -> Value {
        self.until(kind, |frame| frame["type"] == kind)
    }

    /// The next frame that tells of that event.
    fn event(&mut self, event: &str) -> Value {
        self.until(event, |frame| frame["event"] == event)
    }
}

fn documents(feed: &mut Feed, ann: &mut Client) {
    let filler = "some words, so that a patch is the smaller way to say what has changed";
    feed.apply(json!({"op": "set", "key": "things/1", "data": {"n": 1, "list": [1, 2], "filler": filler}}));
    ann.send(json!({"type": "subscribe", "key": "things/*", "mode": "auto", "max_hz": 0}));
    let version = ann.kind("snapshot")["version"].clone();
    assert_eq!(ann.kind("synced")["count"], 1);
    feed.apply(json!({"op": "merge", "key": "things/1", "data": {"n": 2, "more": null, "list": [2]}}));
    assert_eq!(ann.kind("patch")["from"], version);
    let again = json!({"type": "subscribe", "key": "things/1", "versions": {"things/1": version}});
    assert_eq!(ann.ask(again)["type"], "synced");
    feed.apply(json!({"op": "del", "key": "things/1"}));
    ann.kind("delete");
    ann.ask(json!({"type": "unsubscribe", "key": "things/*"}));
}

fn channels(feed: &mut Feed, ann: &mut Client) {
    let start = ann.ask(json!({"type": "subscribe", "channel": "news", "id": "mine"}));
    assert_eq!((&start["type"], &start["recovered"]), (&json!("subscribed"), &json!(false)));
    feed.apply(json!({"op": "publish", "channel": "news", "type": "alert", "data": 1, "event": "e",
        "user_id": "app", "metadata": {"a": 1}, "thread_id": "t"}));
    feed.apply(json!({"op": "publish", "channel": "*", "data": "for all"}));
    ann.kind("alert");
    let published = ann.ask(json!({"type": "publish", "channel": "news", "data": [2], "event": "own"}));
    assert_eq!(published["type"], "published");
    ann.ask(json!({"type": "message", "channel_id": "news", "data": {"text": "3"}, "metadata": {}}));
    assert_eq!(ann.ask(json!({"type": "unsubscribe", "channel": "news"}))["type"], "unsubscribed");
    let recover = json!({"epoch": start["epoch"], "offset": start["offset"]});
    let again = ann.ask(json!({"type": "subscribe", "channel": "news", "recover": recover}));
    assert_eq!(again["recovered"], true, "{again}");
    let past = ann.ask(json!({"type": "history", "channel": "news", "limit": 2, "thread": "t"}));
    assert_eq!(past["messages"].as_array().map(Vec::len), Some(1), "{past}");
    for action in ["subscribe", "publish", "unsubscribe"] {
        ann.ask(json!({"action": action, "channel_id": "weather"}));
    }
    for kind in ["heartbeat", "ping", "pong"] {
        ann.ask(json!({"type": kind}));
    }
}

fn rooms(ann: &mut Client, bob: &mut Client) {
    let attic = |mut said: Value| {
        said["room_id"] = "attic".into();
        said
    };
    let room = ann.ask(attic(json!({"type": "room.create", "name": "The attic", "metadata": {"floor": 3}})));
    assert_eq!(room["name"], "The attic");
    assert_eq!(ann.ask(attic(json!({"type": "join"})))["member_count"], 1);
    assert_eq!(bob.ask(attic(json!({"type": "join"})))["member_count"], 2);
    ann.kind("member_join");
    ann.kind("presence");
    bob.send(attic(json!({"type": "typing", "data": true})));
    assert_eq!(ann.kind("typing")["data"], true);
    assert_eq!(ann.kind("typing")["data"], false, "it ends by itself");
    let said = bob.ask(attic(json!({"type": "message", "data": {"text": "helo"}, "thread_id": "t"})));
    let id = &said["message_id"];
    ann.ask(attic(json!({"type": "message.react", "message_id": id, "emoji": "+1"})));
    bob.ask(attic(json!({"type": "message.edit", "message_id": id, "data": {"text": "hello"}})));
    assert_eq!(ann.event("message.edited")["data"]["new_content"]["text"], "hello");
    let past = ann.ask(attic(json!({"type": "history", "search": "HELLO"})));
    assert_eq!(past["messages"][0]["edited"], true, "{past}");
    assert_eq!(past["messages"][0]["reactions"][0]["user_ids"], json!(["ann"]), "{past}");
    ann.ask(attic(json!({"type": "message.unreact", "message_id": id, "emoji": "+1"})));
    bob.ask(attic(json!({"type": "message.delete", "message_id": id})));
    ann.event("message.deleted");
    assert_eq!(ann.ask(json!({"type": "subscribe_presence", "user_ids": ["bob"]}))["type"], "presence_sync");
    bob.send(json!({"type": "presence", "status": "busy", "custom_status": "reading"}));
    assert_eq!(ann.until("bob is busy", |frame| frame["status"] == "busy")["custom_status"], "reading");
    ann.ask(json!({"type": "unsubscribe_presence", "user_ids": []}));
}

fn moderation(server: &Server, ann: &mut Client, bob: &mut Client) {
    let of_bob = |kind: &str| json!({"type": kind, "room_id": "attic", "user_id": "bob"});
    let with = |kind: &str, name: &str, value: Value| {
        let mut said = of_bob(kind);
        said[name] = value;
        said
    };
    ann.ask(
        json!({"type": "room.update", "room_id": "attic", "description": "under the roof", "max_members": 9}),
    );
    bob.event("room.updated");
    ann.ask(with("room.role", "role", "guest".into()));
    bob.event("member.role");
    ann.ask(with("room.role", "role", "member".into()));
    ann.ask(with("room.mute", "for_ms", 60_000.into()));
    bob.event("member.muted");
    let muted = bob.ask(json!({"type": "message", "room_id": "attic", "data": "may I?", "id": 7}));
    assert_eq!(
        (&muted["data"]["code"], &muted["data"]["rejected_id"]),
        (&json!("muted"), &json!(7)),
        "{muted}"
    );
    assert!(muted["data"]["retry_after_ms"].is_number(), "{muted}");
    ann.ask(of_bob("room.unmute"));
    ann.ask(with("room.kick", "reason", "too loud".into()));
    assert_eq!(bob.event("kicked")["data"]["reason"], "too loud");
    ann.kind("member_leave");
    bob.ask(json!({"type": "join", "room_id": "attic"}));
    ann.ask(of_bob("room.ban"));
    bob.event("banned");
    ann.ask(of_bob("room.unban"));
    bob.ask(json!({"type": "join", "room_id": "attic"}));
    let mut elsewhere = Client::open(server, &ann.log, "/ws?user=ann", "");
    for kind in ["join", "leave"] {
        elsewhere.ask(json!({"type": kind, "room_id": "attic"}));
    }
    ann.event("left");
    // the room has gone to the one who stayed
    for kind in ["room.members", "room.get"] {
        bob.ask(json!({"type": kind, "room_id": "attic"}));
    }
    bob.send(json!({"type": "room.delete", "room_id": "attic"}));
    bob.event("room.deleted");
}

/// What `check.js` says against these frames.
fn check(lines: &[String]) -> String {
    let mut node = Command::new("node");
    node.arg("check.js")
        .current_dir(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut node = node.spawn().expect("node starts");
    node.stdin.take().expect("piped").write_all(lines.join("\n").as_bytes()).expect("node reads");
    let output = node.wait_with_output().expect("node ends");
    let faults = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.success(), faults.is_empty(), "{faults}");
    faults
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/asyncapi")
}

#[test]
fn every_frame_is_described_and_every_described_frame_comes() {
    need(&["node", "npm"], &["nodejs", "npm"]);
    npm_ci(&folder());
    let mut server = Server::start(&[], CONFIG);
    let (mut feed, log) = (server.feed(), Log::default());
    let mut ann = Client::open(&server, &log, "/ws?user=ann&session_id=", "");
    let mut bob = Client::open(&server, &log, "/ws?user=bob", "Sec-WebSocket-Protocol: fanfare.v1\r\n");
    ann.event("session");
    documents(&mut feed, &mut ann);
    channels(&mut feed, &mut ann);
    rooms(&mut ann, &mut bob);
    moderation(&server, &mut ann, &mut bob);

    // the owner of the user answers the second, so the third is the one too many
    let mut second = Client::open(&server, &log, "/ws?user=bob&rooms=", "");
    second.ask(json!({"type": "presence", "data": "away"}));
    let refused = Client::open(&server, &log, "/ws?user=bob&rooms=", "").kind("disconnect");
    assert_eq!(refused["code"], 3009, "{refused}");
    ann.event("ping");
    server.stop(rustix::process::Signal::TERM);
    ann.event("server_shutdown");
    assert_eq!(ann.kind("disconnect")["code"], 1001);

    let mut lines = log.lock().expect("nobody panics with it").clone();
    assert_eq!(check(&lines), "", "frames and docs/src/asyncapi.json are not at one");

    // the check itself can fail
    let line = |frame| json!({"from": "server", "frame": frame}).to_string();
    let synced = lines.iter().position(|line| line.contains("synced")).expect("there is one");
    lines[synced] = line(json!({"type": "synced", "key": "a", "count": -1, "more": true}));
    lines.retain(|line| !line.contains("\"typing\""));
    let faults = check(&lines);
    for fault in ["/count must be >= 0", "additionalProperty\":\"more", "client.typing was never seen"] {
        assert!(faults.contains(fault), "{fault} is not in {faults}");
    }
}
