//! What must hold for those who come back to the hub: positions, numbers, sessions.

use crate::support::hub::{hub, keeping, of_type, rest};
use fanfare::base::time::SEC;
use fanfare::flow::limits::Limits;
use fastrand::Rng;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::hub::HubClient;
use simulator::world::World;

/// A client that comes back again and again, and asks for what it has missed.
struct Resumer {
    client: HubClient,
    channel: String,
    /// The epoch, and the last publication seen.
    position: Option<(String, u64)>,
    /// Whether the reply to the subscription has come.
    begun: bool,
    gaps: usize,
}

impl Resumer {
    fn ask(&mut self, world: &mut World) {
        let mut frame = json!({"type": "subscribe", "channel": self.channel, "request_id": 1});
        if let Some((epoch, offset)) = &self.position {
            frame["recover"] = json!({"epoch": epoch, "offset": offset});
        }
        self.client.send(world, &frame);
        self.begun = false;
    }

    fn open(world: &mut World, channel: String, position: Option<(String, u64)>) -> Resumer {
        let client = HubClient::native(world, "");
        let mut resumer = Resumer { client, channel, position, begun: false, gaps: 0 };
        resumer.ask(world);
        resumer
    }

    /// Reads on: from its position to the present no publication is missing, none comes twice, each is the right one.
    fn read(&mut self, world: &mut World, published: &[u64], history: u64) {
        for frame in self.client.take(world) {
            if frame["type"] == "subscribed" {
                let offset = frame["offset"].as_u64().unwrap();
                let seen = self.position.as_ref().map(|(_, seen)| *seen);
                let reaches = seen.is_some_and(|seen| offset - seen <= history);
                assert_eq!(frame["recovered"], reaches, "{seen:?} {history} {frame}");
                self.gaps += usize::from(seen.is_some() && !reaches);
                let from = if reaches { seen.unwrap() } else { offset };
                self.position = Some((frame["epoch"].as_str().unwrap().to_owned(), from));
                self.begun = true;
                continue;
            }
            assert!(self.begun, "nothing comes before the reply: {frame}");
            let (_, seen) = self.position.as_mut().expect("the reply says where it begins");
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
                    let position = one.position.clone();
                    gaps += one.gaps;
                    world.disconnect(one.client.peer);
                    *one = Resumer::open(&mut world, format!("h{at}"), position);
                }
                if rng.u8(0..20) == 0 && one.begun {
                    // asked again on the same connection, it is the same as if it came back
                    one.read(&mut world, &published[*at], history as u64);
                    one.ask(&mut world);
                    // what was due before the subscription ended may still come
                    world.settle(|_| {});
                    one.client.read(&mut world);
                    let reply =
                        one.client.got.iter().position(|f| f["type"] == "subscribed").expect("a reply");
                    one.client.got.drain(..reply);
                }
                world.run(rng.usize(0..6));
                for (at, one) in &mut all {
                    one.read(&mut world, &published[*at], history as u64);
                }
            }
            world.settle(|world| {
                app.read(world);
                all.iter_mut().for_each(|(at, one)| one.read(world, &published[*at], history as u64));
            });
            for (at, one) in &all {
                assert_eq!(one.position.as_ref().expect("it was told").1, published[*at].len() as u64);
            }
        }
    }
    assert!(gaps > 50, "{gaps} gaps were told of");
}

#[test]
fn numbers_of_a_channel_never_go_back_though_it_is_forgotten() {
    for shards in SHARDS {
        let mut world = World::new(8, shards, keeping(3));
        let mut app = Application::open(&mut world);
        let mut last = std::collections::HashMap::new();
        let mut rng = Rng::with_seed(8);
        let mut client = HubClient::native(&mut world, "channels=a1");
        for n in 0..400 {
            let channel = rng.choice(["a0", "a1", "h0"]).map(str::to_owned).unwrap();
            let channel = if rng.bool() { channel } else { format!("b{n}") };
            app.send(&mut world, &json!({"op": "publish", "channel": channel, "data": n, "id": 1}));
            world.settle(|world| {
                app.read(world);
                client.read(world);
            });
            let offset = app.replies.pop().unwrap()["offset"].as_u64().unwrap();
            let before = last.insert(channel.clone(), offset).unwrap_or(0);
            assert!(offset > before, "{channel}: {before} then {offset}");
            if channel == "a1" || channel == "h0" {
                assert!(before == 0 || offset == before + 1, "who is watched or kept is not forgotten");
            }
            world.now.mono += rng.u64(0..20) * SEC;
            client.got.clear();
        }
        let known = world.count(|stats| stats.channels);
        assert!(known < 60, "{known} channels are remembered");
    }
}

/// The session that a client was told of, and whether it is an earlier one.
fn session(got: &[Value]) -> (String, bool) {
    let system = of_type(got, "system");
    let told = system.iter().find(|frame| frame["event"] == "session").expect("it was told");
    (told["data"]["session_id"].as_str().expect("a name").to_owned(), told["data"]["resumed"] == true)
}

