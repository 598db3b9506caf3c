//! Pins what we rely on in the kernel: each test names one behaviour that the ring is built on.

use crate::base::id::ConnId;
use crate::runtime::buffers;
use crate::runtime::notifier::Notifier;
use crate::runtime::places::Places;
use crate::runtime::ring::{Ring, SocketEvents};
use crate::runtime::uring::ENTRIES;
use crate::shard::io::{Action, Came, Door, Due, Short, Slices, Sockets};
use crossbeam_channel::{RecvTimeoutError, bounded};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MS: u64 = crate::base::time::MS;
/// How long a test waits for what should have happened long ago.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Eq)]
enum SocketEvent {
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
    seen: Vec<SocketEvent>,
    conns: Vec<ConnId>,
}

impl SocketEvents for Ear {
    fn open(&mut self, slot: u32, _door: Door) -> ConnId {
        let conn = ConnId { slot, generation: self.conns.len() as u32 };
        self.conns.push(conn);
        self.seen.push(SocketEvent::Open(slot));
        conn
    }
    fn refused(&mut self) {
        self.seen.push(SocketEvent::Refused);
    }
    fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.seen.push(SocketEvent::Bytes(conn, bytes.to_vec()));
    }
    fn eof(&mut self, conn: ConnId) {
        self.seen.push(SocketEvent::Eof(conn));
    }
    fn broken(&mut self, conn: ConnId) {
        self.seen.push(SocketEvent::Broken(conn));
    }
    fn writable(&mut self, conn: ConnId) {
        self.seen.push(SocketEvent::Writable(conn));
    }
}

/// A ring with one listener.
struct Loopback {
    ring: Ring,
    notifier: Arc<Notifier>,
    ear: Ear,
    addr: SocketAddr,
}

impl Loopback {
    fn new(connections: u32) -> Loopback {
        Loopback::with(Arc::new(Places::new(connections)))
    }

    fn with(places: Arc<Places>) -> Loopback {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(4096).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let notifier = Arc::new(Notifier::new().unwrap());
        let mut ring = Ring::new(places, notifier.clone()).unwrap();
        ring.listen(socket, Door::Clients(0));
        Loopback { ring, notifier, ear: Ear::default(), addr }
    }

