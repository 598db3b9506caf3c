//! The seam between a shard and whoever moves its bytes: the runtime's ring, or the simulator.

use crate::base::id::ConnId;
pub use crate::flow::fanout::sockets::{Came, Due, Short, Slices, Sockets};

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The clients' listener number `n`, in the order of `--listen`.
    Clients(u8),
    /// The Unix socket of the feed.
    Feed,
}

/// What a shard wants done to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close it now, both ways. The shard has forgotten it already.
    Close(ConnId),
    /// No more bytes from us: shut down the write side.
    Finish(ConnId),
    /// Stop reading from it; what is already read may still come.
    Pause(ConnId),
    /// Read from it again.
    Resume(ConnId),
    /// Say `handle_writable` once, as soon as the socket takes bytes.
    WatchWritable(ConnId),
}
