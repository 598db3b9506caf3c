//! What must hold for readers of server-sent events that come back.

use crate::support::events::{fold, numbers, publish, settle};
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::ChannelRule;
use fanfare::flow::limits::sse::SseLimits;
use fanfare::shard::inspect::ConnectionInspection;
use fanfare::wire::cursor::Cursor;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::clients::hub::HubClient;
use simulator::world::World;
use std::collections::BTreeMap;

/// Readers that break off at any moment and come back have every document as it is, and hear of no resync.
#[test]
fn documents_are_right_however_often_a_reader_comes_back() {
    for shards in SHARDS {
        for seed in 0..10 {
            let mut world = World::new(seed, shards, Limits::default());
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut app = Application::open(&mut world);
            let mut model: BTreeMap<String, Value> = BTreeMap::new();
            let targets =
                ["/sse?keys=a/*", "/sse?keys=a/1", "/sse?keys=a/*,b/**,a/1&channels=c", "/sse?keys=**"];
            let mut all: Vec<EventSource> =
                targets.iter().map(|target| EventSource::open(&mut world, target, 1 << 20)).collect();
            for n in 0..150 {
                let key = format!("{}/{}", rng.choice(["a", "b"]).unwrap(), rng.u8(0..4));
                let data = json!({"n": n, "same": "x".repeat(100)});
                match rng.u8(0..4) {
                    0 if model.remove(&key).is_some() => {
                        app.send(&mut world, &json!({"op": "del", "key": key}));
                    }
                    _ => {
                        app.send(&mut world, &json!({"op": "set", "key": key, "data": data}));
                        model.insert(key, data);
                    }
                }
                world.run(rng.usize(0..15));
                let source = &mut all[rng.usize(0..targets.len())];
                if rng.u8(0..4) == 0 {
                    source.reconnect(&mut world, 1 << 20);
                } else {
                    source.read(&mut world);
                }
            }
            settle(&mut world, &mut all);
            for source in &all {
                let covers = |key: &str| match &*source.target {
                    "/sse?keys=a/*" => key.starts_with("a/"),
                    "/sse?keys=a/1" => key == "a/1",
                    _ => true,
                };
                let want: BTreeMap<String, Value> =
                    model.clone().into_iter().filter(|(key, _)| covers(key)).collect();
                assert_eq!(fold(source), want, "{} {shards} shards seed {seed}", source.target);
                assert_eq!(source.data("resync_required").len(), 0);
            }
        }
    }
}

/// Who comes back to where he was gets only what changed, deletions included, and `synced` counts it.
#[test]
fn a_reader_that_comes_back_gets_what_changed_meanwhile_and_nothing_else() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, Limits::default());
        let mut app = Application::open(&mut world);
        for n in 0..20 {
            app.send(&mut world, &json!({"op": "set", "key": format!("a/{n}"), "data": n}));
        }
        world.settle(|_| {});
        let mut source = EventSource::open(&mut world, "/sse?keys=a/*", 1 << 20);
        world.settle(|world| assert!(source.read(world)));
        assert_eq!(source.data("snapshot").len(), 20);
        assert_eq!(source.data("synced"), [json!({"type": "synced", "key": "a/*", "count": 20})]);
        world.disconnect(source.peer);
        app.send(&mut world, &json!({"op": "set", "key": "a/3", "data": "new"}));
        app.send(&mut world, &json!({"op": "del", "key": "a/4"}));
        world.settle(|_| {});
        source.got.clear();
        source.reconnect(&mut world, 1 << 20);
        world.settle(|world| assert!(source.read(world)));
        let names: Vec<&str> = source.got.iter().map(|event| &*event.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["connected", "delete", "snapshot", "synced"], "{names:?}");
        assert_eq!(source.data("connected")[0]["resumed"], true);
        assert_eq!(source.data("synced")[0]["count"], 2);
    }
}

