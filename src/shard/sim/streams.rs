//! What must hold of streamed answers, whatever is written while they go out and however their readers read.

use super::client::{Application, Subscriber};
use super::{Line, World};
use crate::base::time::{MS, SEC};
use crate::flow::conn::Phase;
use crate::flow::limits::Limits;
use crate::flow::limits::stream::StreamLimits;
use crate::flow::route::owner::owner;
use crate::shard::io::Door;
use crate::wire::key::Name;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SHARDS: [u16; 4] = [1, 2, 3, 8];

/// A response as far as it has come.
#[derive(Debug, Default)]
struct Got {
    head: String,
    body: Vec<u8>,
    chunks: usize,
    whole: bool,
}

/// A client that reads streamed answers.
struct Reader {
    line: Line,
    wire: Vec<u8>,
    got: Got,
}

impl Reader {
    fn open(world: &mut World, room: usize) -> Reader {
        let line = world.connect(Door::Clients(0), room);
        Reader { line, wire: Vec::new(), got: Got::default() }
    }

    fn ask(&mut self, world: &mut World, method: &str, path: &str) {
        world.say(self.line, format!("{method} /_/stream/{path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    }

    /// Reads what is there; false once the connection is gone.
    fn read(&mut self, world: &mut World) -> bool {
        let Some(bytes) = world.hear(self.line) else { return false };
        self.wire.extend(bytes);
        let end_of = |wire: &[u8], mark: &[u8]| wire.windows(mark.len()).position(|w| w == mark);
        while !self.got.whole {
            if self.got.head.is_empty() {
                let Some(end) = end_of(&self.wire, b"\r\n\r\n") else { break };
                self.got.head = String::from_utf8(self.wire.drain(..end + 4).collect()).unwrap();
                continue;
            }
            if let Some(length) = self.got.header("Content-Length") {
                let length: usize = length.parse().unwrap();
                if self.wire.len() < length {
                    break;
                }
                self.got.body = self.wire.drain(..length).collect();
                self.got.whole = true;
                break;
            }
            let Some(end) = end_of(&self.wire, b"\r\n") else { break };
            let len = usize::from_str_radix(std::str::from_utf8(&self.wire[..end]).unwrap(), 16).unwrap();
            if self.wire.len() < end + 2 + len + 2 {
                break;
            }
            self.got.body.extend_from_slice(&self.wire[end + 2..end + 2 + len]);
            self.wire.drain(..end + 2 + len + 2);
            (self.got.whole, self.got.chunks) = (len == 0, self.got.chunks + 1);
        }
        true
    }

    /// The whole answer, read at once.
    fn fetch(&mut self, world: &mut World, path: &str) -> Got {
        self.ask(world, "GET", path);
        world.settle(|world| assert!(self.read(world)));
        assert!(self.got.whole, "{path}: {}", self.got.head);
        std::mem::take(&mut self.got)
    }
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Every cut is closed and every stream forgotten.
fn nothing_is_left(world: &World) {
    for shard in &world.shards {
        assert!(shard.clients.streams.is_empty() && shard.owner.cuts() == (0, 0));
    }
}

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

fn a_stream_is_each_shard_at_one_moment(seed: u64, shards: u16) {
    let limits = Limits { write_timeout: u64::MAX / 4, ..Limits::default() };
    let mut world = World::new(seed, shards, limits);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut app = Application::open(&mut world);
    let mut history = History::new(shards);
    let paths = ["a/*", "*/7", "b/*", "*/*", "a/1", "none/*"];
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
                // what was sent before is in it; the rest may be
                for at in 0..shards as usize {
                    world.turn(at);
                }
                while world.lanes.iter().flatten().any(|lane| !lane.is_empty()) {
                    world.work(8);
                }
                let path = rng.choice(paths).unwrap();
                let room = *rng.choice(&[150, 2000, 1 << 20]).unwrap();
                let mut reader = Reader::open(&mut world, room);
                let (batch, chunk) = (rng.usize(1..8), rng.usize(1..900));
                reader.ask(&mut world, "GET", &format!("{path}?batch_size={batch}&chunk_threshold={chunk}"));
                readers.push((reader, Name::parse(path).unwrap(), history.lens()));
            }
            _ => {}
        }
        let turns = rng.usize(0..4);
        world.work(turns);
        app.read(&mut world);
        readers.retain_mut(|(reader, name, since)| {
            if rng.bool() {
                assert!(reader.read(&mut world));
            }
            if reader.got.whole {
                assert!(history.has(name, &reader.got.json(), since), "seed {seed} {name:?}");
                answers += 1;
                world.hang_up(reader.line);
            } else if rng.u8(0..100) == 0 {
                world.hang_up(reader.line);
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

/// A world with these documents in it.
fn filled(shards: u16, limits: Limits, docs: &BTreeMap<String, Value>) -> World {
    let mut world = World::new(5, shards, limits);
    let mut app = Application::open(&mut world);
    for (key, value) in docs {
        app.send(&mut world, &json!({"op": "set", "key": key, "data": value}));
    }
    world.settle(|world| app.read(world));
    world
}

fn numbered(count: usize) -> BTreeMap<String, Value> {
    (0..count).map(|i| (format!("n/{i:05}"), json!({"i": i, "text": "y".repeat(300)}))).collect()
}

#[test]
fn a_reader_that_does_not_read_costs_a_few_chunks_and_its_cuts_close_with_it() {
    for shards in SHARDS {
        let limits = Limits { write_timeout: 5 * SEC, ..Limits::default() };
        let mut world = filled(shards, limits, &numbered(3000));
        let mut slow = Reader::open(&mut world, 500);
        slow.ask(&mut world, "GET", "n/*?chunk_threshold=2000&batch_size=100");
        for _ in 0..400 {
            world.work(5);
            let queued = world.shards[slow.line.shard].clients.fanout.queued(slow.line.slot as u32);
            assert!(queued < 5 * 2500, "{queued}");
        }
        let http = world.shards[slow.line.shard].clients.http(slow.line.conn);
        let held = http.and_then(|http| http.stream.as_ref()).expect("it is under way").held();
        assert!(held <= 150 * shards as usize, "{held} documents wait");
        assert!(world.shards.iter().any(|shard| shard.owner.cuts().0 == 1));
        for _ in 0..1000 {
            world.now.mono += 20 * MS;
            world.work(5);
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
        world.work(200);
        let mut app = Application::open(&mut world);
        for key in numbered(1000).keys() {
            app.send(&mut world, &json!({"op": "set", "key": key, "data": 1}));
        }
        world.settle(|world| {
            app.read(world);
            reader.read(world);
        });
        assert!(reader.got.chunks > 0 && !reader.got.whole, "{:?}", reader.got.head);
        let conn = world.shards[reader.line.shard].clients.get(reader.line.conn).unwrap();
        assert!(matches!(conn.phase, Phase::Closing));
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
            world.work(10);
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
    world.work(20);
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

/// Turns until the answer to a request is there.
fn turns_for(world: &mut World, path: &str) -> (usize, Value) {
    let mut reader = Reader::open(world, 1 << 20);
    reader.ask(world, "GET", path);
    for turns in 0.. {
        assert!(turns < 10_000, "{path} takes too long");
        if reader.got.whole {
            return (turns, reader.got.json());
        }
        for at in 0..world.shards.len() {
            world.turn(at);
        }
        assert!(reader.read(world));
    }
    unreachable!()
}

#[test]
fn a_rare_match_does_not_take_a_turn_for_each_document() {
    for shards in SHARDS {
        let mut world = filled(shards, Limits::default(), &numbered(5000));
        for path in
            ["n/*?where=i:eq:4999&limit=1", "*/04999?limit=1", "n/**?where=i:ge:4998&limit=1&offset=1"]
        {
            let (turns, found) = turns_for(&mut world, path);
            assert_eq!(found[0]["data"]["i"], 4999, "{path}");
            // each owner looks at some hundred documents in a turn, and mail takes turns as well
            assert!(turns < 150, "{path}: {turns} turns");
        }
        nothing_is_left(&world);
    }
}

#[test]
fn large_documents_are_gathered_a_mebibyte_at_a_time() {
    let docs: BTreeMap<String, Value> =
        (0..60).map(|i| (format!("n/{i:02}"), json!("z".repeat(200_000)))).collect();
    for shards in SHARDS {
        let mut world = filled(shards, Limits::default(), &docs);
        let mut slow = Reader::open(&mut world, 500);
        slow.ask(&mut world, "GET", "n/*");
        world.work(300);
        let stream =
            world.shards[slow.line.shard].clients.http(slow.line.conn).unwrap().stream.as_ref().unwrap();
        assert!(stream.held() <= 9 * shards as usize, "{} documents wait", stream.held());
        world.settle(|world| assert!(slow.read(world)));
        assert_eq!(slow.got.json().as_array().unwrap().len(), 60);
        nothing_is_left(&world);
    }
}

#[test]
fn many_streams_share_what_a_turn_may_cost() {
    for path in ["n/*", "n/*?fields=i", "n/*?shape=value"] {
        let mut world = filled(1, Limits::default(), &numbered(1500));
        let mut readers: Vec<Reader> = (0..60).map(|_| Reader::open(&mut world, 0)).collect();
        readers.iter_mut().for_each(|reader| reader.ask(&mut world, "GET", path));
        let waits = |world: &World| {
            let fanout = &world.shards[0].clients.fanout;
            readers.iter().map(|reader| fanout.queued(reader.line.slot as u32)).sum::<usize>()
        };
        let (mut before, mut turns) = (0, 0);
        loop {
            let busy = world.turn(0);
            let now = waits(&world);
            assert!(now - before < 900_000, "{path}: {} bytes in one turn", now - before);
            before = now;
            turns += 1;
            if !busy {
                break;
            }
        }
        assert!(turns > 8 && before > 60 * 10_000, "{path}: {turns} turns, {before} bytes");
        readers.iter().for_each(|reader| world.hang_up(reader.line));
        nothing_is_left(&world);
    }
}

#[test]
fn what_is_gathered_for_many_streams_takes_as_many_turns() {
    let mut world = filled(1, Limits::default(), &numbered(1500));
    let mut readers: Vec<Reader> = (0..40).map(|_| Reader::open(&mut world, 1 << 20)).collect();
    readers.iter_mut().for_each(|reader| reader.ask(&mut world, "GET", "n/*?where=i:lt:0"));
    let mut turns = 0;
    while world.turn(0) {
        turns += 1;
    }
    // each has to read all documents, some hundred kilobytes of them in a turn
    assert!(turns >= 60, "{turns} turns");
    for reader in &mut readers {
        assert!(reader.read(&mut world));
        assert_eq!((reader.got.body.as_slice(), reader.got.header("X-Total-Count")), (&b"[]"[..], Some("0")));
    }
    nothing_is_left(&world);
}

#[test]
fn a_broadcast_goes_before_the_next_chunks() {
    let mut world = filled(1, Limits::default(), &numbered(20_000));
    let subs: Vec<Subscriber> =
        (0..2500).map(|_| Subscriber::open(&mut world, "doc", None, 1 << 20)).collect();
    let mut app = Application::open(&mut world);
    world.settle(|world| app.read(world));
    let mut reader = Reader::open(&mut world, usize::MAX);
    reader.ask(&mut world, "GET", "n/*");
    while reader.got.head.is_empty() {
        world.turn(0);
        reader.read(&mut world);
    }
    let wire = |world: &World, line: Line| world.sockets[line.shard][line.slot].wire.len();
    let before = wire(&world, subs[0].line);
    app.send(&mut world, &json!({"op": "set", "key": "doc", "data": 1}));
    while wire(&world, subs[0].line) == before {
        world.turn(0);
    }
    let first = wire(&world, reader.line);
    while subs.iter().any(|sub| wire(&world, sub.line) == before) {
        world.turn(0);
    }
    let meanwhile = wire(&world, reader.line) - first;
    // what had been made before, and not a round for each slice of the broadcast
    assert!(
        meanwhile < 250_000,
        "{meanwhile} bytes of the stream went between the first and the last subscriber"
    );
    world.settle(|world| assert!(reader.read(world)));
    assert!(reader.got.whole && reader.got.header("X-Total-Count") == Some("20000"));
}

#[test]
fn the_first_chunk_comes_long_before_the_rest_is_gathered() {
    for shards in SHARDS {
        let mut world = filled(shards, Limits::default(), &numbered(20_000));
        let mut reader = Reader::open(&mut world, 1 << 20);
        reader.ask(&mut world, "GET", "n/*");
        for turns in 0.. {
            for at in 0..shards as usize {
                world.turn(at);
            }
            assert!(reader.read(&mut world));
            if reader.got.chunks > 0 {
                break;
            }
            assert!(turns < 10, "{shards} shards");
        }
        assert!(reader.got.body.len() < 1 << 20 && !reader.got.whole, "{shards} shards");
        world.hang_up(reader.line);
    }
}

#[test]
fn subscribers_wait_for_turns_and_not_for_streams() {
    let mut world = filled(1, Limits::default(), &numbered(20_000));
    let mut sub = Subscriber::open(&mut world, "tick", None, 1 << 20);
    let mut app = Application::open(&mut world);
    world.settle(|world| assert!(sub.read(world)));
    let mut readers: Vec<Reader> = (0..3).map(|_| Reader::open(&mut world, usize::MAX)).collect();
    readers.iter_mut().for_each(|reader| reader.ask(&mut world, "GET", "n/*"));
    let (mut values, mut most) = (0, 0);
    loop {
        app.send(&mut world, &json!({"op": "set", "key": "tick", "data": values}));
        let (before, mut turns) = (sub.messages, 0);
        while sub.messages == before {
            world.turn(0);
            turns += 1;
            assert!(sub.read(&mut world));
            readers.iter_mut().for_each(|reader| assert!(reader.read(&mut world)));
        }
        most = turns.max(most);
        if readers.iter().any(|reader| reader.got.whole) {
            break;
        }
        values += 1;
    }
    // what a turn may cost is held by `many_streams_share_what_a_turn_may_cost`
    assert!(most <= 5 && values >= 10, "{most} turns at most, {values} values while streams went on");
}

#[test]
fn what_a_request_asks_to_be_read_is_bounded() {
    let text = "t".repeat(5000);
    let docs = (0..4000).map(|i| (format!("n/{i:05}"), json!({"t": text}))).collect();
    let mut world = filled(1, Limits::default(), &docs);
    let mut reader = Reader::open(&mut world, 1 << 20);
    // the texts by which they are ordered would all be copied
    let got = reader.fetch(&mut world, "n/*?order=t");
    assert!(got.head.starts_with("HTTP/1.1 413 "), "{}", got.head);
    let conditions = vec!["where=t:ne:x"; 65].join("&");
    let got = reader.fetch(&mut world, &format!("n/*?{conditions}"));
    assert_eq!(got.json()["code"], "invalid_where");
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
        world.work(10);
        reader.read(&mut world);
        world.now.mono += 5 * MS;
    }
    assert!(world.now.mono - start > SEC, "{} ms", (world.now.mono - start) / MS);
}

/// Sends an import in pieces, with turns between them.
fn import(
    world: &mut World,
    reader: &mut Reader,
    kind: &str,
    query: &str,
    body: &[u8],
    piece: usize,
) -> (bool, Value) {
    let head = format!(
        "POST /_/import{query} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for part in [head.as_bytes(), body].concat().chunks(piece) {
        world.say(reader.line, part);
        world.work(2);
    }
    world.settle(|world| assert!(reader.read(world) || reader.got.whole));
    assert!(reader.got.whole, "{}", reader.got.head);
    let got = std::mem::take(&mut reader.got);
    (got.head.starts_with("HTTP/1.1 200 "), got.json())
}

#[test]
fn what_was_streamed_can_be_imported() {
    for shards in SHARDS {
        let docs = numbered(700);
        let mut world = filled(shards, Limits::default(), &docs);
        let mut reader = Reader::open(&mut world, 1 << 20);
        let array = String::from_utf8(reader.fetch(&mut world, "n/*").body).unwrap();
        let lines = array[1..array.len() - 1].replace("},{\"created", "}\n{\"created");
        for (kind, body, piece) in
            [("application/json", &array, 3000), ("application/x-ndjson", &lines, 100_000)]
        {
            let mut world = World::new(7, shards, Limits::default());
            let mut reader = Reader::open(&mut world, 1 << 20);
            let (ok, said) = import(&mut world, &mut reader, kind, "", body.as_bytes(), piece);
            assert_eq!((ok, said), (true, json!({"imported": 700, "last_key": "n/00699"})));
            let back = reader.fetch(&mut world, "n/*?shape=value").json();
            assert_eq!(back, json!(docs.values().collect::<Vec<_>>()), "the connection goes on");
            let (_, said) = import(&mut world, &mut reader, kind, "?after=n/00690", body.as_bytes(), piece);
            assert_eq!(said["imported"], 9);
        }
    }
}

#[test]
fn an_import_without_a_body_is_answered_at_once() {
    for kind in ["application/json", "application/x-ndjson", "application/msgpack", "application/cbor"] {
        let mut world = World::new(9, 1, Limits::default());
        let mut reader = Reader::open(&mut world, 1 << 20);
        let (ok, said) = import(&mut world, &mut reader, kind, "", b"", 7);
        // no lines and no values are an empty import; an array needs its brackets
        let empty = matches!(kind, "application/x-ndjson" | "application/msgpack");
        assert_eq!((ok, &said["imported"]), (empty, &json!(0)), "{kind}: {said}");
    }
}

#[test]
fn packed_answers_can_be_imported() {
    let docs = numbered(300);
    for kind in ["application/msgpack", "application/cbor"] {
        let mut world = filled(2, Limits::default(), &docs);
        let mut reader = Reader::open(&mut world, 1 << 20);
        let ask = format!("GET /_/stream/n/* HTTP/1.1\r\nHost: h\r\nAccept: {kind}\r\n\r\n");
        world.say(reader.line, ask.as_bytes());
        world.settle(|world| assert!(reader.read(world)));
        let packed = std::mem::take(&mut reader.got).body;
        let mut world = World::new(7, 3, Limits::default());
        let mut reader = Reader::open(&mut world, 1 << 20);
        let (ok, said) = import(&mut world, &mut reader, kind, "", &packed, 1000);
        assert_eq!((ok, said), (true, json!({"imported": 300, "last_key": "n/00299"})), "{kind}");
        let back = reader.fetch(&mut world, "n/*?shape=value").json();
        assert_eq!(back, json!(docs.values().collect::<Vec<_>>()), "{kind}");
    }
}

#[test]
fn an_import_that_fails_says_how_far_it_came() {
    for (body, imported, last, code) in [
        (r#"[{"key":"a","data":1},{"key":"b/*","data":2}]"#, 1, json!("a"), "invalid_key"),
        (r#"[{"key":"a","data":1},{"key":"b","data":2}"#, 2, json!("b"), "invalid_json"),
        (r#"{"key":"a","data":1}"#, 0, Value::Null, "invalid_json"),
        (r#"[{"data":1}]"#, 0, Value::Null, "invalid_field"),
    ] {
        let mut world = World::new(9, 2, Limits::default());
        let mut reader = Reader::open(&mut world, 1 << 20);
        let (ok, said) = import(&mut world, &mut reader, "application/json", "", body.as_bytes(), 7);
        assert_eq!((ok, &said["imported"], &said["last_key"]), (false, &json!(imported), &last), "{said}");
        assert_eq!(said["error"]["code"], code);
    }
}

#[test]
fn an_import_goes_no_faster_than_its_subscribers_are_told() {
    let limits = Limits { queue_bytes: 4096, write_timeout: u64::MAX / 4, ..Limits::default() };
    for shards in SHARDS {
        let mut world = World::new(3, shards, limits.clone());
        let mut sub = Subscriber::open(&mut world, "n/*", None, 1 << 20);
        world.settle(|world| assert!(sub.read(world)));
        let body: Vec<Value> = numbered(300).into_iter().map(|(k, v)| json!({"key": k, "data": v})).collect();
        let body = json!(body).to_string();
        let mut reader = Reader::open(&mut world, 1 << 20);
        let head = format!("POST /_/import HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        world.say(reader.line, (head + &body).as_bytes());
        world.settle(|world| assert!(sub.read(world) && reader.read(world)));
        assert_eq!(reader.got.json(), json!({"imported": 300, "last_key": "n/00299"}));
        assert_eq!(sub.doc.unwrap().as_array().unwrap().len(), 300, "{shards} shards");
        assert!(world.shards.iter().all(|shard| shard.clients.held_imports.is_empty()));
    }
}
