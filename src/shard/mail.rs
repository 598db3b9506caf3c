//! What shards say to each other. A lane from one shard to another keeps order and loses nothing; what a shard says to
//! itself goes the same way.

use crate::base::id::{ConnId, ShardId};
use crate::base::slab::Id;
use crate::flow::conn::ask::{Answer, Ask, Has, Ticket};
use crate::flow::encode::frame::{Frame, Variant};
use crate::flow::fanout::pool::{PoolId, Subject};
use crate::flow::feed::{Refused, SweepId, Write};
use crate::flow::state::cut::{CutId, Part};
use crate::flow::state::item::Item;
use crate::flow::state::list::Change;
use crate::flow::state::room::Refusal;
use crate::flow::state::select::Select;
use crate::shard::quotas::Holding;
use crate::shard::rooms::{Out, RoomMail};
use crate::shard::sessions::{Session, Telling};
use crate::shard::users::UserMail;
use crate::wire::key::{Key, Pattern};
use std::sync::Arc;

/// One message from a shard to another. The lanes are lossless within a process, so nothing has to be said twice; a
/// reader that must skip frames asks for the state again (`Join`).
#[derive(Debug)]
pub enum Mail {
    /// The sender's clock has come this far; first in every batch.
    Stamp(u64),
    /// A question to an owner, from a connection of the sender.
    Ask(Ticket, Ask),
    /// The answer.
    Answer(Ticket, Answer),
    /// A connection of the sender wants the state of a subject, and its pool every change after that.
    Join(Box<Join>),
    /// The state; what comes for the pool behind this is the very next change.
    Joined(Joined),
    /// A connection of the sender takes something in a user's name, or gives it back.
    Hold(Arc<str>, ConnId, Holding),
    /// Your connection holds too much: it has to go, or that channel of it.
    Over(ConnId, Option<Arc<str>>),
    /// A connection of the sender tells something of a session of this user.
    Session(u64, Arc<str>, ConnId, Telling),
    /// What your connection gets of the session that it wanted; `None`: there is none.
    Resumed(ConnId, Option<Box<Session>>),
    /// The session of your connection goes on elsewhere.
    Yield(ConnId),
    /// One reader of that route less.
    Exit(u8, Option<Arc<str>>),
    /// The subscription is refused.
    Denied(Box<Denied>),
    /// Something for the owner of a user.
    User(Arc<str>, UserMail),
    /// Something for the owner of a room.
    Room(Arc<str>, RoomMail),
    /// A question of a connection of that shard, which is to get the answer; sent on by the owner of a user.
    Forwarded(ShardId, Box<(Ticket, Ask)>),
    /// A user's owner says whether a place in a room is reserved for your connection.
    Reserved(ConnId, Box<(Arc<str>, Arc<str>, bool)>),
    /// Your connection is in that room no more.
    Out(ConnId, Arc<str>, Box<Out>),
    /// Not everybody may hear that channel any more, it being a room; or that user may not. Whoever only listens to it
    /// has to ask again.
    Closed(Arc<str>, Option<Arc<str>>),
    /// A pool of the sender is gone.
    Leave(PoolId, Subject),
    /// A frame for all members of a pool.
    Frame(PoolId, Frame, Mark),
    /// The sender has received and sent on this many bytes of frames.
    Credit(usize),
    /// A list of the sender wants the documents of a pattern, and every change after that.
    Follow(Id, Pattern),
    /// The documents.
    Followed(Id, Vec<Arc<Item>>),
    /// A list of the sender is gone.
    Unfollow(Id, Pattern),
    /// A document that a list follows has changed.
    Moved(Id, Change),
    /// The sender has done its part of a glob delete: these are gone, at these versions.
    Swept(SweepId, Arc<[(Key, u64)]>),
    /// Open a cut, and give its first batch: at most so many documents.
    Open(CutId, Arc<Select>, u32),
    /// The next batch of a cut.
    More(CutId, u32),
    /// A batch.
    Part(CutId, Box<Part>),
    /// Nobody reads this cut any more.
    Shut(CutId),
    /// Delete a document that a limited list has pushed out, if it still is at this version.
    Evict(Key, u64),
    /// Writes that concern several owners, to the shard that runs such batches one after the other; whether it is
    /// only one write, to be answered as such.
    Batch(Ticket, Vec<Write>, bool),
    /// Your part of the batch under way: can it be done? Keep everything else waiting until `Decide`.
    Prepare(Vec<Write>),
    /// It can, or why not.
    Prepared(Result<(), Refused>),
    /// Do it, or forget it.
    Decide(bool),
    /// Done; so many documents were deleted by glob.
    Decided(u32),
}

impl Mail {
    /// The bytes that count toward the receiver's credit: of what a single write can set off without end.
    pub fn weight(&self) -> usize {
        match self {
            Mail::Frame(_, frame, _) => frame.len(),
            Mail::Moved(_, change) => change.item.as_ref().map_or(0, |item| item.text_len()),
            _ => 0,
        }
    }
}

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
    pub has: Has,
    /// Its user.
    pub who: Option<Arc<str>>,
    /// Whether the user enters the room by this, as a member.
    pub enter: bool,
}

/// A subscription that is refused.
#[derive(Debug)]
pub struct Denied {
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
    /// How far the state is: the owner's stamp, or the channel's offset.
    pub at: u64,
    /// How many keys' state there is.
    pub count: u32,
    /// Whether something was missed that cannot be made up for: deletions that are forgotten, publications too.
    pub gap: bool,
    /// The state; `None` if there is nothing to say.
    pub state: Option<Frame>,
    /// Where the state is a stretch of a channel's history that is read in batches: what is in this one.
    pub batch: Option<Box<Batch>>,
}

/// A stretch of a channel's history.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where each publication ends in the run of bytes, and its offset.
    pub marks: Vec<(usize, u64)>,
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
    /// Its version; or the offset of a publication.
    pub at: u64,
}

// mail lies in vectors by the thousand
const _: () = assert!(size_of::<Mail>() <= 96);
