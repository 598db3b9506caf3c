//! Streamed HTTP on the real binary, read by other people's programs: `curl`, Python, Node.

mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use support::FANFARE;
use support::Server;
use support::http;
use support::tools;
use support::wait_for;

/// Feeds documents `k/0000000` and on, and waits until they are there.
fn fill(server: &Server, count: usize, text: &str) {
    let mut feed = server.feed();
    let mut lines = Vec::new();
    for i in 0..count {
        let op = json!({"op": "set", "key": format!("k/{i:07}"), "data": {"i": i, "text": text}});
        writeln!(lines, "{op}").expect("into memory");
        if lines.len() > 1 << 20 || i + 1 == count {
            feed.stream.write_all(&lines).expect("the feed takes lines");
            lines.clear();
        }
    }
    feed.apply(json!({"op": "set", "key": "filled", "data": true}));
    let count = count.to_string();
    wait_for("the documents", || {
        let head = http::request(server.listen, "GET", "/_/stream/k/*?limit=1", b"");
        (head.header("x-total-count") == Some(&count)).then_some(())
    });
}

/// What a program says, run to its success.
fn says(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    assert!(status.success(), "{command:?}: {status} {}", String::from_utf8_lossy(&stderr));
    stdout
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text").trim()
}

/// A number of `/proc/PID/status`, in kibibytes.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

/// A metric with that label, of all shards together; they tell it once a second.
fn metric(server: &Server, name: &str, label: &str) -> u64 {
    let metrics = http::request(server.admin, "GET", "/metrics", b"");
    let is = |line: &&str| line.split('{').next() == Some(name) && line.contains(label);
    let each = metrics.text().lines().filter(is);
    each.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")).sum()
}

/// Waits until the shards have no connection any more: their sockets are the ring's, not in the table of files.
fn wait_for_no_connection(server: &Server) {
    wait_for("no connection", || (metric(server, "fanfare_connections", "shard") == 0).then_some(()));
}

fn files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count()
}

#[test]
fn python_node_jq_and_curl_read_a_stream() {
    tools::need(&["python3", "node", "curl", "jq"], &["python3", "nodejs", "curl", "jq"]);
    let server = Server::start(&[], "");
    fill(&server, 5000, &"é\"x".repeat(50));
    let url = format!("http://{}/_/stream/k/*", server.listen);
    let python = "import json, sys, urllib.request\n\
                  with urllib.request.urlopen(sys.argv[1]) as r:\n    a = json.load(r)\n\
                  print(len(a), a[0]['path'], a[-1]['data']['i'], r.headers['X-Total-Count'])";
    assert_eq!(text(&says(Command::new("python3").args(["-c", python, &url]))), "5000 k/0000000 4999 5000");
    let node = "fetch(process.argv[1]).then(r => r.json()).then(a => console.log(a.length, a[7].data.i))";
    assert_eq!(text(&says(Command::new("node").args(["-e", node, &url]))), "5000 7");
    let plain = says(Command::new("curl").args(["-sSf", &url]));
    let items: Vec<Value> = serde_json::from_slice(&plain).expect("one array");
    assert_eq!(items.len(), 5000);
    let file = server.dir.path().join("items.json");
    std::fs::write(&file, &plain).expect("it is written");
    let jq = says(Command::new("jq").args(["length, .[7].data.i"]).arg(&file));
    assert_eq!(text(&jq), "5000\n7");
    for coding in ["gzip", "zstd"] {
        let header = format!("Accept-Encoding: {coding}");
        let packed = says(Command::new("curl").args(["-sSf", "-H", &header, &url]));
        assert!(packed.len() < plain.len() / 4, "{coding}: {} of {} bytes", packed.len(), plain.len());
        assert_eq!(says(Command::new("curl").args(["-sSf", "--compressed", "-H", &header, &url])), plain);
    }
    let lines = says(Command::new("curl").args(["-sSf", "-H", "Accept: application/x-ndjson", &url]));
    let read = text(&lines).lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
    let read: Vec<Value> = read.collect();
    assert_eq!(read, items);
    let old = says(Command::new("curl").args(["-sSf", "--http1.0", &url]));
    assert_eq!(old, plain, "HTTP/1.0 reads up to the end of the connection");
    let head = says(Command::new("curl").args(["-sSfI", &url]));
    assert!(text(&head).contains("X-Total-Count: 5000"), "{}", text(&head));
}

