//! Reads what `doctor` judges. No fact that cannot be read stops the others.

use std::fs;
use std::io;
use std::str::FromStr;

use io_uring::IoUring;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::server::cores;
use crate::server::doctor::{Facts, Ring};

/// What this machine and this process offer.
pub fn read() -> Facts {
    Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        ring: ring(),
        io_uring_disabled: sysctl("kernel/io_uring_disabled").unwrap_or(0),
        memlock: limit(Resource::Memlock),
        open_files: limit(Resource::Nofile),
        cores: cores::ours(),
        online: fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default().trim().to_owned(),
        somaxconn: sysctl("net/core/somaxconn"),
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

/// Makes a ring with the flags that the runtime needs, and drops it.
fn ring() -> Ring {
    let ring: io::Result<IoUring> = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8);
    match ring {
        Ok(_) => Ring::Works,
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Ring::Denied,
            Some(libc::ENOSYS) => Ring::Absent,
            Some(libc::EINVAL) => Ring::Old,
            _ => Ring::Failed(error.to_string()),
        },
    }
}
