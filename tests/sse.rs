//! Server-sent events from the real binary.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use support::Server;
use support::events::Events;
use support::http;
use support::raw_ws;
use support::raw_ws::RawWs;
use support::wait_for;

const CONFIG: &str = "[sse]\nretry = '1500ms'\nkeepalive = '200ms'\n";

fn header<'a>(events: &'a Events, name: &str) -> Option<&'a str> {
    let lines = events.head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Opens a stream and reads on until it knows its place.
fn open(server: &Server, path: &str, last: Option<&str>) -> Events {
    let mut events = Events::open(server.listen, path, last);
    assert_eq!(events.next().name, "connected");
    events
}

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the process is there").count()
}

#[test]
fn the_first_bytes_the_head_and_the_signs_of_life_are_as_promised() {
    let server = Server::start(&[], CONFIG);
    let mut events = Events::open(server.listen, "/sse?channels=a", None);
    let first = events.next();
    assert_eq!((&*first.name, events.retry), ("connected", Some(1500)));
    let data = first.json();
    assert!(data["conn_id"].is_string() && data["session_id"].is_string() && data["resumed"] == false);
    assert_eq!(header(&events, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&events, "x-accel-buffering"), Some("no"));
    assert!(header(&events, "cache-control").is_some_and(|value| value.contains("no-cache")));
    wait_for("two signs of life", || {
        assert_eq!(events.next_in(Duration::from_millis(10)), None);
        (events.comments >= 2).then_some(())
    });
    assert!(!events.id.is_empty(), "it knows its place before anything happens");
    let mut feed = server.feed();
    feed.apply(json!({"op": "publish", "channel": "a", "data": {"n": 1}}));
    let event = events.next();
    assert_eq!((&*event.name, &event.json()["data"]), ("message", &json!({"n": 1})));
    assert_eq!(event.json()["channel"], "a");
}

#[test]
fn a_connection_that_comes_back_has_the_documents_as_they_are() {
    let server = Server::start(&[], CONFIG);
    let mut feed = server.feed();
    for n in 0..10 {
        feed.apply(json!({"op": "set", "key": format!("a/{n}"), "data": {"n": n}}));
    }
    let path = "/sse?keys=a/*&channels=c";
    let mut events = open(&server, path, None);
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    for _ in 0..10 {
        let event = events.next().json();
        documents.insert(event["key"].as_str().expect("a key").to_owned(), event["data"].clone());
    }
    assert_eq!(events.next().json(), json!({"type": "synced", "key": "a/*", "count": 10}));
    feed.apply(json!({"op": "merge", "key": "a/1", "data": {"x": "new"}}));
    let event = events.next();
    let last = event.id.clone();
    drop(events);
    feed.apply(json!({"op": "set", "key": "a/2", "data": "other"}));
    feed.apply(json!({"op": "del", "key": "a/3"}));
    let mut events = open(&server, path, Some(&last));
    let mut names: Vec<_> =
        (0..3).map(|_| events.next()).map(|e| (e.name.clone(), e.json()["key"].clone())).collect();
    names.sort_by_key(|(name, _)| name.clone());
    let want = [("delete", "a/3"), ("snapshot", "a/2"), ("synced", "a/*")];
    assert_eq!(names, want.map(|(name, key)| (name.to_owned(), json!(key))));
    assert_eq!(documents.len(), 10);
}

#[test]
fn a_restart_means_one_resync_and_the_state() {
    let server = Server::start(&[], CONFIG);
    let mut events = open(&server, "/sse?keys=a&channels=c", None);
    server.feed().apply(json!({"op": "set", "key": "a", "data": 1}));
    while events.next().name != "snapshot" {}
    let last = events.id.clone();
    drop(server);
    let server = Server::start(&[], CONFIG);
    server.feed().apply(json!({"op": "set", "key": "a", "data": 2}));
    let mut events = open(&server, "/sse?keys=a&channels=c", Some(&last));
    let names: Vec<String> = (0..3).map(|_| events.next().name).collect();
    assert_eq!(names, ["resync_required", "snapshot", "synced"]);
    server.feed().apply(json!({"op": "publish", "channel": "c", "data": 3}));
    assert_eq!(events.next().json()["data"], 3);
}

