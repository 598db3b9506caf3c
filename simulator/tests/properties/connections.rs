//! How connections end: what was asked for is answered before, and the last bytes are never lost.

use fanfare::base::time::SEC;
use fanfare::flow::limits::Limits;
use fanfare::shard::io::Door;
use simulator::SHARDS;
use simulator::world::{Peer, World};

/// Reads at most `most` bytes.
fn sip(world: &mut World, peer: Peer, most: usize) -> Vec<u8> {
    let socket = world.socket(peer).expect("it is not closed before it has been read");
    let most = most.min(socket.wire.len());
    socket.wire.drain(..most).collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("replies are text")
}

fn get(path: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    format!("POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A client that shuts its sending side down behind its requests gets all responses, then the end.
#[test]
fn requests_before_an_end_are_answered() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, Limits::default());
        let peer = world.connect(Door::Clients(0), 1 << 20);
        let requests: String =
            (0..20).map(|n| post(&format!("k/{n}"), &n.to_string()) + &get(&format!("k/{n}"))).collect();
        world.send(peer, requests.as_bytes());
        world.half_close(peer);
        world.settle(|_| {});
        let got = text(world.receive(peer).expect("the responses"));
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 40, "{shards} shards: {got}");
        let at = |n: u8| got.find(&format!("\"data\":{n}}}")).expect("each value is there");
        assert!((1..20).all(|n| at(n - 1) < at(n)), "in the order of the requests");
        assert!(world.receive(peer).is_none(), "it is closed at once");
    }
}

/// Peers before the end of a feed are all done and answered, however little of the answers the application reads.
#[test]
fn lines_before_an_end_are_answered() {
    for shards in SHARDS {
        let limits = Limits { queue_bytes: 1000, write_timeout: u64::MAX / 4, ..Limits::default() };
        let mut world = World::new(2, shards, limits);
        let peer = world.connect(Door::Feed, 200);
        for n in 0..500 {
            let op = format!("{{\"op\":\"set\",\"key\":\"k/{n}\",\"data\":{n},\"id\":{n}}}\nbad\n");
            world.send(peer, op.as_bytes());
            world.run(1);
        }
        world.half_close(peer);
        let mut got = Vec::new();
        while world.socket(peer).is_some() {
            world.run(8);
            got.extend(world.socket(peer).map(|_| ()).and_then(|()| world.receive(peer)).unwrap_or_default());
        }
        got.extend(world.receive(peer).expect("the last replies"));
        let got = text(got);
        assert_eq!(got.lines().filter(|reply| reply.contains("\"ok\":true")).count(), 500);
        assert_eq!(got.lines().filter(|reply| reply.contains("invalid_json")).count(), 500, "{got}");
    }
}

/// An application that does not read its replies is not read from, and loses nothing.
#[test]
fn unread_replies_hold_the_feed_up() {
    let limits = Limits { queue_bytes: 4096, write_timeout: u64::MAX / 4, ..Limits::default() };
    let mut world = World::new(3, 2, limits);
    let peer = world.connect(Door::Feed, 500);
    for n in 0..20_000 {
        let op = format!("{{\"op\":\"set\",\"key\":\"k/{n}\",\"data\":{n},\"id\":{n}}}\n");
        world.send(peer, op.as_bytes());
        if n % 100 == 0 {
            world.run(4);
        }
    }
    world.settle(|world| {
        let queued = world.queued(peer);
        assert!(queued < 4096 + 1024 * 100, "{queued}");
        // it reads nothing: what is watched stays so
        world.socket(peer).expect("held, not dropped").watched = false;
    });
    assert!(world.socket(peer).expect("held").paused, "reading from it has stopped");
    world.socket(peer).expect("held").watched = true;
    let mut got = Vec::new();
    world.settle(|world| got.extend(world.receive(peer).expect("it stays open")));
    assert_eq!(text(got).matches("\"ok\":true").count(), 20_000);
}

/// The last response arrives whole, however slowly it is read; then the connection ends.
#[test]
fn a_last_response_waits_for_its_reader() {
    for shards in SHARDS {
        let mut world = World::new(4, shards, Limits::default());
        let writer = world.connect(Door::Clients(0), 1 << 20);
        world.send(writer, post("big", &format!("\"{}\"", "x".repeat(5000))).as_bytes());
        world.settle(|_| {});
        let peer = world.connect(Door::Clients(0), 100);
        world.send(peer, b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut got = Vec::new();
        while !world.socket(peer).expect("still there").finished {
            got.extend(sip(&mut world, peer, 100));
            world.now.mono += 5 * SEC;
            world.run(20);
            assert!(got.len() < 6000, "it is told when all is sent");
        }
        got.extend(sip(&mut world, peer, 100));
        assert!(text(got).ends_with("xx\"}"), "the whole body");
        world.send(peer, b"what comes now is read and forgotten");
        world.settle(|_| {});
        assert!(world.socket(peer).is_some(), "the peer may still be reading");
        world.now.mono += 4 * SEC;
        world.settle(|_| {});
        assert!(world.socket(peer).is_none(), "but not for ever");
    }
}

/// Requests that come faster than their responses are read wait; none is lost, and they cost no memory.
#[test]
fn a_burst_of_requests_costs_one_response() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, Limits { queue_bytes: 4096, ..Limits::default() });
        let peer = world.connect(Door::Clients(0), 300);
        world.send(peer, post("big", &format!("\"{}\"", "x".repeat(3000))).as_bytes());
        world.send(peer, get("big").repeat(3000).as_bytes());
        let mut got = 0;
        world.settle(|world| {
            let queued = world.queued(peer);
            assert!(queued <= 4096 + 3500, "{queued}");
            let bytes = world.receive(peer).expect("it stays open");
            got += bytes.windows(12).filter(|w| *w == b"HTTP/1.1 200").count();
        });
        assert!((2500..=3001).contains(&got), "{got}: a status line may be cut by a read");
    }
}

/// A handshake has its time and little more, whether nothing comes, or a part, or one byte now and then.
#[test]
fn a_half_open_handshake_has_its_time() {
    for shards in SHARDS {
        let mut world = World::new(6, shards, Limits { handshake_timeout: 10 * SEC, ..Limits::default() });
        let parts = ["", "GET ", "GET /box HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n", "GET /"];
        let peers = parts.map(|part| {
            let peer = world.connect(Door::Clients(0), 1 << 20);
            world.send(peer, part.as_bytes());
            peer
        });
        let start = world.now.mono;
        while world.now.mono < start + 9 * SEC {
            world.send(peers[3], b"a");
            world.now.mono += SEC / 10;
            world.settle(|_| {});
            let open = peers.iter().filter(|peer| world.socket(**peer).is_some()).count();
            assert_eq!(open, 4, "{shards} shards");
        }
        while peers.iter().any(|peer| world.socket(*peer).is_some_and(|socket| !socket.finished)) {
            assert!(world.now.mono < start + 15 * SEC, "{shards} shards");
            world.send(peers[3], b"a");
            world.now.mono += SEC / 10;
            world.settle(|_| {});
        }
    }
}
