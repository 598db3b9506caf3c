//! Reads the facts that `doctor` checks. What cannot be read does not stop the rest.

use std::fs;
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit};

use crate::runtime::kernel;
use crate::server::cores;

/// What this machine and this process provide.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// Whether a ring can be created.
    pub ring: RingProbe,
    /// `kernel.io_uring_disabled`: 0 for everyone, 1 for a group, 2 for nobody.
    pub io_uring_disabled: u32,
    /// Soft and hard RLIMIT_MEMLOCK in bytes; `None` is no limit.
    pub memlock: (Option<u64>, Option<u64>),
    /// Soft and hard RLIMIT_NOFILE; `None` is no limit.
    pub open_files: (Option<u64>, Option<u64>),
    /// The cores that this process may use.
    pub cores: Vec<usize>,
    /// The cores of the machine, as the system lists them; empty if unknown.
    pub online: String,
    /// `net.core.somaxconn`; `None` if unknown.
    pub somaxconn: Option<u32>,
}

/// The outcome of creating a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingProbe {
    /// It works.
    Works,
    /// A sysctl, a seccomp filter or a security module forbids it.
    Denied,
    /// The system call does not exist: the kernel is built without it, or a sandbox's filter hides it.
    Absent,
    /// The kernel has io_uring, but not the flags that we need.
    Old,
    /// Anything else.
    Failed(String),
}

impl Probe {
    /// Reads everything.
    pub fn take() -> Self {
        Self {
            kernel: kernel::release(),
            ring: RingProbe::take(),
            io_uring_disabled: kernel::io_uring_disabled(),
            memlock: limit(Resource::Memlock),
            open_files: limit(Resource::Nofile),
            cores: cores::available(),
            online: fs::read_to_string("/sys/devices/system/cpu/online")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            somaxconn: sysctl("net/core/somaxconn"),
        }
    }
}

impl RingProbe {
    fn take() -> Self {
        let Err(error) = kernel::probe_ring() else { return Self::Works };
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Denied,
            Some(libc::ENOSYS) => Self::Absent,
            Some(libc::EINVAL) => Self::Old,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Soft and hard limit; `None` is no limit.
fn limit(resource: Resource) -> (Option<u64>, Option<u64>) {
    let Rlimit { current, maximum } = getrlimit(resource);
    (current, maximum)
}

fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}
