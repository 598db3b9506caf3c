//! The simulated world: N shards, lanes with delays, sockets that fill up and stall, virtual time, one seed.

mod channels;
mod client;
mod documents;
mod doors;
mod endings;
mod events;
mod eventsource;
mod hub;
mod pressure;
mod properties;
mod rooms;
mod routes;
mod streams;

use crate::base::id::{ConnId, ShardId};
use crate::base::time::Now;
use crate::flow::limits::Limits;
use crate::shard::Shard;
use crate::shard::io::{Action, Came, Door, Due, Short, Slices, Sockets};
use crate::shard::mail::Mail;
use fastrand::Rng;
use std::collections::VecDeque;
use std::sync::Arc;

/// One socket as the kernel would have it.
#[derive(Debug, Default)]
struct Socket {
    conn: Option<ConnId>,
    /// Bytes that the server has sent and the client has not read.
    wire: VecDeque<u8>,
    /// How many bytes fit on the wire.
    room: usize,
    watched: bool,
    finished: bool,
    paused: bool,
    /// Bytes of the client that were not delivered because reading is paused.
    pending: Vec<u8>,
}

struct Wires<'a>(&'a mut Vec<Socket>);

impl Sockets for Wires<'_> {
    fn send(&mut self, batch: &[Due<'_>], short: &mut Vec<Short>) {
        for (index, due) in batch.iter().enumerate() {
            let socket = &mut self.0[due.slot as usize];
            let bytes = match due.bytes {
                Slices::One(run) => run.to_vec(),
                Slices::Many(runs) => runs.concat(),
            };
            let free = socket.room.saturating_sub(socket.wire.len());
            let n = bytes.len().min(free);
            socket.wire.extend(&bytes[..n]);
            if n < bytes.len() {
                short.push(Short { index: index as u32, came: Came::Part(n) });
            }
        }
    }
}

/// The world.
struct World {
    rng: Rng,
    now: Now,
    shards: Vec<Shard>,
    /// `lanes[from][to]`
    lanes: Vec<Vec<VecDeque<Vec<Mail>>>>,
    sockets: Vec<Vec<Socket>>,
    /// What the server sent before it closed, by connection; where it had not read everything, nothing (a reset).
    left: Vec<(usize, ConnId, VecDeque<u8>)>,
}

/// A client's end of a connection.
#[derive(Clone, Copy, Debug)]
struct Line {
    shard: usize,
    slot: usize,
    conn: ConnId,
}

impl World {
    fn new(seed: u64, shards: u16, limits: Limits) -> World {
        let now = Now { mono: 1, wall: 1_700_000_000_000_000_000 };
        let limits = Arc::new(limits);
        let each = || (0..shards).map(ShardId);
        World {
            rng: Rng::with_seed(seed),
            now,
            shards: each().map(|id| Shard::new(id, shards, limits.clone(), "0".into(), now)).collect(),
            lanes: each().map(|_| each().map(|_| VecDeque::new()).collect()).collect(),
            sockets: each().map(|_| Vec::new()).collect(),
            left: Vec::new(),
        }
    }

    fn connect(&mut self, door: Door, room: usize) -> Line {
        let shard = self.rng.usize(0..self.shards.len());
        let sockets = &mut self.sockets[shard];
        let slot = sockets.iter().position(|s| s.conn.is_none()).unwrap_or(sockets.len());
        if slot == sockets.len() {
            sockets.push(Socket::default());
        }
        let conn = self.shards[shard].handle_open(self.now, slot as u32, door);
        self.sockets[shard][slot] = Socket { conn: Some(conn), room, ..Socket::default() };
        Line { shard, slot, conn }
    }

    fn socket(&mut self, line: Line) -> Option<&mut Socket> {
        Some(&mut self.sockets[line.shard][line.slot]).filter(|s| s.conn == Some(line.conn))
    }

    fn say(&mut self, line: Line, bytes: &[u8]) {
        let now = self.now;
        let Some(socket) = self.socket(line) else { return };
        if socket.paused {
            socket.pending.extend_from_slice(bytes);
        } else {
            self.shards[line.shard].handle_bytes(now, line.conn, bytes);
        }
    }

