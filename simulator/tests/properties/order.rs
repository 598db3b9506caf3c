//! The order of a connection's lines is the order of lists, of what a limit evicts and of the replies, at any number of
//! shards.

use fanfare::flow::limits::Limits;
use fanfare::flow::limits::documents::Rule;
use fanfare::shard::io::Door;
use fanfare::wire::key::Name;
use fastrand::Rng;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::subscriber::Subscriber;
use simulator::world::World;

const LIMIT: usize = 5;

fn limits() -> Limits {
    let rule = Rule { name: Name::parse("few/*").expect("a pattern"), patch: None, limit: Some(LIMIT) };
    Limits { rules: vec![rule], ..Limits::default() }
}

/// The numbers in a list, newest first.
fn numbers(list: &Subscriber) -> Vec<u64> {
    let items = list.doc.as_ref().and_then(Value::as_array).expect("a list");
    items.iter().map(|item| item["data"].as_u64().expect("a number")).collect()
}

fn newest(said: u64, most: usize) -> Vec<u64> {
    (0..said).rev().take(most).collect()
}

/// Lines, batches and pushes of one feed, with turns between them or without.
#[test]
fn a_feeds_lines_stand_in_lists_and_are_replied_to_in_their_order() {
    for shards in SHARDS {
        for seed in 0..40 {
            let (mut rng, mut world) = (Rng::with_seed(seed), World::new(seed, shards, limits()));
            let mut app = Application::open(&mut world);
            let mut lists = ["all/*", "few/*"].map(|path| Subscriber::open(&mut world, path, None, 1 << 20));
            world.settle(|world| lists.iter_mut().for_each(|list| assert!(list.read(world))));
            let (mut said, mut asked) = (0, 0);
            for _ in 0..20 {
                let mut set = |list: &str| {
                    said += u64::from(list == "few");
                    let n = said - u64::from(list == "few");
                    json!({"op": "set", "key": format!("{list}/{n}"), "data": n})
                };
                let both = [set("all"), set("few")];
                let line = match rng.u8(0..4) {
                    0 => json!({"op": "batch", "ops": both}),
                    1 => {
                        json!({"op": "batch", "ops": [both[0].clone(), both[1].clone(), {"op": "publish", "channel": "c", "data": 1}]})
                    }
                    _ => {
                        let mut first = both[0].clone();
                        first["id"] = json!(asked);
                        asked += 1;
                        app.send(&mut world, &first);
                        // a line that is wrong is replied to in its turn, too
                        if rng.bool() {
                            app.send(&mut world, &json!({"op": "nothing", "id": asked}));
                            asked += 1;
                        }
                        both[1].clone()
                    }
                };
                let mut line = line;
                line["id"] = json!(asked);
                asked += 1;
                app.send(&mut world, &line);
                if rng.bool() {
                    world.run(rng.usize(0..6));
                }
            }
            world.settle(|world| {
                lists.iter_mut().for_each(|list| assert!(list.read(world)));
                app.read(world);
            });
            assert_eq!(numbers(&lists[0]), newest(said, 99), "{shards} shards, seed {seed}");
            assert_eq!(numbers(&lists[1]), newest(said, LIMIT), "{shards} shards, seed {seed}");
            let replies: Vec<u64> =
                app.replies.iter().map(|reply| reply["id"].as_u64().expect("an id")).collect();
            assert_eq!(replies, (0..asked).collect::<Vec<_>>(), "{shards} shards, seed {seed}");
        }
    }
}

/// Requests of one connection that are pipelined, and the elements of an import.
#[test]
fn pipelined_requests_and_the_elements_of_an_import_stand_in_lists_in_their_order() {
    for shards in SHARDS {
        for seed in 0..20 {
            let mut world = World::new(seed, shards, limits());
            let mut lists = ["all/*", "few/*"].map(|path| Subscriber::open(&mut world, path, None, 1 << 20));
            world.settle(|world| lists.iter_mut().for_each(|list| assert!(list.read(world))));
            let peer = world.connect(Door::Clients(0), 1 << 20);
            let mut requests = String::new();
            for n in 0..12 {
                let (body, length) = (n.to_string(), n.to_string().len());
                requests += &format!(
                    "POST /all/{n} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
            world.send(peer, requests.as_bytes());
            let elements = (0..12).map(|n| json!({"path": format!("few/{n}"), "data": n}).to_string());
            let body = elements.collect::<Vec<_>>().join("\n");
            let import = world.connect(Door::Clients(0), 1 << 20);
            let head = format!(
                "POST /_/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            world.send(import, format!("{head}{body}").as_bytes());
            world.settle(|world| {
                world.receive(peer);
                world.receive(import);
                lists.iter_mut().for_each(|list| assert!(list.read(world)));
            });
            assert_eq!(numbers(&lists[0]), newest(12, 99), "{shards} shards, seed {seed}");
            assert_eq!(numbers(&lists[1]), newest(12, LIMIT), "{shards} shards, seed {seed}");
        }
    }
}
