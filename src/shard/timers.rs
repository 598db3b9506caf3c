//! What is to be done at a moment, on which side of a shard.

/// What is to be done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// By the connections' side.
    Connections(ConnectionTimer),
    /// By the owner's side.
    Owner(OwnerTimer),
}

/// What the connections' side does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionTimer {
    /// Look after every connection.
    Rounds,
    /// Let paced streams go on.
    Streams,
    /// Let paced subscriptions go on.
    Pace,
}

/// What the owner's side does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerTimer {
    /// Tell the time, and forget what nobody needs any more.
    Tick,
    /// Tell what has changed around rooms.
    Rooms,
    /// Look whether users are missed.
    Users,
}
