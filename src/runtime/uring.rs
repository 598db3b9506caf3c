//! A shard's two queues with the kernel: entries go in, completions come out, sorted by who reads them.
//!
//! Entries reach the kernel in the order in which they were pushed, with the next submission.
//!
//! Sockets are plain descriptors, not registered files. Registered ones are no cheaper to send on (measured: within the
//! noise of 2.5 us), and on kernels 6.1 to 6.12 a registered file that was closed is not released before every older
//! request on *any* registered file has ended: one idle subscriber would pin all sockets closed after it.

use crate::base::id::ConnId;
use crate::runtime::buffers::{Buffers, GROUP};
use crate::runtime::completions::{Completion, Completions, SendCompletion};
use crate::runtime::lent_buffers::Lent;
use crate::runtime::messages::Messages;
use crate::runtime::user_data::Operation;
use io_uring::squeue::{self, Flags, SubmissionQueue};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use rustix::io::Errno;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

/// Entries that one submission carries. More would gain nothing: the system call is already shared by hundreds.
pub(super) const ENTRIES: u32 = 512;
/// Completions that wait without the kernel's taking memory for them.
const COMPLETIONS: u32 = 4096;
/// How long the end of a ring waits for what it has cancelled.
const CANCEL_TIMEOUT: Timespec = Timespec::new().sec(1);

/// The queues. They stay on the thread that made them (the kernel insists).
pub(super) struct Uring {
    // First, because fields are dropped in this order: the ring is closed before the memory goes.
    kernel: IoUring,
    completions: Completions,
    memory: Lent<Memory>,
}

/// What the kernel reads and writes on its own.
struct Memory {
    buffers: Buffers,
    messages: Messages,
    /// Where the count of the eventfd goes.
    count: Box<u64>,
}

/// Asks the kernel for a ring in the mode that the shards use. Nobody asks in another way, least of all to find out
/// whether there is one.
pub(super) fn setup(entries: u32, completions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(completions)
        .dontfork()
        .build(entries)
}

impl Uring {
    /// Fresh queues.
    pub(super) fn new() -> io::Result<Uring> {
        let kernel = setup(ENTRIES, COMPLETIONS)?;
        let buffers = Buffers::register(&kernel.submitter())?;
        let memory = Memory { buffers, messages: Messages::new(ENTRIES as usize), count: Box::new(0) };
        Ok(Uring { kernel, completions: Completions::default(), memory: Lent::new(memory) })
    }

    /// The bytes that a receive has brought. Every buffer must be given back by [`Uring::recycle`].
    pub(super) fn bytes(&self, buffer: u16, len: u32) -> &[u8] {
        self.memory.buffers.bytes(buffer, len as usize)
    }

    /// Gives a buffer back to the kernel.
    pub(super) fn recycle(&mut self, buffer: u16) {
        self.memory.buffers.recycle(buffer);
    }

    /// Accepts from a listening socket until it fails or is cancelled.
    pub(super) fn accept(&mut self, socket: RawFd, listener: u32) {
        let accept = opcode::AcceptMulti::new(Fd(socket)).flags(libc::SOCK_CLOEXEC).build();
        self.push(accept, Operation::Accept(listener));
    }

    /// Receives into the provided buffers until the stream ends or the receive is cancelled.
    pub(super) fn receive(&mut self, socket: RawFd, conn: ConnId) {
        self.push(opcode::RecvMulti::new(Fd(socket), GROUP).build(), Operation::Receive(conn));
    }

    /// Tells once when the socket takes bytes.
    pub(super) fn watch_writable(&mut self, socket: RawFd, conn: ConnId) {
        let poll = opcode::PollAdd::new(Fd(socket), libc::POLLOUT as u32).build();
        self.push(poll, Operation::Writable(conn));
    }

    /// Tells once when the eventfd is written.
    pub(super) fn read_eventfd(&mut self, eventfd: RawFd) {
        let count = (&raw mut *self.memory.count).cast();
        self.push(opcode::Read::new(Fd(eventfd), count, size_of::<u64>() as u32).build(), Operation::Wake);
    }

    /// Ends what was asked for, unless it has ended already.
    pub(super) fn cancel(&mut self, target: Operation) {
        let cancel = opcode::AsyncCancel::new(target.bits()).build().flags(Flags::SKIP_SUCCESS);
        self.push(cancel, Operation::Ignore);
    }

    /// Closes a descriptor behind everything that was pushed before: those entries name it by number, and the number
    /// must not be given to another socket before they have reached the kernel.
    pub(super) fn close(&mut self, fd: OwnedFd) {
        let close = opcode::Close::new(Fd(fd.into_raw_fd())).build().flags(Flags::SKIP_SUCCESS);
        self.push(close, Operation::Ignore);
    }

