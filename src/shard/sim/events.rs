//! What must hold for server-sent events.

use super::World;
use super::client::{Application, Listener};
use super::eventsource::EventSource;
use crate::base::time::SEC;
use crate::flow::limits::Limits;
use crate::flow::limits::channels::ChannelRule;
use crate::flow::limits::sse::SseLimits;
use crate::shard::connections::Reason;
use crate::wire::cursor::Cursor;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SHARDS: [u16; 4] = [1, 2, 3, 8];

fn publish(app: &mut Application, world: &mut World, channel: &str, n: usize) {
    let data = json!({"n": n, "text": "z".repeat(50)});
    app.send(world, &json!({"op": "publish", "channel": channel, "data": data}));
}

/// The numbers that came on a channel.
fn numbers(source: &EventSource, channel: &str) -> Vec<u64> {
    let data = source.data("message");
    let of = data.iter().filter(|message| message["channel"] == channel);
    of.map(|message| message["data"]["n"].as_u64().unwrap()).collect()
}

fn settle(world: &mut World, all: &mut [EventSource]) {
    world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
}

/// The documents that the events so far make, by key.
fn fold(source: &EventSource) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for event in source.got.iter().filter(|event| !["connected", "message"].contains(&&*event.name)) {
        let message: Value = serde_json::from_str(&event.data).unwrap();
        let key = message["key"].as_str().unwrap_or_default().to_owned();
        let version = message["version"].as_str().unwrap_or_default().to_owned();
        match &*event.name {
            "snapshot" => {
                documents.insert(key, (version, message["data"].clone()));
            }
            "patch" => {
                let (held, document) = documents.get_mut(&key).expect("a snapshot comes before a patch");
                assert_eq!(message["from"], **held, "the very next change");
                let patch = serde_json::from_value(message["data"].clone()).unwrap();
                json_patch::patch(document, &json_patch::Patch(patch)).unwrap();
                *held = version;
            }
            "delete" => {
                documents.remove(&key);
            }
            "resync_required" => documents.clear(),
            "synced" => {}
            other => panic!("{other}"),
        }
    }
    documents.into_iter().map(|(key, (_, document))| (key, document)).collect()
}

/// Every reader gets each publication of its channels once and in order, and each event's id says how far it has come
/// with all of them, whether the bytes are shared or not.
#[test]
fn each_publication_arrives_once_with_the_place_of_its_reader() {
    for shards in SHARDS {
        for seed in 0..10 {
            let mut world = World::new(seed, shards, Limits::default());
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut app = Application::open(&mut world);
            let queries =
                ["channels=a", "channels=a", "channels=a,b", "channels=b&rooms=c", "channels=a&user=u"];
            let open = |i: usize| format!("/sse?{}", queries[i % queries.len()]);
            let mut all: Vec<EventSource> =
                (0..10).map(|i| EventSource::open(&mut world, &open(i), 1 << 20)).collect();
            settle(&mut world, &mut all);
            let mut sent: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
            for n in 0..100 {
                let channel = *rng.choice(&["a", "b", "c", "d", "*"]).unwrap();
                sent.entry(channel).or_default().push(n as u64);
                publish(&mut app, &mut world, channel, n);
                world.work(rng.usize(0..10));
            }
            settle(&mut world, &mut all);
            for (i, source) in all.iter().enumerate() {
                let follows: &[&str] = [&["a"][..], &["a"], &["a", "b"], &["b", "c"], &["a"]][i % 5];
                assert_eq!(source.got[0].name, "connected");
                assert_eq!(source.reader.retry, Some(3000));
                for channel in ["a", "b", "c", "d", "*"] {
                    let wanted = follows.contains(&channel) || channel == "*";
                    let want = if wanted { sent[channel].clone() } else { vec![] };
                    assert_eq!(numbers(source, channel), want, "{i} {channel} {shards} shards seed {seed}");
                }
                let mut place: BTreeMap<String, u64> = follows.iter().map(|c| (c.to_string(), 0)).collect();
                for event in source.got.iter().filter(|event| event.name == "message") {
                    let message: Value = serde_json::from_str(&event.data).unwrap();
                    let channel = message["channel"].as_str().unwrap();
                    place.entry(channel.to_owned()).and_modify(|offset| *offset += 1);
                    let cursor = Cursor::decode(&event.id).expect("an id");
                    assert_eq!(cursor.epoch.as_deref(), Some("0"));
                    let said: BTreeMap<String, u64> =
                        cursor.channels.iter().map(|(name, offset)| (name.to_string(), *offset)).collect();
                    assert_eq!(said, place);
                }
            }
        }
    }
}

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
                world.work(rng.usize(0..15));
                let source = &mut all[rng.usize(0..targets.len())];
                if rng.u8(0..4) == 0 {
                    source.again(&mut world, 1 << 20);
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
        world.hang_up(source.line);
        app.send(&mut world, &json!({"op": "set", "key": "a/3", "data": "new"}));
        app.send(&mut world, &json!({"op": "del", "key": "a/4"}));
        world.settle(|_| {});
        source.got.clear();
        source.again(&mut world, 1 << 20);
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
            assert_eq!(back.channels["c"], 1);
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
            world.hang_up(source.line);
            for _ in 0..missed {
                publish(&mut app, &mut world, "c", n);
                n += 1;
            }
            world.settle(|_| {});
            source.again(&mut world, 1 << 20);
        }
        world.settle(|world| assert!(source.read(world)));
        assert_eq!(source.data("resync_required").len(), 1);
        assert_eq!(numbers(&source, "c"), [0, 1, 5]);
    }
}

