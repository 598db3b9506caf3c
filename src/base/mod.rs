//! Floor 0: plain things that know no domain word, no I/O and no clock.

pub mod id;
pub mod time;
