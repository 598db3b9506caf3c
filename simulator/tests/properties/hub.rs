//! What must hold on the hub: who is told what, and limits.

use crate::support::hub::{codes, hub, keeping, of_type, rest};
use fanfare::base::time::{MS, SEC};
use fanfare::flow::limits::channels::TailLimits;
use fanfare::flow::limits::{Access, Limits};
use fastrand::Rng;
use serde_json::json;
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::hub::HubClient;
use simulator::world::World;

/// A plain connection gets publications and nothing else, whatever it sends; the others get their answers.
#[test]
fn plain_connections_get_publications_only() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, Limits::default());
        let mut app = Application::open(&mut world);
        let mut plain = HubClient::open(&mut world, "user=eve", 1 << 20);
        for text in [
            r#"{"type":"subscribe","channel":"a"}"#,
            r#"{"type":"subscribe","channel":"a"}"#,
            r#"{"type":"subscribe","channel":"$a"}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"unsubscribe","channel":"b"}"#,
            r#"{"type":"publish","channel":"a","data":{"n":1}}"#,
            r#"{"type":"publish"}"#,
            r#"{"type":"fly"}"#,
            r#"{"type":5}"#,
            r#"{"#,
            "",
        ] {
            plain.send_text(&mut world, text.as_bytes());
        }
        plain.send_text(
            &mut world,
            format!(r#"{{"type":"subscribe","channel":"{}"}}"#, "x".repeat(70_000)).as_bytes(),
        );
        world.settle(|world| assert!(plain.read(world)));
        for n in 2..5 {
            app.send(&mut world, &json!({"op": "publish", "channel": "a", "data": {"n": n}}));
            app.send(&mut world, &json!({"op": "publish", "channel": "b", "data": {"n": n}}));
        }
        world.now.mono += 31 * SEC;
        let [got] = rest(&mut world, [&mut plain]);
        assert!(got.iter().all(|frame| frame["channel"] == "a" && frame["type"] == "message"), "{got:?}");
        let mut numbers: Vec<u64> = got.iter().map(|frame| frame["data"]["n"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4], "{shards} shards: its own publication comes back to it");
        let own = got.iter().find(|frame| frame["data"]["n"] == 1).unwrap();
        assert!(own["user_id"] == "eve" && own["id"].is_string() && own["timestamp"].is_string(), "{own}");
    }
}

#[test]
fn native_connections_get_a_reply_to_each_request() {
    for shards in SHARDS {
        let mut world = World::new(2, shards, keeping(10));
        let mut one = HubClient::native(&mut world, "user=ann");
        for (request, frame) in [
            json!({"type": "subscribe", "channel": "h"}),
            json!({"action": "subscribe", "channel_id": "c"}),
            json!({"type": "subscribe", "channel": "h"}),
            json!({"type": "publish", "channel": "h", "data": "hello", "thread_id": "t"}),
            json!({"type": "history", "channel": "h"}),
            json!({"type": "subscribe", "key": "a/*"}),
            json!({"type": "unsubscribe", "key": "a/*"}),
            json!({"type": "unsubscribe", "channel": "h"}),
            json!({"type": "heartbeat"}),
            json!({"type": "fly"}),
            json!({"type": "subscribe", "channel": "*"}),
        ]
        .into_iter()
        .enumerate()
        {
            let mut frame = frame;
            frame["request_id"] = json!(request);
            one.send(&mut world, &frame);
            world.settle(|world| assert!(one.read(world)));
        }
        let got = std::mem::take(&mut one.got);
        let reply =
            |n: usize| got.iter().find(|f| f["request_id"] == n).unwrap_or_else(|| panic!("{n} {got:?}"));
        let kinds: Vec<&str> = (0..11).map(|n| reply(n)["type"].as_str().unwrap()).collect();
        let unsubscribed = ["unsubscribed", "unsubscribed", "heartbeat", "error", "subscribed"];
        let first = ["subscribed", "subscribed", "subscribed", "published", "history", "synced"];
        assert_eq!(kinds, [&first[..], &unsubscribed].concat());
        assert_eq!((&reply(0)["offset"], &reply(0)["channel_id"]), (&json!(0), &json!("h")));
        assert_eq!(reply(3)["offset"], 1);
        let message = &reply(4)["messages"][0];
        let live = got.iter().find(|f| f["type"] == "message").expect("the sender gets it too");
        assert_eq!(message, live, "history gives what was sent");
        assert_eq!(
            (&live["user_id"], &live["data"], &live["sequence"]),
            (&json!("ann"), &json!("hello"), &json!(1))
        );
        assert_eq!(live["id"], reply(3)["id"]);
        assert_eq!(codes(&got), ["invalid_message"]);
    }
}

