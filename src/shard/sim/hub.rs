//! What must hold on the hub: who is told what, limits, recovery, sessions.

use super::World;
use super::client::{Application, Listener};
use crate::base::time::{MS, SEC};
use crate::flow::limits::channels::ChannelRule;
use crate::flow::limits::hub::HubLimits;
use crate::flow::limits::{Access, Limits};
use fastrand::Rng;
use serde_json::{Value, json};

const SHARDS: [u16; 4] = [1, 2, 3, 8];

fn hub(change: impl FnOnce(&mut HubLimits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.hub);
    limits
}

fn keeping(history: usize) -> Limits {
    let rule = ChannelRule { channel: "h*".into(), history: Some(history), ..ChannelRule::default() };
    Limits { channel_rules: vec![rule], ..Limits::default() }
}

/// The codes of the errors among the frames.
fn codes(frames: &[Value]) -> Vec<&str> {
    let errors = frames.iter().filter(|frame| frame["type"] == "error");
    errors.map(|frame| frame["data"]["code"].as_str().expect("a code")).collect()
}

fn of_type<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|frame| frame["type"] == kind).collect()
}

/// Lets the world rest, and gives what each listener got.
fn rest<const N: usize>(world: &mut World, all: [&mut Listener; N]) -> [Vec<Value>; N] {
    let mut all = all;
    world.settle(|world| {
        all.iter_mut().for_each(|listener| assert!(listener.read(world) || listener.closed.is_some()))
    });
    all.map(|listener| std::mem::take(&mut listener.got))
}

/// A client that comes back again and again, and asks for what it has missed.
struct Resumer {
    listener: Listener,
    channel: String,
    /// The epoch, and the last publication seen.
    place: Option<(String, u64)>,
    /// Whether the reply to the subscription has come.
    begun: bool,
    gaps: usize,
}

impl Resumer {
    fn ask(&mut self, world: &mut World) {
        let mut frame = json!({"type": "subscribe", "channel": self.channel, "request_id": 1});
        if let Some((epoch, offset)) = &self.place {
            frame["recover"] = json!({"epoch": epoch, "offset": offset});
        }
        self.listener.send(world, &frame);
        self.begun = false;
    }

    fn open(world: &mut World, channel: String, place: Option<(String, u64)>) -> Resumer {
        let listener = Listener::native(world, "");
        let mut resumer = Resumer { listener, channel, place, begun: false, gaps: 0 };
        resumer.ask(world);
        resumer
    }

    /// Reads on: from its place to the present no publication is missing, none comes twice, each is the right one.
    fn read(&mut self, world: &mut World, published: &[u64], history: u64) {
        for frame in self.listener.take(world) {
            if frame["type"] == "subscribed" {
                let offset = frame["offset"].as_u64().unwrap();
                let seen = self.place.as_ref().map(|(_, seen)| *seen);
                let reaches = seen.is_some_and(|seen| offset - seen <= history);
                assert_eq!(frame["recovered"], reaches, "{seen:?} {history} {frame}");
                self.gaps += usize::from(seen.is_some() && !reaches);
                let from = if reaches { seen.unwrap() } else { offset };
                self.place = Some((frame["epoch"].as_str().unwrap().to_owned(), from));
                self.begun = true;
                continue;
            }
            assert!(self.begun, "nothing comes before the reply: {frame}");
            let (_, seen) = self.place.as_mut().expect("the reply says where it begins");
            *seen += 1;
            assert_eq!(frame["sequence"], *seen, "{frame}");
            assert_eq!(frame["data"], published[*seen as usize - 1]);
        }
    }
}

