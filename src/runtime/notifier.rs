//! How one core wakes another: an eventfd that is written only when the other has said that it sleeps.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Wakes one shard.
///
/// The sleeper stores `sleeping` and *then* looks at its lanes once more; a sender puts its mail into the lane and *then*
/// loads `sleeping`. Both put a `SeqCst` fence in between, so in the one order of the two fences at least one side sees
/// what the other did: either the sleeper finds the mail, or the sender finds the sleeper. Acquire and release would not
/// do: they let both loads run before both stores.
pub(super) struct Notifier {
    sleeping: AtomicBool,
    eventfd: OwnedFd,
}

impl Notifier {
    /// For a shard that is awake.
    pub(super) fn new() -> io::Result<Notifier> {
        Ok(Notifier { sleeping: AtomicBool::new(false), eventfd: eventfd(0, EventfdFlags::CLOEXEC)? })
    }

    /// What to read in order to be woken.
    pub(super) fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// The shard says that it is about to sleep. It must look for work once more after this, and not sleep if there is.
    pub(super) fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The shard is up again.
    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Called after work was left for the shard. One system call if it sleeps, and none for those who come second.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            rustix::io::write(&self.eventfd, &1u64.to_ne_bytes()).expect("an eventfd takes a one");
        }
    }
}
