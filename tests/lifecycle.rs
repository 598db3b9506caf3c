//! Start and end of the process: the feed's socket file, signals, exit codes.

mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::json;
use support::Feed;
use support::Server;
use support::free_port;
use support::serve;

#[test]
fn only_the_owner_may_use_the_socket_file() {
    let server = Server::start(&[], "");
    let file = server.feed.metadata().expect("the socket file");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_signal_ends_it_cleanly_and_takes_the_socket_file_away() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&[], "");
        let mut subscribers = [server.subscribe("box"), server.subscribe("box/*")];
        for subscriber in &mut subscribers {
            subscriber.wait("the first state", |_| true);
        }
        let mut feed = server.feed();
        feed.apply(json!({"op": "set", "key": "box", "data": 1}));
        let status = server.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        assert!(!server.feed.exists(), "{signal:?} leaves the socket file");
    }
}

#[test]
fn the_admin_listener_says_ready_while_it_serves_and_closes_at_the_end() {
    let mut server = Server::start(&[], "");
    let response = support::http::request(server.admin, "GET", "/readyz", b"");
    assert_eq!((response.status, &response.body[..]), (200, &b"ready\n"[..]));
    server.stop(Signal::TERM);
    assert!(TcpStream::connect(server.admin).is_err());
}

#[test]
fn a_hangup_is_logged_and_otherwise_ignored() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listen, feed) = (free_port(), dir.path().join("feed.sock"));
    let mut child = serve(listen, free_port(), &feed).spawn().expect("it starts");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("its output");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::HUP).expect("the signal is delivered");

    Feed::connect(&feed).apply(json!({"op": "set", "key": "box", "data": 1}));
    let response = support::http::request(listen, "GET", "/box", b"");
    assert_eq!(response.status, 200);
    assert!(feed.exists(), "the socket file is gone");

    kill_process(pid, Signal::TERM).expect("the signal is delivered");
    let output = child.wait_with_output().expect("its output");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("SIGHUP")).count(), 1, "{log}");
    assert!(!feed.exists(), "the socket file stays");
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(UnixListener::bind(dir.path().join("feed.sock")).expect("a socket"));
    assert!(dir.path().join("feed.sock").exists(), "a dropped socket leaves its file");
    let server = Server::start_in(dir, &[], "");
    server.feed().apply(json!({"op": "set", "key": "box", "data": 1}));
}

#[test]
fn a_live_socket_is_refused_with_a_sentence_and_goes_on() {
    let mut server = Server::start(&[], "");
    let mut second = serve(free_port(), free_port(), &server.feed).spawn().expect("a second server starts");
    let status = support::wait_for("the second server to give up", || {
        second.try_wait().expect("the child can be asked")
    });
    let output = second.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status.code(), Some(75), "{said}");
    assert!(said.contains(server.feed.to_str().expect("a path in UTF-8")), "which socket? {said:?}");
    assert!(said.split_whitespace().count() > 5 && said.lines().count() < 5, "not a sentence: {said:?}");

    std::thread::sleep(Duration::from_millis(50));
    assert!(server.is_alive());
    server.feed().apply(json!({"op": "set", "key": "box", "data": 1}));
}

#[test]
fn the_next_server_starts_at_once_where_one_was_killed() {
    for _ in 0..5 {
        let mut first = Server::start(&[], "");
        first.subscribe("box").wait("the first state", |_| true);
        first.stop(Signal::KILL);
        let mut second = serve(first.listen, first.admin, &first.feed).spawn().expect("it starts");
        let mut said = String::new();
        let stdout = second.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("its output");
        second.kill().expect("it is ours");
        let output = second.wait_with_output().expect("its output");
        assert!(said.contains("listening"), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
