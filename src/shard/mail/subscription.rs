//! Subscriptions: what is asked of the owner of a subject, and what it answers.

use crate::base::id::ConnId;
use crate::base::offset::Offset;
use crate::flow::encode::frame::{Frame, Variant};
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::identity::Actor;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::flow::state::room::Refusal;
use crate::wire::key::Key;
use std::sync::Arc;

/// A subscription on its way to an owner.
#[derive(Debug)]
pub struct Join {
    /// The pool that wants the changes.
    pub pool: PoolId,
    /// What it is about.
    pub subject: Subject,
    /// In which variant.
    pub variant: Variant,
    /// The connection that wants the state.
    pub conn: ConnId,
    /// Tells this request from earlier ones of that connection.
    pub ticket: u32,
    /// What the connection has.
    pub has: Position,
    /// Who it is, as a listener.
    pub actor: Actor,
    /// Whether the user enters the room by this, as a member.
    pub enter: bool,
}

impl Join {
    /// The answer without a state, at `at`.
    pub fn joined(&self, at: Reach) -> Joined {
        let Join { pool, conn, ticket, .. } = *self;
        Joined { pool, conn, ticket, at, count: 0, gap: false, state: None, batch: None }
    }

    /// The answer that refuses it.
    pub fn denied(&self, refusal: Refusal) -> JoinDenied {
        let Join { pool, conn, ticket, .. } = *self;
        JoinDenied { pool, conn, ticket, refusal }
    }
}

/// A subscription that is refused.
#[derive(Debug)]
pub struct JoinDenied {
    /// The pool.
    pub pool: PoolId,
    /// The connection that wanted to be in it.
    pub conn: ConnId,
    /// Its number for the request.
    pub ticket: u32,
    /// Why not.
    pub refusal: Refusal,
}

/// The answer to a `Join`.
#[derive(Debug)]
pub struct Joined {
    /// The pool.
    pub pool: PoolId,
    /// The connection that wanted the state.
    pub conn: ConnId,
    /// Its number for the request.
    pub ticket: u32,
    /// How far the state is.
    pub at: Reach,
    /// How many keys' state there is.
    pub count: u32,
    /// Whether something was missed that cannot be made up for: deletions that are forgotten, publications too.
    pub gap: bool,
    /// The state; `None` if there is nothing to say.
    pub state: Option<Frame>,
    /// Where the state is a stretch of a channel's past: what is in it, for all who are late at the same place.
    pub batch: Option<Arc<HistoryBatch>>,
}

/// A stretch of a channel's past, as much of it as may be sent at a time.
#[derive(Clone, Debug)]
pub struct HistoryBatch {
    /// Where each publication ends in the run of bytes, and how far it brings the reader.
    pub marks: Vec<(usize, Offset)>,
    /// Behind what it begins.
    pub since: Reach,
    /// How far it brings the reader: to its last publication, or to one behind it that the reader does not want.
    pub reach: Reach,
    /// For readers of a route: what they call the last publication that there is.
    pub last: Option<Box<str>>,
    /// Whether there is more: it is to be asked for when this is sent, and nothing follows by itself.
    pub more: bool,
}

/// What a frame is about, for those who have to know without reading it.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The key of a document of the native dialect.
    pub key: Option<Key>,
    /// How far it brings the subject: its version, or the offset of a publication.
    pub at: Reach,
}
