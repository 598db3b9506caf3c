//! Time as an argument: nothing below the runtime floor reads a clock.

/// The moment at which a turn works. Taken once per input batch by the runtime, made up by the simulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that never goes back; only differences mean anything.
    pub mono: u64,
    /// Nanoseconds since the Unix epoch.
    pub wall: u64,
}

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SEC: u64 = 1_000_000_000;
