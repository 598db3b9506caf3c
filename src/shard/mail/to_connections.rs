//! Mail to a shard as the home of connections.

use crate::base::id::ConnId;
use crate::flow::encode::frame::Frame;
use crate::flow::fanout::pool::PoolId;
use crate::flow::state::scan::{Chunk, ScanId};
use crate::shard::mail::answer::Answer;
use crate::shard::mail::question::ConnectionsQuestion;
use crate::shard::mail::subscription::{JoinDenied, Joined, Mark};
use crate::shard::mail::user::{Departure, Reservation, Session};
use std::sync::Arc;

/// What a shard is told about its connections.
#[derive(Debug)]
pub enum ToConnections {
    /// The answer to a question.
    Answer(Answer),
    /// A question about your connections, of a connection of the sender.
    Ask {
        /// The connection that waits for the response.
        conn: ConnId,
        /// The question.
        question: ConnectionsQuestion,
    },
    /// The state of a subject; what comes for the pool behind this is the very next change.
    Joined(Joined),
    /// A subscription is refused.
    Denied(Box<JoinDenied>),
    /// A frame for all members of a pool.
    Frame {
        /// The pool.
        pool: PoolId,
        /// The frame.
        frame: Frame,
        /// What it is about.
        mark: Mark,
    },
    /// Who may hear a channel has changed. Whoever only listens to it has to ask again.
    AccessChanged {
        /// The channel.
        channel: Arc<str>,
        /// The only user concerned; everybody if it is none.
        user: Option<Arc<str>>,
    },
    /// Who may know how a user shows itself has changed. Whoever watches it has to ask again.
    SightChanged {
        /// The pool of those who watch it.
        pool: PoolId,
        /// The user.
        user: Arc<str>,
    },
    /// What the user of a connection may know of others has changed: it has to ask again for all that it watches.
    RoomsChanged {
        /// The connection.
        conn: ConnId,
    },
    /// A connection's user holds too much: the connection, or one channel of it, has to be given up.
    QuotaExceeded {
        /// The connection.
        conn: ConnId,
        /// The channel; none if it is the connection itself.
        channel: Option<Arc<str>>,
    },
    /// What a connection gets of the session that it asked for.
    Resumed {
        /// The connection.
        conn: ConnId,
        /// The session; none if there is none.
        session: Option<Box<Session>>,
    },
    /// The session of a connection goes on at another one.
    SessionTaken {
        /// The connection that had it.
        conn: ConnId,
    },
    /// A user's owner answers `ToOwner::Reserve`.
    Reserved {
        /// The connection.
        conn: ConnId,
        /// The answer.
        reservation: Box<Reservation>,
    },
    /// A connection is in a room no more.
    Departed {
        /// The connection.
        conn: ConnId,
        /// The room.
        room: Arc<str>,
        /// Why.
        departure: Box<Departure>,
    },
    /// A chunk of a scan.
    Chunk {
        /// The scan.
        scan: ScanId,
        /// The chunk.
        chunk: Box<Chunk>,
    },
}
