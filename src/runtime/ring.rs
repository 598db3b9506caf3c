//! The shard's own io_uring: accepts, receives, polls and closes for all its sockets. Sends are in `send.rs`.
//!
//! Everything is asked for by pushing entries, which reach the kernel in order with the next submission. Every answer
//! carries the tag of its connection; an answer for a connection that is gone gives its buffer back and vanishes.
//!
//! Sockets are plain descriptors, not registered files. Registered ones are no cheaper to send on (measured: within the
//! noise of 2.5 us), and on kernels 6.1 to 6.12 a registered file that was closed is not released before every older
//! request on *any* registered file has ended: one idle subscriber would pin all sockets closed after it.

use crate::base::id::ConnId;
use crate::base::time::MS;
use crate::runtime::buffers::{self, Buffers};
use crate::runtime::messages::Messages;
use crate::runtime::slots::Slots;
use crate::runtime::tags::{Op, Tag};
use crate::runtime::wake::Wake;
use crate::shard::io::{Action, Door};
use io_uring::squeue::Flags;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;
use socket2::Socket;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

/// Entries that one submission carries. More would gain nothing: the system call is already shared by hundreds.
pub(super) const ENTRIES: u32 = 512;
/// Answers that wait without the kernel's taking memory for them.
const ANSWERS: u32 = 4096;
/// How long a listener rests after the system ran out of descriptors or memory.
const ACCEPT_REST: u64 = 100 * MS;

/// Who wants to know what the sockets did. Calls come in the order of the kernel's answers.
pub(super) trait Events {
    /// A connection was accepted; the answer names it.
    fn open(&mut self, slot: u32, door: Door) -> ConnId;
    /// One was closed at once, because every place is taken.
    fn refused(&mut self);
    /// Bytes came.
    fn bytes(&mut self, conn: ConnId, bytes: &[u8]);
    /// The peer will send nothing more.
    fn eof(&mut self, conn: ConnId);
    /// The socket is broken.
    fn broken(&mut self, conn: ConnId);
    /// A watched socket takes bytes.
    fn writable(&mut self, conn: ConnId);
}

/// One answer of the kernel.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) tag: Tag,
    /// A count or a descriptor, or an error number below 0.
    pub(super) result: i32,
    flags: u32,
}

impl Answer {
    /// The result as other calls give it.
    pub(super) fn outcome(self) -> Result<usize, Errno> {
        usize::try_from(self.result).map_err(|_| Errno::from_raw_os_error(-self.result))
    }
}

impl From<cqueue::Entry> for Answer {
    #[inline]
    fn from(entry: cqueue::Entry) -> Answer {
        Answer { tag: Tag::from_bits(entry.user_data()), result: entry.result(), flags: entry.flags() }
    }
}

struct Listener {
    socket: Socket,
    door: Door,
    accepting: bool,
}

/// The ring of one shard. Stays on the thread that made it (the kernel insists).
pub(super) struct Ring {
    // First, because fields are dropped in this order and the kernel must let go of the buffers before they go.
    pub(super) uring: IoUring,
    buffers: Buffers,
    pub(super) slots: Slots,
    listeners: Vec<Listener>,
    /// Answers met while looking for those of sends; they come before the ones still in the queue.
    pub(super) stash: VecDeque<Answer>,
    /// Connections whose receive ended because no buffer was free.
    starved: VecDeque<ConnId>,
    pub(super) messages: Messages,
    wake: Arc<Wake>,
    /// Where the kernel puts the eventfd's count.
    count: Box<u64>,
    /// When the resting listeners accept again.
    accept_at: Option<u64>,
}

impl Ring {
    /// A ring for at most `connections` sockets, woken by `wake`.
    pub(super) fn new(connections: u32, wake: Arc<Wake>) -> io::Result<Ring> {
        let uring = setup(ENTRIES, ANSWERS)?;
        let buffers = Buffers::register(&uring.submitter())?;
        let mut ring = Ring {
            uring,
            buffers,
            slots: Slots::new(connections),
            listeners: Vec::new(),
            stash: VecDeque::new(),
            starved: VecDeque::new(),
            messages: Messages::new(),
            wake,
            count: Box::new(0),
            accept_at: None,
        };
        ring.read_bell();
        Ok(ring)
    }

    /// Accepts from `socket` from now on.
    pub(super) fn listen(&mut self, socket: Socket, door: Door) {
        self.listeners.push(Listener { socket, door, accepting: false });
        self.accept_all();
    }

    /// Stops accepting and closes the listeners. What waits in their backlogs is refused.
    pub(super) fn close_listeners(&mut self) {
        for place in 0..self.listeners.len() as u32 {
            self.cancel(Tag::at(Op::Accept, place));
        }
        self.submit();
        self.listeners.clear();
        self.accept_at = None;
    }

