//! Limits that are replaced while the server runs: they hold for what was there before, and nothing else notices.

use crate::support::hub::{codes, keeping, of_type, rest, short_tail};
use fanfare::base::time::SEC;
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::{ChannelRule, Overflow};
use fanfare::flow::limits::documents::Rule;
use fanfare::flow::limits::hub::HubLimits;
use fanfare::flow::limits::sse::SseLimits;
use fanfare::shard::end_reason::EndReason;
use fanfare::wire::key::Name;
use fastrand::Rng;
use serde_json::json;
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::clients::hub::HubClient;
use simulator::clients::subscriber::Subscriber;
use simulator::world::World;
use std::sync::Arc;

/// Replaces the limits of all shards, with some turns in between.
fn replace(world: &mut World, limits: Limits) {
    let limits = Arc::new(limits);
    for at in 0..world.shards.len() {
        world.replace_limits(at, &limits);
        let turns = world.rng.usize(0..4);
        world.run(turns);
    }
}

/// Moves the time on in small steps, so that every timer comes at its moment.
fn pass(world: &mut World, seconds: u64, mut read: impl FnMut(&mut World)) {
    for _ in 0..seconds * 4 {
        world.now.mono += SEC / 4;
        world.now.wall += SEC / 4;
        world.settle(&mut read);
    }
}

fn limited(pattern: &str, limit: Option<usize>) -> Limits {
    let Ok(Name::Pattern(pattern)) = Name::parse(pattern) else { panic!("{pattern} is a pattern") };
    let rule = Rule { name: Name::Pattern(pattern), patch: None, limit };
    Limits { rules: vec![rule], ..Limits::default() }
}

fn publish(app: &mut Application, world: &mut World, channel: &str, range: std::ops::Range<usize>) {
    for n in range {
        app.send(
            world,
            &json!({"op": "publish", "channel": channel, "data": {"n": n, "text": "z".repeat(200)}}),
        );
    }
}

/// A list's limit comes, falls, rises and goes at random moments of random writes: from the moment that its owner has it,
/// no copy has more items, and all copies are what a newcomer gets.
#[test]
fn a_list_has_the_limit_that_holds_and_every_copy_follows() {
    for shards in SHARDS {
        for seed in 0..10 {
            let mut world = World::new(seed, shards, Limits::default());
            let mut rng = Rng::with_seed(seed);
            let mut app = Application::open(&mut world);
            let mut subs: Vec<Subscriber> =
                (0..3).map(|i| Subscriber::open_with(&mut world, "a/*", None, 1 << 20, i == 0)).collect();
            for limit in [None, Some(5), Some(2), Some(8), None, Some(3)] {
                replace(&mut world, limited("a/*", limit));
                // those that were told of the former limit's items are told that they are gone
                world.settle(|world| subs.iter_mut().for_each(|sub| assert!(sub.read(world))));
                subs.iter_mut().for_each(|sub| sub.seen.clear());
                for _ in 0..40 {
                    let key = format!("a/{}", rng.u8(0..12));
                    app.send(&mut world, &json!({"op": "set", "key": key, "data": rng.u8(..)}));
                    world.run(rng.usize(0..4));
                }
                world.settle(|world| subs.iter_mut().for_each(|sub| assert!(sub.read(world))));
                let mut fresh = Subscriber::open(&mut world, "a/*", None, 1 << 20);
                world.settle(|world| assert!(fresh.read(world)));
                let most = limit.unwrap_or(usize::MAX);
                for sub in &subs {
                    let longest = sub.seen.iter().map(|(_, doc)| doc.as_array().unwrap().len()).max();
                    assert!(longest.unwrap() <= most, "{shards} shards seed {seed}: {longest:?} > {most}");
                    assert_eq!((&sub.doc, &sub.version), (&fresh.doc, &fresh.version));
                }
                let documents = world.count(|stats| stats.documents) as usize;
                assert_eq!(documents, fresh.doc.unwrap().as_array().unwrap().len(), "what left is deleted");
            }
        }
    }
}

