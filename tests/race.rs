//! Joins and reads while writes go on: no subscriber ever ends with another document than the server's.
//!
//! The upstream server corrupts subscribers here in two ways: a join or read re-reads the shared list in another order
//! (wrong indexes from then on), and a join or read that overlaps a write swallows its patch (holes in the document).

mod support;

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use support::Feed;
use support::PATIENCE;
use support::Server;
use support::subscriber::Subscriber;

const WRITES: usize = 400;
const SUBSCRIBERS_AT_LEAST: usize = 20;

/// What is written, step by step, over the feed or over HTTP.
type Write = fn(&Server, &mut Feed, &mut World, usize);

/// The server's document after the last write.
struct End {
    started: Instant,
    document: OnceLock<Value>,
}

/// The writer's own state.
struct World {
    random: fastrand::Rng,
    live: Vec<String>,
}

#[test]
fn a_key_written_on_the_feed_is_the_same_for_all_who_joined_meanwhile() {
    for cores in ["1", "2"] {
        check(cores, "race/one", |_, feed, _, n| {
            let op = if n == 0 { "set" } else { "merge" };
            feed.apply(json!({"op": op, "key": "race/one", "data": {"n": n, format!("k{n}"): n}}));
        });
    }
}

#[test]
fn a_key_written_by_post_is_the_same_for_all_who_joined_meanwhile() {
    for cores in ["1", "2"] {
        check(cores, "race/one", |server, _, _, n| {
            let members: serde_json::Map<_, _> = (0..=n).map(|k| (format!("k{k}"), json!(k))).collect();
            post(server, "race/one", &Value::Object(members));
        });
    }
}

#[test]
fn a_list_written_on_the_feed_is_the_same_for_all_who_joined_meanwhile() {
    for cores in ["1", "2"] {
        check(cores, "things/*", |_, feed, world, n| match step(world) {
            Step::New => {
                let reply =
                    feed.apply(json!({"op": "push", "key": "things/*", "data": {"n": n, "tags": ["a", n]}}));
                world.live.push(reply["key"].as_str().expect("the new item's key").to_owned());
            }
            Step::Change(key) => {
                feed.apply(json!({"op": "set", "key": key, "data": {"n": n, "tags": [n, "a"]}}));
            }
            Step::Delete(key) => {
                feed.apply(json!({"op": "del", "key": key}));
            }
        });
    }
}

#[test]
fn a_list_written_by_rest_is_the_same_for_all_who_joined_meanwhile() {
    for cores in ["1", "2"] {
        check(cores, "things/*", |server, _, world, n| match step(world) {
            Step::New => {
                let index = post(server, "things/*", &json!({"n": n, "tags": ["a", n]}));
                world.live.push(format!("things/{index}"));
            }
            Step::Change(key) => {
                post(server, &key, &json!({"n": n, "tags": [n, "a"]}));
            }
            Step::Delete(key) => assert_eq!(server.http("DELETE", &format!("/{key}"), "").status, 204),
        });
    }
}

enum Step {
    New,
    Change(String),
    Delete(String),
}

/// Mostly new items and changes of old ones, one deletion in eight.
fn step(world: &mut World) -> Step {
    let choice = world.random.u32(0..8);
    if world.live.len() < 2 || choice < 3 {
        return Step::New;
    }
    let at = world.random.usize(..world.live.len());
    if choice == 7 { Step::Delete(world.live.swap_remove(at)) } else { Step::Change(world.live[at].clone()) }
}

/// Writes one document over REST; gives its index.
fn post(server: &Server, key: &str, data: &Value) -> String {
    let response = server.http("POST", &format!("/{key}"), &data.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["index"].as_str().expect("an index").to_owned()
}

/// 400 writes while subscribers of `pattern` join every few milliseconds and readers read without pause; at the end
/// everyone, the earliest and the latest, has the server's document at one version.
fn check(cores: &str, pattern: &str, write: Write) {
    let server = &Server::start(&["--cores", cores], "");
    let end = &End { started: Instant::now(), document: OnceLock::new() };
    let mut world = World { random: fastrand::Rng::with_seed(0x0B1B2), live: Vec::new() };
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut reads = 0;
            while !is_over(end) {
                server.http("GET", &format!("/{pattern}"), "");
                reads += 1;
            }
            reads
        });
        let join = || scope.spawn(move || follow(server, pattern, end));
        let mut subscribers = vec![join()];
        let mut feed = server.feed();
        for n in 0..WRITES {
            write(server, &mut feed, &mut world, n);
            if n % 8 == 0 {
                subscribers.push(join());
            }
            thread::sleep(Duration::from_micros(500));
        }
        let document = server.http("GET", &format!("/{pattern}"), "").json();
        assert_complete(&document, &world);
        end.document.set(document).expect("set once");
        assert!(reader.join().expect("the reader") > SUBSCRIBERS_AT_LEAST, "hardly a read during the writes");
        let ends: Vec<Subscriber> =
            subscribers.into_iter().map(|s| s.join().expect("a subscriber")).collect();
        assert!(ends.len() > SUBSCRIBERS_AT_LEAST);
        let wrong = ends.iter().filter(|s| s.document.as_ref() != end.document.get()).count();
        assert_eq!(wrong, 0, "of {} subscribers at {cores} cores have another document", ends.len());
        assert!(ends.iter().all(|s| s.version == ends[0].version), "one pool, two versions");
        assert!(ends[0].patches > WRITES / 4, "only {} patches: this proves little", ends[0].patches);
    });
}

/// True when the writer has finished, or must have failed.
fn is_over(end: &End) -> bool {
    end.document.get().is_some() || end.started.elapsed() > 3 * PATIENCE
}

/// The server's own document has everything that was written.
fn assert_complete(document: &Value, world: &World) {
    match document.as_array() {
        Some(list) => {
            let mut expected = world.live.clone();
            let mut found: Vec<&str> =
                list.iter().map(|item| item["path"].as_str().expect("a path")).collect();
            assert!(
                list.windows(2).all(|w| w[0]["created"].as_u64() > w[1]["created"].as_u64()),
                "newest first"
            );
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
        }
        None => {
            let members = document["data"].as_object().expect("an object");
            assert!((0..WRITES).all(|n| members[&format!("k{n}")] == n), "the server itself has holes");
        }
    }
}

/// Subscribes and folds until the writes are over and the server's document is reached, or does not come any more.
fn follow(server: &Server, pattern: &str, end: &End) -> Subscriber {
    let mut subscriber = server.subscribe(pattern);
    while !is_over(end) {
        subscriber.next(Duration::from_millis(20));
    }
    subscriber.settle(Duration::from_millis(500));
    subscriber
}
