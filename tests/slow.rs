//! A reader that stops reading delays nobody, and has the right document when it reads on.

mod support;

use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use support::PATIENCE;
use support::Server;
use support::subscriber::Subscriber;

const WRITES: usize = 2000;
const SIZE: usize = 4096;
/// Between two writes.
const PACE: Duration = Duration::from_millis(2);
/// Generous, because other processes use the machine: a reader that waits for the slow one waits for seconds.
const P99: Duration = Duration::from_millis(500);

/// A connection whose receive buffer the system does not grow.
fn narrow(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a buffer of this size");
    socket.connect(&server.listen.into()).expect("the server accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Folds every message up to the last write; gives how late each came, in order of lateness.
fn keep_up(mut subscriber: Subscriber, started: Instant) -> Vec<Duration> {
    let mut late = Vec::with_capacity(WRITES);
    while late.len() < WRITES {
        let before = subscriber.frames;
        assert!(subscriber.next(PATIENCE) && subscriber.frames == before + 1);
        let data = &subscriber.document.as_ref().expect("folded")["data"];
        assert_eq!(data["n"], late.len(), "each write is a message of its own");
        late.push(
            started.elapsed().saturating_sub(Duration::from_micros(data["at"].as_u64().expect("a time"))),
        );
    }
    late.sort_unstable();
    late
}

#[test]
fn a_reader_that_stops_delays_nobody_and_catches_up() {
    let server = Server::start(&[], "");
    let mut slow = Subscriber::over(narrow(&server), "doc");
    slow.wait("the first state", |_| true);
    let started = Instant::now();
    let text = |n: usize| format!("{n:08}").repeat(SIZE / 8);
    thread::scope(|scope| {
        let fast: Vec<_> = (0..4)
            .map(|_| {
                let mut subscriber = server.subscribe("doc");
                subscriber.wait("the first state", |_| true);
                scope.spawn(move || keep_up(subscriber, started))
            })
            .collect();
        let mut feed = server.feed();
        for n in 0..WRITES {
            let at = started.elapsed().as_micros() as u64;
            let op = json!({"op": "set", "key": "doc", "data": {"n": n, "at": at, "text": text(n)}});
            feed.send(op.to_string().as_bytes());
            thread::sleep(PACE);
        }
        for reader in fast {
            let late = reader.join().expect("a fast reader");
            let p99 = late[WRITES * 99 / 100];
            assert!(p99 < P99, "half {:?}, p99 {p99:?}, longest {:?}", late[WRITES / 2], late[WRITES - 1]);
        }
    });
    let before = slow.frames;
    slow.wait("the last write", |item| item["data"]["n"] == WRITES - 1);
    assert_eq!(slow.document.as_ref().expect("folded")["data"]["text"], text(WRITES - 1));
    let read = slow.frames - before;
    assert!(
        read < WRITES,
        "the slow reader got all {read} messages: it was never behind, and this proves nothing"
    );
}