/// A session brings its channels, its documents and its position back, once and for its user alone.
#[test]
fn a_session_comes_back_once_for_its_user() {
    for shards in SHARDS {
        for seed in 0..6 {
            let limits = Limits { hub: hub(|hub| hub.session_ttl = 30 * SEC).hub, ..keeping(100) };
            let mut world = World::new(seed, shards, limits);
            let mut app = Application::open(&mut world);
            let mut first = HubClient::open(&mut world, "user=ann&session_id=", 1 << 20);
            first.send(&mut world, &json!({"type": "subscribe", "channel": "h1"}));
            first.send(&mut world, &json!({"type": "subscribe", "key": "a/*"}));
            let [got] = rest(&mut world, [&mut first]);
            let (name, resumed) = session(&got);
            assert!(!resumed);
            app.send(&mut world, &json!({"op": "publish", "channel": "h1", "data": "seen"}));
            let [got] = rest(&mut world, [&mut first]);
            assert_eq!(of_type(&got, "message").len(), 1);
            // half of the time the server has not noticed that the first one is gone
            let noticed = seed % 2 == 0;
            if noticed {
                world.disconnect(first.peer);
                world.settle(|_| {});
                app.send(&mut world, &json!({"op": "publish", "channel": "h1", "data": "missed"}));
                app.send(&mut world, &json!({"op": "set", "key": "a/b", "data": 1}));
            }
            world.settle(|_| {});
            let mut thief = HubClient::open(&mut world, &format!("user=eve&session_id={name}"), 1 << 20);
            let [got] = rest(&mut world, [&mut thief]);
            assert!(!session(&got).1, "it is ann's");
            let mut again = HubClient::open(&mut world, &format!("user=ann&session_id={name}"), 1 << 20);
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
            let mut late = HubClient::open(&mut world, &format!("user=ann&session_id={name}"), 1 << 20);
            let [got] = rest(&mut world, [&mut late]);
            assert!(!session(&got).1, "it was taken up already");
            world.disconnect(again.peer);
            world.settle(|_| {});
            world.now.mono += 31 * SEC;
            world.settle(|_| {});
            let mut late = HubClient::open(&mut world, &format!("user=ann&session_id={next}"), 1 << 20);
            let [got] = rest(&mut world, [&mut late]);
            assert!(!session(&got).1, "it was kept for 30 s");
        }
    }
}

/// Many who come back at once with the same position cost one replay, whatever their shard.
#[test]
fn what_many_have_missed_alike_is_made_once() {
    for shards in SHARDS {
        let mut world = World::new(11, shards, keeping(200));
        let mut app = Application::open(&mut world);
        for n in 0..100 {
            app.send(&mut world, &json!({"op": "publish", "channel": "h", "data": n}));
        }
        world.settle(|world| app.read(world));
        let encoded = |world: &mut World| world.count(|stats| stats.encoded.frames);
        let mut all: Vec<HubClient> = (0..50).map(|_| HubClient::native(&mut world, "")).collect();
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
        let mut late = HubClient::native(&mut world, "");
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

/// A session brings back as many channels as its user may have: those of its rooms do not count, as before.
#[test]
fn the_channels_of_a_sessions_rooms_do_not_count() {
    for shards in SHARDS {
        let limits = Limits {
            hub: hub(|hub| (hub.session_ttl, hub.channels_per_user) = (30 * SEC, 2)).hub,
            ..keeping(100)
        };
        let mut world = World::new(15, shards, limits);
        let mut app = Application::open(&mut world);
        let mut first = HubClient::open(&mut world, "user=ann&session_id=", 1 << 20);
        for room in ["r1", "r2"] {
            first.send(&mut world, &json!({"type": "room.create", "room_id": room}));
            first.send(&mut world, &json!({"type": "join", "room_id": room}));
        }
        for channel in ["c1", "c2"] {
            first.send(&mut world, &json!({"type": "subscribe", "channel": channel}));
        }
        let [got] = rest(&mut world, [&mut first]);
        assert_eq!(of_type(&got, "error"), Vec::<&Value>::new(), "{shards} shards");
        let (name, _) = session(&got);
        world.disconnect(first.peer);
        world.settle(|_| {});
        let mut again = HubClient::open(&mut world, &format!("user=ann&session_id={name}"), 1 << 20);
        let [got] = rest(&mut world, [&mut again]);
        assert!(session(&got).1 && of_type(&got, "error").is_empty(), "{shards} shards: {got:?}");
        for channel in ["r1", "r2", "c1", "c2"] {
            app.send(&mut world, &json!({"op": "publish", "channel": channel, "data": 1}));
        }
        let [got] = rest(&mut world, [&mut again]);
        assert_eq!(of_type(&got, "message").len(), 4, "{shards} shards: {got:?}");
    }
}
