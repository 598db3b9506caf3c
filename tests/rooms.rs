//! Rooms of the real binary: forge's raw clients and its generated ones, and HTTP.

mod support;

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};
use support::http::request;
use support::raw_ws::{RawWs, frame};
use support::{PATIENCE, Server};

/// A client of the hub: what it has been told and not looked at yet.
struct Client {
    ws: RawWs,
    got: Vec<Value>,
}

impl Client {
    fn open(server: &Server, query: &str) -> Client {
        Client::at(server, &format!("/ws?{query}"))
    }

    fn at(server: &Server, path: &str) -> Client {
        Client { ws: RawWs::open(server.listen, path), got: Vec::new() }
    }

    fn send(&mut self, message: &Value) {
        self.ws.0.write_all(&frame(0x81, message.to_string().as_bytes())).expect("the server reads");
    }

    fn raw(&mut self, text: &str) {
        self.ws.0.write_all(&frame(0x81, text.as_bytes())).expect("the server reads");
    }

    fn read(&mut self) -> Value {
        loop {
            let (opcode, payload) = self.ws.read();
            if opcode == 1 {
                return serde_json::from_slice(&payload).expect("frames are JSON");
            }
            assert_eq!(opcode, 9, "{}", String::from_utf8_lossy(&payload));
        }
    }

    /// The next frame of that kind; others are kept.
    fn wait(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.got.iter().position(&is) {
            return self.got.remove(at);
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let next = self.read();
            if is(&next) {
                return next;
            }
            self.got.push(next);
        }
        panic!("{what} did not come: {:?}", self.got)
    }

    fn wait_kind(&mut self, kind: &str) -> Value {
        self.wait(kind, |frame| frame["type"] == kind)
    }

    /// Asks and waits for the reply.
    fn ask(&mut self, mut message: Value, id: u64) -> Value {
        message["request_id"] = id.into();
        self.send(&message);
        self.wait("the reply", |frame| frame["request_id"] == id)
    }
}

fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let response = request(server.listen, "POST", path, body.to_string().as_bytes());
    (response.status, response.json())
}

fn get(server: &Server, path: &str) -> Value {
    request(server.listen, "GET", path, b"").json()
}

