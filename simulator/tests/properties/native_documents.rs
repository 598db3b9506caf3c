//! What must hold for native subscriptions to documents.

use fanfare::base::time::MS;
use fanfare::wire::key::Name;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::hub::HubClient;
use simulator::model::Model;
use simulator::operations::random_operation;
use simulator::random::tight_limits;
use simulator::world::World;
use std::collections::{BTreeMap, BTreeSet};

const NAMES: [&str; 9] = ["**", "*", "a/**", "a/*", "b/*", "*/1", "a/1", "b/2", "single1"];

fn covers(name: &str, key: &str) -> bool {
    Name::parse_native(name).expect("a name").covers(key)
}

/// A client that folds what it gets, as the dialect's page says.
struct Follower {
    client: HubClient,
    names: BTreeSet<&'static str>,
    docs: BTreeMap<String, (String, Value)>,
    /// For each subscription that is complete, how many keys it was told of.
    synced: Vec<(String, u64)>,
    asked: usize,
    /// Changes seen, to find any that comes twice.
    patches: BTreeSet<(String, String)>,
    whole: bool,
}

impl Follower {
    fn open(world: &mut World, capacity: usize) -> Follower {
        let client = HubClient::open(world, "", capacity);
        let (names, docs, synced, patches) = Default::default();
        Follower { client, names, docs, synced, asked: 0, patches, whole: true }
    }

    fn subscribe(&mut self, world: &mut World, name: &'static str, wish: Value) {
        let mut frame = json!({"type": "subscribe", "key": name});
        frame.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        self.whole &= frame["mode"] == "snapshot";
        self.client.send(world, &frame);
        self.names.insert(name);
        self.asked += 1;
    }

    fn unsubscribe(&mut self, world: &mut World, name: &'static str) {
        self.client.send(world, &json!({"type": "unsubscribe", "key": name}));
        self.names.remove(name);
        let names = &self.names;
        self.docs.retain(|key, _| names.iter().any(|name| covers(name, key)));
    }

    fn read(&mut self, world: &mut World) {
        assert!(self.client.read(world), "nobody is let go");
        for frame in std::mem::take(&mut self.client.got) {
            let key = frame["key"].as_str().expect("a key").to_owned();
            let text = |field: &str| frame[field].as_str().expect("a version").to_owned();
            let kind = frame["type"].as_str().expect("a type");
            // what was under way when a subscription ended: not meant any more, or its state comes again
            let known = self.docs.get(&key).is_some_and(|(version, _)| frame["from"] == **version);
            let syncing = self.synced.len() < self.asked;
            if kind != "synced" && !self.names.iter().any(|name| covers(name, &key))
                || kind == "patch" && syncing && !known
            {
                continue;
            }
            match kind {
                "snapshot" => drop(self.docs.insert(key, (text("version"), frame["data"].clone()))),
                "delete" => drop(self.docs.remove(&key)),
                "patch" => {
                    assert!(!self.whole, "it wants whole documents");
                    let (version, doc) = self.docs.get_mut(&key).expect("a state comes before a patch");
                    assert_eq!(*version, text("from"), "{frame}");
                    let patch: json_patch::Patch = serde_json::from_value(frame["data"].clone()).unwrap();
                    json_patch::patch(doc, &patch).expect("it fits");
                    *version = text("version");
                    assert!(self.patches.insert((key, text("version"))), "a change came twice: {frame}");
                }
                "synced" => self.synced.push((key, frame["count"].as_u64().unwrap())),
                "unsubscribed" => {}
                other => panic!("{other}"),
            }
        }
    }

    /// Reads until nothing more can be under way to it.
    fn catch_up(&mut self, world: &mut World) {
        for _ in 0..30 {
            world.run(30);
            self.read(world);
        }
    }

    fn check(&self, model: &Model) {
        let meant = |key: &str| self.names.iter().any(|name| covers(name, key));
        let want: BTreeMap<&String, &Value> = model.0.iter().filter(|(key, _)| meant(key)).collect();
        let mine = self.docs.iter().filter(|(key, _)| meant(key));
        assert_eq!(mine.map(|(key, (_, doc))| (key, doc)).collect::<BTreeMap<_, _>>(), want);
        assert_eq!(self.synced.len(), self.asked, "every subscription is told when it is complete");
    }
}

fn wish(rng: &mut fastrand::Rng) -> Value {
    let mode = *rng.choice(&["auto", "snapshot", "patch"]).unwrap();
    let max_hz = if rng.u8(0..4) == 0 { rng.u32(1..200) } else { 0 };
    json!({"mode": mode, "max_hz": max_hz})
}

