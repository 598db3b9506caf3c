//! Why the runtime did not start, or did not go on.

use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the runtime did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The kernel lacks what the ring needs.
    #[error("Linux {found} is too old: fanfare needs kernel 6.1 or newer")]
    Kernel {
        /// The release that runs.
        found: String,
    },
    /// The administrator switched io_uring off.
    #[error("io_uring is switched off on this machine: set `sysctl kernel.io_uring_disabled=0`")]
    Disabled,
    /// Something around the process forbids the system call.
    #[error(
        "io_uring is forbidden ({cause}), as containers do by default: allow io_uring_setup, io_uring_enter and \
         io_uring_register in the seccomp profile (docker: --security-opt seccomp=PROFILE)"
    )]
    Forbidden {
        /// What the kernel said.
        cause: io::Error,
    },
    /// Not enough lockable memory.
    #[error(
        "too little lockable memory for io_uring: raise `ulimit -l` (systemd: LimitMEMLOCK=) to 8 MiB or more"
    )]
    Memlock,
    /// Any other failure of the ring.
    #[error("io_uring does not start: {cause}")]
    Ring {
        /// What the kernel said.
        cause: io::Error,
    },
    /// A TCP address cannot be listened on.
    #[error("cannot listen on {addr}: {cause}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Somebody else serves the feed's socket.
    #[error("another process serves the feed at {}: stop it, or choose another path with --feed", path.display())]
    FeedTaken {
        /// The path.
        path: PathBuf,
    },
    /// The feed's socket cannot be made.
    #[error("cannot listen on the feed {}: {cause}", path.display())]
    Feed {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A shard's thread cannot start, or ended before its time.
    #[error("shard {shard} on core {core}: {cause}")]
    Shard {
        /// Which.
        shard: u16,
        /// Its core.
        core: usize,
        /// What glommio said.
        cause: String,
    },
}

impl RuntimeError {
    /// What it means that the kernel gives no ring; `disabled` is its switch `kernel.io_uring_disabled`.
    pub(super) fn ring(cause: io::Error, disabled: u32) -> RuntimeError {
        match Errno::from_io_error(&cause) {
            Some(Errno::PERM) if disabled > 0 => RuntimeError::Disabled,
            Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => RuntimeError::Forbidden { cause },
            Some(Errno::NOMEM) => RuntimeError::Memlock,
            _ => RuntimeError::Ring { cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_ring_says_what_to_change() {
        let says = |errno: Errno, disabled| RuntimeError::ring(errno.into(), disabled).to_string();
        assert!(says(Errno::NOSYS, 0).contains("seccomp"));
        assert!(says(Errno::NOMEM, 0).contains("LimitMEMLOCK"));
        assert!(says(Errno::PERM, 0).contains("seccomp"));
        assert!(says(Errno::PERM, 2).contains("io_uring_disabled"));
    }
}
