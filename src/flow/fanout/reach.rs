//! How far a pool, or a member of it, has come in its subject.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;

/// How far something has come in a subject: a stamp for documents and lists, an offset for channels. Which of the two it
/// is, only the subject says; those of one subject compare. 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach(u64);

impl Reach {
    /// Up to a stamp of the owner.
    pub const fn stamp(stamp: Stamp) -> Reach {
        Reach(stamp.get())
    }

    /// Up to a publication of a channel.
    pub const fn offset(offset: Offset) -> Reach {
        Reach(offset.get())
    }

    /// The owner's stamp, where the subject is no channel.
    pub const fn as_stamp(self) -> Stamp {
        Stamp::new(self.0)
    }

    /// The offset, where the subject is a channel.
    pub const fn as_offset(self) -> Offset {
        Offset::new(self.0)
    }
}