    /// The queue of entries, for those who push many, and room for the headers that they may point to.
    pub(super) fn submission(&mut self) -> (SubmissionQueue<'_>, &mut Messages) {
        (self.kernel.submission(), &mut self.memory.messages)
    }

    #[allow(unsafe_code)]
    fn push(&mut self, entry: squeue::Entry, operation: Operation) {
        let entry = entry.user_data(operation.bits());
        if self.kernel.submission().is_full() {
            self.submit();
        }
        // SAFETY: entries that come here name no memory but the wake-up count and the provided buffers, both of which
        // are lent: they stay where they are until the kernel has let go of them.
        unsafe { self.kernel.submission().push(&entry) }.expect("there is room after a submission");
    }

    /// Submits everything that was pushed.
    pub(super) fn submit(&mut self) {
        loop {
            match self.kernel.submit().as_ref().err().and_then(Errno::from_io_error) {
                None | Some(Errno::INTR) => {}
                // Short of memory, or too many completions unread: make room and try again.
                Some(Errno::AGAIN | Errno::BUSY) => self.take_completions(),
                Some(error) => panic!("submitting to the ring: {error}"),
            }
            if self.kernel.submission().is_empty() {
                return;
            }
        }
    }

    /// Submits what was pushed and lets the kernel finish what it can, without waiting. No system call if there is
    /// nothing to do.
    pub(super) fn poll(&mut self) {
        let queue = self.kernel.submission();
        if !queue.is_empty() || queue.taskrun() || queue.cq_overflow() {
            drop(queue);
            self.submit();
        }
    }

    /// Submits what was pushed and waits until there is a completion, at most `timeout` nanoseconds (for ever if `None`).
    pub(super) fn wait(&mut self, timeout: Option<u64>) {
        if !self.completions.operations.is_empty() {
            return self.poll();
        }
        self.enter(timeout);
    }

    /// The next completion of an operation.
    pub(super) fn next(&mut self) -> Option<Completion> {
        if self.completions.operations.is_empty() {
            self.take_completions();
        }
        self.completions.operations.pop_front()
    }

    /// The completions of sends that have come, at least one: waits for it. Each is given once.
    pub(super) fn sends(&mut self) -> impl Iterator<Item = SendCompletion> {
        self.take_completions();
        while self.completions.sends.is_empty() {
            // They are late only if the queue has overflowed; entering the kernel brings them.
            self.enter(None);
            self.take_completions();
        }
        self.completions.sends.drain(..)
    }

    /// Empties the kernel's queue.
    pub(super) fn take_completions(&mut self) {
        for entry in self.kernel.completion() {
            self.completions.sort(&entry);
        }
    }

    fn enter(&mut self, timeout: Option<u64>) {
        let spec =
            timeout.map(|ns| Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32));
        let result = match &spec {
            Some(spec) => self.kernel.submitter().submit_with_args(1, &SubmitArgs::new().timespec(spec)),
            None => self.kernel.submit_and_wait(1),
        };
        match result.as_ref().err().and_then(Errno::from_io_error) {
            // Whatever was not submitted now is submitted by the next turn.
            None | Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
            Some(error) => panic!("waiting in the ring: {error}"),
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let cancelled =
            self.kernel.submitter().register_sync_cancel(Some(CANCEL_TIMEOUT), CancelBuilder::any());
        match cancelled.as_ref().err().and_then(Errno::from_io_error) {
            // Nothing left to cancel is an error too.
            None | Some(Errno::NOENT) => self.memory.take_back(),
            Some(error) => log::error!("a ring's memory stays, for the kernel may still use it: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// Takes a ring where it must not go.
    struct Elsewhere(Uring);

    // SAFETY: the receiver does nothing but drop it, which the kernel refuses on a thread that did not make it, and the
    // sender has given it away.
    #[allow(unsafe_code)]
    unsafe impl Send for Elsewhere {}

    fn is_mapped(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().any(|line| {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
            (start..end).contains(&address)
        })
    }

    #[test]
    fn buffers_stay_mapped_if_the_kernel_does_not_cancel_what_may_write_into_them() {
        let (ours, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut uring = Uring::new().unwrap();
        uring.receive(ours.as_raw_fd(), ConnId { slot: 0, generation: 0 });
        uring.submit();
        let buffer = uring.bytes(0, 1).as_ptr().addr();
        let elsewhere = Elsewhere(uring);
        // The kernel takes a cancellation only from the thread that made the ring.
        std::thread::spawn(move || {
            let elsewhere = elsewhere;
            drop(elsewhere.0);
        })
        .join()
        .unwrap();
        assert!(is_mapped(buffer));
    }
}
