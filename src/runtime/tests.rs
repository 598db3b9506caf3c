//! Pins what we rely on in the kernel: each test names one behaviour that the ring is built on.

use crate::base::id::ConnId;
use crate::runtime::buffers;
use crate::runtime::ring::{Ring, SocketEvents};
use crate::runtime::uring::ENTRIES;
use crate::runtime::wake::Wake;
use crate::shard::io::{Action, Came, Door, Due, Short, Slices, Sockets};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MS: u64 = crate::base::time::MS;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Open(u32),
    Bytes(ConnId, Vec<u8>),
    Eof(ConnId),
    Broken(ConnId),
    Refused,
    Writable(ConnId),
}

/// What a shard would have heard. Gives each connection a generation of its own.
#[derive(Default)]
struct Ear {
    seen: Vec<Seen>,
    conns: Vec<ConnId>,
}

impl SocketEvents for Ear {
    fn open(&mut self, slot: u32, _door: Door) -> ConnId {
        let conn = ConnId { slot, generation: self.conns.len() as u32 };
        self.conns.push(conn);
        self.seen.push(Seen::Open(slot));
        conn
    }
    fn refused(&mut self) {
        self.seen.push(Seen::Refused);
    }
    fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.seen.push(Seen::Bytes(conn, bytes.to_vec()));
    }
    fn eof(&mut self, conn: ConnId) {
        self.seen.push(Seen::Eof(conn));
    }
    fn broken(&mut self, conn: ConnId) {
        self.seen.push(Seen::Broken(conn));
    }
    fn writable(&mut self, conn: ConnId) {
        self.seen.push(Seen::Writable(conn));
    }
}

/// A ring with one listener.
struct World {
    ring: Ring,
    wake: Arc<Wake>,
    ear: Ear,
    addr: SocketAddr,
}

impl World {
    fn new(connections: u32) -> World {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(4096).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let wake = Arc::new(Wake::new().unwrap());
        let mut ring = Ring::new(connections, wake.clone()).unwrap();
        ring.listen(socket, Door::Clients(0));
        World { ring, wake, ear: Ear::default(), addr }
    }

    /// Turns until `done`; fails after five seconds.
    fn until(&mut self, done: impl Fn(&Ear) -> bool) {
        let start = Instant::now();
        while !done(&self.ear) {
            assert!(start.elapsed() < Duration::from_secs(5), "never happened; seen: {:?}", self.ear.seen);
            self.ring.wait(Some(50 * MS));
            self.ring.drain(start.elapsed().as_nanos() as u64, &mut self.ear);
        }
    }

    /// Turns for a while, for what should *not* happen.
    fn rest(&mut self) {
        for _ in 0..5 {
            self.ring.wait(Some(10 * MS));
            self.ring.drain(0, &mut self.ear);
        }
    }

    fn connect(&mut self) -> (TcpStream, ConnId) {
        let known = self.ear.conns.len();
        let peer = TcpStream::connect(self.addr).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.until(|ear| ear.conns.len() > known);
        (peer, self.ear.conns[known])
    }

    fn heard(&self, conn: ConnId) -> Vec<u8> {
        let bytes = self.ear.seen.iter().filter_map(|seen| match seen {
            Seen::Bytes(from, bytes) if *from == conn => Some(bytes.as_slice()),
            _ => None,
        });
        bytes.flatten().copied().collect()
    }

    fn send(&mut self, batch: &[Due<'_>]) -> Vec<Short> {
        let mut short = Vec::new();
        self.ring.send(batch, &mut short);
        short
    }
}

fn one(conn: ConnId, bytes: &[u8]) -> Due<'_> {
    Due { slot: conn.slot, bytes: Slices::One(bytes) }
}

/// Fills the connection's socket until a send is refused outright.
fn stuff(world: &mut World, conn: ConnId) -> usize {
    let bytes = vec![1; 1 << 20];
    let mut taken = 0;
    loop {
        match world.send(&[one(conn, &bytes)]).first() {
            None => taken += bytes.len(),
            Some(Short { came: Came::Part(0), .. }) => return taken,
            Some(Short { came: Came::Part(n), .. }) => taken += n,
            Some(Short { came: Came::Broken, .. }) => panic!("broken"),
        }
    }
}

