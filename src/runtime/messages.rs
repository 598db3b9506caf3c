//! Headers for sends of several runs of bytes.

/// Runs that one `sendmsg` takes (`UIO_MAXIOV`). The rest counts as not taken.
const MAX_RUNS: usize = 1024;
/// Runs of all the sends of one submission.
const RUNS: usize = 4096;
const _: () = assert!(MAX_RUNS <= RUNS, "one message always fits");

/// The headers of one submission. Neither vector ever grows, so entries may point into them.
pub(super) struct Messages {
    headers: Vec<libc::msghdr>,
    runs: Vec<libc::iovec>,
}

impl Messages {
    /// Room for one submission of so many entries.
    pub(super) fn new(entries: usize) -> Messages {
        Messages { headers: Vec::with_capacity(entries), runs: Vec::with_capacity(RUNS) }
    }

    /// Makes room. No entry may point here any more.
    pub(super) fn clear(&mut self) {
        self.headers.clear();
        self.runs.clear();
    }

    /// Lays out one message and gives its header, which stays put until `clear`. `None` if there is no room: submit what
    /// is laid out, clear, and come again; an empty one has room for any message.
    #[allow(unsafe_code)]
    pub(super) fn lay(&mut self, runs: &[&[u8]]) -> Option<*const libc::msghdr> {
        let runs = &runs[..runs.len().min(MAX_RUNS)];
        let first = self.runs.len();
        if self.headers.len() == self.headers.capacity() || self.runs.capacity() - first < runs.len() {
            return None;
        }
        self.runs.extend(
            runs.iter()
                .map(|run| libc::iovec { iov_base: run.as_ptr().cast_mut().cast(), iov_len: run.len() }),
        );
        // SAFETY: all zeroes is a valid `msghdr`: null pointers and zero lengths.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = self.runs[first..].as_mut_ptr();
        header.msg_iovlen = runs.len() as _;
        self.headers.push(header);
        self.headers.last().map(std::ptr::from_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_not_laid_out_and_moves_nothing() {
        let many = vec![&b"run"[..]; MAX_RUNS];
        let mut messages = Messages::new(512);
        for runs in [&many[..], &many[..3]] {
            messages.clear();
            let first = messages.lay(runs).expect("an empty one has room");
            let room = (messages.headers.capacity(), messages.runs.capacity());
            let laid = 1 + (0..2000).map_while(|_| messages.lay(runs)).count();
            assert_eq!(laid, room.0.min(room.1 / runs.len()), "all the room is used");
            assert_eq!(messages.lay(&many), None);
            assert_eq!((messages.headers.capacity(), messages.runs.capacity()), room);
            assert_eq!(messages.headers.as_ptr(), first);
        }
        messages.clear();
        assert!(messages.lay(&vec![&b"run"[..]; MAX_RUNS + 1]).is_some(), "what is too long is cut");
    }
}
