//! The clock, which nobody below this floor looks at.

use crate::base::time::{Now, SEC};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The present moment.
pub fn now() -> Now {
    Now { mono: nanos(clock_gettime(ClockId::Monotonic)), wall: nanos(clock_gettime(ClockId::Realtime)) }
}

fn nanos(time: Timespec) -> u64 {
    time.tv_sec as u64 * SEC + time.tv_nsec as u64
}
