//! Floor 0: plain things that know no domain word, no I/O and no clock.

pub mod bits;
pub mod complaints;
pub mod id;
pub mod offset;
pub mod slab;
pub mod stamp;
pub mod time;
pub mod timers;
