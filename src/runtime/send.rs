//! The flush: one batch of sends, submitted and harvested before the call returns.
//!
//! With `MSG_DONTWAIT` the kernel finishes every send while it takes the entry, so after the submission all results are
//! in the completion queue. The call does not rely on it: it returns only when each entry has been answered, and a panic
//! in between ends the process, which is what makes it sound to pass borrowed bytes.

use crate::runtime::slots::Slots;
use crate::runtime::uring::Uring;
use crate::runtime::user_data::UserData;
use crate::shard::io::{Came, Due, Short, Slices};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use rustix::io::Errno;

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Held while the kernel may read borrowed bytes. No panic may end the borrow under it, and waiting for the kernel is not
/// to be trusted after one: so what drops this ends the process.
struct InFlight;

impl InFlight {
    /// Every send has been answered.
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Sends the whole batch to the sockets in `slots`; appends to `short` what did not go out whole.
pub(super) fn send(uring: &mut Uring, slots: &Slots, batch: &[Due<'_>], short: &mut Vec<Short>) {
    // What waits in the queue (receives, closes) goes first, so that a submission of sends is all ours.
    uring.poll();
    let mut start = 0;
    while start < batch.len() {
        let in_flight = InFlight;
        let end = push(uring, slots, batch, start);
        uring.submit();
        harvest(uring, batch, end - start, short);
        in_flight.end();
        start = end;
    }
}

/// Pushes entries for `batch[start..]` until the queue or the message headers are full; returns how far it came.
#[allow(unsafe_code)]
fn push(uring: &mut Uring, slots: &Slots, batch: &[Due<'_>], start: usize) -> usize {
    let (mut queue, messages) = uring.submission();
    messages.clear();
    for (index, due) in batch.iter().enumerate().skip(start) {
        let fd = Fd(slots.fd(due.slot));
        let entry = match due.bytes {
            Slices::One(bytes) => send_one(fd, bytes),
            Slices::Many([bytes]) => send_one(fd, bytes),
            Slices::Many(parts) => {
                let Some(header) = messages.lay(parts) else { return index };
                opcode::SendMsg::new(fd, header).flags(FLAGS as u32).build()
            }
        };
        let entry = entry.user_data(UserData::Send(index as u32).bits());
        // SAFETY: the bytes are borrowed for the whole of `send`, and the headers stay until the next call of this
        // function. `send` comes to either only when `harvest` has seen the completion of every entry pushed here; if
        // it unwinds instead, with `panic = "unwind"`, `InFlight` ends the process before the borrow ends.
        if unsafe { queue.push(&entry) }.is_err() {
            return index;
        }
    }
    batch.len()
}

/// Takes the completions of the `open` sends that were submitted.
fn harvest(uring: &mut Uring, batch: &[Due<'_>], mut open: usize, short: &mut Vec<Short>) {
    while open > 0 {
        for completion in uring.sends() {
            open -= 1;
            let due = &batch[completion.index as usize];
            if completion.outcome.map(|taken| taken as usize) != Ok(length(due)) {
                short.push(Short { index: completion.index, came: came(completion.outcome) });
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
        Slices::One(bytes) => bytes.len(),
        Slices::Many(parts) => parts.iter().map(|run| run.len()).sum(),
    }
}

fn came(outcome: Result<u32, Errno>) -> Came {
    match outcome {
        Ok(taken) => Came::Part(taken as usize),
        // Short of memory is as good as full: try again when the socket says so.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Came::Part(0),
        Err(_) => Came::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ConnId;
    use crate::runtime::places::PlaceKind;
    use crate::runtime::user_data::Operation;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::process::Command;

    /// A ring with one socket, in slot 0, and its peer.
    fn connected() -> (Uring, Slots, UnixStream) {
        let (ours, peer) = UnixStream::pair().unwrap();
        let mut slots = Slots::default();
        let slot = slots.vacant();
        slots.fill(ConnId { slot, generation: 0 }, ours.into(), PlaceKind::Common);
        (Uring::new().unwrap(), slots, peer)
    }

    fn frames(frames: &[&'static str]) -> Vec<Due<'static>> {
        frames.iter().map(|frame| Due { slot: 0, bytes: Slices::One(frame.as_bytes()) }).collect()
    }

    #[test]
    fn completions_that_made_room_for_a_submission_still_reach_their_readers() {
        let (mut uring, slots, mut peer) = connected();
        let conn = ConnId { slot: 0, generation: 0 };
        uring.watch_writable(slots.fd(0), conn);
        let batch = frames(&["a", "b", "c"]);
        assert_eq!(push(&mut uring, &slots, &batch, 0), 3);
        uring.submit();
        // As `submit` does when the kernel says that it is busy.
        uring.take_completions();
        let mut short = Vec::new();
        harvest(&mut uring, &batch, 3, &mut short);
        assert_eq!(short, []);
        peer.read_exact(&mut [0; 3]).unwrap();

        send(&mut uring, &slots, &frames(&["d"]), &mut short);
        assert_eq!(short, [], "nothing is left over for the next batch");
        let operations = std::iter::from_fn(|| {
            uring.poll();
            uring.next()
        });
        assert_eq!(operations.map(|c| c.operation).collect::<Vec<_>>(), [Operation::Writable(conn)]);
    }

    /// Runs itself as another process, which is to end.
    #[test]
    fn a_panic_while_sends_are_in_flight_ends_the_process() {
        const CHILD: &str = "FANFARE_TEST_PANICS_IN_FLIGHT";
        if std::env::var_os(CHILD).is_none() {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let name = "runtime::send::tests::a_panic_while_sends_are_in_flight_ends_the_process";
            let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
            assert!(said.contains("index out of bounds"), "for another reason: {said}");
            return;
        }
        let (mut uring, slots, _peer) = connected();
        // A completion that belongs to no send of the batch: `harvest` panics on it.
        assert_eq!(push(&mut uring, &slots, &frames(&["a", "b"]), 1), 2);
        uring.submit();
        uring.take_completions();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            send(&mut uring, &slots, &frames(&["c"]), &mut Vec::new());
        }));
    }
}
