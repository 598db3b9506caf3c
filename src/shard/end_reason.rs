//! Why connections end, as it is counted.

/// Why a connection was closed by us, or found closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The peer went, politely or not.
    Gone,
    /// It broke the protocol.
    Violation,
    /// It took no byte for `[conn] write_timeout`.
    WriteTimeout,
    /// It gave no sign of life for `[ooo] pong_timeout`.
    PingTimeout,
    /// Its request did not come in time.
    RequestTimeout,
    /// Replies piled up that it did not read.
    Slow,
    /// The server stops.
    Stopping,
    /// A streamed answer could not go on: its documents changed too much meanwhile.
    Aborted,
    /// Its user had as many connections as one may have.
    TooManyConnections,
}

impl EndReason {
    /// All of them, each at its own number.
    pub const ALL: [EndReason; 9] = [
        EndReason::Gone,
        EndReason::Violation,
        EndReason::WriteTimeout,
        EndReason::PingTimeout,
        EndReason::RequestTimeout,
        EndReason::Slow,
        EndReason::Stopping,
        EndReason::Aborted,
        EndReason::TooManyConnections,
    ];
    /// What they are called in metrics.
    pub const LABELS: [&str; 9] = [
        "gone",
        "violation",
        "write_timeout",
        "ping_timeout",
        "request_timeout",
        "slow",
        "stopping",
        "aborted",
        "too_many_connections",
    ];
}

// a reason without a counter must not compile
const _: () = assert!(EndReason::ALL.len() == EndReason::TooManyConnections as usize + 1);
