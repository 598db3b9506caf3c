//! One connection: what it speaks, what it has asked for, what it is subscribed to. An idle one is this record and
//! nothing else.

pub mod bucket;
pub mod events;
pub mod feed;
pub mod http;
pub mod hub;
pub mod import;
pub mod listing;
pub mod memberships;
pub mod pending;
pub mod response_part;
pub mod stream;
pub mod writer;

use crate::flow::encode::frame::Dialect;
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::Access;
use crate::wire::ws::Decoder;
use smallvec::SmallVec;

/// One connection of a shard.
#[derive(Debug)]
pub struct Conn {
    /// What it may do without a token.
    pub access: Access,
    /// What it speaks at the moment.
    pub phase: Phase,
    /// What it is subscribed to.
    pub subs: SmallVec<[Sub; 2]>,
    /// When it last gave a sign of life (nanoseconds, monotonic).
    pub heard: u64,
    /// When it is next to be looked after: pinged, or given up.
    pub due: u64,
    /// Since when its socket has been full without taking a byte; 0 if it is not.
    pub stuck: u64,
    /// What it is on the hub beyond a plain listener; `None` until it shows that.
    pub hub: Option<Box<hub::Hub>>,
    /// Whether reading from it is paused.
    pub paused: bool,
    /// Whether the peer has said that it will send nothing more.
    pub ended: bool,
}

/// What a connection speaks.
#[derive(Debug)]
pub enum Phase {
    /// Requests.
    Http(Box<http::Http>),
    /// The feed.
    Feed(Box<feed::Feed>),
    /// WebSocket.
    Socket(Decoder, Dialect),
    /// Server-sent events.
    Events(Box<events::Events>),
    /// Nothing any more: the last bytes are on their way, then it closes.
    Closing,
}

/// One subscription.
#[derive(Debug)]
pub struct Sub {
    /// The pool.
    pub pool: PoolId,
    /// How far it is.
    pub stage: Stage,
    /// Where its documents stood when it fell behind (an owner's stamp); 0 if it has none.
    pub since: u64,
}

/// How far a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asked for; the state comes with this number.
    Waiting(u32),
    /// A member of the pool, at this place.
    Member(u32),
    /// Fell behind: it is asked for again when the socket has drained.
    Behind,
}