/// A reader that stops is let go with the reason as its last event where publications would be lost, and gets the
/// latest state of documents; what waits for it is bounded.
#[test]
fn a_stalled_reader_is_treated_as_over_websocket() {
    for shards in SHARDS {
        let limits = Limits { queue_bytes: 4096, write_timeout: u64::MAX / 4, ..Limits::default() };
        let mut world = World::new(4, shards, limits);
        let mut app = Application::open(&mut world);
        let mut channel = EventSource::open(&mut world, "/sse?channels=c", 1000);
        let mut several = EventSource::open(&mut world, "/sse?channels=c,d", 1000);
        let mut documents = EventSource::open(&mut world, "/sse?keys=a/*", 1000);
        world.settle(|world| {
            assert!(channel.read(world) && several.read(world) && documents.read(world));
        });
        for n in 0..200 {
            publish(&mut app, &mut world, "c", n);
            let data = json!({"n": n, "text": "y".repeat(100)});
            app.send(&mut world, &json!({"op": "set", "key": format!("a/{}", n % 5), "data": data}));
            world.work(20);
            let queued = world.shards[documents.line.shard].clients.fanout.queued(documents.line.slot as u32);
            assert!(queued <= 4096 + 1000, "{queued}");
        }
        world.settle(|world| {
            channel.read(world);
            several.read(world);
            assert!(documents.read(world));
        });
        for source in [&channel, &several] {
            let last = source.data("disconnect");
            assert_eq!((last.len(), &last[0]["code"]), (1, &json!(3008)), "{:?}", source.got.last());
            assert!(source.reader.ended, "the body ends properly");
            let got = numbers(source, "c");
            assert_eq!(got, (0..got.len() as u64).collect::<Vec<_>>(), "what came before the end is whole");
            assert_eq!(Cursor::decode(&source.id()).unwrap().channels["c"], got.len() as u64);
        }
        let want = (0..5).map(|k| (format!("a/{k}"), json!({"n": 195 + k, "text": "y".repeat(100)})));
        assert_eq!(fold(&documents), want.collect());
        let ended: u64 = world.shards.iter().map(|s| s.ctx.stats.ended[Reason::Slow as usize]).sum();
        assert_eq!(ended, 2);
    }
}

/// A connection is alive without events, and one that went is forgotten with all that it had.
#[test]
fn signs_of_life_come_and_nothing_stays_behind() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, Limits::default());
        let mut source = EventSource::open(&mut world, "/sse?channels=a,b&keys=a/*,b/1", 1 << 20);
        world.settle(|world| assert!(source.read(world)));
        for _ in 0..40 {
            world.now.mono += SEC;
            world.work(20);
        }
        assert!(source.read(&mut world));
        assert!((2..=3).contains(&source.reader.comments), "{}", source.reader.comments);
        world.say(source.line, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        world.settle(|world| assert!(source.read(world)));
        world.half_close(source.line);
        world.settle(|_| {});
        let pools: usize = world.shards.iter().map(|s| s.clients.fanout.pools.len()).sum();
        let open: usize = world.shards.iter().map(|s| s.clients.conns.len()).sum();
        assert_eq!((pools, open), (0, 0));
    }
}

