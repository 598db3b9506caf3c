//! The first step: what an application, or a client that may write, asks for.

use crate::base::id::ShardId;
use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::flow::identity::Actor;
use crate::wire::feed::Publish;
use crate::wire::json::Json;
use crate::wire::key::{Key, Pattern};
use std::sync::Arc;
use thiserror::Error;

/// A change of one document, or one publication: the business of one owner.
#[derive(Clone, Debug)]
pub enum Write {
    /// Replace the value. A new document is as old as the stamp says, so that those of one connection stand in lists in its
    /// order, whichever owner comes first; 0: as its version.
    Set(Key, Json, Stamp),
    /// Merge into the value, objects member by member; the rule says what happens to anything else.
    Merge(Key, Json, MergeRule),
    /// Apply an RFC 6902 patch, pointers relative to the value.
    Patch(Key, Json),
    /// Delete the document.
    Del(Key),
    /// Delete all documents that match; every owner does its part.
    Sweep(Pattern, SweepId),
    /// Append to a channel, which may be a room that hears not everybody: who publishes.
    Publish(Arc<Publish>, Actor),
}

/// What a merge means where one side is no object. Objects are merged member by member, at every depth, by all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeRule {
    /// The feed's: anything else takes the new value; `null` is stored.
    Feed,
    /// ooo's: an object takes nothing but an object, an object over an array changes the elements that its names number,
    /// and the document must be an object or an array; `null` is stored.
    Ooo,
    /// RFC 7396: anything else takes the new value, and `null` removes a member.
    MergePatch,
}

/// One glob delete, so that a list can wait for all its parts and change once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SweepId {
    /// The shard that asked.
    pub shard: ShardId,
    /// Counts that shard's sweeps.
    pub count: u64,
}

impl Write {
    /// The name whose owner must do it; `None` if all must.
    pub fn name(&self) -> Option<&str> {
        match self {
            Write::Set(key, ..) | Write::Merge(key, ..) | Write::Patch(key, _) => Some(key.as_str()),
            Write::Del(key) => Some(key.as_str()),
            Write::Sweep(..) => None,
            Write::Publish(publish, _) => Some(&publish.channel),
        }
    }
}

/// What a write led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A document stands at this version (its last one, if it was deleted).
    Document(Key, Stamp),
    /// This many documents were deleted.
    Swept(u32),
    /// A channel stands at this offset; the stamp of the publication, if it has one.
    Channel(Arc<str>, Offset, Stamp),
    /// Every write of a batch was done.
    Batch,
}

/// Why a write was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is no such document.
    #[error("there is no document {0:?}")]
    NotFound(Key),
    /// The merge does not fit the value.
    #[error("{0}")]
    Merge(String),
    /// The patch does not fit the value.
    #[error("{0}")]
    Patch(String),
    /// One write of a batch was refused, hence all.
    #[error("operation {0} of the batch: {1}")]
    Batch(usize, Box<Refused>),
}

impl Refused {
    /// The stable code of the feed's error replies.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::NotFound(_) => "not_found",
            Refused::Merge(_) => "invalid_merge",
            Refused::Patch(_) => "invalid_patch",
            Refused::Batch(_, why) => why.code(),
        }
    }
}
