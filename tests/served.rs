//! Settings and commands against a server that runs.

mod support;

use std::collections::HashSet;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Lines;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use support::FANFARE;
use support::Server;
use support::free_port;
use support::http;
use support::raw_ws::upgrade;
use support::subscriber::Subscriber;

/// `fanfare pub` into this server.
fn publish(server: &Server, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(FANFARE);
    command.arg("pub").arg("--feed").arg(&server.feed).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("pub starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("pub reads");
    child.wait_with_output().expect("pub ends")
}

/// A `fanfare sub`; killed when dropped, because it would come back for ever.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(at: SocketAddr, args: &[&str]) -> Follower {
        let mut command = Command::new(FANFARE);
        command.arg("sub").args(args).args(["--url", &format!("ws://{at}")]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("sub starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Follower { child, lines }
    }

    /// Its next line, which is JSON; `None` at its end.
    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("text");
        Some(serde_json::from_str(&line).expect("a line is JSON"))
    }

    fn succeeds(&mut self) -> bool {
        self.child.wait().expect("sub ends").success()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn pub_writes_and_sub_follows() {
    let server = Server::start(&[], "");
    let mut documents = Follower::start(server.listen, &["things/*", "--count", "4"]);
    let mut changes = Follower::start(server.listen, &["things/*", "--changes", "--count", "4"]);
    assert_eq!(documents.next(), Some(json!([])));
    assert_eq!(changes.next().expect("a message")["data"], json!([]));

    let output = publish(&server, &["things/a", r#"{"n":1.50}"#], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.starts_with("things/a "), "{output:?}");
    assert_eq!(documents.next().expect("a document")[0]["data"].to_string(), r#"{"n":1.50}"#);
    assert_eq!(changes.next().expect("a message")["snapshot"], true, "it is smaller than a patch");

    assert!(publish(&server, &["--merge", "things/a"], "{\"m\":[2]}\n").status.success());
    assert_eq!(documents.next().expect("a document")[0]["data"].to_string(), r#"{"n":1.50,"m":[2]}"#);
    assert!(changes.next().is_some());
    let output =
        publish(&server, &[], "{\"op\":\"del\",\"key\":\"-\"}\n{\"op\":\"del\",\"key\":\"things/*\"}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("1: invalid_key: "), "{output:?}");
    assert_eq!(documents.next(), Some(json!([])));
    assert_eq!(changes.next().expect("a message")["data"], json!([]));
    assert_eq!((documents.next(), changes.next()), (None, None), "so many were asked for");
    assert!(documents.succeeds() && changes.succeeds());
}

#[test]
fn sub_comes_back_to_a_server_that_was_away() {
    let first = Server::start(&[], "");
    let address = first.listen.to_string();
    first.feed().apply(json!({"op": "set", "key": "box", "data": "first"}));
    let mut documents = Follower::start(first.listen, &["box", "--count", "2"]);
    assert_eq!(documents.next().expect("a document")["data"], "first");
    drop(first);
    let second = Server::start(&["--listen", &address], "");
    second.feed().apply(json!({"op": "set", "key": "box", "data": "second"}));
    let last = documents.next().expect("it follows again");
    assert!(last["data"] == "second" || last["index"] == "", "{last}");
    assert!(documents.succeeds());
}

#[test]
fn who_may_do_what_without_a_name_is_set() {
    let upgrades = |at| http::raw(at, upgrade("/box", "").as_bytes()).expect("an answer").status;
    for (setting, read, write) in [("none", 403, 403), ("read", 200, 403), ("write", 200, 200)] {
        let server = Server::start(&["--anonymous", setting], "");
        server.feed().apply(json!({"op": "set", "key": "box", "data": 1}));
        assert_eq!(server.http("GET", "/box", "").status, read, "{setting}");
        assert_eq!(server.http("POST", "/box", "2").status, write, "{setting}");
        assert_eq!(upgrades(server.listen), if read == 200 { 101 } else { 403 }, "{setting}");
    }
    let mut open = free_port();
    open.set_ip([0, 0, 0, 0].into());
    let server = Server::start(&["--listen", &open.to_string()], "");
    open.set_ip([127, 0, 0, 1].into());
    assert_eq!(server.http("POST", "/box", "1").status, 200, "everyone on the loopback");
    assert_eq!(http::request(open, "POST", "/box", b"1").status, 403, "nobody elsewhere");
    assert_eq!((http::request(open, "GET", "/box", b"").status, upgrades(open)), (403, 403));
}

/// A large document changes little, a small one wholly; gives snapshots and patches of both subscribers.
fn changes(server: &Server, keys: [&str; 2]) -> [(usize, usize); 2] {
    let mut feed = server.feed();
    let large = |n: usize| json!({"n": n, "text": "x".repeat(1000)});
    feed.apply(json!({"op": "set", "key": keys[0], "data": large(0)}));
    feed.apply(json!({"op": "set", "key": keys[1], "data": 0}));
    keys.iter()
        .enumerate()
        .map(|(i, key)| {
            let mut subscriber: Subscriber = server.subscribe(key);
            subscriber.wait("the state", |_| true);
            for n in 1..=5 {
                let data = if i == 0 { large(n) } else { json!([n]) };
                feed.apply(json!({"op": "set", "key": key, "data": data}));
                subscriber.wait("the change", |item| item["data"] == data);
            }
            (subscriber.frames - subscriber.patches, subscriber.patches)
        })
        .collect::<Vec<_>>()
        .try_into()
        .expect("two of them")
}

#[test]
fn how_changes_travel_is_set_for_all_and_by_pattern() {
    assert_eq!(changes(&Server::start(&[], ""), ["large", "s"]), [(1, 5), (6, 0)]);
    assert_eq!(changes(&Server::start(&["--patch", "never"], ""), ["large", "s"]), [(6, 0), (6, 0)]);
    assert_eq!(changes(&Server::start(&["--patch", "always"], ""), ["large", "s"]), [(1, 5), (1, 5)]);
    let rules = "patch = \"always\"\n[[rule]]\npattern = \"whole/*\"\npatch = \"never\"\n\
                 [[rule]]\npattern = \"auto/*\"\npatch = \"auto\"\n";
    let server = Server::start(&[], rules);
    assert_eq!(changes(&server, ["whole/large", "whole/s"]), [(6, 0), (6, 0)]);
    assert_eq!(changes(&server, ["auto/large", "auto/s"]), [(1, 5), (6, 0)]);
    assert_eq!(changes(&server, ["large", "s"]), [(1, 5), (1, 5)]);
}

#[test]
fn the_oldest_leaves_a_limited_list_in_the_message_that_brings_the_newest() {
    let server = Server::start(&[], "[[rule]]\npattern = \"log/*\"\nlimit = 3\n");
    let mut subscriber = server.subscribe("log/*");
    subscriber.wait("the empty list", |list| *list == json!([]));
    let mut feed = server.feed();
    for n in 0..10 {
        feed.apply(json!({"op": "push", "key": "log/*", "data": n}));
    }
    subscriber.wait("the last item", |list| {
        assert!(list.as_array().expect("a list").len() <= 3, "{list}");
        list[0]["data"] == 9
    });
    assert_eq!(subscriber.frames, 11, "one message for each item");
    let listed = server.http("GET", "/log/*", "").json();
    assert_eq!(Some(&listed), subscriber.document.as_ref());
    let numbers: Vec<&Value> = listed.as_array().expect("a list").iter().map(|item| &item["data"]).collect();
    assert_eq!(numbers, [9, 8, 7]);
    let left = || server.http("GET", "/?api=keys", "").json()["total"].clone();
    support::wait_for("what left to be deleted", || (left() == 3).then_some(()));
}

#[test]
fn each_form_of_cores_gives_its_shards() {
    let ours = std::thread::available_parallelism().expect("a number").get();
    let first = rustix::thread::sched_getaffinity(None).expect("our cores");
    let first = (0..4096).find(|core| first.is_set(*core)).expect("one of them");
    for (form, shards) in
        [("all", ours), ("1", 1), (&*format!("{first},"), 1), (&*format!("{first}-{first}"), 1)]
    {
        let server = Server::start(&["--cores", form], "");
        assert_eq!(server.http("POST", "/box", "1").status, 200);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
        let names = tasks.map(|task| std::fs::read_to_string(task.expect("a thread").path().join("comm")));
        let names: HashSet<String> = names.map(|name| name.expect("it has a name")).collect();
        let found = names.iter().filter(|name| name.starts_with("shard-")).count();
        assert_eq!(found, shards, "--cores {form}");
    }
}

#[test]
fn the_demo_moves() {
    let server = Server::start(&["--demo"], "");
    let mut quakes = server.subscribe("quakes/*");
    quakes.wait("three earthquakes", |list| list.as_array().is_some_and(|list| list.len() >= 3));
    assert!(quakes.patches > 0, "they arrive one by one");
    let newest = quakes.document.as_ref().expect("folded")[0]["data"].clone();
    assert!(newest["place"].is_string() && newest["mag"].is_number(), "{newest}");
    assert_eq!(server.http("GET", "/stats/today", "").status, 200);
}
