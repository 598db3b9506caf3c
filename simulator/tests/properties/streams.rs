//! What must hold of streamed answers, whatever is written while they go out and however their readers read.

use crate::support::stream_reader::{Reader, filled, nothing_is_left, numbered};
use fanfare::base::time::{MS, SEC};
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::stream::StreamLimits;
use fanfare::flow::route::owner::owner;
use fanfare::wire::key::Name;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::world::World;
use std::collections::BTreeMap;

/// What each owner held after each of its writes.
struct History(Vec<Vec<BTreeMap<String, Value>>>);

impl History {
    fn new(shards: u16) -> History {
        History((0..shards).map(|_| vec![BTreeMap::new()]).collect())
    }

    fn write(&mut self, key: &str, value: Option<Value>) {
        let shards = self.0.len() as u16;
        let states = &mut self.0[owner(key, shards).index()];
        let mut state = states.last().unwrap().clone();
        match value {
            Some(value) => drop(state.insert(key.to_owned(), value)),
            None => drop(state.remove(key)),
        }
        states.push(state);
    }

    fn lens(&self) -> Vec<usize> {
        self.0.iter().map(Vec::len).collect()
    }

    /// Whether an answer is each owner's state at one moment, none earlier than `since`.
    fn has(&self, name: &Name, answer: &Value, since: &[usize]) -> bool {
        let items = answer.as_array().expect("an array");
        let keys: Vec<&str> = items.iter().map(|item| item["path"].as_str().unwrap()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "in the order of keys: {keys:?}");
        (0..self.0.len()).all(|shard| {
            let own = |key: &&str| owner(key, self.0.len() as u16).index() == shard;
            let part: BTreeMap<&str, &Value> =
                keys.iter().zip(items).filter(|(k, _)| own(k)).map(|(k, item)| (*k, &item["data"])).collect();
            self.0[shard][since[shard] - 1..].iter().any(|state| {
                part == state.iter().filter(|(k, _)| name.covers(k)).map(|(k, v)| (&**k, v)).collect()
            })
        })
    }
}

/// Someone asks for a stream of some pattern. What was written before is in it; what comes while the request is on its way
/// may be.
fn random_stream(world: &mut World, rng: &mut fastrand::Rng) -> (Reader, Name) {
    for at in 0..world.shards.len() {
        world.turn(at);
    }
    while world.has_mail() {
        world.run(8);
    }
    let path = rng.choice(["a/*", "*/7", "b/*", "*/*", "a/1", "none/*"]).unwrap();
    let capacity = *rng.choice(&[150, 2000, 1 << 20]).unwrap();
    let mut reader = Reader::open(world, capacity);
    let (batch, chunk) = (rng.usize(1..8), rng.usize(1..900));
    reader.ask(world, "GET", &format!("{path}?batch_size={batch}&chunk_threshold={chunk}"));
    (reader, Name::parse(path).unwrap())
}

fn a_stream_is_each_shard_at_one_moment(seed: u64, shards: u16) {
    let limits = Limits { write_timeout: u64::MAX / 4, ..Limits::default() };
    let mut world = World::new(seed, shards, limits);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut app = Application::open(&mut world);
    let mut history = History::new(shards);
    let mut readers: Vec<(Reader, Name, Vec<usize>)> = Vec::new();
    let mut answers = 0;
    for step in 0..600 {
        let key = format!("{}/{}", rng.choice(["a", "b"]).unwrap(), rng.u8(0..40));
        match rng.u8(0..8) {
            0..5 => {
                let value = json!({"step": step, "text": "x".repeat(rng.usize(0..50))});
                app.send(&mut world, &json!({"op": "set", "key": key, "data": value}));
                history.write(&key, Some(value));
            }
            5 => {
                app.send(&mut world, &json!({"op": "del", "key": key}));
                history.write(&key, None);
            }
            6 if readers.len() < 8 => {
                let (reader, name) = random_stream(&mut world, &mut rng);
                readers.push((reader, name, history.lens()));
            }
            _ => {}
        }
        let turns = rng.usize(0..4);
        world.run(turns);
        app.read(&mut world);
        readers.retain_mut(|(reader, name, since)| {
            if rng.bool() {
                assert!(reader.read(&mut world));
            }
            if reader.got.whole {
                assert!(history.has(name, &reader.got.json(), since), "seed {seed} {name:?}");
                answers += 1;
                world.disconnect(reader.peer);
            } else if rng.u8(0..100) == 0 {
                world.disconnect(reader.peer);
                return false;
            }
            !reader.got.whole
        });
    }
    world.settle(|world| {
        app.read(world);
        readers.iter_mut().for_each(|(reader, ..)| assert!(reader.read(world)));
    });
    for (reader, name, since) in readers {
        assert!(history.has(&name, &reader.got.json(), &since), "seed {seed} {name:?}");
        answers += 1;
    }
    assert!(answers > 5, "{answers} answers");
    nothing_is_left(&world);
}

