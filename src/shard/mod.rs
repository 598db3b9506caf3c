//! Floor 3: one core's whole world. `handle_*` takes what happened, `poll_*` gives what is to be done.

pub mod io;
pub mod mail;

use crate::base::id::{ConnId, ShardId};
use crate::base::time::Now;
use io::{Action, Door, Sockets};
use mail::Mail;

/// One shard: its connections, pools, documents and routes. Call order within a turn: any number of `handle_*`, then
/// `poll_flush` (once, or again while it says that more is due), then `poll_action` and `poll_mail` until empty.
pub struct Shard {}

impl Shard {
    /// A connection was accepted at `door` into `slot`. The answer names it from now on.
    pub fn handle_open(&mut self, _now: Now, _slot: u32, _door: Door) -> ConnId {
        todo!()
    }
    /// Bytes from the peer, in order. Bytes for a connection that is gone are ignored.
    pub fn handle_bytes(&mut self, _now: Now, _conn: ConnId, _bytes: &[u8]) {}
    /// The peer will send nothing more (it may still read).
    pub fn handle_eof(&mut self, _now: Now, _conn: ConnId) {}
    /// The connection is broken (reset, or any other error of the socket).
    pub fn handle_broken(&mut self, _now: Now, _conn: ConnId) {}
    /// A socket that was watched (`Action::WatchWritable`) takes bytes again.
    pub fn handle_writable(&mut self, _now: Now, _conn: ConnId) {}
    /// Mail from another shard, oldest first.
    pub fn handle_mail(&mut self, _now: Now, _from: ShardId, _mail: Vec<Mail>) {}
    /// Time has passed `poll_deadline`. Harmless at any other moment.
    pub fn handle_time(&mut self, _now: Now) {}

    /// Sends one bounded slice of what is due; true if more is due at once.
    pub fn poll_flush(&mut self, _now: Now, _sockets: &mut impl Sockets) -> bool {
        false
    }
    /// The next thing to do to a socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }
    /// Everything waiting for shard `to`, oldest first; `None` if nothing.
    pub fn poll_mail(&mut self, _to: ShardId) -> Option<Vec<Mail>> {
        None
    }
    /// When `handle_time` is next wanted (`Now::mono`).
    pub fn poll_deadline(&self) -> Option<u64> {
        None
    }
}
