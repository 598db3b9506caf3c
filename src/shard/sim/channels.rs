//! What must hold for publications.

use super::World;
use super::client::{Application, Listener};
use crate::flow::limits::Limits;
use crate::flow::limits::channels::{ChannelRule, Overflow};
use crate::shard::connections::Reason;
use serde_json::{Value, json};

const SHARDS: [u16; 4] = [1, 2, 3, 8];

fn publish(app: &mut Application, world: &mut World, channel: &str, n: usize) {
    let data = json!({"n": n, "text": "z".repeat(200)});
    app.send(world, &json!({"op": "publish", "channel": channel, "type": "t", "data": data}));
}

fn numbers(listener: &Listener, channel: &str) -> Vec<u64> {
    let of = |got: &&Value| got["channel"] == channel;
    listener.got.iter().filter(of).map(|got| got["data"]["n"].as_u64().unwrap()).collect()
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
            let mut all: Vec<Listener> =
                (0..12).map(|i| Listener::open(&mut world, queries[i % 4], 1 << 20)).collect();
            world.settle(|world| all.iter_mut().for_each(|l| assert!(l.read(world))));
            for n in 0..100 {
                publish(&mut app, &mut world, rng.choice(["a", "b", "c", "*"]).unwrap(), n);
                // one that comes and goes, and one that changes its mind
                let mut guest = Listener::open(&mut world, "channels=a", 1 << 20);
                let verb = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
                all[0].send(&mut world, &json!({"type": verb, "channel": "c"}));
                world.work(rng.usize(0..20));
                guest.read(&mut world);
                world.hang_up(guest.line);
                all.iter_mut().for_each(|l| assert!(l.read(&mut world)));
            }
            world.settle(|world| all.iter_mut().for_each(|l| assert!(l.read(world))));
            for (i, listener) in all.iter().enumerate() {
                let wanted: &[&str] = [&["*"][..], &["*", "a"], &["*", "a", "b"], &["*", "b"]][i % 4];
                for channel in ["*", "a", "b"] {
                    let reference = numbers(&all[2], channel);
                    let want = if wanted.contains(&channel) { reference } else { vec![] };
                    assert_eq!(numbers(listener, channel), want, "{i} {channel} {shards} shards seed {seed}");
                    assert!(want.is_sorted_by(|a, b| a < b));
                }
                assert!(i == 0 || numbers(listener, "c").is_empty());
            }
            let sum: usize = ["*", "a", "b"].iter().map(|c| numbers(&all[2], c).len()).sum();
            assert_eq!(sum, all[2].got.len());
        }
    }
}

/// A stalled listener is closed with a reason, or gets the newest, as the channel's rule says; others notice nothing.
#[test]
fn a_stalled_listener_is_treated_by_the_rule_of_its_channel() {
    for shards in SHARDS {
        let rule = ChannelRule {
            channel: "lossy*".into(),
            overflow: Some(Overflow::DropOldest),
            ..ChannelRule::default()
        };
        let limits = Limits { queue_bytes: 2048, channel_rules: vec![rule], ..Limits::default() };
        let mut world = World::new(4, shards, limits);
        let mut app = Application::open(&mut world);
        let mut strict = Listener::open(&mut world, "channels=strict", 300);
        let mut lossy = Listener::open(&mut world, "channels=lossy1", 300);
        let mut healthy = Listener::open(&mut world, "channels=strict,lossy1", 1 << 20);
        world.settle(|world| assert!(strict.read(world) && lossy.read(world) && healthy.read(world)));
        for n in 0..100 {
            publish(&mut app, &mut world, "strict", n);
            publish(&mut app, &mut world, "lossy1", n);
            world.work(30);
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
        let ended: u64 = world.shards.iter().map(|s| s.ctx.stats.ended[Reason::Slow as usize]).sum();
        let dropped: u64 = world.shards.iter().map(|s| s.ctx.stats.dropped).sum();
        assert_eq!((ended, dropped > 0), (1, true), "both are counted");
    }
}