/// forge's routing table where no room is concerned: what it passes over in silence, and what it rejects.
#[test]
fn forge_connections_are_answered_as_forge_does() {
    for shards in SHARDS {
        let mut world = World::new(3, shards, Limits::default());
        let mut one = HubClient::open(&mut world, "user=ann&channels=c&session_id=", 1 << 20);
        for frame in [
            json!({"type": "system"}),
            json!({"type": "fly"}),
            json!({"type": ""}),
            json!({"type": "message", "data": 1}),
            json!({"type": "join"}),
            json!({"type": "leave"}),
            json!({"type": "typing", "data": true}),
        ] {
            one.send(&mut world, &frame);
        }
        let [got] = rest(&mut world, [&mut one]);
        assert!(got.is_empty(), "{got:?}");
        one.send(&mut world, &json!({"type": "message", "channel_id": "d", "data": 1, "id": "m1"}));
        one.send(&mut world, &json!({"type": "message", "channel_id": "c", "data": 2, "user_id": "not me"}));
        one.send(&mut world, &json!({"type": "presence", "data": 7}));
        let [got] = rest(&mut world, [&mut one]);
        assert_eq!(codes(&got), ["send_denied", "invalid_message"], "{got:?}");
        let denied = of_type(&got, "error")[0];
        assert_eq!(
            (&denied["event"], &denied["data"]["rejected_id"]),
            (&json!("message.rejected"), &json!("m1"))
        );
        let message = of_type(&got, "message")[0];
        assert_eq!((&message["user_id"], &message["channel_id"]), (&json!("ann"), &json!("c")));
    }
}

/// Listening is enough to live: pings come, their answers count, and only forge's connections get pings as frames.
#[test]
fn a_connection_that_only_listens_lives_for_ever() {
    for shards in SHARDS {
        let mut world = World::new(4, shards, Limits::default());
        let mut plain = HubClient::open(&mut world, "channels=a", 1 << 20);
        let mut native = HubClient::native(&mut world, "channels=a");
        let mut forge = HubClient::open(&mut world, "session_id=&channels=a", 1 << 20);
        let mut dead = HubClient::open(&mut world, "channels=a", 1 << 20);
        dead.answers_pings = false;
        for _ in 0..120 {
            world.now.mono += 5 * SEC;
            world.settle(|world| {
                assert!(plain.read(world) && native.read(world) && forge.read(world));
                dead.read(world);
            });
        }
        assert!(!dead.read(&mut world), "who answers nothing is given up");
        let pings = of_type(&forge.got, "system").iter().filter(|frame| frame["event"] == "ping").count();
        assert!((17..=20).contains(&pings), "{pings} pings in 10 minutes");
        assert!(plain.got.is_empty() && native.got.is_empty());
    }
}

#[test]
fn floods_are_limited_and_told_when_to_go_on() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, Limits::default());
        let mut one = HubClient::native(&mut world, "channels=c");
        for n in 0..50 {
            one.send(&mut world, &json!({"type": "publish", "channel": "c", "data": n}));
        }
        let [got] = rest(&mut world, [&mut one]);
        let through = of_type(&got, "message").len();
        assert!((20..25).contains(&through), "{through} of a burst of 20");
        assert_eq!(codes(&got).len(), 50 - through);
        assert!(codes(&got).iter().all(|code| *code == "rate_limited"));
        let wait = of_type(&got, "error").last().unwrap()["data"]["retry_after_ms"].as_u64().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        world.now.mono += wait * MS;
        one.send(&mut world, &json!({"type": "publish", "channel": "c", "data": "now"}));
        let [got] = rest(&mut world, [&mut one]);
        assert_eq!(of_type(&got, "message").len(), 1, "{got:?}");
        // as many subscriptions as it may have go through at once
        for n in 0..99 {
            one.send(&mut world, &json!({"type": "subscribe", "channel": format!("c{n}")}));
        }
        let [got] = rest(&mut world, [&mut one]);
        assert_eq!(of_type(&got, "subscribed").len(), 99, "{:?}", codes(&got));
        let text = format!(r#"{{"type":"publish","channel":"c","data":"{}"}}"#, "x".repeat(1 << 16));
        one.send_text(&mut world, text.as_bytes());
        let [got] = rest(&mut world, [&mut one]);
        assert_eq!(codes(&got), ["message_too_large"]);
    }
}