#[test]
fn slots_are_dense_and_used_again_under_a_new_generation() {
    let mut world = World::new(16);
    let (_a, first) = world.connect();
    let (_b, second) = world.connect();
    let (_c, third) = world.connect();
    assert_eq!((first.slot, second.slot, third.slot), (0, 1, 2));
    world.ring.apply(Action::Close(second));
    let (mut d, fourth) = world.connect();
    assert_eq!(fourth.slot, second.slot);
    assert_ne!(fourth.generation, second.generation);
    d.write_all(b"hello").unwrap();
    world.until(|ear| ear.seen.contains(&Seen::Bytes(fourth, b"hello".to_vec())));
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once_and_places_come_back() {
    let mut world = World::new(1);
    let (_a, first) = world.connect();
    let mut beyond = TcpStream::connect(world.addr).unwrap();
    world.rest();
    assert!(matches!(beyond.read(&mut [0; 1]), Ok(0) | Err(_)));
    world.ring.apply(Action::Close(first));
    let (_b, second) = world.connect();
    assert_eq!(second.slot, first.slot);
}

#[test]
fn the_end_of_a_stream_and_a_reset_are_told_apart() {
    let mut world = World::new(16);
    let (mut a, first) = world.connect();
    let (b, second) = world.connect();
    a.write_all(b"last words").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    SockRef::from(&b).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b);
    world.until(|ear| ear.seen.contains(&Seen::Eof(first)) && ear.seen.contains(&Seen::Broken(second)));
    assert_eq!(world.heard(first), b"last words");
    assert!(world.send(&[one(first, b"answer")]).is_empty(), "one half is closed, the other is not");
    a.read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn a_peer_sees_the_end_when_we_close_although_a_receive_is_armed() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    world.ring.apply(Action::WatchWritable(conn));
    world.ring.apply(Action::Close(conn));
    world.rest();
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(world.ear.seen, [Seen::Open(0)], "what comes after the close is stale and vanishes");
}

#[test]
fn a_finished_connection_still_listens() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    world.ring.apply(Action::Finish(conn));
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    peer.write_all(b"bye").unwrap();
    world.until(|ear| ear.seen.contains(&Seen::Bytes(conn, b"bye".to_vec())));
}

#[test]
fn a_paused_connection_is_quiet_until_it_is_resumed() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    world.ring.apply(Action::Pause(conn));
    world.rest();
    peer.write_all(b"later").unwrap();
    world.rest();
    assert_eq!(world.heard(conn), b"");
    world.ring.apply(Action::Resume(conn));
    world.until(|ear| ear.seen.contains(&Seen::Bytes(conn, b"later".to_vec())));
}

#[test]
fn pausing_and_resuming_at_any_moment_loses_no_byte() {
    let mut world = World::new(16);
    let (peer, conn) = world.connect();
    let total = 4 << 20;
    let writer = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|i: usize| (i % 251) as u8).collect();
        (&peer).write_all(&bytes).unwrap();
        peer
    });
    let mut rng = fastrand::Rng::with_seed(3);
    let start = Instant::now();
    let mut heard = Vec::new();
    while heard.len() < total {
        assert!(start.elapsed() < Duration::from_secs(20), "stalled at {}", heard.len());
        for _ in 0..rng.u32(0..4) {
            world.ring.apply(if rng.bool() { Action::Pause(conn) } else { Action::Resume(conn) });
        }
        world.ring.wait(Some(MS));
        world.ring.drain(0, &mut world.ear);
        heard.extend(world.heard(conn));
        world.ear.seen.clear();
    }
    assert!(heard.iter().enumerate().all(|(i, &byte)| byte == (i % 251) as u8));
    drop(writer.join().unwrap());
}

#[test]
fn every_send_is_answered_at_once_and_in_order_be_it_short_refused_or_broken() {
    let mut world = World::new(64);
    let peers: Vec<_> = (0..8).map(|_| world.connect()).collect();
    let conns: Vec<ConnId> = peers.iter().map(|(_, conn)| *conn).collect();
    stuff(&mut world, conns[2]);
    world.ring.apply(Action::Close(conns[5]));
    let long = vec![7; 64 << 20];
    let mut batch: Vec<Due<'_>> = conns.iter().map(|&conn| one(conn, b"frame")).collect();
    // Long here too: the kernel may find room for a few bytes between two sends.
    batch[2] = one(conns[2], &long);
    batch[6] = one(conns[6], &long);
    let short = world.send(&batch);
    assert_eq!(short.len(), 3, "{short:?}");
    assert!(matches!(short[0], Short { index: 2, came: Came::Part(n) } if n < long.len()));
    assert_eq!(short[1], Short { index: 5, came: Came::Broken });
    assert!(matches!(short[2], Short { index: 6, came: Came::Part(n) } if n > 0 && n < long.len()));
    for place in [0, 1, 3, 4, 7] {
        let mut frame = [0; 5];
        (&peers[place].0).read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"frame");
    }
}

