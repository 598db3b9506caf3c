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

/// Two in a room.
fn rooms(doc: &mut Described, server: &Server, ann: &mut Hub) {
    let room = |kind: &str, more: Value| {
        let mut frame = json!({"type": kind, "room_id": "r", "request_id": kind});
        frame.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        frame
    };
    doc.said(ann, room("room.create", json!({"name": "R", "metadata": {"a": 1}})));
    doc.said(ann, room("join", json!({})));
    doc.hear(ann);
    let mut bob = Hub::native(server.listen, "ws?user=bob");
    for frame in [
        json!({"type": "subscribe_presence", "user_ids": ["ann", "nobody"], "request_id": 1}),
        room("join", json!({})),
        room("message", json!({"data": {"text": "hello"}, "thread_id": "t", "metadata": {}})),
        json!({"type": "presence", "status": "busy", "custom_status": "writing"}),
    ] {
        doc.said(&mut bob, frame);
    }
    let got = doc.hear(&mut bob);
    let message = got.iter().find(|frame| frame["data"]["text"] == "hello").expect("it comes back to bob");
    let id = message["id"].clone();
    doc.said(&mut bob, room("typing", json!({"data": true})));
    doc.said(ann, json!({"type": "presence", "data": "away"}));
    doc.hear(&mut bob);
    doc.said(ann, room("message.react", json!({"message_id": id, "emoji": "+"})));
    doc.said(&mut bob, room("message.edit", json!({"message_id": id, "data": "better"})));
    doc.said(&mut bob, room("history", json!({"search": "BETT"})));
    doc.said(ann, room("room.get", json!({})));
    doc.said(ann, room("room.role", json!({"user_id": "bob", "role": "guest"})));
    doc.said(ann, room("room.kick", json!({"user_id": "bob", "reason": "noise"})));
    doc.said(&mut bob, room("leave", json!({})));
    doc.hear(&mut bob);
    let told: BTreeSet<String> =
        doc.hear(ann).iter().map(|frame| frame["type"].as_str().expect("a type").to_owned()).collect();
    for kind in ["member_join", "member_leave", "typing", "presence", "system"] {
        assert!(told.contains(kind), "{kind} is not in {told:?}");
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
    rooms(&mut doc, &server, &mut ann);
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
