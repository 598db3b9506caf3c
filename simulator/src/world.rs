//! The world: shards, the lanes between them, sockets, the time. It turns one shard at a time, in an order that follows
//! from the seed.

use crate::socket::{Kernel, Socket};
use fanfare::base::id::{ConnId, ShardId};
use fanfare::base::time::Now;
use fanfare::flow::limits::Limits;
use fanfare::shard::Shard;
use fanfare::shard::control::{ControlReply, ControlRequest};
use fanfare::shard::inspect::ConnectionInspection;
use fanfare::shard::io::{Action, Door};
use fanfare::shard::mail::Mail;
use fanfare::shard::stats::Stats;
use fastrand::Rng;
use std::collections::VecDeque;
use std::sync::Arc;

/// Batches of mail on their way from one shard to another, oldest first.
type Lane = VecDeque<Vec<Mail>>;

/// The world.
#[derive(Debug)]
pub struct World {
    /// Whatever happens by chance.
    pub rng: Rng,
    /// The time; tests move it on.
    pub now: Now,
    /// The shards.
    pub shards: Vec<Shard>,
    /// The sockets of each shard, by slot.
    pub sockets: Vec<Vec<Socket>>,
    /// `lanes[from][to]`
    lanes: Vec<Vec<Lane>>,
    /// What the server sent before it closed, by connection; where it had not read everything, nothing (a reset).
    closed: Vec<(usize, ConnId, VecDeque<u8>)>,
}

/// A client's end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The shard that it is connected to.
    pub shard: usize,
    /// Its socket there.
    pub slot: usize,
    /// What the shard calls it.
    pub conn: ConnId,
}

impl World {
    /// So many shards with these limits, and nobody connected.
    pub fn new(seed: u64, shards: u16, limits: Limits) -> World {
        let now = Now { mono: 1, wall: 1_700_000_000_000_000_000 };
        let limits = Arc::new(limits);
        let each = || (0..shards).map(ShardId);
        World {
            rng: Rng::with_seed(seed),
            now,
            shards: each().map(|id| Shard::new(id, shards, limits.clone(), "0".into(), now)).collect(),
            sockets: each().map(|_| Vec::new()).collect(),
            lanes: each().map(|_| each().map(|_| Lane::new()).collect()).collect(),
            closed: Vec::new(),
        }
    }

    /// Connects to some shard, with a socket that holds `capacity` unread bytes.
    pub fn connect(&mut self, door: Door, capacity: usize) -> Peer {
        let shard = self.rng.usize(0..self.shards.len());
        let sockets = &mut self.sockets[shard];
        let slot = sockets.iter().position(|s| s.conn.is_none()).unwrap_or(sockets.len());
        if slot == sockets.len() {
            sockets.push(Socket::default());
        }
        let conn = self.shards[shard].handle_open(self.now, slot as u32, door);
        self.sockets[shard][slot] = Socket { conn: Some(conn), capacity, ..Socket::default() };
        Peer { shard, slot, conn }
    }

    /// The server's end; `None` once it is closed.
    pub fn socket(&mut self, peer: Peer) -> Option<&mut Socket> {
        Some(&mut self.sockets[peer.shard][peer.slot]).filter(|s| s.conn == Some(peer.conn))
    }

    /// The client sends.
    pub fn send(&mut self, peer: Peer, bytes: &[u8]) {
        let now = self.now;
        let Some(socket) = self.socket(peer) else { return };
        if socket.paused {
            socket.pending.extend_from_slice(bytes);
        } else {
            self.shards[peer.shard].handle_bytes(now, peer.conn, bytes);
        }
    }

    /// The client reads everything that is there. `None` once the server has closed and all is read.
    pub fn receive(&mut self, peer: Peer) -> Option<Vec<u8>> {
        let of = |(shard, conn, _): &(usize, ConnId, _)| (*shard, *conn) == (peer.shard, peer.conn);
        if let Some(at) = self.closed.iter().position(of) {
            return Some(self.closed.swap_remove(at).2.into());
        }
        Some(self.socket(peer)?.wire.drain(..).collect())
    }

    /// The client sends nothing more, and reads on.
    pub fn half_close(&mut self, peer: Peer) {
        let now = self.now;
        let socket = self.socket(peer).expect("it is open");
        assert!(!socket.paused, "an end behind bytes that wait is not simulated");
        self.shards[peer.shard].handle_eof(now, peer.conn);
    }

    /// The connection breaks.
    pub fn disconnect(&mut self, peer: Peer) {
        let now = self.now;
        if self.socket(peer).is_some() {
            self.shards[peer.shard].handle_broken(now, peer.conn);
        }
    }

    /// One turn of one shard: some of its mail, then what is due. False if there was nothing to do.
    pub fn turn(&mut self, at: usize) -> bool {
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
            if socket.watched && socket.wire.len() < socket.capacity {
                socket.watched = false;
                let conn = socket.conn.expect("watched");
                self.shards[at].handle_writable(self.now, conn);
                busy = true;
            }
        }
        busy |= self.shards[at].poll_flush(self.now, &mut Kernel(&mut self.sockets[at]));
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
                self.closed.push((at, conn, sent));
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

    /// Other limits hold for a shard from now on.
    pub fn replace_limits(&mut self, at: usize, limits: &Arc<Limits>) {
        let request = ControlRequest::ReplaceLimits(limits.clone());
        let reply = self.shards[at].handle_control(self.now, request);
        assert!(matches!(reply, ControlReply::LimitsReplaced));
    }

    /// So many turns, each of some shard.
    pub fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            let at = self.rng.usize(0..self.shards.len());
            self.turn(at);
        }
    }

    /// Until nothing happens any more. Clients must read meanwhile: `read` is called after each round.
    pub fn settle(&mut self, mut read: impl FnMut(&mut World)) {
        for round in 0.. {
            assert!(round < 100_000, "the world does not come to rest");
            let busy = (0..self.shards.len()).fold(false, |busy, at| self.turn(at) | busy);
            read(self);
            let wire = self.sockets.iter().flatten().any(|s| s.watched);
            if !busy && !self.has_mail() && !wire {
                return;
            }
        }
    }

    /// Whether there is mail on its way.
    pub fn has_mail(&self) -> bool {
        self.lanes.iter().flatten().any(|lane| !lane.is_empty())
    }

    /// Bytes of mail on their way from one shard to another, as the shards count them.
    pub fn mail_bytes(&self, from: usize, to: usize) -> usize {
        self.lanes[from][to].iter().flatten().map(Mail::weight).sum()
    }

    /// What each connection costs its shard.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionInspection> {
        self.shards.iter().flat_map(|shard| shard.inspect().connections)
    }

    /// What one of them does; `None` once the shard has forgotten it.
    pub fn connection(&self, peer: Peer) -> Option<ConnectionInspection> {
        self.shards[peer.shard].inspect().connections.into_iter().find(|conn| conn.id == peer.conn)
    }

    /// Bytes that wait in the shard for this connection alone.
    pub fn queued(&self, peer: Peer) -> usize {
        self.connection(peer).map_or(0, |conn| conn.queued)
    }

    /// The sum of a counter over all shards.
    pub fn count(&mut self, of: impl Fn(&Stats) -> u64) -> u64 {
        self.shards.iter_mut().map(|shard| of(shard.stats())).sum()
    }
}
