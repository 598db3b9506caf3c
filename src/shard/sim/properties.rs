//! What must hold in every world, whatever is done in it.

use super::World;
use super::client::{Application, Subscriber};
use crate::flow::limits::Limits;
use crate::flow::limits::documents::{PatchMode, Rule};
use crate::wire::key::{Name, Pattern};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

const SHARDS: [u16; 4] = [1, 2, 3, 8];
const PATHS: [&str; 9] = ["a/*", "b/*", "*/*", "*", "*/1", "a/1", "a/2", "b/1", "single1"];

fn pattern(text: &str) -> Pattern {
    match Name::parse(text) {
        Ok(Name::Pattern(pattern)) => pattern,
        other => panic!("{other:?}"),
    }
}

/// The documents as a child would keep them.
#[derive(Default)]
pub struct Model(pub BTreeMap<String, Value>);

fn naive_merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                match target.get_mut(key) {
                    Some(old @ Value::Object(_)) => naive_merge(old, value),
                    _ => drop(target.insert(key.clone(), value.clone())),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

impl Model {
    /// Does what the feed is asked; false if it must be refused.
    pub fn apply(&mut self, op: &Value) -> bool {
        let key = op["key"].as_str().unwrap_or("").to_owned();
        match op["op"].as_str().unwrap() {
            "set" => drop(self.0.insert(key, op["data"].clone())),
            "merge" => match self.0.get_mut(&key) {
                Some(old) => naive_merge(old, &op["data"]),
                None => return false,
            },
            "patch" => {
                let patch: json_patch::Patch = serde_json::from_value(op["patch"].clone()).unwrap();
                let Some(old) = self.0.get(&key) else { return false };
                let mut new = old.clone();
                if json_patch::patch(&mut new, &patch).is_err() {
                    return false;
                }
                self.0.insert(key, new);
            }
            "del" if key.contains('*') => self.0.retain(|k, _| !pattern(&key).matches(k)),
            "del" => return self.0.remove(&key).is_some(),
            "batch" => {
                let before = self.0.clone();
                if !op["ops"].as_array().unwrap().iter().all(|op| self.apply(op)) {
                    self.0 = before;
                    return false;
                }
            }
            other => panic!("{other}"),
        }
        true
    }
}

pub fn random_op(rng: &mut fastrand::Rng, depth: u8) -> Value {
    let key = format!("{}/{}", rng.choice(["a", "b"]).unwrap(), rng.u8(0..6));
    let value = |rng: &mut fastrand::Rng| json!({"n": rng.u8(0..4), "list": (0..rng.usize(0..4)).map(|_| rng.u8(0..3)).collect::<Vec<_>>(), "s": "x".repeat(rng.usize(0..60))});
    match rng.u8(0..if depth == 0 { 12 } else { 9 }) {
        0..4 => json!({"op": "set", "key": key, "data": value(rng)}),
        4 | 5 => {
            json!({"op": "merge", "key": key, "data": {"n": rng.u8(0..4), "more": {"deep": rng.bool()}}})
        }
        6 => {
            json!({"op": "patch", "key": key, "patch": [{"op": "replace", "path": "/n", "value": rng.u8(0..9)}, {"op": "add", "path": "/list/0", "value": 7}]})
        }
        7 => json!({"op": "del", "key": key}),
        8 => json!({"op": "set", "key": format!("single{}", rng.u8(0..3)), "data": rng.u16(0..100)}),
        9 => json!({"op": "del", "key": rng.choice(["a/*", "b/*", "*/1"]).unwrap()}),
        _ => {
            json!({"op": "batch", "ops": (0..rng.usize(1..5)).map(|_| random_op(rng, depth + 1)).collect::<Vec<_>>()})
        }
    }
}

fn check_document(path: &str, doc: &Value, model: &Model) {
    if path.contains('*') {
        let items = doc.as_array().expect("a list");
        let got: BTreeMap<String, Value> =
            items.iter().map(|i| (i["path"].as_str().unwrap().to_owned(), i["data"].clone())).collect();
        let want = model.0.iter().filter(|(key, _)| pattern(path).matches(key));
        assert_eq!(got, want.map(|(k, v)| (k.clone(), v.clone())).collect(), "{path}");
        let created: Vec<u64> = items.iter().map(|i| i["created"].as_u64().unwrap()).collect();
        assert!(created.is_sorted_by(|a, b| a > b), "newest first: {created:?}");
    } else {
        let empty = json!({"created": 0, "updated": 0, "index": "", "data": {}});
        match model.0.get(path) {
            Some(value) => assert_eq!(doc["data"], *value, "{path}"),
            None => assert_eq!(*doc, empty, "{path}"),
        }
    }
}

/// Each operation was answered as the model would have it.
fn check_replies(wanted: &[Value], replies: &[Value]) {
    for (i, op) in wanted.iter().enumerate() {
        let reply =
            replies.iter().find(|r| r["id"] == json!(i)).unwrap_or_else(|| panic!("no reply to {op}"));
        assert_eq!(reply["ok"] == json!(true), op["ok"] == json!(true), "{op} -> {reply}");
    }
}

/// Every copy is the model's, and those of one path are one.
fn check_copies(subs: &[Subscriber], model: &Model) {
    let mut first: HashMap<&str, &Subscriber> = HashMap::new();
    for sub in subs {
        check_document(&sub.path, sub.doc.as_ref().expect("a state"), model);
        let other = first.entry(&sub.path).or_insert(sub);
        assert_eq!((&sub.version, &sub.doc), (&other.version, &other.doc), "{}", sub.path);
    }
}

/// Little room for those who stall, and nearly every frame worth deflating.
pub fn tight() -> Limits {
    Limits { queue_bytes: 2048, write_timeout: u64::MAX / 4, deflate_min: 100, ..Limits::default() }
}

/// Random writes while subscribers come, stall, go and come back: at rest every copy is the server's, and at no moment
/// do two subscribers of one path have different documents at one version.
fn everyone_agrees(seed: u64, shards: u16, patch: PatchMode) {
    let mut world = World::new(seed, shards, Limits { patch, ..tight() });
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut app = Application::open(&mut world);
    let (mut model, mut expected) = (Model::default(), 0);
    let (mut subs, mut stalled): (Vec<Subscriber>, Vec<bool>) = (Vec::new(), Vec::new());
    let mut past: HashMap<(String, String), Value> = HashMap::new();
    let mut record = |sub: &mut Subscriber| {
        for (version, doc) in sub.seen.drain(..) {
            let before = past.entry((sub.path.clone(), version)).or_insert_with(|| doc.clone());
            assert_eq!(*before, doc, "two documents at one version of {}", sub.path);
        }
    };
    for _ in 0..300 {
        match rng.u8(0..10) {
            0..5 => {
                let mut op = random_op(&mut rng, 0);
                op["id"] = json!(expected);
                app.send(&mut world, &op);
                expected += 1;
                let ok = model.apply(&op);
                op["ok"] = json!(ok);
                app.replies.push(op);
            }
            5 | 6 if subs.len() < 24 => {
                let room = *rng.choice(&[100, 3000, 1 << 20]).unwrap();
                let path = rng.choice(PATHS).unwrap();
                subs.push(Subscriber::offering(&mut world, path, None, room, rng.bool()));
                stalled.push(false);
            }
            7 if !subs.is_empty() => {
                // back with the version that it had
                let at = rng.usize(0..subs.len());
                subs[at].read(&mut world);
                record(&mut subs[at]);
                world.hang_up(subs[at].line);
                let has = subs[at].version.clone().zip(subs[at].doc.clone());
                let path = subs[at].path.clone();
                subs[at] = Subscriber::offering(&mut world, &path, has, 1 << 20, rng.bool());
            }
            8 if !subs.is_empty() => {
                let at = rng.usize(0..subs.len());
                stalled[at] = !stalled[at];
            }
            _ => {}
        }
        let turns = rng.usize(0..6);
        world.work(turns);
        for (sub, _) in subs.iter_mut().zip(&stalled).filter(|(_, stalled)| !**stalled) {
            assert!(sub.read(&mut world), "nobody is let go");
            record(sub);
        }
    }
    let wanted: Vec<Value> = std::mem::take(&mut app.replies);
    world.settle(|world| {
        app.read(world);
        subs.iter_mut().for_each(|sub| assert!(sub.read(world)));
    });
    subs.iter_mut().for_each(&mut record);
    check_replies(&wanted, &app.replies);
    check_copies(&subs, &model);
    assert!(world.shards.iter().any(|shard| shard.ctx.encoder.count.deflated > 0));
}

#[test]
fn every_copy_is_the_servers() {
    for shards in SHARDS {
        for seed in 0..18 {
            let mode = [PatchMode::Auto, PatchMode::Never, PatchMode::Always][seed as usize % 3];
            everyone_agrees(seed, shards, mode);
        }
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
                world.work(turns);
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
            world.work(20);
            fast.read(&mut world);
            let queued = world.shards[slow.line.shard].clients.fanout.queued(slow.line.slot as u32);
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
    world.work(1);
    const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
    world.say(other.line, &PING);
    world.work(1);
    assert_eq!(
        world.hear(other.line).expect("it is there"),
        [0x8a, 0],
        "a pong, two slices after the broadcast began"
    );
    let served =
        all.iter_mut().filter(|sub| world.socket(sub.line).is_some_and(|s| !s.wire.is_empty())).count();
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
