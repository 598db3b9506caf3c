//! Commit stamps, as everything that carries one sees them; `flow::state::stamp` has the clock that gives them.

use std::fmt;

/// When something was committed: nanoseconds since 1970, which strictly rise on one shard and along every chain of cause
/// and effect. It is the version of a document and the id of a message; 0 is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// Before all that are ever given: nothing.
    pub const ZERO: Stamp = Stamp(0);

    /// The stamp with that number.
    pub const fn new(number: u64) -> Stamp {
        Stamp(number)
    }

    /// The stamp in a text that a client sends back, hexadecimal; `None` if it is none.
    pub fn from_hex(text: &str) -> Option<Stamp> {
        u64::from_str_radix(text, 16).ok().map(Stamp)
    }

    /// Its number, nanoseconds since 1970.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::LowerHex for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}