#[test]
fn whoever_comes_back_gets_exactly_what_was_missed_or_is_told_that_it_is_gone() {
    let mut gaps = 0;
    for shards in SHARDS {
        for seed in 0..20 {
            let mut rng = Rng::with_seed(seed);
            let history = rng.usize(0..30);
            let mut world = World::new(seed, shards, keeping(history));
            let mut app = Application::open(&mut world);
            let mut published: Vec<Vec<u64>> = vec![Vec::new(); 3];
            let mut all: Vec<(usize, Resumer)> =
                (0..6).map(|i| (i % 3, Resumer::open(&mut world, format!("h{}", i % 3), None))).collect();
            for n in 0..300 {
                let at = rng.usize(0..3);
                app.send(&mut world, &json!({"op": "publish", "channel": format!("h{at}"), "data": n}));
                published[at].push(n);
                let (at, one) = &mut all[rng.usize(0..6)];
                if rng.u8(0..8) == 0 {
                    let place = one.place.clone();
                    gaps += one.gaps;
                    world.hang_up(one.listener.line);
                    *one = Resumer::open(&mut world, format!("h{at}"), place);
                }
                if rng.u8(0..20) == 0 && one.begun {
                    // asked again on the same connection, it is the same as if it came back
                    one.read(&mut world, &published[*at], history as u64);
                    one.ask(&mut world);
                    // what was due before the subscription ended may still come
                    world.settle(|_| {});
                    one.listener.read(&mut world);
                    let reply =
                        one.listener.got.iter().position(|f| f["type"] == "subscribed").expect("a reply");
                    one.listener.got.drain(..reply);
                }
                world.work(rng.usize(0..6));
                for (at, one) in &mut all {
                    one.read(&mut world, &published[*at], history as u64);
                }
            }
            world.settle(|world| {
                app.read(world);
                all.iter_mut().for_each(|(at, one)| one.read(world, &published[*at], history as u64));
            });
            for (at, one) in &all {
                assert_eq!(one.place.as_ref().expect("it was told").1, published[*at].len() as u64);
            }
        }
    }
    assert!(gaps > 50, "{gaps} gaps were told of");
}

/// A plain connection gets publications and nothing else, whatever it sends; the others get their answers.
#[test]
fn plain_connections_get_publications_only() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, Limits::default());
        let mut app = Application::open(&mut world);
        let mut plain = Listener::open(&mut world, "user=eve", 1 << 20);
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
        let mut one = Listener::native(&mut world, "user=ann");
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
        let mut one = Listener::open(&mut world, "user=ann&channels=c&session_id=", 1 << 20);
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
        let mut plain = Listener::open(&mut world, "channels=a", 1 << 20);
        let mut native = Listener::native(&mut world, "channels=a");
        let mut forge = Listener::open(&mut world, "session_id=&channels=a", 1 << 20);
        let mut dead = Listener::open(&mut world, "channels=a", 1 << 20);
        dead.answers = false;
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
        let mut one = Listener::native(&mut world, "channels=c");
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
            let mut first = Listener::native(&mut world, "user=ann&channels=a,b,c");
            let mut second = Listener::native(&mut world, "user=ann");
            rest(&mut world, [&mut first, &mut second]);
            let mut third = Listener::native(&mut world, "user=ann");
            let mut other = Listener::native(&mut world, "user=bob");
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
            for (listener, channel) in [(&mut first, "g"), (&mut second, "h")] {
                listener
                    .send(&mut world, &json!({"type": "subscribe", "channel": channel, "request_id": "x"}));
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
            world.hang_up(second.line);
            world.settle(|_| {});
            let mut again = Listener::native(&mut world, "user=ann&channels=x,y");
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
        let mut one = Listener::native(&mut world, "user=ann&channels=c");
        one.send(&mut world, &json!({"type": "publish", "channel": "c", "data": 1}));
        one.send(&mut world, &json!({"type": "message", "channel_id": "c", "data": 1}));
        let [got] = rest(&mut world, [&mut one]);
        assert_eq!(codes(&got), ["send_denied", "send_denied"]);
        let owners = world.shards.iter().map(|shard| shard.quotas.count()).sum::<usize>();
        assert_eq!(owners, 0, "its name is not believed");
    }
}

