//! What streamed answers may cost in each turn, and what they may keep waiting.

use crate::support::stream_reader::{Reader, filled, nothing_is_left, numbered};
use fanfare::flow::limits::Limits;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::subscriber::Subscriber;
use simulator::world::{Peer, World};
use std::collections::BTreeMap;

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
        world.run(300);
        let held = world.connection(slow.peer).unwrap().stream.expect("it is under way");
        assert!(held <= 9 * shards as usize, "{held} documents wait");
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
        let waits = |world: &World| world.connections().map(|conn| conn.queued).sum::<usize>();
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
        readers.iter().for_each(|reader| world.disconnect(reader.peer));
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
    let wire = |world: &World, peer: Peer| world.sockets[peer.shard][peer.slot].wire.len();
    let before = wire(&world, subs[0].peer);
    app.send(&mut world, &json!({"op": "set", "key": "doc", "data": 1}));
    while wire(&world, subs[0].peer) == before {
        world.turn(0);
    }
    let first = wire(&world, reader.peer);
    while subs.iter().any(|sub| wire(&world, sub.peer) == before) {
        world.turn(0);
    }
    let meanwhile = wire(&world, reader.peer) - first;
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
        world.disconnect(reader.peer);
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