/// A cursor that cannot be honoured leads to exactly one `resync_required`, then the state and the live stream.
#[test]
fn a_cursor_that_cannot_be_honoured_is_answered_by_one_resync_and_the_state() {
    let encode = |json: &str| data_encoding::BASE64URL_NOPAD.encode(json.as_bytes());
    let cursors = [
        "not-base64!!!".to_owned(),
        "//++".to_owned(),
        "eyJyb29tLTEiOjd9==".to_owned(),
        encode("nonsense"),
        encode("[1]"),
        encode(r#"{"c":"1"}"#),
        encode(r#"{"$e":"other","c":0}"#),
        encode(r#"{"$e":"0","c":7,"d":7}"#),
        encode(r#"{"c":7}"#),
        encode(r#"{"$e":"0","$k":{"a/*":"1"},"c":9}"#),
        encode(r#"{"$e":"0","$k":{"a/*":"ffffffffffffffff","a/1":"ffffffffffffffff"}}"#),
    ];
    for shards in SHARDS {
        for cursor in &cursors {
            let mut world = World::new(2, shards, Limits::default());
            let mut app = Application::open(&mut world);
            app.send(&mut world, &json!({"op": "set", "key": "a/1", "data": 1}));
            world.settle(|_| {});
            let mut source =
                EventSource::resume(&mut world, "/sse?channels=c,d&keys=a/*,a/1", cursor, 1 << 20);
            world.settle(|world| assert!(source.read(world)));
            publish(&mut app, &mut world, "c", 1);
            app.send(&mut world, &json!({"op": "set", "key": "a/1", "data": 2}));
            world.settle(|world| assert!(source.read(world)));
            assert_eq!(source.data("resync_required").len(), 1, "{cursor} {shards} shards");
            assert_eq!(fold(&source), BTreeMap::from([("a/1".to_owned(), json!(2))]), "{cursor}");
            assert_eq!(numbers(&source, "c"), [1]);
            let back = Cursor::decode(&source.id()).expect("a place again");
            assert_eq!(back.channels["c"].get(), 1);
        }
    }
}

/// Whoever has missed nothing goes on without a word, even where nothing is kept; whoever has is told.
#[test]
fn a_channel_without_history_tells_whether_something_was_missed() {
    for shards in SHARDS {
        let mut world = World::new(3, shards, Limits::default());
        let mut app = Application::open(&mut world);
        let mut source = EventSource::open(&mut world, "/sse?channels=c", 1 << 20);
        let mut n = 0;
        for missed in [0, 3, 0] {
            world.settle(|world| assert!(source.read(world)));
            publish(&mut app, &mut world, "c", n);
            world.settle(|world| assert!(source.read(world)));
            n += 1;
            world.disconnect(source.peer);
            for _ in 0..missed {
                publish(&mut app, &mut world, "c", n);
                n += 1;
            }
            world.settle(|_| {});
            source.reconnect(&mut world, 1 << 20);
        }
        world.settle(|world| assert!(source.read(world)));
        assert_eq!(source.data("resync_required").len(), 1);
        assert_eq!(numbers(&source, "c"), [0, 1, 5]);
    }
}

fn keeping(history: usize, replay_limit: usize, queue_bytes: usize) -> Limits {
    let rule = ChannelRule { channel: "*".into(), history: Some(history), ..ChannelRule::default() };
    let sse = SseLimits { replay_limit, ..SseLimits::default() };
    let write_timeout = u64::MAX / 4;
    Limits { channel_rules: vec![rule], sse, queue_bytes, write_timeout, ..Limits::default() }
}

/// Readers that break off at any moment, in the middle of a replay too, and come back over sockets of any width have
/// each publication once and in order, and hear of no resync. What waits for them is bounded.
#[test]
fn history_makes_up_for_every_absence() {
    for shards in SHARDS {
        for seed in 0..8 {
            let mut world = World::new(seed, shards, keeping(10_000, 3, 1500));
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut app = Application::open(&mut world);
            let targets = [
                "/sse?channels=a",
                "/sse?channels=a,b",
                "/sse?channels=b&rooms=c&keys=k/*",
                "/sse?channels=c",
            ];
            let mut all: Vec<EventSource> =
                targets.iter().map(|target| EventSource::open(&mut world, target, 1 << 20)).collect();
            settle(&mut world, &mut all);
            let mut sent: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
            for n in 0..300 {
                let channel = *rng.choice(&["a", "b", "c"]).unwrap();
                sent.entry(channel).or_default().push(n as u64);
                publish(&mut app, &mut world, channel, n);
                world.run(rng.usize(0..6));
                let source = &mut all[rng.usize(0..targets.len())];
                match rng.u8(0..40) {
                    0..8 => source.reconnect(&mut world, *rng.choice(&[200, 1000, 1 << 20]).unwrap()),
                    8..30 => {
                        source.read(&mut world);
                    }
                    _ => {}
                }
                for ConnectionInspection { queued, .. } in world.connections() {
                    assert!(queued < 1500 + 2 * 1500, "{queued}");
                }
            }
            // whoever was let go for being slow comes back as well
            for _ in 0..20 {
                world.settle(|world| {
                    all.iter_mut().for_each(|source| {
                        source.read(world);
                    });
                });
                for source in &mut all {
                    if source.reader.ended {
                        source.reconnect(&mut world, 1 << 20);
                    }
                }
            }
            for source in &all {
                for channel in ["a", "b", "c"] {
                    let wanted = source.target.contains(&format!("={channel}"))
                        || source.target.contains(&format!(",{channel}"));
                    let want = if wanted { sent[channel].clone() } else { vec![] };
                    let got = numbers(source, channel);
                    assert_eq!(got, want, "{} {channel} {shards} shards seed {seed}", source.target);
                }
                assert_eq!(source.data("resync_required").len(), 0);
            }
        }
    }
}

/// What is not kept any more is told of once; what is, comes as far as it goes, and then the live stream.
#[test]
fn an_absence_longer_than_history_is_told_of_once() {
    for shards in SHARDS {
        let mut world = World::new(9, shards, keeping(5, 200, 64 << 10));
        let mut app = Application::open(&mut world);
        let mut source = EventSource::open(&mut world, "/sse?channels=a,b", 1 << 20);
        for (n, missed) in [(0, 5), (10, 6)] {
            world.settle(|world| assert!(source.read(world)));
            world.disconnect(source.peer);
            for i in 0..missed {
                publish(&mut app, &mut world, "a", n + i);
            }
            publish(&mut app, &mut world, "b", n);
            world.settle(|_| {});
            source.reconnect(&mut world, 1 << 20);
            world.settle(|world| assert!(source.read(world)));
        }
        publish(&mut app, &mut world, "a", 20);
        world.settle(|world| assert!(source.read(world)));
        assert_eq!(source.data("resync_required").len(), 1, "{shards} shards");
        assert_eq!(numbers(&source, "a"), [0, 1, 2, 3, 4, 20]);
        assert_eq!(numbers(&source, "b"), [0, 10]);
        let cursor = Cursor::decode(&source.id()).unwrap();
        assert_eq!((cursor.channels["a"].get(), cursor.channels["b"].get()), (12, 2));
    }
}

/// The cursor of a stream of events is good for a WebSocket too: channels and documents go on where it says.
#[test]
fn a_websocket_goes_on_where_a_stream_of_events_was() {
    for shards in SHARDS {
        let mut world = World::new(10, shards, keeping(100, 3, 64 << 10));
        let mut app = Application::open(&mut world);
        for n in 0..10 {
            app.send(&mut world, &json!({"op": "set", "key": format!("k/{n}"), "data": n}));
        }
        let mut source = EventSource::open(&mut world, "/sse?channels=a,b&keys=k/*", 1 << 20);
        world.settle(|world| assert!(source.read(world)));
        publish(&mut app, &mut world, "a", 0);
        world.settle(|world| assert!(source.read(world)));
        world.disconnect(source.peer);
        for n in 1..20 {
            publish(&mut app, &mut world, if n % 2 == 0 { "a" } else { "b" }, n);
        }
        app.send(&mut world, &json!({"op": "set", "key": "k/3", "data": "new"}));
        app.send(&mut world, &json!({"op": "del", "key": "k/4"}));
        world.settle(|_| {});
        for name in ["cursor", "lastEventId", "last_event_id"] {
            let query = format!("channels=a&{name}={}", source.id());
            let mut socket = HubClient::open(&mut world, &query, 1 << 20);
            world.settle(|world| assert!(socket.read(world)));
            socket.send(&mut world, &json!({"type": "subscribe", "channel": "b"}));
            socket.send(&mut world, &json!({"type": "subscribe", "key": "k/*"}));
            world.settle(|world| assert!(socket.read(world)));
            let of = |channel: &str| {
                let got = socket.got.iter().filter(|got| got["channel"] == channel);
                got.filter_map(|got| got["data"]["n"].as_u64()).collect::<Vec<_>>()
            };
            assert_eq!(of("a"), (1..20).filter(|n| n % 2 == 0).collect::<Vec<_>>());
            assert_eq!(of("b"), (1..20).filter(|n| n % 2 == 1).collect::<Vec<_>>());
            let mut documents: Vec<String> = socket
                .got
                .iter()
                .filter(|got| got["key"].is_string())
                .map(|got| format!("{} {}", got["type"], got["key"]))
                .collect();
            documents.sort();
            assert_eq!(documents, [r#""delete" "k/4""#, r#""snapshot" "k/3""#, r#""synced" "k/*""#]);
        }
        let lost = data_encoding::BASE64URL_NOPAD.encode(br#"{"$e":"0","$k":{"k/*":"ffffffffffffffff"}}"#);
        for cursor in ["nonsense", &*lost] {
            let mut socket = HubClient::open(&mut world, &format!("session_id=&cursor={cursor}"), 1 << 20);
            socket.send(&mut world, &json!({"type": "subscribe", "key": "k/*"}));
            world.settle(|world| assert!(socket.read(world)));
            let of = |kind: &str| socket.got.iter().filter(|got| got["type"] == kind).count();
            assert_eq!((of("resync_required"), of("snapshot"), of("synced")), (1, 9, 1), "{cursor}");
        }
    }
}