/// When the server stops, every reader hears of it and the body ends.
#[test]
fn a_stop_is_told() {
    let mut world = World::new(6, 2, Limits::default());
    let mut source = EventSource::open(&mut world, "/sse?channels=a", 1 << 20);
    world.settle(|world| assert!(source.read(world)));
    let now = world.now;
    world.shards.iter_mut().for_each(|shard| shard.handle_stop(now));
    world.settle(|world| {
        source.read(world);
    });
    assert_eq!(source.data("disconnect")[0]["code"], 1001);
    assert!(source.reader.ended);
}

/// Subscriptions of a connection are changed over any other one, by its user alone.
#[test]
fn subscriptions_are_changed_by_whose_they_are() {
    for shards in SHARDS {
        let mut world = World::new(7, shards, Limits::default());
        let mut app = Application::open(&mut world);
        let mut own = EventSource::open(&mut world, "/sse?channels=a&user=u", 1 << 20);
        let mut anonymous = EventSource::open(&mut world, "/sse?channels=a", 1 << 20);
        world.settle(|world| assert!(own.read(world) && anonymous.read(world)));
        let name = |source: &EventSource| source.data("connected")[0]["conn_id"].as_str().unwrap().to_owned();
        let post = |world: &mut World, path: &str, body: Value| {
            let line = world.connect(super::Door::Clients(0), 1 << 20);
            let body = body.to_string();
            let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
            world.say(line, (head + &body).as_bytes());
            let mut answer = Vec::new();
            world.settle(|world| answer.extend(world.hear(line).expect("it stays open")));
            let text = String::from_utf8(answer).unwrap();
            let body = serde_json::from_str::<Value>(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            (text.split(' ').nth(1).unwrap().to_owned(), body)
        };
        let mine = name(&own);
        let body = json!({"conn_id": mine, "channels": ["b"], "rooms": ["r"], "keys": ["k/*"]});
        let ok = ("200".to_owned(), json!({"status": "ok"}));
        assert_eq!(post(&mut world, "/sse/subscribe?user=u", body.clone()), ok);
        for (path, conn) in [
            ("/sse/subscribe?user=other", mine.clone()),
            ("/sse/subscribe", mine.clone()),
            ("/sse/subscribe?user=u", name(&anonymous)),
            ("/sse/subscribe", name(&anonymous)),
            ("/sse/subscribe?user=u", "ffff-0-0-0".to_owned()),
            ("/sse/subscribe?user=u", "nobody".to_owned()),
        ] {
            let (status, body) = post(&mut world, path, json!({"conn_id": conn, "channels": ["z"]}));
            let gone = json!({"error": "connection not found or access denied"});
            assert_eq!((&*status, body), ("404", gone), "{path} {conn}");
        }
        let partial =
            post(&mut world, "/sse/subscribe?user=u", json!({"conn_id": mine, "channels": ["$x", "e"]}));
        assert_eq!((&*partial.0, &partial.1["status"]), ("207", &json!("partial")));
        for (n, channel) in ["a", "b", "r", "e", "z"].iter().enumerate() {
            publish(&mut app, &mut world, channel, n);
        }
        app.send(&mut world, &json!({"op": "set", "key": "k/1", "data": 1}));
        world.settle(|world| assert!(own.read(world)));
        let got: Vec<u64> = ["a", "b", "r", "e", "z"].iter().flat_map(|c| numbers(&own, c)).collect();
        assert_eq!((got, own.data("snapshot").len()), (vec![0, 1, 2, 3], 1));
        assert_eq!(post(&mut world, "/sse/unsubscribe?user=u", body), ok);
        for channel in ["a", "b", "r"] {
            publish(&mut app, &mut world, channel, 10);
        }
        app.send(&mut world, &json!({"op": "set", "key": "k/1", "data": 2}));
        world.settle(|world| assert!(own.read(world)));
        let got: Vec<u64> = ["a", "b", "r"].iter().flat_map(|c| numbers(&own, c)).collect();
        assert_eq!((got, own.data("snapshot").len()), (vec![0, 10, 1, 2], 1));
        let cursor = Cursor::decode(&own.id()).unwrap();
        assert_eq!(cursor.channels.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "e"]);
        assert!(cursor.keys.is_empty());
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
                world.work(rng.usize(0..6));
                let source = &mut all[rng.usize(0..targets.len())];
                match rng.u8(0..40) {
                    0..8 => source.again(&mut world, *rng.choice(&[200, 1000, 1 << 20]).unwrap()),
                    8..30 => {
                        source.read(&mut world);
                    }
                    _ => {}
                }
                for source in &all {
                    let queued =
                        world.shards[source.line.shard].clients.fanout.queued(source.line.slot as u32);
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
                        source.again(&mut world, 1 << 20);
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
            world.hang_up(source.line);
            for i in 0..missed {
                publish(&mut app, &mut world, "a", n + i);
            }
            publish(&mut app, &mut world, "b", n);
            world.settle(|_| {});
            source.again(&mut world, 1 << 20);
            world.settle(|world| assert!(source.read(world)));
        }
        publish(&mut app, &mut world, "a", 20);
        world.settle(|world| assert!(source.read(world)));
        assert_eq!(source.data("resync_required").len(), 1, "{shards} shards");
        assert_eq!(numbers(&source, "a"), [0, 1, 2, 3, 4, 20]);
        assert_eq!(numbers(&source, "b"), [0, 10]);
        let cursor = Cursor::decode(&source.id()).unwrap();
        assert_eq!((cursor.channels["a"], cursor.channels["b"]), (12, 2));
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
        world.hang_up(source.line);
        for n in 1..20 {
            publish(&mut app, &mut world, if n % 2 == 0 { "a" } else { "b" }, n);
        }
        app.send(&mut world, &json!({"op": "set", "key": "k/3", "data": "new"}));
        app.send(&mut world, &json!({"op": "del", "key": "k/4"}));
        world.settle(|_| {});
        for name in ["cursor", "lastEventId", "last_event_id"] {
            let query = format!("channels=a&{name}={}", source.id());
            let mut socket = Listener::open(&mut world, &query, 1 << 20);
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
            let mut socket = Listener::open(&mut world, &format!("session_id=&cursor={cursor}"), 1 << 20);
            socket.send(&mut world, &json!({"type": "subscribe", "key": "k/*"}));
            world.settle(|world| assert!(socket.read(world)));
            let of = |kind: &str| socket.got.iter().filter(|got| got["type"] == kind).count();
            assert_eq!((of("resync_required"), of("snapshot"), of("synced")), (1, 9, 1), "{cursor}");
        }
    }
}

