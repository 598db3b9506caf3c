//! Accepting: the sockets that a shard listens on, and what to do when an accept fails.

use crate::base::complaints::Complaints;
use crate::base::time::MS;
use crate::runtime::completions::Completion;
use crate::runtime::uring::Uring;
use crate::runtime::user_data::Operation;
use crate::shard::io::Door;
use rustix::io::Errno;
use socket2::Socket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How long a listener rests after the system ran out of descriptors or memory.
const REST: u64 = 100 * MS;

/// The listening sockets of one shard. Their numbers travel with [`Operation::Accept`].
#[derive(Default)]
pub(super) struct Acceptors {
    list: Vec<Acceptor>,
    /// When those that rest accept again.
    rests_until: Option<u64>,
    complaints: Complaints,
}

struct Acceptor {
    socket: Socket,
    door: Door,
    accepting: bool,
}

impl Acceptors {
    /// Accepts from `socket` from now on.
    pub(super) fn listen(&mut self, uring: &mut Uring, socket: Socket, door: Door) {
        self.list.push(Acceptor { socket, door, accepting: false });
        self.arm(uring);
    }

    /// Stops accepting and closes the sockets. What waits in their backlogs is refused.
    pub(super) fn close(&mut self, uring: &mut Uring) {
        for number in 0..self.list.len() as u32 {
            uring.cancel(Operation::Accept(number));
        }
        uring.submit();
        self.list.clear();
        self.rests_until = None;
    }

    /// When those that rest want [`Acceptors::resume`].
    pub(super) fn deadline(&self) -> Option<u64> {
        self.rests_until
    }

    /// Accepts again although the rest may not be over: a descriptor has become free, or time has passed.
    pub(super) fn resume(&mut self, uring: &mut Uring) {
        if self.rests_until.is_some() {
            self.arm(uring);
        }
    }

    /// Takes the socket that an accept has brought, if it has brought one, and goes on accepting.
    pub(super) fn accepted(
        &mut self,
        uring: &mut Uring,
        number: u32,
        completion: &Completion,
        now: u64,
    ) -> Option<(OwnedFd, Door)> {
        let accepted = completion.outcome.map(own);
        let acceptor = self.list.get_mut(number as usize)?;
        acceptor.accepting = completion.more;
        let door = acceptor.door;
        match accepted {
            Err(error) if !concerns_one(error) => {
                // Trying again at once would spin for as long as descriptors or memory are short.
                if let Some(before) = self.complaints.due(now) {
                    log::warn!("accepting rests for {} ms: {error} ({before} times before)", REST / MS);
                }
                self.rests_until = Some(now + REST);
                None
            }
            accepted => {
                if !completion.more {
                    self.arm(uring);
                }
                Some((accepted.ok()?, door))
            }
        }
    }

    fn arm(&mut self, uring: &mut Uring) {
        self.rests_until = None;
        for (number, acceptor) in self.list.iter_mut().enumerate() {
            if !acceptor.accepting {
                acceptor.accepting = true;
                uring.accept(acceptor.socket.as_raw_fd(), number as u32);
            }
        }
    }
}

/// Whether an accept failed for reasons of the one connection that was to be accepted (accept(2) lists them).
fn concerns_one(error: Errno) -> bool {
    matches!(
        error,
        Errno::AGAIN
            | Errno::INTR
            | Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::TIMEDOUT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    )
}

/// Owns a descriptor that an accept has given us.
#[allow(unsafe_code)]
fn own(fd: u32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
