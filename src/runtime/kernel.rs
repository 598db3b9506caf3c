//! What the kernel must give us: its age, and a ring.

use crate::runtime::error::RuntimeError;
use crate::runtime::uring;
use std::fs;
use std::io;

/// The oldest kernel that has all that the ring needs.
pub const OLDEST: (u32, u32) = (6, 1);

/// Major and minor number of a release such as `6.1.0-18-amd64`; `None` if it begins otherwise.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The release that runs.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// `kernel.io_uring_disabled`: 0 for everyone (or the kernel has no such switch), 1 for a group, 2 for nobody.
pub fn io_uring_disabled() -> u32 {
    let value = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    value.ok().and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Makes the smallest ring of the kind that the shards use, and drops it.
///
/// # Errors
/// What the kernel said.
pub fn probe_ring() -> io::Result<()> {
    uring::setup(1, 2).map(drop)
}

/// Finds out whether the kernel gives us rings, before doors are opened. One whose age cannot be read gets the benefit of
/// the doubt.
///
/// # Errors
/// It is too old, or gives none.
pub fn check() -> Result<(), RuntimeError> {
    let found = release();
    if version(&found).is_some_and(|version| version < OLDEST) {
        return Err(RuntimeError::Kernel { found });
    }
    probe_ring().map_err(|cause| RuntimeError::ring(cause, io_uring_disabled()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_6_1_are_told_apart() {
        for (release, good) in [
            ("5.15.0-91-generic", Some(false)),
            ("6.0.19", Some(false)),
            ("6.1", Some(true)),
            ("6.18.44-fc", Some(true)),
            ("10.0", Some(true)),
            ("strange", None),
        ] {
            assert_eq!(version(release).map(|version| version >= OLDEST), good, "{release}");
        }
    }
}