#[test]
fn runs_of_one_send_arrive_joined_and_in_order() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    let pieces: Vec<Vec<u8>> = (0..900u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let runs: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    // Ten of these need more headers than one submission has.
    let batch = vec![Due { slot: conn.slot, bytes: Slices::Many(&runs) }; 10];
    assert!(world.send(&batch).is_empty());
    let mut got = vec![0; 10 * 3600];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, pieces.concat().repeat(10));
}

#[test]
fn a_batch_larger_than_the_queue_goes_out_whole() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    let frames: Vec<[u8; 4]> = (0..ENTRIES * 3 + 7).map(u32::to_be_bytes).collect();
    let batch: Vec<Due<'_>> = frames.iter().map(|frame| one(conn, frame)).collect();
    assert!(world.send(&batch).is_empty());
    let mut got = vec![0; frames.len() * 4];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, frames.concat());
}

#[test]
fn what_arrives_during_a_send_is_kept_in_order() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    let mut sent = Vec::new();
    for round in 0..200u32 {
        peer.write_all(&round.to_be_bytes()).unwrap();
        sent.extend(round.to_be_bytes());
        assert!(world.send(&[one(conn, b"x")]).is_empty());
        if round % 50 == 49 {
            world.ring.drain(0, &mut world.ear);
        }
    }
    world.until(|ear| ear.seen.iter().filter(|seen| matches!(seen, Seen::Bytes(..))).count() > 0);
    let start = Instant::now();
    while world.heard(conn).len() < sent.len() && start.elapsed() < Duration::from_secs(5) {
        world.rest();
    }
    assert_eq!(world.heard(conn), sent);
}

#[test]
fn more_readers_than_buffers_are_all_heard() {
    let count = buffers::COUNT as usize * 3;
    let mut world = World::new(count as u32);
    let peers: Vec<_> = (0..count).map(|_| world.connect()).collect();
    let payload = vec![9; buffers::BYTES * 3];
    for (peer, _) in &peers {
        (&*peer).write_all(&payload).unwrap();
    }
    let total = count * payload.len();
    let heard = |ear: &Ear| {
        ear.seen
            .iter()
            .map(|seen| if let Seen::Bytes(_, bytes) = seen { bytes.len() } else { 0 })
            .sum::<usize>()
    };
    world.until(|ear| heard(ear) == total);
    for (_, conn) in peers {
        assert_eq!(world.heard(conn).len(), payload.len());
    }
}

#[test]
fn bytes_for_closed_connections_give_their_buffers_back() {
    let mut world = World::new(4);
    for _ in 0..buffers::COUNT * 3 {
        let (mut peer, conn) = world.connect();
        peer.write_all(b"unheard").unwrap();
        // Let the receive take a buffer, then close before its answer is looked at.
        world.ring.poll();
        world.ring.apply(Action::Close(conn));
    }
    world.ear.seen.clear();
    let (mut peer, conn) = world.connect();
    peer.write_all(b"heard").unwrap();
    world.until(|ear| ear.seen.contains(&Seen::Bytes(conn, b"heard".to_vec())));
    assert_eq!(world.ear.seen.len(), 2, "stale bytes vanish: {:?}", world.ear.seen);
}

#[test]
fn a_watched_socket_reports_once_when_it_drains() {
    let mut world = World::new(16);
    let (mut peer, conn) = world.connect();
    let taken = stuff(&mut world, conn);
    world.ring.apply(Action::WatchWritable(conn));
    world.rest();
    assert!(!world.ear.seen.contains(&Seen::Writable(conn)), "it is full");
    peer.read_exact(&mut vec![0; taken]).unwrap();
    world.until(|ear| ear.seen.contains(&Seen::Writable(conn)));
    world.rest();
    assert_eq!(world.ear.seen.iter().filter(|seen| **seen == Seen::Writable(conn)).count(), 1);
}

#[test]
fn a_sleeping_ring_wakes_for_a_bell_from_another_thread_each_time() {
    let mut world = World::new(16);
    for _ in 0..3 {
        let wake = world.wake.clone();
        world.ring.drain(0, &mut world.ear);
        world.ring.poll();
        world.wake.announce_sleep();
        let bell = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            wake.ring();
        });
        let start = Instant::now();
        world.ring.wait(Some(5000 * MS));
        assert!(start.elapsed() >= Duration::from_millis(25), "woke before the bell");
        assert!(start.elapsed() < Duration::from_secs(4), "slept through the bell");
        world.wake.awake();
        bell.join().unwrap();
    }
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let mut world = World::new(16);
    world.ring.poll();
    world.ring.drain(0, &mut world.ear);
    let start = Instant::now();
    world.ring.wait(Some(20 * MS));
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn closed_listeners_refuse() {
    let mut world = World::new(16);
    let (_peer, _) = world.connect();
    world.ring.close_listeners();
    world.rest();
    assert_eq!(TcpStream::connect(world.addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