/// Where the operator wants it so, a connection that never subscribes gets every channel; with its first subscription
/// it gets its own, and of them nothing is lost or doubled in between.
#[test]
fn implicit_channels_end_with_the_first_subscription_without_a_gap() {
    let mut implicit = 0;
    for shards in SHARDS {
        for seed in 0..20 {
            let mut world = World::new(seed, shards, hub(|hub| hub.implicit_channels = true));
            let mut app = Application::open(&mut world);
            let mut one = Listener::open(&mut world, "", 1 << 20);
            let mut named = Listener::open(&mut world, "channels=c1", 1 << 20);
            rest(&mut world, [&mut one, &mut named]);
            let turn = world.rng.usize(0..200);
            for n in 0..200 {
                if n == turn {
                    one.send(&mut world, &json!({"type": "subscribe", "channel": "c0"}));
                }
                app.send(&mut world, &json!({"op": "publish", "channel": format!("c{}", n % 3), "data": n}));
                app.send(&mut world, &json!({"op": "publish", "channel": "*", "data": n}));
                let turns = world.rng.usize(0..3);
                world.work(turns);
            }
            let [got, other] = rest(&mut world, [&mut one, &mut named]);
            let of = |got: &[Value], channel: &str| -> Vec<u64> {
                let of = got.iter().filter(|frame| frame["channel"] == channel);
                of.map(|frame| frame["sequence"].as_u64().unwrap()).collect()
            };
            assert_eq!(
                of(&got, "c0"),
                (1..=67).collect::<Vec<_>>(),
                "{shards} shards seed {seed} turn {turn}"
            );
            assert_eq!(of(&got, "*"), (1..=200).collect::<Vec<_>>());
            for channel in ["c1", "c2"] {
                let seen = of(&got, channel);
                assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
                implicit += seen.len();
            }
            assert_eq!((of(&other, "c1").len(), of(&other, "c0").len(), of(&other, "*").len()), (67, 0, 200));
            app.send(&mut world, &json!({"op": "publish", "channel": "c2", "data": 0}));
            let [got, _] = rest(&mut world, [&mut one, &mut named]);
            assert!(got.is_empty(), "{got:?}");
        }
    }
    assert!(implicit > 1000, "{implicit} publications came for want of a subscription");
}

#[test]
fn numbers_of_a_channel_never_go_back_though_it_is_forgotten() {
    for shards in SHARDS {
        let mut world = World::new(8, shards, keeping(3));
        let mut app = Application::open(&mut world);
        let mut last = std::collections::HashMap::new();
        let mut rng = Rng::with_seed(8);
        let mut listener = Listener::native(&mut world, "channels=a1");
        for n in 0..400 {
            let channel = rng.choice(["a0", "a1", "h0"]).map(str::to_owned).unwrap();
            let channel = if rng.bool() { channel } else { format!("b{n}") };
            app.send(&mut world, &json!({"op": "publish", "channel": channel, "data": n, "id": 1}));
            world.settle(|world| {
                app.read(world);
                listener.read(world);
            });
            let offset = app.replies.pop().unwrap()["offset"].as_u64().unwrap();
            let before = last.insert(channel.clone(), offset).unwrap_or(0);
            assert!(offset > before, "{channel}: {before} then {offset}");
            if channel == "a1" || channel == "h0" {
                assert!(before == 0 || offset == before + 1, "who is watched or kept is not forgotten");
            }
            world.now.mono += rng.u64(0..20) * SEC;
            listener.got.clear();
        }
        let known: usize = world.shards.iter().map(|shard| shard.owner.channels()).sum();
        assert!(known < 60, "{known} channels are remembered");
    }
}