    /// Does what the shard wants done to a socket. An action for a connection that is gone does nothing.
    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Close(conn) => self.close(conn),
            Action::Finish(conn) => {
                let Some(slot) = self.slots.get(conn) else { return };
                // A direct call: the ring's own shutdown goes through a kernel worker thread. It fails only where the
                // peer is gone already, which the receive reports.
                let _ = rustix::net::shutdown(slot.socket().as_fd(), rustix::net::Shutdown::Write);
            }
            Action::Pause(conn) => {
                let Some(slot) = self.slots.get(conn) else { return };
                slot.paused = true;
                if slot.receiving {
                    self.cancel(Tag::new(Op::Recv, conn));
                }
            }
            Action::Resume(conn) => {
                let Some(slot) = self.slots.get(conn) else { return };
                slot.paused = false;
                self.receive(conn);
            }
            Action::WatchWritable(conn) => {
                let Some(slot) = self.slots.get(conn).filter(|slot| !slot.watching) else { return };
                slot.watching = true;
                let fd = Fd(slot.socket().as_raw_fd());
                let poll = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
                self.push(poll, Tag::new(Op::Writable, conn));
            }
        }
    }

    /// Hands over everything that the kernel has answered.
    pub(super) fn drain(&mut self, now: u64, events: &mut impl Events) {
        while let Some(answer) = self.next_answer() {
            let conn = answer.tag.conn;
            match answer.tag.op {
                Op::Recv => self.received(answer, events),
                Op::Accept => self.accepted(answer, now, events),
                Op::Writable => {
                    if let Some(slot) = self.slots.get(conn) {
                        slot.watching = false;
                        events.writable(conn);
                    }
                }
                Op::Wake => self.read_bell(),
                Op::Send => unreachable!("`send` harvests all its answers"),
                Op::Forget => {}
            }
        }
        // Not all at once: a thousand receives would fight for the same few buffers and starve again.
        for _ in 0..buffers::COUNT.into() {
            let Some(conn) = self.starved.pop_front() else { break };
            self.receive(conn);
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_all();
        }
    }

    /// Submits what was pushed and lets the kernel finish what it can, without waiting. No system call if there is
    /// nothing to do.
    pub(super) fn poll(&mut self) {
        let queue = self.uring.submission();
        if !queue.is_empty() || queue.taskrun() || queue.cq_overflow() {
            drop(queue);
            self.submit();
        }
    }

    /// Submits what was pushed and waits until there is an answer, at most `timeout` nanoseconds (for ever if `None`).
    pub(super) fn wait(&mut self, timeout: Option<u64>) {
        if !self.stash.is_empty() || !self.starved.is_empty() {
            return self.poll();
        }
        let spec =
            timeout.map(|ns| Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32));
        let result = match &spec {
            Some(spec) => self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(spec)),
            None => self.uring.submit_and_wait(1),
        };
        match result.as_ref().err().and_then(Errno::from_io_error) {
            // Whatever was not submitted now is submitted by the next turn.
            None | Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
            Some(error) => panic!("waiting in the ring: {error}"),
        }
    }

    /// When the ring itself wants a [`Ring::drain`].
    pub(super) fn deadline(&self) -> Option<u64> {
        self.accept_at
    }

    /// Submits everything that was pushed.
    pub(super) fn submit(&mut self) {
        loop {
            match self.uring.submit().as_ref().err().and_then(Errno::from_io_error) {
                None | Some(Errno::INTR) => {}
                // Short of memory, or too many answers unread: make room and try again.
                Some(Errno::AGAIN | Errno::BUSY) => self.stash_answers(),
                Some(error) => panic!("submitting to the ring: {error}"),
            }
            if self.uring.submission().is_empty() {
                return;
            }
        }
    }

    /// Puts an entry into the queue, for the next submission.
    #[allow(unsafe_code)]
    fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        let entry = entry.user_data(tag.bits());
        if self.uring.submission().is_full() {
            self.submit();
        }
        // SAFETY: entries that come here name no memory but the wake-up count and the provided buffers, both of which
        // live until the ring is closed (field order).
        unsafe { self.uring.submission().push(&entry) }.expect("there is room after a submission");
    }

    fn next_answer(&mut self) -> Option<Answer> {
        self.stash.pop_front().or_else(|| self.uring.completion().next().map(Answer::from))
    }

    fn stash_answers(&mut self) {
        self.stash.extend(self.uring.completion().map(Answer::from));
    }

    fn received(&mut self, answer: Answer, events: &mut impl Events) {
        let conn = answer.tag.conn;
        let alive = self.slots.get(conn).is_some();
        if let Some(buffer) = cqueue::buffer_select(answer.flags) {
            if alive && answer.result > 0 {
                events.bytes(conn, self.buffers.bytes(buffer, answer.result as usize));
            }
            self.buffers.recycle(buffer);
        }
        let Some(slot) = self.slots.get(conn) else { return };
        let paused = slot.paused;
        slot.receiving = cqueue::more(answer.flags);
        match answer.outcome() {
            Ok(0) => {
                slot.ended = true;
                events.eof(conn);
            }
            Ok(_) | Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::NOBUFS) => return self.starved.push_back(conn),
            Err(_) => {
                slot.ended = true;
                events.broken(conn);
            }
        }
        if !cqueue::more(answer.flags) {
            self.receive(conn);
        } else if paused {
            // The cancellation missed: the receive was at work just then.
            self.cancel(Tag::new(Op::Recv, conn));
        }
    }

    fn accepted(&mut self, answer: Answer, now: u64, events: &mut impl Events) {
        let accepted = answer.outcome().map(|_| own(answer.result));
        let Some(listener) = self.listeners.get_mut(answer.tag.conn.slot as usize) else { return };
        listener.accepting = cqueue::more(answer.flags);
        let door = listener.door;
        match accepted {
            Ok(fd) => {
                // With every place taken the socket is dropped, that is, closed.
                if let Some(slot) = self.slots.vacant() {
                    let conn = events.open(slot, door);
                    self.slots.fill(conn, fd);
                    self.receive(conn);
                } else {
                    events.refused();
                }
                if !cqueue::more(answer.flags) {
                    self.accept_all();
                }
            }
            // Troubles of the one connection that was to be accepted (accept(2) lists them).
            Err(
                Errno::AGAIN
                | Errno::INTR
                | Errno::CONNABORTED
                | Errno::PERM
                | Errno::PROTO
                | Errno::TIMEDOUT,
            )
            | Err(Errno::NETDOWN | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::HOSTUNREACH) => {
                self.accept_all()
            }
            // Trying again at once would spin for as long as descriptors or memory are short.
            Err(error) => {
                log::warn!("accepting rests for {} ms: {error}", ACCEPT_REST / MS);
                self.accept_at = Some(now + ACCEPT_REST);
            }
        }
    }

    fn accept_all(&mut self) {
        self.accept_at = None;
        for place in 0..self.listeners.len() {
            let listener = &mut self.listeners[place];
            if !listener.accepting {
                listener.accepting = true;
                let fd = Fd(listener.socket.as_raw_fd());
                let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
                self.push(accept, Tag::at(Op::Accept, place as u32));
            }
        }
    }

    /// Arms the receive of a connection that wants one and has none.
    fn receive(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        if slot.receiving || slot.paused || slot.ended {
            return;
        }
        slot.receiving = true;
        let fd = Fd(slot.socket().as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, buffers::GROUP).build(), Tag::new(Op::Recv, conn));
    }

    /// The descriptor is closed by the ring and not by a call, so that entries pushed before, which name it by number,
    /// reach the kernel before the number can be given to another socket.
    fn close(&mut self, conn: ConnId) {
        let Some((fd, was)) = self.slots.take(conn) else { return };
        if was.receiving {
            self.cancel(Tag::new(Op::Recv, conn));
        }
        if was.watching {
            self.cancel(Tag::new(Op::Writable, conn));
        }
        let close = opcode::Close::new(Fd(fd.into_raw_fd())).build().flags(Flags::SKIP_SUCCESS);
        self.push(close, Tag::at(Op::Forget, 0));
        if self.accept_at.is_some() {
            self.accept_all();
        }
    }

    fn cancel(&mut self, target: Tag) {
        let cancel = opcode::AsyncCancel::new(target.bits()).build().flags(Flags::SKIP_SUCCESS);
        self.push(cancel, Tag::at(Op::Forget, 0));
    }

    fn read_bell(&mut self) {
        let fd = Fd(self.wake.bell().as_raw_fd());
        let read = opcode::Read::new(fd, (&raw mut *self.count).cast(), size_of::<u64>() as u32).build();
        self.push(read, Tag::at(Op::Wake, 0));
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel must not write into buffers that are gone. Nothing to cancel is an error too, and no harm.
        let _ = self
            .uring
            .submitter()
            .register_sync_cancel(Some(Timespec::new().sec(1)), types::CancelBuilder::any());
    }
}

/// A ring in the mode that the shards use; also how the start finds out whether the kernel gives one.
pub(super) fn setup(entries: u32, answers: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(answers)
        .dontfork()
        .build(entries)
}

/// Owns a descriptor that an accept has given us.
#[allow(unsafe_code)]
fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