#[test]
fn a_user_has_so_many_channels_and_connections_and_no_more() {
    for shards in SHARDS {
        for seed in 0..5 {
            let limits = hub(|hub| (hub.channels_per_user, hub.connections_per_user) = (6, 2));
            let mut world = World::new(seed, shards, limits);
            let mut first = HubClient::native(&mut world, "user=ann&channels=a,b,c");
            let mut second = HubClient::native(&mut world, "user=ann");
            rest(&mut world, [&mut first, &mut second]);
            let mut third = HubClient::native(&mut world, "user=ann");
            let mut other = HubClient::native(&mut world, "user=bob");
            let [.., got] = rest(&mut world, [&mut first, &mut second, &mut other, &mut third]);
            assert_eq!(
                (of_type(&got, "disconnect")[0]["code"].as_u64(), third.closed.unwrap().0),
                (Some(3009), 3009)
            );
            assert_eq!(of_type(&got, "disconnect")[0]["retry_after_ms"], 10_000);
            // the same channel on another connection is no other channel
            for channel in ["a", "b", "c", "d", "e", "f"] {
                second.send(&mut world, &json!({"type": "subscribe", "channel": channel}));
            }
            let [_, got] = rest(&mut world, [&mut first, &mut second]);
            assert_eq!(codes(&got).len(), 0, "{got:?}");
            for (client, channel) in [(&mut first, "g"), (&mut second, "h")] {
                client.send(&mut world, &json!({"type": "subscribe", "channel": channel, "request_id": "x"}));
            }
            let [one, two] = rest(&mut world, [&mut first, &mut second]);
            assert_eq!(
                (codes(&one), codes(&two)),
                (vec!["channel_limit_reached"], vec!["channel_limit_reached"])
            );
            // what is given back can be taken again
            second.send(&mut world, &json!({"type": "unsubscribe", "channel": "f"}));
            rest(&mut world, [&mut first, &mut second]);
            first.send(&mut world, &json!({"type": "subscribe", "channel": "g"}));
            let [one, _] = rest(&mut world, [&mut first, &mut second]);
            assert_eq!(codes(&one).len(), 0);
            world.disconnect(second.peer);
            world.settle(|_| {});
            let mut again = HubClient::native(&mut world, "user=ann&channels=x,y");
            let [got, _] = rest(&mut world, [&mut again, &mut first]);
            assert!(got.is_empty() && again.closed.is_none(), "{got:?}");
        }
    }
}

#[test]
fn who_may_only_read_is_nobody_and_publishes_nothing() {
    for shards in SHARDS {
        let limits = Limits { anonymous: vec![Access::Read], ..Limits::default() };
        let mut world = World::new(6, shards, limits);
        let mut one = HubClient::native(&mut world, "user=ann&channels=c");
        one.send(&mut world, &json!({"type": "publish", "channel": "c", "data": 1}));
        one.send(&mut world, &json!({"type": "message", "channel_id": "c", "data": 1}));
        let [got] = rest(&mut world, [&mut one]);
        assert_eq!(codes(&got), ["send_denied", "send_denied"]);
        assert_eq!(world.count(|stats| stats.users), 0, "its name is not believed");
    }
}

