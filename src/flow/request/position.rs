//! What a subscriber has already of what it asks for.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::flow::request::documents::Versions;
use crate::wire::key::Name;
use std::sync::Arc;

/// What a subscriber has already of what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// Nothing: it wants the state.
    #[default]
    Nothing,
    /// The publications of this epoch up to this offset: it wants those behind it.
    Offset(Box<str>, Offset),
    /// The publications up to this offset of the present epoch. It is subscribed and only late, so it goes on behind the
    /// first that is kept if those behind it are gone.
    Late(Offset),
    /// The document at this version, if that is the present one; the state otherwise (`?v=` of the ooo dialect).
    Version(Stamp),
    /// Nothing of what is kept of a channel: it wants all of that.
    First,
    /// The publications up to that which it knows by this name, or up to a cursor.
    Named(Box<str>),
    /// All documents as they were at this stamp of their owner: it wants what changed since, deletions included. Of
    /// those that `fresh` means it has only the `versions`.
    Since {
        /// The stamp; 0: nothing.
        stamp: Stamp,
        /// What it had not subscribed to before.
        fresh: Option<Name>,
        /// What it has of that.
        versions: Arc<Versions>,
    },
}

impl Position {
    /// The name of what it has last, if it has said that by name.
    pub fn name(&self) -> Option<Box<str>> {
        match self {
            Position::Named(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Everything as it was at `stamp`.
    pub fn since(stamp: Stamp) -> Position {
        Position::Since { stamp, fresh: None, versions: Arc::default() }
    }
}
