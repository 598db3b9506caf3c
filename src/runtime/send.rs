//! The flush: one batch of sends, submitted and harvested before the call returns.
//!
//! With `MSG_DONTWAIT` the kernel finishes every send while it takes the entry, so after the submission all results are
//! in the completion queue. The call does not rely on it: it returns only when each entry has been answered, which is
//! what makes it sound to pass borrowed bytes.

use crate::runtime::ring::{Answer, Ring};
use crate::runtime::tags::{Op, Tag};
use crate::shard::io::{Came, Due, Parts, Short, Sockets};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use rustix::io::Errno;
use std::ops::Range;

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

impl Sockets for Ring {
    fn send(&mut self, batch: &[Due<'_>], short: &mut Vec<Short>) {
        // What waits in the queue (receives, closes) goes first, so that a submission of sends is all ours.
        self.poll();
        let mut start = 0;
        while start < batch.len() {
            let end = self.push_sends(batch, start);
            self.submit();
            self.harvest(batch, start..end, short);
            self.messages.clear();
            start = end;
        }
    }
}

impl Ring {
    /// Pushes entries for `batch[start..]` until the queue or the message headers are full; returns how far it came.
    #[allow(unsafe_code)]
    fn push_sends(&mut self, batch: &[Due<'_>], start: usize) -> usize {
        let mut queue = self.uring.submission();
        for (index, due) in batch.iter().enumerate().skip(start) {
            let fd = Fd(self.slots.fd(due.slot));
            let entry = match due.bytes {
                Parts::One(bytes) => send_one(fd, bytes),
                Parts::Many([bytes]) => send_one(fd, bytes),
                Parts::Many(parts) => {
                    let Some(header) = self.messages.lay(parts) else { return index };
                    opcode::SendMsg::new(fd, header).flags(FLAGS as u32).build()
                }
            };
            let entry = entry.user_data(Tag::at(Op::Send, index as u32).bits());
            // SAFETY: the bytes are borrowed for the whole of `send`, and the headers live in `self.messages`, which is
            // not cleared before `harvest` has seen the answer of every entry pushed here.
            if unsafe { queue.push(&entry) }.is_err() {
                return index;
            }
        }
        batch.len()
    }

    /// Takes the answers of `batch[sent]`; any others are kept for the turn, in order.
    fn harvest(&mut self, batch: &[Due<'_>], sent: Range<usize>, short: &mut Vec<Short>) {
        let mut open = sent.len();
        loop {
            for entry in self.uring.completion() {
                let answer = Answer::from(entry);
                if answer.tag.op != Op::Send {
                    self.stash.push_back(answer);
                    continue;
                }
                open -= 1;
                let index = answer.tag.conn.slot;
                let wanted = length(&batch[index as usize]);
                if answer.result as usize != wanted {
                    short.push(Short { index, came: came(answer) });
                }
            }
            if open == 0 {
                return;
            }
            // Answers are late only if the queue had overflowed; entering the kernel brings them.
            match self.uring.submit_and_wait(1).as_ref().err().and_then(Errno::from_io_error) {
                None | Some(Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
                Some(error) => panic!("waiting for sends: {error}"),
            }
        }
    }
}

#[inline]
fn send_one(fd: Fd, bytes: &[u8]) -> squeue::Entry {
    // A run beyond 4 GiB is sent in part, as any other that does not fit.
    opcode::Send::new(fd, bytes.as_ptr(), bytes.len().min(u32::MAX as usize) as u32).flags(FLAGS).build()
}

#[inline]
fn length(due: &Due<'_>) -> usize {
    match due.bytes {
        Parts::One(bytes) => bytes.len(),
        Parts::Many(parts) => parts.iter().map(|run| run.len()).sum(),
    }
}

fn came(answer: Answer) -> Came {
    match answer.outcome() {
        Ok(taken) => Came::Part(taken),
        // Short of memory is as good as full: try again when the socket says so.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Came::Part(0),
        Err(_) => Came::Broken,
    }
}
