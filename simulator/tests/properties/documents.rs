//! What must hold for documents and their subscribers, whatever is done.

use fanfare::flow::limits::Limits;
use fanfare::flow::limits::documents::Rule;
use fanfare::wire::key::Name;
use serde_json::json;
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::subscriber::Subscriber;
use simulator::random::run;
use simulator::world::World;

#[test]
fn every_copy_is_the_servers() {
    for shards in SHARDS {
        for seed in 0..18 {
            let summary = run(seed, shards, 300);
            assert!(
                summary.operations > 100 && summary.messages > 100 && summary.deflated > 0,
                "{summary:?}"
            );
        }
    }
}

/// Without that, no failure could be seen again.
#[test]
fn a_run_follows_from_its_seed() {
    for shards in SHARDS {
        assert_eq!(run(4, shards, 300), run(4, shards, 300), "{shards} shards");
        assert_ne!(run(4, shards, 300), run(5, shards, 300), "{shards} shards");
    }
}

/// A subscriber that keeps up gets every write as a message of its own, a glob delete as one.
#[test]
fn writes_are_not_merged_for_those_who_keep_up() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, Limits::default());
        let mut app = Application::open(&mut world);
        let mut sub = Subscriber::open(&mut world, "t/*", None, 1 << 20);
        world.settle(|world| assert!(sub.read(world)));
        for round in 0..2 {
            for i in 0..10 {
                app.send(
                    &mut world,
                    &json!({"op": "set", "key": format!("t/{i}"), "data": {"round": round}}),
                );
            }
        }
        world.settle(|world| assert!(sub.read(world)));
        app.send(&mut world, &json!({"op": "del", "key": "t/*"}));
        world.settle(|world| assert!(sub.read(world)));
        assert_eq!((sub.messages, sub.doc), (22, Some(json!([]))), "{shards} shards");
    }
}

/// The oldest item leaves a limited list in the message that brings the newest.
#[test]
fn a_limited_list_never_shows_more() {
    for shards in SHARDS {
        let rule = Rule { name: Name::parse("log/*").unwrap(), patch: None, limit: Some(3) };
        let mut world = World::new(2, shards, Limits { rules: vec![rule], ..Limits::default() });
        let mut app = Application::open(&mut world);
        let mut sub = Subscriber::open(&mut world, "log/*", None, 1 << 20);
        let mut early = Subscriber::open(&mut world, "log/k0", None, 1 << 20);
        world.settle(|world| assert!(sub.read(world) && early.read(world)));
        for i in 0..10 {
            app.send(&mut world, &json!({"op": "set", "key": format!("log/k{i}"), "data": i}));
            world.settle(|world| assert!(sub.read(world) && early.read(world)));
        }
        assert!(sub.seen.iter().all(|(_, doc)| doc.as_array().unwrap().len() <= 3));
        assert_eq!(sub.messages, 11);
        let data: Vec<_> = sub.doc.unwrap().as_array().unwrap().iter().map(|i| i["data"].clone()).collect();
        assert_eq!(data, [9, 8, 7]);
        assert_eq!(early.doc.unwrap()["created"], 0, "what was pushed out is deleted");
    }
}

/// A limited list pushes documents out while batches change them: each batch is done whole or refused, and every
/// line is answered.
#[test]
fn batches_and_evictions_do_not_meet() {
    for shards in SHARDS {
        for seed in 0..6 {
            let rule = Rule { name: Name::parse("log/*").unwrap(), patch: None, limit: Some(4) };
            let mut world = World::new(seed, shards, Limits { rules: vec![rule], ..Limits::default() });
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut apps: Vec<Application> = (0..2).map(|_| Application::open(&mut world)).collect();
            for i in 0..300 {
                apps[0].send(&mut world, &json!({"op": "set", "key": format!("log/{i}"), "data": {"n": i}}));
                let old = i - rng.i32(0..=8).min(i);
                let ops = json!([
                    {"op": "set", "key": "seen/first", "data": i},
                    {"op": "merge", "key": format!("log/{old}"), "data": {"seen": i}},
                    {"op": "set", "key": "seen/last", "data": i},
                ]);
                apps[1].send(&mut world, &json!({"id": i, "op": "batch", "ops": ops}));
                let turns = rng.usize(0..8);
                world.run(turns);
            }
            world.settle(|world| apps.iter_mut().for_each(|app| app.read(world)));
            assert_eq!(apps[1].replies.len(), 300, "{shards} shards, seed {seed}");
            let done = apps[1].replies.iter().filter(|reply| reply["ok"] == true);
            let last = done.map(|reply| reply["id"].clone()).next_back().expect("some batches are done");
            for key in ["seen/first", "seen/last"] {
                let mut sub = Subscriber::open(&mut world, key, None, 1 << 20);
                world.settle(|world| assert!(sub.read(world)));
                assert_eq!(sub.doc.expect("a state")["data"], last, "a batch was done in part");
            }
        }
    }
}

