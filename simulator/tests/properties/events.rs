//! What must hold for server-sent events.

use crate::support::events::{fold, numbers, publish, settle};
use crate::support::hub::short_tail;
use fanfare::base::time::SEC;
use fanfare::flow::limits::Limits;
use fanfare::shard::end_reason::EndReason;
use fanfare::shard::io::Door;
use fanfare::wire::cursor::Cursor;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::clients::hub::HubClient;
use simulator::world::World;
use std::collections::BTreeMap;

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
                world.run(rng.usize(0..10));
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
                    let said: BTreeMap<String, u64> = cursor
                        .channels
                        .iter()
                        .map(|(name, offset)| (name.to_string(), offset.get()))
                        .collect();
                    assert_eq!(said, place);
                }
            }
        }
    }
}

/// A reader that stops is let go with the reason as its last event where publications would be lost, and gets the
/// latest state of documents; what waits for it is bounded.
#[test]
fn a_stalled_reader_is_treated_as_over_websocket() {
    for shards in SHARDS {
        let limits = Limits { queue_bytes: 4096, write_timeout: u64::MAX / 4, ..short_tail() };
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
            world.run(20);
            let queued = world.queued(documents.peer);
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
            assert_eq!(Cursor::decode(&source.id()).unwrap().channels["c"].get(), got.len() as u64);
        }
        let want = (0..5).map(|k| (format!("a/{k}"), json!({"n": 195 + k, "text": "y".repeat(100)})));
        assert_eq!(fold(&documents), want.collect());
        let ended = world.count(|stats| stats.ended[EndReason::Slow as usize]);
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
            world.run(20);
        }
        assert!(source.read(&mut world));
        assert!((2..=3).contains(&source.reader.comments), "{}", source.reader.comments);
        world.send(source.peer, b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.settle(|world| assert!(source.read(world)));
        world.half_close(source.peer);
        world.settle(|_| {});
        let pools = world.count(|stats| stats.pools);
        let open = world.count(|stats| stats.open);
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
            let peer = world.connect(Door::Clients(0), 1 << 20);
            let body = body.to_string();
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
            world.send(peer, (head + &body).as_bytes());
            let mut answer = Vec::new();
            world.settle(|world| answer.extend(world.receive(peer).expect("it stays open")));
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

/// What WebSockets cost, events cost: a publication is encoded once for all readers of one channel, and reaches each in
/// one send.
#[test]
fn events_are_made_once_and_sent_as_often_as_messages() {
    const READERS: usize = 100;
    let count = |world: &mut World| {
        let sent = world.count(|stats| stats.sent.sends);
        (world.count(|stats| stats.encoded.frames), sent, world.count(|stats| stats.sent.deliveries))
    };
    let run = |events: bool| {
        let mut world = World::new(11, 2, Limits { deflate: false, ..Limits::default() });
        let mut app = Application::open(&mut world);
        let mut sources = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..READERS {
            match events {
                true => sources.push(EventSource::open(&mut world, "/sse?channels=a", 1 << 20)),
                false => clients.push(HubClient::open(&mut world, "channels=a", 1 << 20)),
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
    world.send(app.peer, format!("{line}\n").repeat(200).as_bytes());
    let queued = world.queued(reader.peer);
    assert!(queued > BUDGET / 2 && queued < 3 * BUDGET, "{queued} bytes wait before anything is sent");
    world.settle(|world| {
        app.read(world);
        assert!(reader.read(world));
    });
    assert_eq!(numbers(&reader, "a").len(), 200);
}