#[test]
fn every_stream_is_each_shard_at_one_moment() {
    for shards in SHARDS {
        for seed in 0..20 {
            a_stream_is_each_shard_at_one_moment(seed, shards);
        }
    }
}

#[test]
fn a_reader_that_does_not_read_costs_a_few_chunks_and_its_cuts_close_with_it() {
    for shards in SHARDS {
        let limits = Limits { write_timeout: 5 * SEC, ..Limits::default() };
        let mut world = filled(shards, limits, &numbered(3000));
        let mut slow = Reader::open(&mut world, 500);
        slow.ask(&mut world, "GET", "n/*?chunk_threshold=2000&batch_size=100");
        for _ in 0..400 {
            world.run(5);
            let queued = world.queued(slow.peer);
            assert!(queued < 5 * 2500, "{queued}");
        }
        let held = world.connection(slow.peer).and_then(|conn| conn.stream).expect("it is under way");
        assert!(held <= 150 * shards as usize, "{held} documents wait");
        assert!(world.shards.iter().any(|shard| shard.inspect().scans == 1));
        for _ in 0..1000 {
            world.now.mono += 20 * MS;
            world.run(5);
        }
        slow.read(&mut world);
        assert!(!slow.read(&mut world), "it is let go by the write timeout");
        nothing_is_left(&world);
    }
}

#[test]
fn a_cut_that_breaks_breaks_the_answer_off() {
    for shards in SHARDS {
        let stream = StreamLimits { cut_bytes: 20_000, ..StreamLimits::default() };
        let mut world = filled(shards, Limits { stream, ..Limits::default() }, &numbered(1000));
        let mut reader = Reader::open(&mut world, 500);
        reader.ask(&mut world, "GET", "n/*?chunk_threshold=2000&batch_size=10");
        world.run(200);
        let mut app = Application::open(&mut world);
        for key in numbered(1000).keys() {
            app.send(&mut world, &json!({"op": "set", "key": key, "data": 1}));
        }
        world.settle(|world| {
            app.read(world);
            reader.read(world);
        });
        assert!(reader.got.chunks > 0 && !reader.got.whole, "{:?}", reader.got.head);
        assert!(world.connection(reader.peer).unwrap().closing);
        nothing_is_left(&world);
    }
}

#[test]
fn a_connection_goes_on_behind_a_stream() {
    for shards in SHARDS {
        let docs = numbered(50);
        let mut world = filled(shards, Limits::default(), &docs);
        let mut reader = Reader::open(&mut world, 1 << 20);
        for round in 0..3 {
            let got = reader.fetch(&mut world, "n/*");
            assert_eq!(got.json().as_array().unwrap().len(), 50, "round {round}");
            assert_eq!(got.header("X-Total-Count"), Some("50"));
        }
        // two at once: the second waits for the first
        reader.ask(&mut world, "GET", "n/*?limit=3");
        reader.ask(&mut world, "GET", "nothing/*");
        world.settle(|world| assert!(reader.read(world)));
        let first = std::mem::take(&mut reader.got);
        assert_eq!(first.json().as_array().unwrap().len(), 3);
        reader.read(&mut world);
        assert_eq!((reader.got.body.as_slice(), reader.got.header("X-Total-Count")), (&b"[]"[..], Some("0")));
        nothing_is_left(&world);
    }
}

#[test]
fn parameters_choose_as_the_contract_says() {
    let mut rng = fastrand::Rng::with_seed(8);
    let names = ["ab", "b", "ß", "c"];
    let docs: BTreeMap<String, Value> = (0..200)
        .map(|i| {
            let mut value =
                json!({"i": i, "in": {"n": rng.u8(0..20), "s": rng.choice(names).unwrap()}, "more": [1]});
            match rng.u8(0..4) {
                0 => value["k"] = json!(rng.u8(0..50)),
                1 => value["k"] = json!(rng.choice(names).unwrap()),
                _ => {}
            }
            (format!("d/{i:03}"), value)
        })
        .collect();
    let rank = |v: &Value| match &v["k"] {
        Value::Number(n) => (0, n.as_i64().unwrap(), String::new()),
        Value::String(s) => (1, 0, s.clone()),
        _ => (2, 0, String::new()),
    };
    for shards in SHARDS {
        let mut world = filled(shards, Limits::default(), &docs);
        let mut reader = Reader::open(&mut world, 1 << 20);
        let mut values = |query: &str| {
            let got = reader.fetch(&mut world, &format!("d/*?shape=value&{query}"));
            (got.header("X-Total-Count").unwrap().to_owned(), got.json())
        };
        let all: Vec<&Value> = docs.values().collect();
        let big: Vec<&Value> = docs.values().filter(|v| v["in"]["n"].as_i64() > Some(9)).collect();
        assert_eq!(values("batch_size=7").1, json!(all));
        assert_eq!(values("where=in.n:gt:9&batch_size=7").1, json!(big));
        assert_eq!(values("where=in.n:gt:9&offset=5&limit=4").1, json!(big[5..9]));
        assert_eq!(values("offset=190"), ("200".to_owned(), json!(all[190..])));
        assert_eq!(values("offset=200").1, json!([]));
        let both: Vec<&&Value> =
            big.iter().filter(|v| v["in"]["s"].as_str().unwrap().contains('b')).collect();
        assert_eq!(values("where=in.n:gt:9&where=in.s:contains:b").1, json!(both));
        let slim: Vec<Value> = all.iter().map(|v| json!({"i": v["i"], "in": {"s": v["in"]["s"]}})).collect();
        assert_eq!(values("fields=in.s,i").1, json!(slim));
        let mut sorted = all.clone();
        sorted.sort_by_key(|v| rank(v));
        assert_eq!(values("order=k&batch_size=7"), ("200".to_owned(), json!(sorted)));
        assert_eq!(values("order=k&offset=3&limit=9&batch_size=7").1, json!(sorted[3..12]));
        let falls = values("order=-k").1;
        let present = sorted.iter().filter(|v| rank(v).0 < 2).count();
        let ranks: Vec<_> = falls.as_array().unwrap()[..present].iter().map(rank).collect();
        assert!(ranks.is_sorted_by(|a, b| a >= b) && falls[present].get("k").is_none());
    }
}