#[test]
fn hostile_requests_get_a_clear_status_or_event() {
    let server = Server::start(&[], CONFIG);
    for (path, status) in [
        ("/sse?channels=$x", 400),
        ("/sse?keys=a//b", 400),
        ("/sse?keys=ws/a", 400),
        ("/sse?channels=%ff", 400),
        ("/sse/other", 404),
        ("/sse/subscribe", 405),
    ] {
        assert_eq!(server.http("GET", path, "").status, status, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = format!("{method} /sse HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(http::raw(server.listen, request.as_bytes()).expect("an answer").status, 405, "{method}");
    }
    let old = http::raw(server.listen, b"GET /sse HTTP/1.0\r\n\r\n").expect("an answer");
    assert_eq!(old.status, 505);
    let long = "A".repeat(9000);
    for cursor in ["not-base64!!!", "//++", "eyJyb29tLTEiOjd9==", "W10", "bnVsbA", "e30x", &long] {
        let mut events = open(&server, "/sse?channels=c", Some(cursor));
        assert_eq!(events.next().name, "resync_required", "{cursor}");
        server.feed().apply(json!({"op": "publish", "channel": "c", "data": 1}));
        assert_eq!(events.next().name, "message");
    }
    for (body, status) in [("", 400), ("[]", 400), ("{}", 400), (r#"{"conn_id":"0-0-0-0"}"#, 404)] {
        assert_eq!(server.http("POST", "/sse/subscribe", body).status, status, "{body}");
    }
}

#[test]
fn subscriptions_are_changed_over_another_connection() {
    let server = Server::start(&[], CONFIG);
    let mut events = Events::open(server.listen, "/sse?user=ann", None);
    let conn = events.next().json()["conn_id"].clone();
    let body = json!({"conn_id": conn, "channels": ["late"], "keys": ["doc"]}).to_string();
    for _ in 0..4 {
        // whichever shard takes the request
        let answer = server.http("POST", "/sse/subscribe?user=ann", &body);
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    }
    assert_eq!(server.http("POST", "/sse/subscribe?user=bob", &body).status, 404);
    while events.next().name != "synced" {}
    server.feed().apply(json!({"op": "publish", "channel": "late", "data": 1}));
    while events.next().name != "message" {}
    assert_eq!(server.http("POST", "/sse/unsubscribe?user=ann", &body).status, 200);
    server.feed().apply(json!({"op": "publish", "channel": "late", "data": 2}));
    assert_eq!(events.next_in(Duration::from_millis(300)), None);
}

#[test]
fn readers_that_never_read_or_vanish_leave_nothing_behind() {
    let server = Server::start(&[], "[conn]\nwrite_timeout = '1s'\n[sse]\nkeepalive = '100ms'\n");
    let before = open_files(&server);
    let mut feed = server.feed();
    let vanished: Vec<Events> =
        (0..100).map(|n| open(&server, &format!("/sse?channels=c&keys=k/{n},a/*"), None)).collect();
    let stalled: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = http::connect(server.listen);
            stream
                .write_all(b"GET /sse?channels=c&keys=a/* HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .expect("a request");
            stream
        })
        .collect();
    drop(vanished);
    let text = "x".repeat(60_000);
    for n in 0..200 {
        feed.apply(json!({"op": "publish", "channel": "c", "data": text}));
        feed.apply(json!({"op": "set", "key": format!("a/{}", n % 3), "data": format!("{n}{text}")}));
    }
    let timed_out = "reason=\"write_timeout\"";
    wait_for("the readers that take nothing to be let go", || {
        let metrics = http::request(server.admin, "GET", "/metrics", b"");
        let ended = metrics.text().lines().filter(|line| line.contains(timed_out));
        let ended = ended.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
        (ended.sum::<u32>() == 20).then_some(())
    });
    for mut stream in stalled {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut all = Vec::new();
        // it was let go: what is left can be read, then there is an end, by whatever means
        let _ = stream.read_to_end(&mut all);
        assert!(all.len() < 16 << 20, "{}", all.len());
    }
    drop(feed);
    wait_for("the descriptors to be back", || (open_files(&server) <= before).then_some(()));
    let mut fresh = open(&server, "/sse?channels=c", None);
    server.feed().apply(json!({"op": "publish", "channel": "c", "data": 1}));
    assert_eq!(fresh.next().json()["data"], 1);
}

#[test]
fn what_a_history_holds_is_replayed_and_the_rest_goes_on() {
    let server = Server::start(&[], "[sse]\nreplay_limit = 7\n[[rule]]\nchannel = 'c*'\nhistory = 100\n");
    let mut feed = server.feed();
    let mut publish = |n: u64| {
        feed.apply(json!({"op": "publish", "channel": "c", "data": n}));
    };
    let mut events = open(&server, "/sse?channels=c", None);
    (0..3).for_each(&mut publish);
    let mut last = String::new();
    for n in 0..3 {
        let event = events.next();
        assert_eq!(event.json()["data"], n);
        last = if n == 1 { event.id } else { last };
    }
    drop(events);
    (3..60).for_each(&mut publish);
    for query in ["", "&lastEventId=ignored", "&last_event_id=ignored"] {
        let mut events = open(&server, &format!("/sse?channels=c{query}"), Some(&last));
        (2..60).for_each(|n| assert_eq!(events.next().json()["data"], n));
    }
    for name in ["lastEventId", "last_event_id"] {
        let mut events = open(&server, &format!("/sse?channels=c&{name}={last}"), None);
        (2..60).for_each(|n| assert_eq!(events.next().json()["data"], n));
    }
    (60..200).for_each(&mut publish);
    let mut events = open(&server, "/sse?channels=c", Some(&last));
    assert_eq!(events.next().name, "resync_required", "more than is kept was missed");
    publish(200);
    assert_eq!(events.next().json()["data"], 200);
}

const ROUTES: &str = "
[[route]]
path = '/organizations/{org}/sync/stream'
profile = 'cella'
channel = 'org:{org}'
filter = { query = 'entityTypes', field = 'entityType' }
id_field = 'activityId'
keepalive = '200ms'
streams = 3
[[route]]
path = '/entities/{org}/stream'
profile = 'cella-views'
channel = 'org:{org}'
id_field = 'activityId'
[[route]]
path = '/channels'
profile = 'hub'
";

#[test]
fn cellas_stream_catches_up_oldest_first_and_goes_on() {
    let server = Server::start(&[], ROUTES);
    let mut feed = server.feed();
    let mut change = |n: u64| {
        let kind = if n.is_multiple_of(2) { "page" } else { "attachment" };
        let data = json!({"activityId": format!("id-{n}"), "entityType": kind, "n": n, "data": null});
        feed.apply(json!({"op": "publish", "channel": "org:acme", "data": data}));
    };
    (0..250).for_each(&mut change);
    let path = "/organizations/acme/sync/stream";
    let mut events = Events::open(server.listen, &format!("{path}?offset=-1&live=sse"), None);
    for n in 0..250 {
        let event = events.next();
        let id = format!("id-{n}");
        assert_eq!((&*event.name, &event.json()["n"], &event.id), ("change", &json!(n), &id));
    }
    let offset = events.next();
    assert_eq!((&*offset.name, offset.json()), ("offset", json!({"cursor": "id-249"})));
    let ping = events.next();
    assert_eq!((&*ping.name, &*ping.data), ("ping", "pong"));
    change(250);
    while events.next().name != "change" {}
    assert_eq!(events.id, "id-250");
    assert_eq!(events.next().name, "ping", "a sign of life");

    let path = format!("{path}?live=sse&entityTypes=attachment&offset=");
    let mut events = Events::open(server.listen, &format!("{path}id-246"), None);
    let names: Vec<String> = (0..4).map(|_| events.next()).map(|event| event.name + &event.id).collect();
    assert_eq!(names, ["changeid-247", "changeid-249", "offsetid-249", "pingid-249"]);
    let third = Events::open(server.listen, &format!("{path}now"), None);
    let full = server.http("GET", &format!("{path}now"), "");
    assert_eq!((full.status, full.json()["code"].as_str()), (429, Some("too_many_streams")));
    drop(third);
    wait_for("the place to be free", || {
        let request = format!("GET {path}now HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stream = http::connect(server.listen);
        stream.write_all(request.as_bytes()).expect("a request");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("a status");
        (&status == b"HTTP/1.1 200").then_some(())
    });

    let plain = server.http("GET", "/organizations/acme/sync/stream?offset=id-248", "");
    assert_eq!((plain.status, plain.header("content-type")), (200, Some("application/json")));
    let numbers: Vec<Value> =
        plain.json()["activities"].as_array().expect("a list").iter().map(|a| a["n"].clone()).collect();
    assert_eq!((numbers, &plain.json()["cursor"]), (vec![json!(249), json!(250)], &json!("id-250")));
    let mut views = Events::open(server.listen, "/entities/acme/stream", None);
    let first = views.next();
    assert_eq!((&*first.name, &*first.data), ("offset", "id-250"), "as it is, not as JSON");
    change(251);
    assert_eq!(views.next().json()["n"], 251);
    assert_eq!(server.http("GET", "/channels", "").status, 426);
    let mut channels = RawWs::open(server.listen, "/channels");
    let subscribe = raw_ws::frame(0x81, br#"{"action":"subscribe","channel_id":"c"}"#);
    channels.0.write_all(&subscribe).expect("it is open");
    let (_, answer) = channels.read();
    assert_eq!(serde_json::from_slice::<Value>(&answer).expect("JSON")["type"], "subscribed");
}