/// A session brings its channels, its documents and its place back, once and for its user alone.
#[test]
fn a_session_comes_back_once_for_its_user() {
    for shards in SHARDS {
        for seed in 0..6 {
            let limits = Limits { hub: hub(|hub| hub.session_ttl = 30 * SEC).hub, ..keeping(100) };
            let mut world = World::new(seed, shards, limits);
            let mut app = Application::open(&mut world);
            let mut first = Listener::open(&mut world, "user=ann&session_id=", 1 << 20);
            first.send(&mut world, &json!({"type": "subscribe", "channel": "h1"}));
            first.send(&mut world, &json!({"type": "subscribe", "key": "a/*"}));
            let [got] = rest(&mut world, [&mut first]);
            let session = |got: &[Value]| {
                let told = of_type(got, "system")
                    .into_iter()
                    .find(|f| f["event"] == "session")
                    .expect("told")
                    .clone();
                (told["data"]["session_id"].as_str().unwrap().to_owned(), told["data"]["resumed"] == true)
            };
            let (name, resumed) = session(&got);
            assert!(!resumed);
            app.send(&mut world, &json!({"op": "publish", "channel": "h1", "data": "seen"}));
            let [got] = rest(&mut world, [&mut first]);
            assert_eq!(of_type(&got, "message").len(), 1);
            // half of the time the server has not noticed that the first one is gone
            let noticed = seed % 2 == 0;
            if noticed {
                world.hang_up(first.line);
                world.settle(|_| {});
                app.send(&mut world, &json!({"op": "publish", "channel": "h1", "data": "missed"}));
                app.send(&mut world, &json!({"op": "set", "key": "a/b", "data": 1}));
            }
            world.settle(|_| {});
            let mut thief = Listener::open(&mut world, &format!("user=eve&session_id={name}"), 1 << 20);
            let [got] = rest(&mut world, [&mut thief]);
            assert!(!session(&got).1, "it is ann's");
            let mut again = Listener::open(&mut world, &format!("user=ann&session_id={name}"), 1 << 20);
            let [got] = rest(&mut world, [&mut again]);
            assert!(!first.read(&mut world) || noticed || first.closed.is_some(), "it has moved on");
            let (next, resumed) = session(&got);
            assert!(resumed && next != name, "{got:?}");
            let said: Vec<&Value> = of_type(&got, "message").iter().map(|frame| &frame["data"]).collect();
            let want = if noticed { vec!["missed"] } else { vec![] };
            assert_eq!(
                (said, of_type(&got, "snapshot").len()),
                (want.iter().map(|d| json!(d)).collect::<Vec<_>>().iter().collect(), usize::from(noticed))
            );
            app.send(&mut world, &json!({"op": "publish", "channel": "h1", "data": "live"}));
            let [got] = rest(&mut world, [&mut again]);
            assert_eq!(of_type(&got, "message").len(), 1);
            let mut late = Listener::open(&mut world, &format!("user=ann&session_id={name}"), 1 << 20);
            let [got] = rest(&mut world, [&mut late]);
            assert!(!session(&got).1, "it was taken up already");
            world.hang_up(again.line);
            world.settle(|_| {});
            world.now.mono += 31 * SEC;
            world.settle(|_| {});
            let mut late = Listener::open(&mut world, &format!("user=ann&session_id={next}"), 1 << 20);
            let [got] = rest(&mut world, [&mut late]);
            assert!(!session(&got).1, "it was kept for 30 s");
        }
    }
}

