//! One shard with everything but the kernel: a feed line comes in, a frame goes out to each subscriber.

use super::Work;
use super::codec::masked;
use super::fanout::Null;
use fanfare::base::id::{ConnId, ShardId};
use fanfare::base::stamp::Stamp;
use fanfare::base::time::Now;
use fanfare::flow::limits::Limits;
use fanfare::flow::state::item::Item;
use fanfare::shard::Shard;
use fanfare::shard::io::Door;
use fanfare::wire::json::Json;
use fanfare::wire::key::Key;
use std::io::Write as _;
use std::sync::Arc;

const WALL: u64 = 1_700_000_000_000_000_000;

/// A hundred bytes of text.
const X: &str = match str::from_utf8(&[b'x'; 100]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

struct World {
    shard: Shard,
    now: Now,
    sockets: Null,
    slots: u32,
    feed: Option<ConnId>,
    line: Vec<u8>,
    count: usize,
}

impl World {
    fn new() -> World {
        let mut limits = Limits::default();
        // full at once, as that of a server is which has run for a minute
        limits.hub.tail.bytes = 1 << 10;
        let now = Now { mono: 1, wall: WALL };
        let shard = Shard::new(ShardId(0), 1, Arc::new(limits), "0".into(), now);
        let (sockets, line) = (Null::default(), Vec::new());
        let mut world = World { shard, now, sockets, slots: 0, feed: None, line, count: 0 };
        world.feed = Some(world.open(Door::Feed));
        world
    }

    fn open(&mut self, door: Door) -> ConnId {
        self.slots += 1;
        self.shard.handle_open(self.now, self.slots - 1, door)
    }

    fn socket(&mut self, path: &str) -> ConnId {
        let conn = self.open(Door::Clients(0));
        self.upgrade(conn, path);
        conn
    }

    fn upgrade(&mut self, conn: ConnId, path: &str) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.shard.handle_bytes(self.now, conn, request.as_bytes());
        self.turn();
    }

    fn subscribe(&mut self, channel: &str) {
        let conn = self.socket("/ws");
        let frame = masked(format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#).as_bytes());
        self.shard.handle_bytes(self.now, conn, &frame);
        self.turn();
    }

    /// One turn; how many frames left in it.
    fn turn(&mut self) -> usize {
        self.now.mono += 1000;
        self.now.wall += 1000;
        let before = self.sockets.sends;
        while self.shard.poll_flush(self.now, &mut self.sockets) {}
        while self.shard.poll_action().is_some() {}
        self.sockets.sends - before
    }

    /// One line of the feed and the turn that it leads to. `write` is given the number of the line.
    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>, usize)) -> usize {
        self.count += 1;
        self.line.clear();
        write(&mut self.line, self.count);
        self.line.push(b'\n');
        let feed = self.feed.expect("opened at once");
        self.shard.handle_bytes(self.now, feed, &self.line);
        self.turn()
    }

    fn set(&mut self, key: impl FnOnce(usize) -> usize) -> usize {
        self.say(|line, count| {
            let key = key(count);
            write!(line, r#"{{"op":"set","key":"things/{key}","data":{{"count":{count},"text":"{X}"}}}}"#)
                .expect("a Vec takes all");
        })
    }
}

