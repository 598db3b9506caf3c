//! Simulated sockets: bytes fit until the buffer is full, and what does not fit comes short.

use fanfare::base::id::ConnId;
use fanfare::shard::io::{Came, Due, Short, Slices, Sockets};
use std::collections::VecDeque;

/// One socket as the kernel would have it.
#[derive(Debug, Default)]
pub struct Socket {
    /// The connection that has it; `None` once it is closed.
    pub conn: Option<ConnId>,
    /// Bytes that the server has sent and the client has not read.
    pub wire: VecDeque<u8>,
    /// How many bytes fit on the wire.
    pub capacity: usize,
    /// Whether the shard wants to hear when there is space again.
    pub watched: bool,
    /// Whether the server has shut its sending side down.
    pub finished: bool,
    /// Whether the server reads nothing at the moment.
    pub paused: bool,
    /// Bytes of the client that were not delivered because reading is paused.
    pub pending: Vec<u8>,
}

/// The sockets of one shard, by slot, as something to send with.
#[derive(Debug)]
pub struct Kernel<'a>(pub &'a mut [Socket]);

impl Sockets for Kernel<'_> {
    fn send(&mut self, batch: &[Due<'_>], short: &mut Vec<Short>) {
        for (index, due) in batch.iter().enumerate() {
            let socket = &mut self.0[due.slot as usize];
            let bytes = match due.bytes {
                Slices::One(run) => run.to_vec(),
                Slices::Many(runs) => runs.concat(),
            };
            let free = socket.capacity.saturating_sub(socket.wire.len());
            let n = bytes.len().min(free);
            socket.wire.extend(&bytes[..n]);
            if n < bytes.len() {
                short.push(Short { index: index as u32, came: Came::Part(n) });
            }
        }
    }
}