/// Two people in a room, as forge's raw WebSocket clients speak: no acknowledgements, everything comes to everybody.
#[test]
fn two_people_talk_in_a_room() {
    let server = Server::start(&[], "");
    assert_eq!(post(&server, "/_/rooms?user=ann", &json!({"id": "lounge", "name": "Lounge"})).0, 201);
    let (mut ann, mut bob) = (Client::open(&server, "user=ann"), Client::open(&server, "user=bob"));
    ann.send(&json!({"type": "join", "room_id": "lounge"}));
    ann.wait_kind("presence_sync");
    bob.send(&json!({"type": "join", "room_id": "lounge"}));
    let joined = ann.wait_kind("member_join");
    assert_eq!((&joined["room_id"], &joined["member"]["user_id"]), (&json!("lounge"), &json!("bob")));
    let there = ann.wait("bob's presence", |f| f["type"] == "presence" && f["user_id"] == "bob");
    assert_eq!((&there["status"], &there["room_id"]), (&json!("online"), &json!("lounge")));

    bob.send(&json!({"type": "typing", "room_id": "lounge", "data": true}));
    let typing = ann.wait_kind("typing");
    assert_eq!((&typing["user_id"], &typing["data"]), (&json!("bob"), &json!(true)));
    let sent =
        json!({"type": "message", "room_id": "lounge", "id": "mine", "user_id": "ann", "data": "<hi>"});
    bob.send(&sent);
    for one in [&mut ann, &mut bob] {
        let message = one.wait_kind("message");
        assert_eq!((&message["user_id"], &message["data"]), (&json!("bob"), &json!("<hi>")), "{message}");
        assert_eq!(message["sequence"], 1);
        assert!(message["id"] != "mine" && message["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')));
    }
    let stopped = ann.wait("the end of typing", |f| f["type"] == "typing" && f["data"] == false);
    assert_eq!(stopped["user_id"], "bob");

    bob.send(&json!({"type": "presence", "data": "away"}));
    ann.wait("away", |f| f["type"] == "presence" && f["status"] == "away");
    bob.send(&json!({"type": "presence", "data": "asleep"}));
    let refused = bob.wait_kind("error");
    assert_eq!(
        (&refused["event"], &refused["data"]["code"]),
        (&json!("message.rejected"), &json!("invalid_message"))
    );

    // a connection that goes is missed in the end; its user stays a member
    drop(bob);
    ann.wait("offline", |f| f["type"] == "presence" && f["status"] == "offline");
    let members = get(&server, "/_/rooms/lounge/members");
    let names: Vec<&Value> =
        members["members"].as_array().expect("a list").iter().map(|m| &m["user_id"]).collect();
    assert_eq!(names, ["ann", "bob"]);
    let past = get(&server, "/_/rooms/lounge/history?limit=10&by=bob");
    assert_eq!(past["messages"][0]["data"], "<hi>");
    assert!(!ann.got.iter().any(|frame| frame["type"] == "member_leave"));
}

/// What forge's generated room, presence and typing clients wait for.
#[test]
fn generated_clients_get_their_replies() {
    let server = Server::start(&[], "");
    let mut ann = Client::open(&server, "user=ann");
    let made = ann.ask(json!({"type": "room.create", "room_id": "r", "name": "R"}), 1);
    assert_eq!((&made["id"], &made["name"], &made["private"]), (&json!("r"), &json!("R"), &json!(false)));
    let joined = ann.ask(json!({"type": "join", "room_id": "r"}), 2);
    assert_eq!((&joined["room_name"], &joined["members"][0]["user_id"]), (&json!("R"), &json!("ann")));
    for n in 0..3 {
        ann.send(&json!({"type": "message", "room_id": "r", "data": n, "timestamp": "x"}));
    }
    let past = ann.ask(json!({"type": "history", "room_id": "r", "limit": 2}), 3);
    let data: Vec<&Value> = past["messages"].as_array().expect("a list").iter().map(|m| &m["data"]).collect();
    assert_eq!(data, [&json!(2), &json!(1)]);
    let none = ann.ask(json!({"type": "join", "room_id": "nowhere"}), 4);
    assert!(none["type"] == "error" && none["error"].is_string(), "{none}");
    assert_eq!(none["data"]["code"], "room_access_denied");

    let mut eve = Client::open(&server, "user=eve");
    eve.send(&json!({"type": "subscribe_presence", "user_ids": ["ann", "bob"]}));
    let sync = eve.wait_kind("presence_sync");
    let how = |user: &str| {
        let all = sync["presences"].as_array().expect("a list");
        all.iter().find(|one| one["user_id"] == user).expect("it is named")["status"].clone()
    };
    assert_eq!((how("ann"), how("bob")), (json!("online"), json!("offline")));
    ann.send(&json!({"type": "presence", "status": "busy", "custom_status": "in a call", "timestamp": "x"}));
    let busy = eve.wait_kind("presence");
    assert_eq!((&busy["status"], &busy["custom_status"]), (&json!("busy"), &json!("in a call")));
    eve.send(&json!({"type": "heartbeat"}));

    let left = ann.ask(json!({"type": "leave", "room_id": "r"}), 5);
    assert_eq!(left["request_id"], 5);
    let late = ann.ask(json!({"type": "message", "room_id": "r", "data": 9}), 6);
    assert_eq!(late["data"]["code"], "send_denied");
    // nothing of this was an error to the other
    assert!(!eve.got.iter().any(|frame| frame["type"] == "error"), "{:?}", eve.got);
}

/// Frames that no client should send are answered with a code, and the connection goes on.
#[test]
fn hostile_frames_about_rooms_are_answered() {
    let server = Server::start(&[], "");
    let mut ann = Client::open(&server, "user=ann");
    let long = "x".repeat(300);
    for text in [
        r#"{"type":"room.create","room_id":"a\nb"}"#.to_owned(),
        r#"{"type":"room.create","room_id":"*"}"#.to_owned(),
        r#"{"type":"room.create","room_id":"$x"}"#.to_owned(),
        format!(r#"{{"type":"room.create","room_id":"{long}"}}"#),
        r#"{"type":"join","room_id":7}"#.to_owned(),
        r#"{"type":"typing","room_id":"r","data":"yes"}"#.to_owned(),
        r#"{"type":"room.role","room_id":"r","user_id":["a"],"role":"admin"}"#.to_owned(),
        r#"{"type":"room.mute","room_id":"r","user_id":"a","for_ms":-1}"#.to_owned(),
        r#"{"type":"message.edit","room_id":"r","message_id":"zz","data":1}"#.to_owned(),
        r#"{"type":"subscribe_presence","user_ids":{"a":1}}"#.to_owned(),
    ] {
        ann.raw(&text);
        let error = ann.wait_kind("error");
        assert_eq!(error["data"]["code"], "invalid_message", "{text}: {error}");
    }
    for (kind, code) in [("room.kick", "not_found"), ("room.delete", "not_found"), ("message", "send_denied")]
    {
        ann.send(&json!({"type": kind, "room_id": "nowhere", "user_id": "bob"}));
        assert_eq!(ann.wait_kind("error")["data"]["code"], code, "{kind}");
    }
    let odd = "\u{fc}/%2F? #\u{1f600}";
    assert_eq!(ann.ask(json!({"type": "room.create", "room_id": odd}), 1)["id"], odd);
    assert_eq!(ann.ask(json!({"type": "join", "room_id": odd}), 2)["member_count"], 1);
    let encoded = "%C3%BC%2F%252F%3F%20%23%F0%9F%98%80";
    assert_eq!(get(&server, &format!("/_/rooms/{encoded}/members"))["members"][0]["user_id"], "ann");
}

/// With routes of the profile `hub`, each of forge's generated clients has its own path, and one socket per concern.
#[test]
fn generated_clients_have_endpoints_of_their_own() {
    let route = |path: &str| format!("[[route]]\npath = \"{path}\"\nprofile = \"hub\"\n");
    let routes = ["/channels", "/presence", "/typing"].map(route).concat();
    let server = Server::start(&[], &routes);
    let mut rooms = Client::open(&server, "user=ann");
    rooms.ask(json!({"type": "room.create", "room_id": "r"}), 1);
    rooms.ask(json!({"type": "join", "room_id": "r"}), 2);

    let mut typing = Client::at(&server, "/typing?user=ann");
    typing.send(&json!({"type": "typing", "room_id": "r", "data": true}));
    let typed = rooms.wait_kind("typing");
    assert_eq!((&typed["user_id"], &typed["data"]), (&json!("ann"), &json!(true)));

    let mut presence = Client::at(&server, "/presence?user=ann");
    presence.send(&json!({"type": "subscribe_presence", "user_ids": ["ann"]}));
    assert_eq!(presence.wait_kind("presence_sync")["presences"][0]["status"], "online");
    presence.send(&json!({"type": "presence", "status": "away", "custom_status": "lunch"}));
    for one in [&mut presence, &mut rooms] {
        let away = one.wait("away", |f| f["type"] == "presence" && f["status"] == "away");
        assert_eq!((&away["user_id"], &away["custom_status"]), (&json!("ann"), &json!("lunch")));
    }

    let mut channels = Client::at(&server, "/channels?user=ann");
    channels.send(&json!({"action": "subscribe", "channel_id": "news"}));
    assert_eq!(channels.wait_kind("subscribed")["channel_id"], "news");
    channels.send(&json!({"action": "publish", "channel_id": "news", "data": {"n": 1}}));
    let news = channels.wait_kind("message");
    assert_eq!(
        (&news["channel_id"], &news["data"], &news["user_id"]),
        (&json!("news"), &json!({"n": 1}), &json!("ann"))
    );
    channels.send(&json!({"action": "unsubscribe", "channel_id": "news"}));
    assert_eq!(channels.wait_kind("unsubscribed")["channel_id"], "news");
    assert_eq!(request(server.listen, "GET", "/presence", b"").status, 426);
}
