//! A reader that stops reading delays nobody, and has the right document when it reads on.

mod support;

use std::net::TcpStream;

use serde_json::json;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use support::PATIENCE;
use support::Server;
use support::subscriber::Subscriber;

const WRITES: usize = 2000;
const SIZE: usize = 4096;

/// A connection whose receive buffer the system does not grow.
fn narrow(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a buffer of this size");
    socket.connect(&server.listen.into()).expect("the server accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

#[test]
fn a_reader_that_stops_delays_nobody_and_catches_up() {
    let server = Server::start(&[], "");
    let mut slow = Subscriber::over(narrow(&server), "doc");
    slow.wait("the first state", |_| true);
    let mut fast: Vec<_> = (0..4).map(|_| server.subscribe("doc")).collect();
    fast.iter_mut().for_each(|reader| reader.wait("the first state", |_| true));
    let text = |n: usize| format!("{n:08}").repeat(SIZE / 8);
    let mut feed = server.feed();
    for n in 0..WRITES {
        let op = json!({"op": "set", "key": "doc", "data": {"n": n, "text": text(n)}});
        feed.send(op.to_string().as_bytes());
        // Nothing more is written until all have this, and the slow one reads nothing: whoever waits for it waits for ever.
        for reader in &mut fast {
            let before = reader.frames;
            assert!(reader.next(PATIENCE) && reader.frames == before + 1, "write {n} did not come");
            let data = &reader.document.as_ref().expect("folded")["data"];
            assert_eq!(data["n"], n, "each write is a message of its own");
        }
    }
    let before = slow.frames;
    slow.wait("the last write", |item| item["data"]["n"] == WRITES - 1);
    assert_eq!(slow.document.as_ref().expect("folded")["data"]["text"], text(WRITES - 1));
    let read = slow.frames - before;
    assert!(
        read < WRITES,
        "the slow reader got all {read} messages: it was never behind, and this proves nothing"
    );
}
