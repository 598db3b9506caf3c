//! What shards say to each other, by receiver. A lane from one shard to another keeps order and loses nothing; what a
//! shard says to itself goes the same way.

pub mod answer;
pub mod question;
pub mod subscription;
pub mod to_connections;
pub mod to_owner;
pub mod to_sequencer;
pub mod user;

use crate::base::stamp::Stamp;
use crate::flow::state::list::ListChange;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::to_owner::ToOwner;
use crate::shard::mail::to_sequencer::ToSequencer;

/// One message from a shard to another. The lanes are lossless within a process, so nothing has to be said twice; a
/// reader that must skip frames asks for the state again (`ToOwner::Join`).
#[derive(Debug)]
pub enum Mail {
    /// The sender's clock has come this far; first in every batch.
    Clock {
        /// Its last commit stamp.
        stamp: Stamp,
    },
    /// The sender has sent on what it was given.
    Credit {
        /// How many bytes, as `Mail::weight` counts them.
        bytes: usize,
    },
    /// To the shard as an owner.
    Owner(ToOwner),
    /// To the shard as the home of connections.
    Connections(ToConnections),
    /// To the shard that runs batches of several owners.
    Sequencer(ToSequencer),
}

impl Mail {
    /// The bytes that count toward the receiver's credit: of what a single write can set off without end.
    pub fn weight(&self) -> usize {
        match self {
            Mail::Connections(ToConnections::Frame { frame, .. }) => frame.len(),
            Mail::Owner(ToOwner::Moved { change, .. }) => change.weight(),
            Mail::Owner(ToOwner::MovedTogether { changes, .. }) => {
                changes.iter().map(ListChange::weight).sum()
            }
            _ => 0,
        }
    }
}

impl From<ToOwner> for Mail {
    fn from(mail: ToOwner) -> Mail {
        Mail::Owner(mail)
    }
}

impl From<ToConnections> for Mail {
    fn from(mail: ToConnections) -> Mail {
        Mail::Connections(mail)
    }
}

impl From<ToSequencer> for Mail {
    fn from(mail: ToSequencer) -> Mail {
        Mail::Sequencer(mail)
    }
}

// mail lies in vectors by the thousand
const _: () = assert!(size_of::<Mail>() <= 96);
