//! What connections cost: with 20,000 descriptors 15,000 subscribers are served, at 1 KiB of memory each at the most.
//!
//! The server is a process of its own, and so is this test: each has its own descriptors.

mod support;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use serde_json::json;
use support::Server;
use support::http;
use support::raw_ws::upgrade;

const DESCRIPTORS: u64 = 20_000;
/// Connections whose memory is measured.
const MEASURED: usize = 10_000;
const ALL: usize = 15_000;
/// Handshakes under way at a time.
const AT_A_TIME: usize = 500;
/// Pings would get between the frames that are counted.
const QUIET: &str = "[ooo]\nping_interval = \"10m\"\npong_timeout = \"30m\"\n";

/// `ulimit -n 20000`, for this process and the servers that it starts.
fn limit_descriptors() {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    assert!(
        most >= DESCRIPTORS,
        "this test needs {DESCRIPTORS} open files, and the hard limit is {most}: raise it"
    );
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).expect("lowering a limit is allowed");
}

/// Reads until the bytes end with `end`.
fn read_to(stream: &mut TcpStream, end: &str) {
    let (mut got, mut part) = (Vec::new(), [0; 1024]);
    while !got.ends_with(end.as_bytes()) {
        let n = stream.read(&mut part).expect("an answer in time");
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&part[..n]);
    }
}

/// Subscribes until there are so many, and waits until each has the first state.
fn grow(crowd: &mut Vec<TcpStream>, server: &Server, to: usize) {
    while crowd.len() < to {
        let from = crowd.len();
        for _ in from..to.min(from + AT_A_TIME) {
            let mut stream = http::connect(server.listen);
            stream.write_all(upgrade("/crowd", "").as_bytes()).expect("the request is taken");
            crowd.push(stream);
        }
        crowd[from..].iter_mut().for_each(|stream| read_to(stream, r#""index":"","data":{}}}"#));
    }
}

/// The resident memory of the server, in bytes.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn fifteen_thousand_subscribers_are_served_at_a_kibibyte_each() {
    limit_descriptors();
    let server = Server::start(&[], QUIET);
    let mut crowd = Vec::new();
    grow(&mut crowd, &server, 1);
    let before = memory(&server);
    grow(&mut crowd, &server, MEASURED);
    let each = (memory(&server) - before) / (MEASURED as u64 - 1);
    println!("{each} bytes of memory for each connection");
    assert!(each <= 1024, "{each} bytes of memory for each connection");

    grow(&mut crowd, &server, ALL);
    let state = server.http("GET", "/?api=state", "").json();
    assert_eq!(state["totalConnections"], ALL);
    server.feed().apply(json!({"op": "set", "key": "crowd", "data": "news for all"}));
    crowd.iter_mut().for_each(|stream| read_to(stream, r#""data":"news for all"}}"#));

    drop(crowd);
    let mut late = server.subscribe("crowd");
    late.wait("the state", |item| item["data"] == "news for all");
    let left = || server.http("GET", "/?api=state", "").json()["totalConnections"] == 1;
    support::wait_for("the crowd to be forgotten", || left().then_some(()));
}