/// How much of a channel's past can be had follows the rule that holds, and offsets go on whatever it is.
#[test]
fn a_channel_keeps_what_the_present_rule_says() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, keeping(10));
        let mut app = Application::open(&mut world);
        let (mut last, mut kept) = (0, 0);
        for history in [10, 3, 0, 4, 20, 6] {
            replace(&mut world, keeping(history));
            kept = kept.min(history);
            for more in [0, 2, 5] {
                publish(&mut app, &mut world, "h", last..last + more);
                last += more;
                kept = (kept + more).min(history);
                world.settle(|world| app.read(world));
                if last == 0 {
                    continue;
                }
                for back in [kept, kept + 1] {
                    let Some(offset) = last.checked_sub(back) else { continue };
                    let mut client = HubClient::native(&mut world, "");
                    let recover = json!({"epoch": "0", "offset": offset});
                    client.send(
                        &mut world,
                        &json!({"type": "subscribe", "channel": "h", "recover": recover, "request_id": 1}),
                    );
                    let [got] = rest(&mut world, [&mut client]);
                    let recovered = back == kept;
                    let about = format!("{shards} shards, history {history}, {back} of {last}");
                    assert_eq!(
                        (&got[0]["recovered"], &got[0]["offset"]),
                        (&json!(recovered), &json!(last)),
                        "{about}"
                    );
                    assert_eq!(got.len() - 1, if recovered { back } else { 0 }, "{about}");
                    world.disconnect(client.peer);
                }
            }
        }
    }
}

/// Readers that stall under a large budget and then under a small one: what newly waits is bounded by the budget that
/// holds, by the channel's present rule, and documents are the server's at the end.
#[test]
fn what_waits_is_bounded_by_the_budget_and_the_rule_that_hold() {
    const LARGE: usize = 16 << 10;
    const SMALL: usize = 2 << 10;
    for shards in SHARDS {
        let rule = |overflow| ChannelRule {
            channel: "c".into(),
            overflow: Some(overflow),
            ..ChannelRule::default()
        };
        let limits = |queue_bytes, overflow| Limits {
            queue_bytes,
            write_timeout: u64::MAX / 4,
            channel_rules: vec![rule(overflow)],
            ..short_tail()
        };
        let mut world = World::new(6, shards, limits(SMALL, Overflow::Disconnect));
        let mut app = Application::open(&mut world);
        let mut reader = HubClient::open(&mut world, "channels=c", 300);
        let mut sub = Subscriber::open(&mut world, "k", None, 300);
        world.settle(|world| assert!(reader.read(world) && sub.read(world)));
        let mut n = 0;
        for budget in [LARGE, SMALL, LARGE, SMALL] {
            replace(&mut world, limits(budget, Overflow::DropOldest));
            let mut most = 0;
            for _ in 0..200 {
                n += 1;
                publish(&mut app, &mut world, "c", n..n + 1);
                app.send(&mut world, &json!({"op": "set", "key": "k", "data": "y".repeat(n % 300)}));
                world.run(10);
                most = most.max(world.queued(reader.peer)).max(world.queued(sub.peer));
            }
            // the socket has more than it can take of each, and one frame of any size may always wait
            assert!(most <= budget && most > budget / 2, "{shards} shards: {most} waited of {budget}");
            world.settle(|world| {
                app.read(world);
                assert!(reader.read(world) && sub.read(world));
            });
            let last = reader.got.last().map(|frame| frame["data"]["n"].as_u64().unwrap());
            assert_eq!((last, &reader.closed), (Some(n as u64), &None), "the newest, by the present rule");
            assert_eq!(sub.doc.as_ref().unwrap()["data"].as_str().unwrap().len(), n % 300);
        }
        replace(&mut world, limits(SMALL, Overflow::Disconnect));
        for n in 0..100 {
            publish(&mut app, &mut world, "c", n..n + 1);
            world.run(10);
        }
        world.settle(|world| {
            reader.read(world);
            assert!(sub.read(world));
        });
        assert_eq!(reader.closed.expect("told why").0, 3008, "and the rule is strict again");
    }
}

