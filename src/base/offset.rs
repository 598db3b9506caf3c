//! Offsets: the numbers of publications.

use std::fmt;

/// The number of a publication within its channel, which has no gap and begins with 1; 0 is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// Before the first publication.
    pub const ZERO: Offset = Offset(0);

    /// The offset with that number.
    pub const fn new(number: u64) -> Offset {
        Offset(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// That of the next publication.
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
