//! The sockets of one shard on its ring: accepts, receives, polls, closes and sends.
//!
//! Everything is asked for by pushing entries. Every completion carries the name of its connection; one for a connection
//! that is gone gives its buffer back and vanishes.

use crate::base::id::ConnId;
use crate::runtime::accept::Acceptors;
use crate::runtime::buffers;
use crate::runtime::completions::Completion;
use crate::runtime::notifier::Notifier;
use crate::runtime::places::Places;
use crate::runtime::send::send;
use crate::runtime::slots::Slots;
use crate::runtime::uring::Uring;
use crate::runtime::user_data::Operation;
use crate::shard::io::{Action, Door, Due, Short, Sockets};
use rustix::io::Errno;
use socket2::Socket;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// Who wants to know what the sockets did. Calls come in the order of the kernel's completions.
pub(super) trait SocketEvents {
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

/// The ring of one shard and its sockets. Stays on the thread that made it (the kernel insists).
pub(super) struct Ring {
    uring: Uring,
    slots: Slots,
    places: Arc<Places>,
    acceptors: Acceptors,
    /// Connections whose receive ended because no buffer was free.
    starved: VecDeque<ConnId>,
    notifier: Arc<Notifier>,
}

impl Ring {
    /// A ring for as many sockets as there are `places`, woken by `notifier`.
    pub(super) fn new(places: Arc<Places>, notifier: Arc<Notifier>) -> io::Result<Ring> {
        let mut ring = Ring {
            uring: Uring::new()?,
            slots: Slots::default(),
            places,
            acceptors: Acceptors::default(),
            starved: VecDeque::new(),
            notifier,
        };
        ring.read_eventfd();
        Ok(ring)
    }

    /// Accepts from `socket` from now on.
    pub(super) fn listen(&mut self, socket: Socket, door: Door) {
        self.acceptors.listen(&mut self.uring, socket, door);
    }

    /// Stops accepting and closes the listeners. What waits in their backlogs is refused.
    pub(super) fn close_listeners(&mut self) {
        self.acceptors.close(&mut self.uring);
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
                    self.uring.cancel(Operation::Receive(conn));
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
                self.uring.watch_writable(slot.socket().as_raw_fd(), conn);
            }
        }
    }

    /// Hands over everything that the kernel has done.
    pub(super) fn drain(&mut self, now: u64, events: &mut impl SocketEvents) {
        while let Some(completion) = self.uring.next() {
            match completion.operation {
                Operation::Receive(conn) => self.received(conn, completion, events),
                Operation::Accept(listener) => self.accepted(listener, completion, now, events),
                Operation::Writable(conn) => {
                    if let Some(slot) = self.slots.get(conn) {
                        slot.watching = false;
                        events.writable(conn);
                    }
                }
                Operation::Wake => self.read_eventfd(),
                Operation::Ignore => {}
            }
        }
        // Not all at once: a thousand receives would fight for the same few buffers and starve again.
        for _ in 0..buffers::COUNT.into() {
            let Some(conn) = self.starved.pop_front() else { break };
            self.receive(conn);
        }
        if self.acceptors.deadline().is_some_and(|at| at <= now) {
            self.acceptors.resume(&mut self.uring);
        }
    }

    /// Submits what was pushed and lets the kernel finish what it can, without waiting. No system call if there is
    /// nothing to do.
    pub(super) fn poll(&mut self) {
        self.uring.poll();
    }

    /// Submits what was pushed and waits until there is a completion, at most `timeout` nanoseconds (for ever if `None`).
    pub(super) fn wait(&mut self, timeout: Option<u64>) {
        if self.starved.is_empty() {
            self.uring.wait(timeout);
        } else {
            self.uring.poll();
        }
    }

    /// When the ring itself wants a [`Ring::drain`].
    pub(super) fn deadline(&self) -> Option<u64> {
        self.acceptors.deadline()
    }

    fn received(&mut self, conn: ConnId, completion: Completion, events: &mut impl SocketEvents) {
        let alive = self.slots.get(conn).is_some();
        if let Some(buffer) = completion.buffer {
            if let Ok(len @ 1..) = completion.outcome
                && alive
            {
                events.bytes(conn, self.uring.bytes(buffer, len));
            }
            self.uring.recycle(buffer);
        }
        let Some(slot) = self.slots.get(conn) else { return };
        let paused = slot.paused;
        slot.receiving = completion.more;
        match completion.outcome {
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
        if !completion.more {
            self.receive(conn);
        } else if paused {
            // The cancellation missed: the receive was at work just then.
            self.uring.cancel(Operation::Receive(conn));
        }
    }

    fn accepted(&mut self, listener: u32, completion: Completion, now: u64, events: &mut impl SocketEvents) {
        let accepted = self.acceptors.accepted(&mut self.uring, listener, &completion, now);
        let Some((fd, door)) = accepted else { return };
        // With every place taken the socket is dropped, that is, closed.
        let Some(place) = self.places.take(door) else { return events.refused() };
        let conn = events.open(self.slots.vacant(), door);
        self.slots.fill(conn, fd, place);
        self.receive(conn);
    }

    /// Arms the receive of a connection that wants one and has none.
    fn receive(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.get(conn) else { return };
        if slot.receiving || slot.paused || slot.ended {
            return;
        }
        slot.receiving = true;
        self.uring.receive(slot.socket().as_raw_fd(), conn);
    }

    fn close(&mut self, conn: ConnId) {
        let Some((fd, was)) = self.slots.take(conn) else { return };
        if was.receiving {
            self.uring.cancel(Operation::Receive(conn));
        }
        if was.watching {
            self.uring.cancel(Operation::Writable(conn));
        }
        self.uring.close(fd);
        self.places.give_back(was.place);
        self.acceptors.resume(&mut self.uring);
    }

    fn read_eventfd(&mut self) {
        self.uring.read_eventfd(self.notifier.eventfd().as_raw_fd());
    }
}

impl Sockets for Ring {
    fn send(&mut self, batch: &[Due<'_>], short: &mut Vec<Short>) {
        send(&mut self.uring, &self.slots, batch, short);
    }
}