/// Connections that were quiet under long intervals are pinged at the new ones. Those that answer stay, and whoever does
/// not is given up at the new timeout.
#[test]
fn pings_come_at_the_present_interval_and_nobody_is_given_up_unasked() {
    let limits = |seconds| Limits {
        ping_interval: seconds * SEC,
        pong_timeout: seconds * 5 / 2 * SEC,
        hub: HubLimits { ping_interval: seconds * SEC, ..HubLimits::default() },
        sse: SseLimits { keepalive: seconds * SEC, ..SseLimits::default() },
        ..Limits::default()
    };
    for shards in SHARDS {
        let mut world = World::new(7, shards, limits(1000));
        let mut polite = HubClient::open(&mut world, "channels=c", 1 << 20);
        let mut silent = HubClient::open(&mut world, "channels=c", 1 << 20);
        silent.answers_pings = false;
        let mut events = EventSource::open(&mut world, "/sse?channels=c", 1 << 20);
        let mut read = |world: &mut World| {
            assert!(polite.read(world));
            silent.read(world);
            events.read(world);
        };
        pass(&mut world, 900, &mut read);
        let before = world.count(|stats| stats.sent.deliveries);
        replace(&mut world, limits(4));
        // connections are looked at once a second
        pass(&mut world, 5, &mut read);
        let after = world.count(|stats| stats.sent.deliveries);
        let given_up = |world: &mut World| world.count(|stats| stats.ended[EndReason::PingTimeout as usize]);
        assert_eq!((after - before, given_up(&mut world)), (3, 0), "{shards} shards: one for each");
        pass(&mut world, 20, &mut read);
        assert_eq!(given_up(&mut world), 1, "{shards} shards: it was pinged and did not answer");
    }
}

/// The largest message that is taken, in a dialect that was agreed on long ago.
#[test]
fn the_largest_message_is_that_of_the_present_limits() {
    for shards in SHARDS {
        let limits = |max| Limits {
            max_message: max,
            hub: HubLimits { max_message: max, ..HubLimits::default() },
            ..Limits::default()
        };
        let mut world = World::new(8, shards, limits(100));
        let mut client = HubClient::native(&mut world, "channels=c");
        // chance cannot be deflated much
        let text: String = (0..400).map(|_| world.rng.alphanumeric()).collect();
        let frame = json!({"type": "publish", "channel": "c", "data": text, "request_id": 1});
        rest(&mut world, [&mut client]);
        replace(&mut world, limits(1000));
        client.send(&mut world, &frame);
        let [got] = rest(&mut world, [&mut client]);
        assert_eq!((codes(&got), got.len(), &client.closed), (vec![], 2, &None), "{got:?}");
        replace(&mut world, limits(100));
        client.send(&mut world, &frame);
        rest(&mut world, [&mut client]);
        assert_eq!(client.closed.expect("told why").0, 1009, "{shards} shards");
    }
}

/// Limits that change hold for those who are connected already: how long a message may be, what may wait for a reader,
/// and what happens to one that is too slow.
#[test]
fn changed_limits_hold_for_open_connections() {
    for shards in SHARDS {
        let before = Limits { max_message: 500, queue_bytes: 2000, ..short_tail() };
        let rule = ChannelRule {
            channel: "c".into(),
            overflow: Some(Overflow::DropOldest),
            ..ChannelRule::default()
        };
        let after = Limits { max_message: 5000, channel_rules: vec![rule], ..before.clone() };
        let mut world = World::new(12, shards, before);
        let mut slow = HubClient::open(&mut world, "channels=c", 1000);
        let mut writer = HubClient::native(&mut world, "");
        let mut app = Application::open(&mut world);
        rest(&mut world, [&mut slow, &mut writer]);
        replace(&mut world, after);
        let long = json!({"type": "publish", "channel": "d", "data": "x".repeat(1000), "request_id": 1});
        writer.send(&mut world, &long);
        for n in 0..40 {
            app.send(&mut world, &json!({"op": "publish", "channel": "c", "data": [n, "x".repeat(300)]}));
            world.run(30);
        }
        let [got, told] = rest(&mut world, [&mut slow, &mut writer]);
        assert_eq!((of_type(&told, "published").len(), writer.closed), (1, None), "{shards} shards");
        assert!(slow.closed.is_none() && got.len() < 40, "{shards} shards: {} of 40", got.len());
        assert_eq!(got.last().expect("the newest")["data"][0], 39);
    }
}