/// Whatever is sent, nothing panics, and whoever shows that he understands it is told what is wrong.
#[test]
fn hostile_frames_are_answered_and_do_no_harm() {
    let pieces = [
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
    for shards in SHARDS {
        let mut world = World::new(9, shards, keeping(5));
        let mut rng = Rng::with_seed(9);
        let mut app = Application::open(&mut world);
        let mut witness = Listener::native(&mut world, "channels=w");
        let mut natives: Vec<Listener> =
            (0..4).map(|i| Listener::native(&mut world, &format!("user=u{i}"))).collect();
        for _ in 0..600 {
            let mut text = String::new();
            if rng.bool() {
                let verb = rng.choice(["subscribe", "unsubscribe", "publish", "message", "history"]).unwrap();
                let field = rng.choice(["channel", "channel_id", "room_id", "key"]).unwrap();
                let name = rng.choice(["a", "*", "h1", "a/*", "$x", ""]).unwrap();
                text =
                    format!(r#"{{"type":"{verb}","{field}":"{name}","recover":{{"epoch":"0","offset":3}}}}"#);
            } else {
                for _ in 0..rng.usize(1..9) {
                    text += rng.choice(pieces).unwrap();
                }
            }
            let one = rng.usize(0..4);
            natives[one].send_text(&mut world, text.as_bytes());
            world.now.mono += 20 * MS;
            world.work(rng.usize(0..4));
            natives.iter_mut().for_each(|listener| assert!(listener.read(&mut world)));
        }
        app.send(&mut world, &json!({"op": "publish", "channel": "w", "data": 1}));
        world.settle(|world| natives.iter_mut().for_each(|listener| assert!(listener.read(world))));
        let told: usize = natives.iter().map(|listener| codes(&listener.got).len()).sum();
        assert!(told > 100, "{told} errors");
        assert_eq!(
            of_type(&witness.take(&mut world), "message").iter().filter(|f| f["channel"] == "w").count(),
            1
        );
    }
}

/// What waits is bounded in frames as well as in bytes, and whoever can understand it is told why it is let go.
#[test]
fn a_reader_with_too_many_frames_waiting_is_let_go_and_told_why() {
    for shards in SHARDS {
        let limits = Limits { queue_bytes: 1 << 20, ..hub(|hub| hub.queue_frames = 20) };
        let mut world = World::new(10, shards, limits);
        let mut app = Application::open(&mut world);
        let mut slow = Listener::open(&mut world, "session_id=&channels=a", 400);
        let mut late = Listener::open(&mut world, "channels=a", 1 << 20);
        world.settle(|world| assert!(slow.read(world) && late.read(world)));
        for n in 0..20 {
            app.send(&mut world, &json!({"op": "publish", "channel": "a", "data": n}));
            world.work(4 * shards as usize);
        }
        let ended = |world: &World| -> u64 {
            world.shards.iter().map(|s| s.ctx.stats.ended.iter().sum::<u64>()).sum()
        };
        assert_eq!(ended(&world), 0, "so many may wait");
        for n in 20..60 {
            app.send(&mut world, &json!({"op": "publish", "channel": "a", "data": n}));
            world.work(4 * shards as usize);
        }
        let [got, all] = rest(&mut world, [&mut slow, &mut late]);
        assert_eq!((all.len(), slow.closed.expect("a close frame").0), (60, 3008));
        let told = got.last().expect("it is told");
        assert_eq!((&told["type"], &told["reconnect"]), (&json!("disconnect"), &json!(true)));
        assert!((5..30).contains(&got.len()), "{} frames came before", got.len());
    }
}

/// Several feeds and clients publish into the same channels at once: every subscriber sees one order, each of them
/// its own publications too, and nobody's are out of the order in which they were said.
#[test]
fn everybody_sees_the_publications_of_all_in_one_order() {
    for shards in SHARDS {
        for seed in 0..10 {
            let mut world = World::new(seed, shards, hub(|hub| (hub.rate, hub.burst) = (1000, 1000)));
            let mut rng = Rng::with_seed(seed);
            let mut apps: Vec<Application> = (0..2).map(|_| Application::open(&mut world)).collect();
            let open = |world: &mut World, i: usize| match i % 2 {
                0 => Listener::native(world, &format!("user=u{i}&channels=a,b")),
                _ => Listener::open(world, &format!("user=u{i}&channels=a,b"), 1 << 20),
            };
            let mut all: Vec<Listener> = (0..5).map(|i| open(&mut world, i)).collect();
            world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world))));
            let mut said = [0; 7];
            for _ in 0..200 {
                let (who, channel) = (rng.usize(0..7), rng.choice(["a", "b"]).unwrap());
                let data = json!({"who": who, "n": said[who]});
                said[who] += 1;
                match who.checked_sub(2) {
                    None => apps[who]
                        .send(&mut world, &json!({"op": "publish", "channel": channel, "data": data})),
                    Some(at) => all[at]
                        .send(&mut world, &json!({"type": "publish", "channel": channel, "data": data})),
                }
                world.work(rng.usize(0..4));
            }
            world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world))));
            for channel in ["a", "b"] {
                let of = |one: &Listener| -> Vec<Value> {
                    one.got.iter().filter(|frame| frame["channel"] == channel).cloned().collect()
                };
                let want = of(&all[0]);
                for one in &all[1..] {
                    assert_eq!(of(one), want, "{shards} shards seed {seed}");
                }
                for (frame, sequence) in want.iter().zip(1..) {
                    assert_eq!(frame["sequence"], sequence);
                    let user =
                        frame["data"]["who"].as_u64().unwrap().checked_sub(2).map(|who| format!("u{who}"));
                    assert_eq!(frame.get("user_id").and_then(Value::as_str).map(str::to_owned), user);
                }
                for who in 0..7 {
                    let own = want.iter().filter(|frame| frame["data"]["who"] == who);
                    assert!(own.map(|frame| frame["data"]["n"].as_u64()).is_sorted_by(|a, b| a < b));
                }
            }
            assert_eq!(all[0].got.len(), 200);
        }
    }
}