/// A reader that stalls costs no more than its budget, and has the right document when it reads on.
#[test]
fn a_stalled_reader_costs_its_budget() {
    for shards in SHARDS {
        let limits = Limits { queue_bytes: 4096, write_timeout: u64::MAX / 4, ..Limits::default() };
        let mut world = World::new(3, shards, limits);
        let mut app = Application::open(&mut world);
        let mut slow = Subscriber::open(&mut world, "doc", None, 500);
        let mut fast = Subscriber::open(&mut world, "doc", None, 1 << 20);
        world.settle(|world| assert!(fast.read(world) && slow.read(world)));
        for i in 0..500 {
            app.send(
                &mut world,
                &json!({"op": "set", "key": "doc", "data": {"i": i, "text": "y".repeat(300)}}),
            );
            world.run(20);
            fast.read(&mut world);
            let queued = world.queued(slow.peer);
            assert!(queued <= 4096 + 500, "{queued}");
        }
        world.settle(|world| assert!(fast.read(world) && slow.read(world)));
        assert_eq!((fast.messages, slow.doc == fast.doc), (501, true), "{shards} shards");
        assert!(slow.messages < 100);
    }
}

/// A broadcast to thousands is carried out in slices: others are answered in between.
#[test]
fn a_broadcast_does_not_keep_others_waiting() {
    let mut world = World::new(5, 1, Limits::default());
    let mut app = Application::open(&mut world);
    let mut all: Vec<Subscriber> =
        (0..3000).map(|_| Subscriber::open(&mut world, "doc", None, 1 << 20)).collect();
    let mut other = Subscriber::open(&mut world, "other", None, 1 << 20);
    world.settle(|world| assert!(other.read(world)));
    app.send(&mut world, &json!({"op": "set", "key": "doc", "data": 1}));
    world.run(1);
    const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
    world.send(other.peer, &PING);
    world.run(1);
    assert_eq!(
        world.receive(other.peer).expect("it is there"),
        [0x8a, 0],
        "a pong, two slices after the broadcast began"
    );
    let served =
        all.iter_mut().filter(|sub| world.socket(sub.peer).is_some_and(|s| !s.wire.is_empty())).count();
    assert!(served > 0);
    all.iter_mut().for_each(|sub| assert!(sub.read(&mut world)));
    let done = |all: &[Subscriber]| all.iter().filter(|sub| sub.messages == 2).count();
    assert!(done(&all) < 3000, "the broadcast is still under way");
    world.settle(|_| {});
    all.iter_mut().for_each(|sub| assert!(sub.read(&mut world)));
    assert_eq!(done(&all), 3000);
}

/// A refused batch names its first operation that cannot be done, by its place in the batch, whoever owns the keys.
#[test]
fn a_refused_batch_names_the_operation() {
    for shards in SHARDS {
        let mut world = World::new(4, shards, Limits::default());
        let mut app = Application::open(&mut world);
        for bad in 0..8 {
            let op = |i: usize| match i {
                i if i == bad || i == 7 => json!({"op": "del", "key": format!("gone/{i}")}),
                i => json!({"op": "set", "key": format!("there/{i}"), "data": i}),
            };
            app.send(
                &mut world,
                &json!({"id": bad, "op": "batch", "ops": (0..8).map(op).collect::<Vec<_>>()}),
            );
            world.settle(|world| app.read(world));
            let reply = app.replies.pop().expect("an answer");
            let message = reply["error"]["message"].as_str().expect("a refusal");
            assert!(
                message.starts_with(&format!("operation {bad} of the batch")),
                "{shards} shards: {message}"
            );
        }
    }
}
