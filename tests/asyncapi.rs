//! The hub's AsyncAPI file against real frames: every frame is described, and everything described is seen.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use support::Server;
use support::hub::Hub;
use support::schema::misfit;

/// The file, and which of its messages have been seen.
struct Described {
    doc: Value,
    seen: BTreeSet<String>,
}

impl Described {
    fn new() -> Described {
        let text = include_str!("../docs/src/asyncapi-hub.json");
        Described { doc: serde_json::from_str(text).expect("it is JSON"), seen: BTreeSet::new() }
    }

    /// The names of the messages of one direction.
    fn messages(&self, operation: &str) -> Vec<String> {
        let messages = self.doc["operations"][operation]["messages"].as_array().expect("a list");
        let name = |message: &Value| {
            let at = message["$ref"].as_str().expect("a reference").trim_start_matches('#').to_owned();
            let target = self.doc.pointer(&at).unwrap_or_else(|| panic!("nothing at {at}"));
            let at = target["$ref"].as_str().expect("a reference").trim_start_matches('#');
            assert!(self.doc.pointer(at).is_some(), "nothing at {at}");
            at.rsplit('/').next().expect("a name").to_owned()
        };
        messages.iter().map(name).collect()
    }

    /// Asserts that a frame is one that the file describes for that direction.
    fn check(&mut self, operation: &str, frame: &Value) {
        let mut why = Vec::new();
        for name in self.messages(operation) {
            let schema = self.doc["components"]["messages"][&name]["payload"].clone();
            // a publication may be of any type, but not of those that the server has for itself
            if name == "publication" && frame.get("sequence").is_none() {
                continue;
            }
            match misfit(&self.doc, &schema, frame) {
                None => {
                    self.seen.insert(name);
                    return;
                }
                Some(reason) => why.push(format!("{name}: {reason}")),
            }
        }
        panic!("{frame} is not described:\n{}", why.join("\n"));
    }

    fn said(&mut self, hub: &mut Hub, frame: Value) {
        self.check("fromClients", &frame);
        hub.send(&frame);
    }

    /// Checks what a connection gets until it is silent, or closed.
    fn hear(&mut self, hub: &mut Hub) -> Vec<Value> {
        let mut got = Vec::new();
        while let Some(frame) = hub.next(Duration::from_millis(500)) {
            self.check("toClients", &frame);
            got.push(frame);
        }
        got
    }
}

#[test]
fn every_frame_is_described_and_everything_described_is_seen() {
    let mut server =
        Server::start(&[], "[hub]\nsession_ttl = \"9s\"\n[[rule]]\nchannel = \"h\"\nhistory = 9\n");
    let mut feed = server.feed();
    let mut doc = Described::new();
    let mut ann = Hub::native(server.listen, "ws?user=ann&session_id=");
    for frame in [
        json!({"type": "subscribe", "channel": "h", "request_id": 1}),
        json!({"action": "subscribe", "channel_id": "c"}),
        json!({"type": "publish", "channel": "h", "data": [1], "event": "e", "metadata": {}, "thread_id": "t", "request_id": "p"}),
        json!({"type": "message", "channel_id": "c", "data": null}),
        json!({"type": "subscribe", "key": "a/**", "mode": "patch", "max_hz": 0, "versions": {"a/x": "1f"}, "request_id": 2}),
        json!({"type": "heartbeat", "request_id": 1.5}),
        json!({"type": "message", "channel_id": "not mine", "data": 1, "id": "m"}),
    ] {
        doc.said(&mut ann, frame);
    }
    doc.hear(&mut ann);
    rooms(&mut doc, &server);
    feed.apply(json!({"op": "publish", "channel": "h", "data": 2, "type": "alert", "user_id": "app"}));
    feed.apply(json!({"op": "publish", "channel": "*", "data": 3}));
    feed.apply(json!({"op": "set", "key": "a/b", "data": {"n": 1}}));
    feed.apply(json!({"op": "set", "key": "a/b", "data": {"n": 2}}));
    feed.apply(json!({"op": "del", "key": "a/b"}));
    doc.said(&mut ann, json!({"type": "history", "channel": "h", "limit": 5, "before": 9, "request_id": 3}));
    doc.said(&mut ann, json!({"type": "unsubscribe", "key": "a/**"}));
    doc.said(&mut ann, json!({"type": "unsubscribe", "channel": "h", "request_id": 4}));
    doc.said(&mut ann, json!({"type": "subscribe", "channel": "h", "recover": {"epoch": "e", "offset": 0}}));
    for _ in 0..30 {
        doc.said(&mut ann, json!({"type": "publish", "channel": "flood", "data": 0}));
    }
    let got = doc.hear(&mut ann);
    assert!(got.iter().any(|frame| frame["data"]["code"] == "rate_limited"), "{got:?}");
    server.stop(Signal::TERM);
    doc.hear(&mut ann);
    let all: BTreeSet<String> =
        ["fromClients", "toClients"].into_iter().flat_map(|operation| doc.messages(operation)).collect();
    assert_eq!(doc.seen, all, "described, but not seen");
}

