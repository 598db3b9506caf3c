//! Mail to a shard as an owner: of documents, channels, lists, rooms, users and sessions.

use crate::base::id::{ConnId, ShardId};
use crate::base::slab::Id;
use crate::base::stamp::Stamp;
use crate::flow::fanout::pool::PoolId;
use crate::flow::filter::select::Select;
use crate::flow::limits::route::RouteId;
use crate::flow::request::write::{SweepId, Write};
use crate::flow::route::subject::Subject;
use crate::flow::state::item::Item;
use crate::flow::state::list::ListChange;
use crate::flow::state::presence::Shown;
use crate::flow::state::scan::ScanId;
use crate::shard::mail::question::Question;
use crate::shard::mail::subscription::Join;
use crate::shard::mail::user::{MembershipUpdate, QuotaChange, SessionUpdate};
use crate::wire::key::{Key, Pattern};
use std::sync::Arc;

/// What an owner is told or asked.
#[derive(Debug)]
pub enum ToOwner {
    /// A question of a connection of the sender.
    Ask(Question),
    /// A question that the owner of a user sends on.
    Forwarded {
        /// The shard of the connection, which gets the answer.
        asker: ShardId,
        /// The question.
        question: Box<Question>,
    },
    /// A connection of the sender wants the state of a subject, and its pool every change after that.
    Join(Box<Join>),
    /// A pool of the sender is gone.
    Leave {
        /// The pool.
        pool: PoolId,
        /// What it was about.
        subject: Subject,
    },
    /// A route has one reader less.
    LeaveRoute {
        /// The route.
        route: RouteId,
        /// The reader's user.
        user: Option<Arc<str>>,
    },
    /// A connection of the sender takes something in a user's name, or gives it back.
    Quota {
        /// The user.
        user: Arc<str>,
        /// The connection.
        conn: ConnId,
        /// What it takes or gives back.
        change: QuotaChange,
    },
    /// A connection of the sender tells something of a session.
    Session {
        /// The session.
        session: Stamp,
        /// Whose it is.
        user: Arc<str>,
        /// The connection.
        conn: ConnId,
        /// What it tells.
        update: SessionUpdate,
    },
    /// A connection of the sender wants to enter a room: may its user be in one more?
    Reserve {
        /// The user.
        user: Arc<str>,
        /// The room.
        room: Arc<str>,
        /// The connection.
        conn: ConnId,
    },
    /// A room, or a shard whose connection is gone, says where a user stands with that room.
    Membership {
        /// The user.
        user: Arc<str>,
        /// The room.
        room: Arc<str>,
        /// Where it stands.
        update: MembershipUpdate,
    },
    /// A user shows itself so now, as its owner tells a room.
    Presence {
        /// The room.
        room: Arc<str>,
        /// The user.
        user: Arc<str>,
        /// How it shows itself.
        shown: Shown,
    },
    /// A connection of the sender is in a room no more.
    Absent {
        /// The room.
        room: Arc<str>,
        /// The connection's user.
        user: Arc<str>,
        /// The connection.
        conn: ConnId,
    },
    /// A list of the sender wants the documents of a pattern, and every change after that.
    Follow {
        /// The list.
        list: Id,
        /// The pattern.
        pattern: Pattern,
    },
    /// A list of the sender is gone.
    Unfollow {
        /// The list.
        list: Id,
        /// Its pattern.
        pattern: Pattern,
    },
    /// The documents that a list of yours follows.
    Followed {
        /// The list.
        list: Id,
        /// The documents.
        items: Vec<Arc<Item>>,
    },
    /// A document that a list of yours follows has changed.
    Moved {
        /// The list.
        list: Id,
        /// The change.
        change: ListChange,
    },
    /// Documents that a list of yours follows have changed in one batch: its watchers see all of it at once.
    MovedTogether {
        /// The list.
        list: Id,
        /// The changes, in their order.
        changes: Vec<ListChange>,
    },
    /// The sender has done its part of a glob delete.
    Swept {
        /// Which one.
        sweep: SweepId,
        /// What is gone, and the versions at which it went.
        gone: Arc<[(Key, Stamp)]>,
    },
    /// A limited list has pushed a document out: delete it, if it still is at this version.
    Evict {
        /// The document.
        key: Key,
        /// The version that the list saw.
        version: Stamp,
    },
    /// Open a scan, and give its first chunk.
    OpenScan {
        /// What it is called.
        scan: ScanId,
        /// Which documents it reads.
        select: Arc<Select>,
        /// How many documents a chunk has at most.
        most: u32,
    },
    /// Give the next chunk of a scan.
    NextChunk {
        /// The scan.
        scan: ScanId,
        /// How many documents it has at most.
        most: u32,
    },
    /// Nobody reads this scan any more.
    CloseScan {
        /// The scan.
        scan: ScanId,
    },
    /// Your part of the batch under way: can it be done? No other write may come between this and the decision.
    Prepare {
        /// The writes, in their order.
        part: Vec<Write>,
    },
    /// The decision about the batch under way.
    Decide {
        /// Whether it is done, or forgotten.
        commit: bool,
    },
}
