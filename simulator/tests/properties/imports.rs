//! What must hold for imports.

use crate::support::stream_reader::{Reader, filled, numbered};
use fanfare::flow::limits::Limits;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::subscriber::Subscriber;
use simulator::world::World;

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
        "POST /_/import{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for part in [head.as_bytes(), body].concat().chunks(piece) {
        world.send(reader.peer, part);
        world.run(2);
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
        let ask = format!("GET /_/stream/n/* HTTP/1.1\r\nHost: localhost\r\nAccept: {kind}\r\n\r\n");
        world.send(reader.peer, ask.as_bytes());
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
        let head =
            format!("POST /_/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        world.send(reader.peer, (head + &body).as_bytes());
        world.settle(|world| assert!(sub.read(world) && reader.read(world)));
        assert_eq!(reader.got.json(), json!({"imported": 300, "last_key": "n/00299"}));
        assert_eq!(sub.doc.unwrap().as_array().unwrap().len(), 300, "{shards} shards");
        assert!(world.shards.iter().all(|shard| shard.inspect().waiting_imports == 0));
    }
}