/// Parts of frames, to be put together at random.
const PIECES: [&str; 25] = [
    "{",
    "}",
    "\"type\":",
    "\"subscribe\"",
    "\"join\"",
    "\"message\"",
    "\"history\"",
    "\"channel\":",
    "\"room_id\":",
    "\"key\":",
    "\"a\"",
    "\"*\"",
    "\"a/**\"",
    "\"\\n\"",
    "1",
    "null",
    "[]",
    ",",
    "\"request_id\":",
    "\"data\":",
    "\"recover\":{\"epoch\":\"0\",\"offset\":99}",
    "\"unsubscribe\"",
    "\"publish\"",
    "\"typing\"",
    "\"presence\"",
];

/// A frame that is almost right, or something that is none.
fn hostile_text(rng: &mut Rng) -> String {
    if rng.bool() {
        let verb = rng.choice(["subscribe", "unsubscribe", "publish", "message", "history"]).unwrap();
        let field = rng.choice(["channel", "channel_id", "room_id", "key"]).unwrap();
        let name = rng.choice(["a", "*", "h1", "a/*", "$x", ""]).unwrap();
        format!(r#"{{"type":"{verb}","{field}":"{name}","recover":{{"epoch":"0","offset":3}}}}"#)
    } else {
        (0..rng.usize(1..9)).map(|_| *rng.choice(&PIECES).unwrap()).collect()
    }
}

/// Whatever is sent, nothing panics, and whoever shows that he understands it is told what is wrong.
#[test]
fn hostile_frames_are_answered_and_do_no_harm() {
    for shards in SHARDS {
        let mut world = World::new(9, shards, keeping(5));
        let mut rng = Rng::with_seed(9);
        let mut app = Application::open(&mut world);
        let mut witness = HubClient::native(&mut world, "channels=w");
        let mut natives: Vec<HubClient> =
            (0..4).map(|i| HubClient::native(&mut world, &format!("user=u{i}"))).collect();
        for _ in 0..600 {
            let text = hostile_text(&mut rng);
            let one = rng.usize(0..4);
            natives[one].send_text(&mut world, text.as_bytes());
            world.now.mono += 20 * MS;
            world.run(rng.usize(0..4));
            natives.iter_mut().for_each(|client| assert!(client.read(&mut world)));
        }
        app.send(&mut world, &json!({"op": "publish", "channel": "w", "data": 1}));
        world.settle(|world| natives.iter_mut().for_each(|client| assert!(client.read(world))));
        let told: usize = natives.iter().map(|client| codes(&client.got).len()).sum();
        assert!(told > 100, "{told} errors");
        assert_eq!(
            of_type(&witness.take(&mut world), "message").iter().filter(|f| f["channel"] == "w").count(),
            1
        );
    }
}

/// What waits is bounded in frames as well as in bytes; whoever is so late that nothing holds any more what it has missed
/// is let go and, if it can understand it, told why.
#[test]
fn a_reader_that_has_missed_too_much_is_let_go_and_told_why() {
    for shards in SHARDS {
        let tail = TailLimits { bytes: 4096, age: u64::MAX };
        let limits = Limits { queue_bytes: 1 << 20, ..hub(|hub| (hub.queue_frames, hub.tail) = (20, tail)) };
        let mut world = World::new(10, shards, limits);
        let mut app = Application::open(&mut world);
        let mut slow = HubClient::open(&mut world, "session_id=&channels=a", 400);
        let mut late = HubClient::open(&mut world, "channels=a", 1 << 20);
        world.settle(|world| assert!(slow.read(world) && late.read(world)));
        for n in 0..20 {
            app.send(&mut world, &json!({"op": "publish", "channel": "a", "data": n}));
            world.run(4 * shards as usize);
        }
        let ended = |world: &mut World| world.count(|stats| stats.ended.iter().sum());
        assert_eq!(ended(&mut world), 0, "so many may wait");
        for n in 20..60 {
            app.send(&mut world, &json!({"op": "publish", "channel": "a", "data": n}));
            world.run(4 * shards as usize);
        }
        let [got, all] = rest(&mut world, [&mut slow, &mut late]);
        assert_eq!((all.len(), slow.closed.expect("a close frame").0), (60, 3008));
        let told = got.last().expect("it is told");
        assert_eq!((&told["type"], &told["reconnect"]), (&json!("disconnect"), &json!(true)));
        assert!((5..30).contains(&got.len()), "{} frames came before", got.len());
    }
}