/// What WebSockets cost, events cost: a publication is encoded once for all readers of one channel, and reaches each in
/// one send.
#[test]
fn events_are_made_once_and_sent_as_often_as_messages() {
    const READERS: usize = 100;
    let count = |world: &mut World| {
        world.shards.iter_mut().map(|s| s.stats()).fold((0, 0, 0), |(frames, sends, deliveries), stats| {
            (frames + stats.encoded.frames, sends + stats.sent.sends, deliveries + stats.sent.deliveries)
        })
    };
    let run = |events: bool| {
        let mut world = World::new(11, 2, Limits { deflate: false, ..Limits::default() });
        let mut app = Application::open(&mut world);
        let mut sources = Vec::new();
        let mut listeners = Vec::new();
        for _ in 0..READERS {
            match events {
                true => sources.push(EventSource::open(&mut world, "/sse?channels=a", 1 << 20)),
                false => listeners.push(Listener::open(&mut world, "channels=a", 1 << 20)),
            }
        }
        world.settle(|_| {});
        let before = count(&mut world);
        for n in 0..20 {
            publish(&mut app, &mut world, "a", n);
            world.settle(|_| {});
        }
        let after = count(&mut world);
        settle(&mut world, &mut sources);
        assert!(sources.iter().all(|source| numbers(source, "a").len() == 20));
        (after.0 - before.0, after.1 - before.1, after.2 - before.2)
    };
    let (messages, events) = (run(false), run(true));
    assert_eq!(events, messages);
    assert_eq!((events.0, events.2), (20, 20 * READERS as u64));
}

/// A burst of the application is taken in only as fast as it leaves, for readers whose events are their own as for those
/// who share bytes.
#[test]
fn a_burst_does_not_pile_up_for_readers_with_a_place_of_their_own() {
    const BUDGET: usize = 4096;
    let mut world = World::new(8, 1, Limits { queue_bytes: BUDGET, ..Limits::default() });
    let mut app = Application::open(&mut world);
    let mut reader = EventSource::open(&mut world, "/sse?channels=a,b", 1 << 24);
    world.settle(|world| assert!(reader.read(world)));
    let line =
        json!({"op": "publish", "channel": "a", "type": "t", "data": {"n": 1, "text": "z".repeat(200)}});
    world.say(app.line, format!("{line}\n").repeat(200).as_bytes());
    let queued = world.shards[0].clients.fanout.queued(reader.line.slot as u32);
    assert!(queued > BUDGET / 2 && queued < 3 * BUDGET, "{queued} bytes wait before anything is sent");
    world.settle(|world| {
        app.read(world);
        assert!(reader.read(world));
    });
    assert_eq!(numbers(&reader, "a").len(), 200);
}