/// Many who come back at once with the same place cost one replay, whatever their shard.
#[test]
fn what_many_have_missed_alike_is_made_once() {
    for shards in SHARDS {
        let mut world = World::new(11, shards, keeping(200));
        let mut app = Application::open(&mut world);
        for n in 0..100 {
            app.send(&mut world, &json!({"op": "publish", "channel": "h", "data": n}));
        }
        world.settle(|world| app.read(world));
        let encoded = |world: &mut World| -> u64 {
            world.shards.iter_mut().map(|shard| shard.stats().encoded.frames).sum()
        };
        let mut all: Vec<Listener> = (0..50).map(|_| Listener::native(&mut world, "")).collect();
        world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world))));
        let before = encoded(&mut world);
        for one in &mut all {
            let recover = json!({"epoch": "0", "offset": 10});
            one.send(&mut world, &json!({"type": "subscribe", "channel": "h", "recover": recover}));
        }
        world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world))));
        for one in &all {
            let numbers: Vec<u64> =
                of_type(&one.got, "message").iter().map(|f| f["data"].as_u64().unwrap()).collect();
            assert_eq!(numbers, (10..100).collect::<Vec<_>>());
        }
        let frames = encoded(&mut world) - before;
        assert!(
            frames <= 50 + 2 * 90,
            "{frames} frames: a reply for each, and what was missed deflated and not"
        );
        // a change between two of them is in the second's replay
        app.send(&mut world, &json!({"op": "publish", "channel": "h", "data": 100}));
        world.settle(|world| all.iter_mut().for_each(|one| drop(one.take(world))));
        let mut late = Listener::native(&mut world, "");
        let stranger = json!({"epoch": "1", "offset": 10});
        late.send(&mut world, &json!({"type": "subscribe", "channel": "h", "recover": stranger}));
        let [got] = rest(&mut world, [&mut late]);
        assert_eq!(
            of_type(&got, "subscribed")[0]["recovered"],
            false,
            "another epoch's number means nothing here"
        );
        let recover = json!({"epoch": "0", "offset": 10});
        late.send(&mut world, &json!({"type": "subscribe", "channel": "h", "recover": recover}));
        let [got] = rest(&mut world, [&mut late]);
        assert_eq!(of_type(&got, "message").len(), 91);
    }
}