/// A publication of about 100 bytes to the subscribers of one channel.
pub fn publication(subscribers: usize) -> Work {
    let mut world = World::new();
    (0..subscribers).for_each(|_| world.subscribe("news"));
    Box::new(move || {
        let sent = world.say(|line, count| {
            // by hand, because formatting would be counted, too
            line.extend_from_slice(br#"{"op":"publish","channel":"news","data":""#);
            line.extend_from_slice(X.as_bytes());
            line.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            line.extend_from_slice(br#""}"#);
        });
        assert_eq!(sent, subscribers);
        sent
    })
}

/// A document of about 100 bytes changes in one member.
pub fn document(subscribers: usize) -> Work {
    let mut world = World::new();
    for _ in 0..subscribers {
        world.socket("/things/1");
    }
    Box::new(move || {
        let sent = world.set(|_| 1);
        assert_eq!(sent, subscribers);
        sent
    })
}

/// One item of a list changes, and the list has one subscriber.
pub fn list_item(items: usize) -> Work {
    let mut world = World::new();
    for _ in 0..items {
        world.set(|count| count);
    }
    world.socket("/things/*");
    let mut rng = fastrand::Rng::with_seed(1);
    Box::new(move || {
        let sent = world.set(|_| rng.usize(1..=items));
        assert_eq!(sent, 1);
        sent
    })
}

/// A list that has a subscriber gets another one.
pub fn list_join(items: usize) -> Work {
    let mut world = World::new();
    for _ in 0..items {
        world.set(|count| count);
    }
    joined(world, "/things/*", items * X.len())
}

/// A document that has a subscriber gets another one.
pub fn document_join(len: usize) -> Work {
    let mut world = World::new();
    world.say(|line, _| {
        write!(line, r#"{{"op":"set","key":"things/1","data":"{}"}}"#, "x".repeat(len))
            .expect("a Vec takes all");
    });
    joined(world, "/things/1", len)
}

/// Bytes of the value of each document of a stream.
const STREAMED: usize = 400;

fn streamed(count: usize) -> (World, Vec<Arc<Item>>) {
    let mut world = World::new();
    let value = "x".repeat(STREAMED - 2);
    let mut items = Vec::with_capacity(count);
    for i in 0..count {
        let key = format!("things/{i:07}");
        world.say(|line, _| {
            write!(line, r#"{{"op":"set","key":"{key}","data":"{value}"}}"#).expect("a Vec takes all")
        });
        let key = Key::parse(&key).expect("a key");
        items.push(Arc::new(Item::new(key, Stamp::new(WALL), Stamp::ZERO, Json::string(&value))));
    }
    (world, items)
}

/// All documents of a pattern are streamed, from the request to the last chunk.
pub fn stream(count: usize) -> Work {
    let (mut world, _) = streamed(count);
    let conn = world.open(Door::Clients(0));
    // room for chunks in the midst of the heap, as in a server that has lived: at its end each would be given back to
    // the kernel, and faulted in again
    let room: Vec<Vec<u8>> = (0..16).map(|_| vec![1; 40 << 10]).collect();
    let above = Box::new(1);
    drop(room);
    Box::new(move || {
        std::hint::black_box(&above);
        let before = world.sockets.bytes;
        let request = b"GET /_/stream/things/* HTTP/1.1\r\nHost: localhost\r\n\r\n";
        world.shard.handle_bytes(world.now, conn, request);
        world.turn();
        let got = world.sockets.bytes - before;
        assert!(got > count * STREAMED);
        got
    })
}

/// What a stream is compared with: the same documents are copied with their separators, chunk by chunk.
pub fn stream_copy(count: usize) -> Work {
    let (_, items) = streamed(count);
    let limits = Limits::default().stream;
    let mut chunk = Vec::with_capacity(limits.buffer_size);
    Box::new(move || {
        let mut copied = 0;
        for item in &items {
            chunk.push(if copied == 0 && chunk.is_empty() { b'[' } else { b',' });
            item.write(&mut chunk);
            if chunk.len() > limits.chunk_threshold {
                copied += std::hint::black_box(&chunk).len();
                chunk.clear();
            }
        }
        copied + chunk.len()
    })
}

/// A second subscriber comes, gets a snapshot that is there already, of at least `len` bytes, and leaves.
fn joined(mut world: World, path: &'static str, len: usize) -> Work {
    world.socket(path);
    let slot = world.slots;
    Box::new(move || {
        let before = world.sockets.bytes;
        let conn = world.shard.handle_open(world.now, slot, Door::Clients(0));
        world.upgrade(conn, path);
        world.shard.handle_broken(world.now, conn);
        let got = world.sockets.bytes - before;
        assert!(got > len);
        got
    })
}