/// Random writes while followers subscribe, change their mind, stall and read on: at rest everyone has what it is
/// subscribed to, patches chain, and no change came twice.
fn followers_agree(seed: u64, shards: u16) {
    let mut world = World::new(seed, shards, tight_limits());
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut app = Application::open(&mut world);
    let mut model = Model::default();
    let mut all: Vec<(Follower, bool)> = Vec::new();
    for i in 0..12 {
        let capacity = [100, 3000, 1 << 20][i % 3];
        all.push((Follower::open(&mut world, capacity), false));
    }
    for _ in 0..300 {
        let at = rng.usize(0..all.len());
        let (follower, stalled) = &mut all[at];
        match rng.u8(0..10) {
            0..5 => {
                let op = random_operation(&mut rng);
                app.send(&mut world, &op);
                model.apply(&op);
            }
            5 | 6 => {
                let wish = if at == 0 { json!({"mode": "snapshot"}) } else { wish(&mut rng) };
                follower.subscribe(&mut world, rng.choice(NAMES).unwrap(), wish);
            }
            7 if !*stalled => {
                if let Some(name) = rng.choice(follower.names.clone()) {
                    // without a reply to wait for, what is under way could be taken for what is asked for next
                    follower.catch_up(&mut world);
                    follower.unsubscribe(&mut world, name);
                    follower.catch_up(&mut world);
                }
            }
            8 => *stalled = !*stalled,
            _ => world.now.mono += rng.u64(0..20) * MS,
        }
        world.run(rng.usize(0..6));
        all.iter_mut().filter(|(_, stalled)| !stalled).for_each(|(follower, _)| follower.read(&mut world));
    }
    for _ in 0..2 {
        // the second time, what was held back for a pace has come too
        world.settle(|world| {
            app.read(world);
            all.iter_mut().for_each(|(follower, _)| follower.read(world));
        });
        world.now.mono += 1_000 * MS;
    }
    world.settle(|world| all.iter_mut().for_each(|(follower, _)| follower.read(world)));
    all.iter().for_each(|(follower, _)| follower.check(&model));
}

#[test]
fn every_follower_has_what_it_is_subscribed_to() {
    for shards in SHARDS {
        for seed in 0..16 {
            followers_agree(seed, shards);
        }
    }
}

/// A client that comes back with the versions that it had gets what changed meanwhile, deletions included.
#[test]
fn whoever_comes_back_gets_what_changed() {
    for shards in SHARDS {
        let mut world = World::new(9, shards, tight_limits());
        let mut app = Application::open(&mut world);
        for i in 0..20 {
            app.send(&mut world, &json!({"op": "set", "key": format!("t/{i}"), "data": i}));
        }
        let mut first = Follower::open(&mut world, 1 << 20);
        world.settle(|_| {});
        first.subscribe(&mut world, "t/*", json!({}));
        world.settle(|world| first.read(world));
        assert_eq!(first.synced, [("t/*".to_owned(), 20)]);
        world.disconnect(first.client.peer);
        app.send(&mut world, &json!({"op": "del", "key": "t/3"}));
        app.send(&mut world, &json!({"op": "set", "key": "t/4", "data": "new"}));
        app.send(&mut world, &json!({"op": "set", "key": "t/20", "data": 20}));
        world.settle(|_| {});
        let mut again = Follower::open(&mut world, 1 << 20);
        again.docs = first.docs.clone();
        let versions: BTreeMap<&String, &String> = again.docs.iter().map(|(key, (v, _))| (key, v)).collect();
        let versions = json!({"versions": versions});
        again.subscribe(&mut world, "t/*", versions);
        world.settle(|world| again.read(world));
        assert_eq!(again.synced, [("t/*".to_owned(), 3)], "{shards} shards");
        assert_eq!(
            (again.docs.get("t/3"), &again.docs["t/4"].1, again.docs.len()),
            (None, &json!("new"), 20)
        );
    }
}

/// Under a pace a follower gets at most so many deliveries a second, and the last of them is the latest.
#[test]
fn a_pace_holds_and_ends_at_the_latest() {
    for shards in SHARDS {
        let mut world = World::new(10, shards, tight_limits());
        let mut app = Application::open(&mut world);
        let mut slow = Follower::open(&mut world, 1 << 20);
        slow.subscribe(&mut world, "t/*", json!({"max_hz": 10}));
        world.settle(|world| slow.read(world));
        let mut snapshots = 0;
        for i in 0..1000 {
            app.send(&mut world, &json!({"op": "set", "key": "t/1", "data": i}));
            world.run(2);
            world.now.mono += MS;
            let before = slow.docs.get("t/1").cloned();
            slow.read(&mut world);
            snapshots += u32::from(slow.docs.get("t/1") != before.as_ref());
        }
        world.settle(|world| slow.read(world));
        world.now.mono += 200 * MS;
        world.settle(|world| slow.read(world));
        assert_eq!(slow.docs["t/1"].1, 999);
        assert!((9..=12).contains(&snapshots), "{snapshots} in a second at {shards} shards");
        slow.subscribe(&mut world, "t/*", json!({"max_hz": 0, "mode": "snapshot"}));
        world.settle(|world| slow.read(world));
        for i in 0..5 {
            app.send(&mut world, &json!({"op": "set", "key": "t/2", "data": i}));
        }
        world.settle(|world| assert!(slow.client.read(world)));
        assert_eq!(slow.client.got.len(), 5, "the pace can be taken off");
    }
}