/// Two users and everything that rooms have.
fn rooms(doc: &mut Described, server: &Server) {
    let mut cat = Hub::native(server.listen, "ws?user=cat");
    let mut dan = Hub::native(server.listen, "ws?user=dan");
    let about = json!({"type": "room.create", "room_id": "r", "name": "R", "description": "d", "private": false, "max_members": 9, "metadata": {}, "request_id": 1});
    doc.said(&mut cat, about);
    doc.said(&mut cat, json!({"type": "join", "room_id": "r", "request_id": 2}));
    doc.hear(&mut cat);
    doc.said(&mut dan, json!({"type": "join", "room_id": "r"}));
    doc.said(&mut dan, json!({"type": "typing", "room_id": "r", "data": true}));
    doc.hear(&mut dan);
    doc.said(&mut dan, json!({"type": "message", "room_id": "r", "data": "hi", "request_id": 3}));
    let said = doc.hear(&mut dan);
    let id =
        said.iter().find_map(|frame| frame["message_id"].as_str()).expect("the reply names it").to_owned();
    for frame in [
        json!({"type": "presence", "status": "away", "custom_status": "lunch"}),
        json!({"type": "message.edit", "room_id": "r", "message_id": id, "data": 1, "request_id": 4}),
        json!({"type": "message.react", "room_id": "r", "message_id": id, "emoji": "+1", "request_id": 5}),
        json!({"type": "history", "room_id": "r", "limit": 5}),
        json!({"type": "subscribe_presence", "user_ids": ["cat"], "request_id": 6}),
    ] {
        doc.said(&mut dan, frame);
    }
    doc.hear(&mut dan);
    for frame in [
        json!({"type": "room.members", "room_id": "r", "request_id": 7}),
        json!({"type": "room.role", "room_id": "r", "user_id": "dan", "role": "admin", "request_id": 8}),
        json!({"type": "room.mute", "room_id": "r", "user_id": "dan", "for_ms": 9000, "request_id": 9}),
        json!({"type": "room.update", "room_id": "r", "private": true, "request_id": 10}),
        json!({"type": "room.kick", "room_id": "r", "user_id": "dan", "reason": "late", "request_id": 11}),
        json!({"type": "room.get", "room_id": "r", "request_id": 12}),
    ] {
        doc.said(&mut cat, frame);
    }
    doc.hear(&mut cat);
    let out = doc.hear(&mut dan);
    assert!(out.iter().any(|frame| frame["event"] == "kicked"), "{out:?}");
}

/// The check itself must be able to fail.
#[test]
fn what_is_not_described_is_found() {
    let doc = Described::new();
    let schema = |name: &str| doc.doc["components"]["messages"][name]["payload"].clone();
    let good = json!({"type": "synced", "key": "a", "count": 1});
    assert_eq!(misfit(&doc.doc, &schema("synced"), &good), None);
    for bad in [
        json!({"type": "synced", "key": "a"}),
        json!({"type": "synced", "key": 1, "count": 1}),
        json!({"type": "synced", "key": "a", "count": -1}),
        json!({"type": "synced", "key": "a", "count": 1, "more": 1}),
        json!({"type": "other", "key": "a", "count": 1}),
        json!([]),
    ] {
        assert!(misfit(&doc.doc, &schema("synced"), &bad).is_some(), "{bad}");
    }
    let time = json!({"channel": "c", "type": "t", "data": 1, "sequence": 1, "timestamp": "soon"});
    assert!(misfit(&doc.doc, &schema("publication"), &time).is_some());
}