    /// What the client reads: everything that is there. `None` once the server has closed and all is read.
    fn hear(&mut self, line: Line) -> Option<Vec<u8>> {
        if let Some(at) =
            self.left.iter().position(|(shard, conn, _)| (*shard, *conn) == (line.shard, line.conn))
        {
            return Some(self.left.swap_remove(at).2.into());
        }
        Some(self.socket(line)?.wire.drain(..).collect())
    }

    /// The client says nothing more, and reads on.
    fn half_close(&mut self, line: Line) {
        let now = self.now;
        let socket = self.socket(line).expect("an open line");
        assert!(!socket.paused, "an end behind bytes that wait is not simulated");
        self.shards[line.shard].handle_eof(now, line.conn);
    }

    fn hang_up(&mut self, line: Line) {
        let now = self.now;
        if self.socket(line).is_some() {
            self.shards[line.shard].handle_broken(now, line.conn);
        }
    }

    /// One turn of one shard: some of its mail, then what is due.
    fn turn(&mut self, at: usize) -> bool {
        self.now.mono += self.rng.u64(0..50_000);
        self.now.wall += self.rng.u64(0..50_000);
        let mut busy = false;
        for from in 0..self.shards.len() {
            for _ in 0..self.rng.usize(0..3) {
                let Some(mail) = self.lanes[from][at].pop_front() else { break };
                self.shards[at].handle_mail(self.now, ShardId(from as u16), mail);
                busy = true;
            }
        }
        if self.shards[at].poll_deadline().is_some_and(|due| due <= self.now.mono) {
            self.shards[at].handle_time(self.now);
        }
        for slot in 0..self.sockets[at].len() {
            let socket = &mut self.sockets[at][slot];
            if socket.watched && socket.wire.len() < socket.room {
                socket.watched = false;
                let conn = socket.conn.expect("watched");
                self.shards[at].handle_writable(self.now, conn);
                busy = true;
            }
        }
        busy |= self.shards[at].poll_flush(self.now, &mut Wires(&mut self.sockets[at]));
        while let Some(action) = self.shards[at].poll_action() {
            self.act(at, action);
            busy = true;
        }
        for to in 0..self.shards.len() {
            if let Some(mail) = self.shards[at].poll_mail(ShardId(to as u16)) {
                self.lanes[at][to].push_back(mail);
                busy = true;
            }
        }
        busy
    }

    fn act(&mut self, at: usize, action: Action) {
        let (Action::Close(conn)
        | Action::Finish(conn)
        | Action::Pause(conn)
        | Action::Resume(conn)
        | Action::WatchWritable(conn)) = action;
        let socket = &mut self.sockets[at][conn.slot as usize];
        assert_eq!(socket.conn, Some(conn), "{action:?} for a connection that is gone");
        match action {
            Action::Close(_) => {
                let socket = std::mem::take(socket);
                let sent = if socket.pending.is_empty() { socket.wire } else { VecDeque::new() };
                self.left.push((at, conn, sent));
            }
            Action::Finish(_) => socket.finished = true,
            Action::Pause(_) => socket.paused = true,
            Action::WatchWritable(_) => socket.watched = true,
            Action::Resume(_) => {
                socket.paused = false;
                let pending = std::mem::take(&mut socket.pending);
                if !pending.is_empty() {
                    self.shards[at].handle_bytes(self.now, conn, &pending);
                }
            }
        }
    }

    /// Lets every shard work, in random order, a few times.
    fn work(&mut self, turns: usize) {
        for _ in 0..turns {
            let at = self.rng.usize(0..self.shards.len());
            self.turn(at);
        }
    }

    /// Until nothing happens any more. Clients must read meanwhile: `read` is called after each round.
    fn settle(&mut self, mut read: impl FnMut(&mut World)) {
        for round in 0.. {
            assert!(round < 100_000, "the world does not come to rest");
            let busy = (0..self.shards.len()).fold(false, |busy, at| self.turn(at) | busy);
            read(self);
            let mail = self.lanes.iter().flatten().any(|lane| !lane.is_empty());
            let wire = self.sockets.iter().flatten().any(|s| s.watched);
            if !busy && !mail && !wire {
                return;
            }
        }
    }
}