#[test]
fn too_much_to_sort_is_refused_before_anything_is_sent() {
    let stream = StreamLimits { sort_limit: 100, ..StreamLimits::default() };
    let mut world = filled(2, Limits { stream, ..Limits::default() }, &numbered(300));
    let mut reader = Reader::open(&mut world, 1 << 20);
    let got = reader.fetch(&mut world, "n/*?order=-i&batch_size=10");
    assert!(
        got.head.starts_with("HTTP/1.1 413 ") && got.json()["code"] == "too_many_to_sort",
        "{}",
        got.head
    );
    let top = reader.fetch(&mut world, "n/*?order=-i&limit=2&shape=value&fields=i").json();
    assert_eq!(top, json!([{"i": 299}, {"i": 298}]));
    nothing_is_left(&world);
}

#[test]
fn a_pace_is_kept() {
    for shards in [1, 3] {
        let mut world = filled(shards, Limits::default(), &numbered(100));
        let mut reader = Reader::open(&mut world, 1 << 20);
        let start = world.now.mono;
        reader.ask(&mut world, "GET", "n/*?rate_limit=50");
        while !reader.got.whole {
            world.run(10);
            reader.read(&mut world);
            let most = (world.now.mono - start) / (SEC / 50) + 5;
            let elements = reader.got.body.windows(7).filter(|w| w == b"\"path\":").count();
            assert!(elements as u64 <= most, "{elements} of {most}");
            world.now.mono += 5 * MS;
        }
        let took = (world.now.mono - start) / MS;
        assert!((1800..2600).contains(&took), "{took} ms for 100 elements");
        assert_eq!(reader.got.json().as_array().unwrap().len(), 100);
    }
}

#[test]
fn a_head_request_tells_the_count_and_opens_nothing_for_long() {
    let mut world = filled(3, Limits::default(), &numbered(2000));
    let mut reader = Reader::open(&mut world, 1 << 20);
    reader.ask(&mut world, "HEAD", "n/*?batch_size=10");
    world.settle(|world| assert!(reader.read(world)));
    assert_eq!((reader.got.header("X-Total-Count"), reader.got.body.len()), (Some("2000"), 0));
    nothing_is_left(&world);
}

#[test]
fn more_streams_than_allowed_are_told_to_wait() {
    let stream = StreamLimits { streams: 2, ..StreamLimits::default() };
    let mut world = filled(1, Limits { stream, ..Limits::default() }, &numbered(500));
    let mut readers: Vec<Reader> = (0..3).map(|_| Reader::open(&mut world, 500)).collect();
    readers.iter_mut().for_each(|reader| reader.ask(&mut world, "GET", "n/*"));
    world.run(20);
    for reader in &mut readers {
        reader.read(&mut world);
    }
    assert!(
        readers[2].got.head.starts_with("HTTP/1.1 503 ")
            && readers[2].got.json()["code"] == "too_many_streams"
    );
    world.settle(|world| {
        readers.iter_mut().for_each(|reader| {
            reader.read(world);
        })
    });
    assert_eq!(readers[1].got.json().as_array().unwrap().len(), 500);
    nothing_is_left(&world);
}

#[test]
fn the_operators_pace_cannot_be_raised() {
    let stream = StreamLimits { rate_limit: 50, ..StreamLimits::default() };
    let mut world = filled(1, Limits { stream, ..Limits::default() }, &numbered(60));
    let mut reader = Reader::open(&mut world, 1 << 20);
    let start = world.now.mono;
    reader.ask(&mut world, "GET", "n/*?rate_limit=1000000");
    while !reader.got.whole {
        world.run(10);
        reader.read(&mut world);
        world.now.mono += 5 * MS;
    }
    assert!(world.now.mono - start > SEC, "{} ms", (world.now.mono - start) / MS);
}