    /// Turns until `done`; fails once patience is at its end.
    fn until(&mut self, done: impl Fn(&Ear) -> bool) {
        let start = Instant::now();
        while !done(&self.ear) {
            assert!(start.elapsed() < PATIENCE, "never happened; seen: {:?}", self.ear.seen);
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
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        self.until(|ear| ear.conns.len() > known);
        (peer, self.ear.conns[known])
    }

    fn heard(&self, conn: ConnId) -> Vec<u8> {
        let bytes = self.ear.seen.iter().filter_map(|seen| match seen {
            SocketEvent::Bytes(from, bytes) if *from == conn => Some(bytes.as_slice()),
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
fn stuff(net: &mut Loopback, conn: ConnId) -> usize {
    let bytes = vec![1; 1 << 20];
    let mut taken = 0;
    loop {
        match net.send(&[one(conn, &bytes)]).first() {
            None => taken += bytes.len(),
            Some(Short { came: Came::Part(0), .. }) => return taken,
            Some(Short { came: Came::Part(n), .. }) => taken += n,
            Some(Short { came: Came::Broken, .. }) => panic!("broken"),
        }
    }
}

#[test]
fn slots_are_dense_and_used_again_under_a_new_generation() {
    let mut net = Loopback::new(16);
    let (_a, first) = net.connect();
    let (_b, second) = net.connect();
    let (_c, third) = net.connect();
    assert_eq!((first.slot, second.slot, third.slot), (0, 1, 2));
    net.ring.apply(Action::Close(second));
    let (mut d, fourth) = net.connect();
    assert_eq!(fourth.slot, second.slot);
    assert_ne!(fourth.generation, second.generation);
    d.write_all(b"hello").unwrap();
    net.until(|ear| ear.seen.contains(&SocketEvent::Bytes(fourth, b"hello".to_vec())));
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once_and_places_come_back() {
    let mut net = Loopback::new(1);
    let (_a, first) = net.connect();
    let mut beyond = TcpStream::connect(net.addr).unwrap();
    net.rest();
    assert!(matches!(beyond.read(&mut [0; 1]), Ok(0) | Err(_)));
    net.ring.apply(Action::Close(first));
    let (_b, second) = net.connect();
    assert_eq!(second.slot, first.slot);
}

#[test]
fn shards_share_the_places_of_the_process() {
    let places = Arc::new(Places::new(1));
    let (mut one, mut other) = (Loopback::with(places.clone()), Loopback::with(places));
    let (_a, first) = one.connect();
    let mut beyond = TcpStream::connect(other.addr).unwrap();
    other.rest();
    assert!(matches!(beyond.read(&mut [0; 1]), Ok(0) | Err(_)));
    one.ring.apply(Action::Close(first));
    let _b = other.connect();
}

#[test]
fn the_end_of_a_stream_and_a_reset_are_told_apart() {
    let mut net = Loopback::new(16);
    let (mut a, first) = net.connect();
    let (b, second) = net.connect();
    a.write_all(b"last words").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    SockRef::from(&b).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b);
    net.until(|ear| {
        ear.seen.contains(&SocketEvent::Eof(first)) && ear.seen.contains(&SocketEvent::Broken(second))
    });
    assert_eq!(net.heard(first), b"last words");
    assert!(net.send(&[one(first, b"answer")]).is_empty(), "one half is closed, the other is not");
    a.read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn a_peer_sees_the_end_when_we_close_although_a_receive_is_armed() {
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    net.ring.apply(Action::WatchWritable(conn));
    net.ring.apply(Action::Close(conn));
    net.rest();
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(net.ear.seen, [SocketEvent::Open(0)], "what comes after the close is stale and vanishes");
}

#[test]
fn a_finished_connection_still_listens() {
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    net.ring.apply(Action::Finish(conn));
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    peer.write_all(b"bye").unwrap();
    net.until(|ear| ear.seen.contains(&SocketEvent::Bytes(conn, b"bye".to_vec())));
}

#[test]
fn a_paused_connection_is_quiet_until_it_is_resumed() {
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    net.ring.apply(Action::Pause(conn));
    net.rest();
    peer.write_all(b"later").unwrap();
    net.rest();
    assert_eq!(net.heard(conn), b"");
    net.ring.apply(Action::Resume(conn));
    net.until(|ear| ear.seen.contains(&SocketEvent::Bytes(conn, b"later".to_vec())));
}

#[test]
fn pausing_and_resuming_at_any_moment_loses_no_byte() {
    let mut net = Loopback::new(16);
    let (peer, conn) = net.connect();
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
        assert!(start.elapsed() < PATIENCE, "stalled at {}", heard.len());
        for _ in 0..rng.u32(0..4) {
            net.ring.apply(if rng.bool() { Action::Pause(conn) } else { Action::Resume(conn) });
        }
        net.ring.wait(Some(MS));
        net.ring.drain(0, &mut net.ear);
        heard.extend(net.heard(conn));
        net.ear.seen.clear();
    }
    assert!(heard.iter().enumerate().all(|(i, &byte)| byte == (i % 251) as u8));
    drop(writer.join().unwrap());
}

#[test]
fn every_send_is_answered_at_once_and_in_order_be_it_short_refused_or_broken() {
    let mut net = Loopback::new(64);
    let peers: Vec<_> = (0..8).map(|_| net.connect()).collect();
    let conns: Vec<ConnId> = peers.iter().map(|(_, conn)| *conn).collect();
    stuff(&mut net, conns[2]);
    net.ring.apply(Action::Close(conns[5]));
    let long = vec![7; 64 << 20];
    let mut batch: Vec<Due<'_>> = conns.iter().map(|&conn| one(conn, b"frame")).collect();
    // Long here too: the kernel may find room for a few bytes between two sends.
    batch[2] = one(conns[2], &long);
    batch[6] = one(conns[6], &long);
    let short = net.send(&batch);
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
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    let pieces: Vec<Vec<u8>> = (0..900u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let runs: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    // Ten of these need more headers than one submission has.
    let batch = vec![Due { slot: conn.slot, bytes: Slices::Many(&runs) }; 10];
    assert!(net.send(&batch).is_empty());
    let mut got = vec![0; 10 * 3600];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, pieces.concat().repeat(10));
}

#[test]
fn a_batch_larger_than_the_queue_goes_out_whole() {
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    let frames: Vec<[u8; 4]> = (0..ENTRIES * 3 + 7).map(u32::to_be_bytes).collect();
    let batch: Vec<Due<'_>> = frames.iter().map(|frame| one(conn, frame)).collect();
    assert!(net.send(&batch).is_empty());
    let mut got = vec![0; frames.len() * 4];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, frames.concat());
}

#[test]
fn what_arrives_during_a_send_is_kept_in_order() {
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    let mut sent = Vec::new();
    for round in 0..200u32 {
        peer.write_all(&round.to_be_bytes()).unwrap();
        sent.extend(round.to_be_bytes());
        assert!(net.send(&[one(conn, b"x")]).is_empty());
        if round % 50 == 49 {
            net.ring.drain(0, &mut net.ear);
        }
    }
    net.until(|ear| ear.seen.iter().filter(|seen| matches!(seen, SocketEvent::Bytes(..))).count() > 0);
    let start = Instant::now();
    while net.heard(conn).len() < sent.len() && start.elapsed() < PATIENCE {
        net.rest();
    }
    assert_eq!(net.heard(conn), sent);
}

#[test]
fn more_readers_than_buffers_are_all_heard() {
    let count = buffers::COUNT as usize * 3;
    let mut net = Loopback::new(count as u32);
    let peers: Vec<_> = (0..count).map(|_| net.connect()).collect();
    let payload = vec![9; buffers::BYTES * 3];
    for (peer, _) in &peers {
        (&*peer).write_all(&payload).unwrap();
    }
    let total = count * payload.len();
    let heard = |ear: &Ear| {
        ear.seen
            .iter()
            .map(|seen| if let SocketEvent::Bytes(_, bytes) = seen { bytes.len() } else { 0 })
            .sum::<usize>()
    };
    net.until(|ear| heard(ear) == total);
    for (_, conn) in peers {
        assert_eq!(net.heard(conn).len(), payload.len());
    }
}

#[test]
fn bytes_for_closed_connections_give_their_buffers_back() {
    let mut net = Loopback::new(4);
    for _ in 0..buffers::COUNT * 3 {
        let (mut peer, conn) = net.connect();
        peer.write_all(b"unheard").unwrap();
        // Let the receive take a buffer, then close before its answer is looked at.
        net.ring.poll();
        net.ring.apply(Action::Close(conn));
    }
    net.ear.seen.clear();
    let (mut peer, conn) = net.connect();
    peer.write_all(b"heard").unwrap();
    net.until(|ear| ear.seen.contains(&SocketEvent::Bytes(conn, b"heard".to_vec())));
    assert_eq!(net.ear.seen.len(), 2, "stale bytes vanish: {:?}", net.ear.seen);
}

#[test]
fn a_watched_socket_reports_once_when_it_drains() {
    let mut net = Loopback::new(16);
    let (mut peer, conn) = net.connect();
    let taken = stuff(&mut net, conn);
    net.ring.apply(Action::WatchWritable(conn));
    net.rest();
    assert!(!net.ear.seen.contains(&SocketEvent::Writable(conn)), "it is full");
    peer.read_exact(&mut vec![0; taken]).unwrap();
    net.until(|ear| ear.seen.contains(&SocketEvent::Writable(conn)));
    net.rest();
    assert_eq!(net.ear.seen.iter().filter(|seen| **seen == SocketEvent::Writable(conn)).count(), 1);
}

/// Runs a test that would hang, were it not for this: it fails once patience is at its end.
fn patiently(test: impl FnOnce() + Send + 'static) {
    let (tell, told) = bounded(1);
    let thread = std::thread::spawn(move || {
        test();
        // Nobody listens any more if patience was at its end.
        let _ = tell.send(());
    });
    match told.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => panic!("never ended"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => thread.join().unwrap(),
    }
}

#[test]
fn a_sleeping_ring_is_woken_by_another_thread_each_time() {
    patiently(|| {
        let mut net = Loopback::new(16);
        for round in 0..100 {
            let notifier = net.notifier.clone();
            let woken = Arc::new(AtomicBool::new(false));
            net.ring.drain(0, &mut net.ear);
            net.ring.poll();
            net.notifier.announce_sleep();
            let wakes = woken.clone();
            let waker = std::thread::spawn(move || {
                // Now and then it surely sleeps by then.
                std::thread::sleep(Duration::from_millis(if round % 10 == 0 { 20 } else { 0 }));
                wakes.store(true, Ordering::Release);
                notifier.notify();
            });
            net.ring.wait(if round % 2 == 0 { None } else { Some(3_600_000 * MS) });
            assert!(woken.load(Ordering::Acquire), "woke before it was woken");
            net.notifier.awake();
            waker.join().unwrap();
        }
    });
}

#[test]
fn a_wait_ends_at_its_timeout() {
    patiently(|| {
        let mut net = Loopback::new(16);
        for timeout in [0, 1, 20 * MS, 1001 * MS] {
            net.ring.poll();
            net.ring.drain(0, &mut net.ear);
            net.ring.wait(Some(timeout));
        }
        assert!(net.ear.seen.is_empty(), "nothing but the timeout can have ended them");
    });
}

#[test]
fn closed_listeners_refuse() {
    let mut net = Loopback::new(16);
    let (_peer, _) = net.connect();
    net.ring.close_listeners();
    net.rest();
    assert_eq!(TcpStream::connect(net.addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