#[test]
fn the_command_prints_what_is_asked_for() {
    let server = Server::start(&[], "");
    fill(&server, 100, "t");
    let url = format!("http://{}", server.listen);
    let get = |args: &[&str]| says(Command::new(FANFARE).args(["get", "k/*", "--url", &url]).args(args));
    let all: Vec<Value> = serde_json::from_slice(&get(&[])).expect("JSON");
    assert_eq!((all.len(), &all[3]["path"]), (100, &json!("k/0000003")));
    let some = get(&[
        "--format", "ndjson", "--values", "--fields", "i", "--where", "i:ge:90", "--order", "-i", "--limit",
        "2",
    ]);
    assert_eq!(text(&some), "{\"i\":99}\n{\"i\":98}");
    assert_eq!(get(&["--format", "msgpack", "--values", "--fields", "i", "--limit", "1"]), b"\x81\xa1i\x00");
    assert_eq!(
        get(&["--format", "cbor", "--values", "--fields", "i", "--limit", "1"]),
        b"\x9f\xa1\x61i\x00\xff"
    );
    let bad = Command::new(FANFARE).args(["get", "k/**bad", "--url", &url]).output().expect("it starts");
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("invalid_pattern"));
}

#[test]
fn the_command_follows_documents_by_events() {
    let server = Server::start(&[], "");
    let (mut feed, url) = (server.feed(), format!("http://{}", server.listen));
    feed.apply(json!({"op": "set", "key": "a/1", "data": {"n": 1, "text": "x".repeat(100)}}));
    let mut command = Command::new(FANFARE);
    command.args(["sub", "a/*", "--sse", "--count", "3", "--url", &url]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next()["data"]["n"], 1);
    feed.apply(json!({"op": "merge", "key": "a/1", "data": {"n": 2}}));
    let changed = next();
    assert_eq!((&changed["data"]["n"], &changed["data"]["text"]), (&json!(2), &json!("x".repeat(100))));
    feed.apply(json!({"op": "del", "key": "a/1"}));
    assert_eq!(next()["type"], "delete");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn what_cannot_be_answered_is_refused_with_a_code() {
    let mut server = Server::start(&["--anonymous", "read"], "");
    let port = server.listen;
    let mut refused = |method: &str, path: &str, headers: &str, body: &str, status: u16, code: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = http::raw(port, request.as_bytes()).expect("an answer");
        assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)), "{path}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{path}");
        assert!(server.is_alive());
    };
    refused("GET", "/_/stream/a*", "", "", 400, "invalid_pattern");
    refused("GET", "/_/stream/", "", "", 400, "invalid_pattern");
    refused("GET", "/_/stream/ws/1", "", "", 400, "invalid_pattern");
    refused("GET", "/_/stream/a/*?where=a:is:b", "", "", 400, "invalid_where");
    refused("GET", "/_/stream/a/*?limit=1e9", "", "", 400, "invalid_parameter");
    refused("GET", "/_/stream/a/*?chunk_threshold=9999999999", "", "", 400, "invalid_parameter");
    refused("GET", "/_/stream/a/*", "Accept: image/png\r\n", "", 406, "not_acceptable");
    refused("DELETE", "/_/stream/a/*", "", "", 405, "method_not_allowed");
    refused("GET", "/_/import", "", "", 405, "method_not_allowed");
    refused("POST", "/_/import", "", "[]", 403, "forbidden");
    let nothing = server.http("GET", "/_/stream/none/*", "");
    assert_eq!((nothing.status, nothing.body.as_slice()), (200, &b"[]"[..]));
    let closed = Server::start(&["--anonymous", "none"], "");
    assert_eq!(closed.http("GET", "/_/stream/a/*", "").status, 403);
}

