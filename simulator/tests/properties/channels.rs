//! What must hold for publications.

use crate::support::hub::{hub, rest, short_tail};
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::{ChannelRule, Overflow};
use fanfare::shard::end_reason::EndReason;
use fastrand::Rng;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::hub::HubClient;
use simulator::world::World;

fn publish(app: &mut Application, world: &mut World, channel: &str, n: usize) {
    let data = json!({"n": n, "text": "z".repeat(200)});
    app.send(world, &json!({"op": "publish", "channel": channel, "type": "t", "data": data}));
}

fn numbers(client: &HubClient, channel: &str) -> Vec<u64> {
    let of = |got: &&Value| got["channel"] == channel;
    client.got.iter().filter(of).map(|got| got["data"]["n"].as_u64().unwrap()).collect()
}

/// Random subscribing and leaving: whoever is subscribed all the while gets each publication of its channels once, as
/// a message of its own, in order; nobody gets what he has not asked for.
#[test]
fn each_publication_arrives_once_and_in_order() {
    for shards in SHARDS {
        for seed in 0..20 {
            let mut world = World::new(seed, shards, Limits { deflate_min: 200, ..Limits::default() });
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut app = Application::open(&mut world);
            let queries = ["", "channels=a", "channels=a,b", "channels=b,b,*"];
            let mut all: Vec<HubClient> =
                (0..12).map(|i| HubClient::open(&mut world, queries[i % 4], 1 << 20)).collect();
            world.settle(|world| all.iter_mut().for_each(|l| assert!(l.read(world))));
            for n in 0..100 {
                publish(&mut app, &mut world, rng.choice(["a", "b", "c", "*"]).unwrap(), n);
                // one that comes and goes, and one that changes its mind
                let mut guest = HubClient::open(&mut world, "channels=a", 1 << 20);
                let verb = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
                all[0].send(&mut world, &json!({"type": verb, "channel": "c"}));
                world.run(rng.usize(0..20));
                guest.read(&mut world);
                world.disconnect(guest.peer);
                all.iter_mut().for_each(|l| assert!(l.read(&mut world)));
            }
            world.settle(|world| all.iter_mut().for_each(|l| assert!(l.read(world))));
            for (i, client) in all.iter().enumerate() {
                let wanted: &[&str] = [&["*"][..], &["*", "a"], &["*", "a", "b"], &["*", "b"]][i % 4];
                for channel in ["*", "a", "b"] {
                    let reference = numbers(&all[2], channel);
                    let want = if wanted.contains(&channel) { reference } else { vec![] };
                    assert_eq!(numbers(client, channel), want, "{i} {channel} {shards} shards seed {seed}");
                    assert!(want.is_sorted_by(|a, b| a < b));
                }
                assert!(i == 0 || numbers(client, "c").is_empty());
            }
            let sum: usize = ["*", "a", "b"].iter().map(|c| numbers(&all[2], c).len()).sum();
            assert_eq!(sum, all[2].got.len());
        }
    }
}

/// A client that stalls until what it has missed is gone is closed with a reason, or goes on behind that, as the channel's
/// rule says; others notice nothing.
#[test]
fn a_stalled_listener_is_treated_by_the_rule_of_its_channel() {
    for shards in SHARDS {
        let rule = ChannelRule {
            channel: "lossy*".into(),
            overflow: Some(Overflow::DropOldest),
            ..ChannelRule::default()
        };
        let limits = Limits { queue_bytes: 2048, channel_rules: vec![rule], ..short_tail() };
        let mut world = World::new(4, shards, limits);
        let mut app = Application::open(&mut world);
        let mut strict = HubClient::open(&mut world, "channels=strict", 300);
        let mut lossy = HubClient::open(&mut world, "channels=lossy1", 300);
        let mut healthy = HubClient::open(&mut world, "channels=strict,lossy1", 1 << 20);
        world.settle(|world| assert!(strict.read(world) && lossy.read(world) && healthy.read(world)));
        for n in 0..100 {
            publish(&mut app, &mut world, "strict", n);
            publish(&mut app, &mut world, "lossy1", n);
            world.run(30);
            assert!(healthy.read(&mut world));
        }
        world.settle(|world| {
            strict.read(world);
            assert!(lossy.read(world) && healthy.read(world));
        });
        assert_eq!(healthy.got.len(), 200);
        let (code, reason) = strict.closed.clone().expect("told why");
        assert!(code == 3008 && reason.contains("slow"), "{code} {reason}");
        let got = numbers(&strict, "strict");
        assert_eq!(got, (0..got.len() as u64).collect::<Vec<_>>(), "what came before the end is whole");
        let got = numbers(&lossy, "lossy1");
        assert!(lossy.closed.is_none() && got.len() < 100 && got.is_sorted_by(|a, b| a < b));
        assert_eq!(got.last(), Some(&99));
        let ended = world.count(|stats| stats.ended[EndReason::Slow as usize]);
        let dropped = world.count(|stats| stats.dropped);
        assert_eq!((ended, dropped > 0), (1, true), "both are counted");
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
            let mut one = HubClient::open(&mut world, "", 1 << 20);
            let mut named = HubClient::open(&mut world, "channels=c1", 1 << 20);
            rest(&mut world, [&mut one, &mut named]);
            let turn = world.rng.usize(0..200);
            for n in 0..200 {
                if n == turn {
                    one.send(&mut world, &json!({"type": "subscribe", "channel": "c0"}));
                }
                app.send(&mut world, &json!({"op": "publish", "channel": format!("c{}", n % 3), "data": n}));
                app.send(&mut world, &json!({"op": "publish", "channel": "*", "data": n}));
                let turns = world.rng.usize(0..3);
                world.run(turns);
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
                0 => HubClient::native(world, &format!("user=u{i}&channels=a,b")),
                _ => HubClient::open(world, &format!("user=u{i}&channels=a,b"), 1 << 20),
            };
            let mut all: Vec<HubClient> = (0..5).map(|i| open(&mut world, i)).collect();
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
                world.run(rng.usize(0..4));
            }
            world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world))));
            for channel in ["a", "b"] {
                let of = |one: &HubClient| -> Vec<Value> {
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

/// A listener that has missed too much of several channels at once is told why it is let go.
#[test]
fn a_listener_of_many_channels_is_told_why_it_is_let_go() {
    for seed in 0..20 {
        let limits = Limits { queue_bytes: 1024, ..short_tail() };
        let mut world = World::new(seed, 1, limits);
        let mut app = Application::open(&mut world);
        let mut slow = HubClient::open(&mut world, "channels=a,b,c", 300);
        // the channels are there without it
        let mut other = HubClient::open(&mut world, "channels=a,b,c", 1 << 20);
        world.settle(|world| assert!(slow.read(world) && other.read(world)));
        for n in 0..30 {
            for channel in ["a", "b", "c"] {
                publish(&mut app, &mut world, channel, n);
            }
            world.run(1);
        }
        world.settle(|world| {
            slow.read(world);
            other.read(world);
        });
        assert_eq!(slow.closed.expect("told why").0, 3008, "seed {seed}");
    }
}
