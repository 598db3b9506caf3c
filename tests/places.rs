//! What clients cannot take: the connections of the application and of operators.

mod support;

use std::io::ErrorKind;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use support::Server;
use support::http;

const FILES: u32 = 900;
/// What is left of them for clients on two cores.
const PLACES: usize = 644;

/// Whether the server has closed this connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
    match stream.read(&mut [0]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Ok(0) | Err(_) => true,
        Ok(_) => panic!("nobody was asked anything"),
    }
}

#[test]
fn clients_share_the_places_of_the_process_and_leave_the_feed_and_operators_theirs() {
    let server = Server::start_with_files(FILES);
    let mut crowd: Vec<TcpStream> = Vec::new();
    support::wait_for("more clients than there are places", || {
        crowd.extend((0..100).map(|_| http::connect(server.listen)));
        (crowd.len() > PLACES + 100).then_some(())
    });
    support::wait_for("those beyond the places to be closed", || {
        crowd.retain_mut(|stream| !is_closed(stream));
        (crowd.len() <= PLACES).then_some(())
    });
    assert_eq!(crowd.len(), PLACES, "every place is used");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(http::request(server.admin, "GET", path, b"").status, 200, "{path}");
    }
    let mut feeds: Vec<_> = (0..64).map(|_| server.feed()).collect();
    for feed in &mut feeds {
        feed.apply(json!({"op": "set", "key": "k", "data": 1}));
    }
    drop(crowd);
    support::wait_for("a place to be free again", || {
        http::raw(server.listen, b"GET /k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    });
}

#[test]
fn operators_who_say_or_read_nothing_do_not_keep_others_out() {
    let server = Server::start(&[], "");
    let silent: Vec<TcpStream> = (0..200).map(|_| http::connect(server.admin)).collect();
    assert_eq!(http::request(server.admin, "GET", "/livez", b"").status, 200);
    drop(silent);
}

#[test]
fn a_start_with_too_few_files_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let command = support::serve(support::free_port(), support::free_port(), &dir.path().join("feed.sock"));
    let ended = support::with_files(200, &command).output().expect("it ends");
    assert_eq!(ended.status.code(), Some(78));
    let says = String::from_utf8(ended.stderr).expect("text");
    assert!(says.contains("may open 200 files") && says.contains("LimitNOFILE"), "{says}");
}