#[test]
fn an_import_larger_than_any_body_is_taken_piece_by_piece() {
    tools::need(&["curl"], &["curl"]);
    let mut server = Server::start(&[], "[ooo]\nmax_body = \"64KiB\"\n");
    let elements =
        (0..20_000).map(|i| json!({"key": format!("im/{i:05}"), "data": {"i": i, "t": "y".repeat(200)}}));
    let body = Value::Array(elements.collect()).to_string();
    let file = server.dir.path().join("body.json");
    std::fs::write(&file, &body).expect("it is written");
    let before = resident(&server);
    let url = format!("http://{}/_/import", server.listen);
    let from = format!("@{}", file.display());
    let said = says(Command::new("curl").args([
        "-sS",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        &from,
        &url,
    ]));
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    assert_eq!(said, json!({"imported": 20_000, "last_key": "im/19999"}));
    let said = says(
        Command::new("curl")
            .args(["-sS", "-T", "-", "-X", "POST", "-H", "Content-Type: application/x-ndjson", &url])
            .stdin(Stdio::null()),
    );
    assert_eq!(text(&said), r#"{"imported":0,"last_key":null}"#);
    let grown = resident(&server) - before;
    assert!(grown < 40 << 10, "{} KiB body, {grown} KiB grown", body.len() >> 10);
    let count = server.http("HEAD", "/_/stream/im/*", "");
    assert_eq!(count.header("x-total-count"), Some("20000"));
    assert!(server.is_alive());
}

#[test]
fn what_is_exported_in_any_format_can_be_imported() {
    tools::need(&["curl"], &["curl"]);
    let (from, to) = (Server::start(&[], ""), Server::start(&[], ""));
    fill(&from, 3000, "é\"x");
    let (source, target) = (format!("http://{}", from.listen), format!("http://{}/_/import", to.listen));
    let want = says(Command::new(FANFARE).args(["get", "k/*", "--values", "--url", &source]));
    let types = ["json", "x-ndjson", "msgpack", "cbor"].map(|name| format!("application/{name}"));
    for (format, kind) in ["json", "ndjson", "msgpack", "cbor"].iter().zip(types) {
        let packed = says(Command::new(FANFARE).args(["get", "k/*", "--format", format, "--url", &source]));
        let file = to.dir.path().join(format);
        std::fs::write(&file, packed).expect("it is written");
        let (body, kind) = (format!("@{}", file.display()), format!("Content-Type: {kind}"));
        let import = |target: &str| {
            let said = says(Command::new("curl").args(["-sS", "-H", &kind, "--data-binary", &body, target]));
            serde_json::from_slice::<Value>(&said).expect("JSON")
        };
        assert_eq!(import(&target), json!({"imported": 3000, "last_key": "k/0002999"}), "{format}");
        let got = to.http("GET", "/_/stream/k/**?shape=value", "");
        assert!(got.body == want, "{format}");
        // begun again behind what had come
        assert_eq!(import(&format!("{target}?after=k/0002990"))["imported"], 9, "{format}");
        assert_eq!(to.http("DELETE", "/k/*", "").status, 204);
    }
    let gzip = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Encoding: gzip", "-d", "x"];
    assert_eq!(text(&says(Command::new("curl").args(gzip).arg(&target))), "415");
}

/// Watches the server's memory until told to stop; gives the most that it saw, in kibibytes.
fn watch(server: &Server) -> (Arc<AtomicBool>, thread::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, path) = (stop.clone(), format!("/proc/{}/statm", server.pid()));
    let page = rustix::param::page_size() as u64 / 1024;
    let seen = thread::spawn(move || {
        let mut most = 0;
        while !stopped.load(Ordering::Relaxed) {
            let statm = std::fs::read_to_string(&path).expect("it runs");
            let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
            most = most.max(pages * page);
            thread::sleep(Duration::from_millis(2));
        }
        most
    });
    (stop, seen)
}

#[test]
fn two_hundred_thousand_documents_stream_in_bounded_memory_and_nothing_stays() {
    const BAR: u64 = 8 << 10;
    let server = Server::start(&[], "");
    fill(&server, 200_000, &"x".repeat(300));
    let path = "/_/stream/k/*";
    wait_for_no_connection(&server);
    let (memory, held) = (resident(&server), files(&server));
    let (stop, seen) = watch(&server);
    let mut first = start(&server, path);
    first.read_exact(&mut [0]).expect("a first byte");
    drop(first);
    assert!(stream(&server, path, None) > 60 << 20);
    // readers that vanish half-way, and one that is slow
    for _ in 0..20 {
        stream(&server, path, Some(3 << 20));
    }
    let mut slow = start(&server, path);
    let mut buf = vec![0; 64 << 10];
    for _ in 0..50 {
        slow.read_exact(&mut buf).expect("more");
        thread::sleep(Duration::from_millis(10));
    }
    stop.store(true, Ordering::Relaxed);
    let most = seen.join().expect("the watch");
    eprintln!("level {memory} KiB, most {most} KiB: {} KiB extra", most.saturating_sub(memory));
    assert!(most < memory + BAR, "{memory} KiB before, {most} KiB at most");
    drop(slow);
    wait_for_no_connection(&server);
    wait_for("the files", || (files(&server) <= held).then_some(()));
    assert!(resident(&server) < memory + BAR / 2, "{memory} KiB before, {} KiB after", resident(&server));
}

fn start(server: &Server, path: &str) -> TcpStream {
    let mut socket = http::connect(server.listen);
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it is taken");
    socket
}

/// Reads a stream, or so much of it; gives how much that was.
fn stream(server: &Server, path: &str, most: Option<usize>) -> usize {
    let mut socket = start(server, path);
    let (mut total, mut buf) = (0, vec![0; 64 << 10]);
    let mut end = Vec::new();
    loop {
        let n = socket.read(&mut buf).expect("more in time");
        if n == 0 {
            assert!(end.ends_with(b"0\r\n\r\n"), "a stream ends with the last chunk");
            return total;
        }
        total += n;
        end.extend_from_slice(&buf[..n]);
        end.drain(..end.len().saturating_sub(8));
        if most.is_some_and(|most| total > most) {
            return total;
        }
    }
}

#[test]
fn a_reader_that_never_reads_is_let_go() {
    let mut server = Server::start(&[], "[conn]\nwrite_timeout = \"1s\"\n");
    fill(&server, 40_000, &"x".repeat(500));
    let sockets: Vec<TcpStream> = (0..10).map(|_| start(&server, "/_/stream/k/*")).collect();
    let timed_out = || metric(&server, "fanfare_connections_ended_total", "reason=\"write_timeout\"");
    wait_for("all to be let go", || (timed_out() == 10).then_some(()));
    wait_for_no_connection(&server);
    drop(sockets);
    assert!(server.is_alive());
}
