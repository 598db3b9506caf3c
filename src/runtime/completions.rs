//! Completions that were taken out of the kernel's queue, sorted by who reads them.
//!
//! A queue that is too full refuses submissions, so it is emptied wherever that happens: in the middle of a batch of
//! sends as well. Whatever is met there keeps its order and waits here for its reader.

use crate::runtime::user_data::{Operation, UserData};
use io_uring::cqueue;
use rustix::io::Errno;
use std::collections::VecDeque;

/// An operation has come to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) operation: Operation,
    /// A count, a descriptor or an event mask.
    pub(super) outcome: Result<u32, Errno>,
    /// The provided buffer that holds the bytes, if any.
    pub(super) buffer: Option<u16>,
    /// The operation goes on, and there will be another completion.
    pub(super) more: bool,
}

/// A send has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendCompletion {
    /// Its place in the batch.
    pub(super) index: u32,
    /// The bytes that the socket took.
    pub(super) outcome: Result<u32, Errno>,
}

/// What was taken and not yet read.
#[derive(Default)]
pub(super) struct Completions {
    /// Read by the flush, before it returns.
    pub(super) sends: Vec<SendCompletion>,
    /// Read by the turn.
    pub(super) operations: VecDeque<Completion>,
}

impl Completions {
    /// Puts one behind those of its kind.
    #[inline]
    pub(super) fn sort(&mut self, entry: &cqueue::Entry) {
        let result = entry.result();
        let outcome = u32::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
        match UserData::from_bits(entry.user_data()) {
            UserData::Send(index) => self.sends.push(SendCompletion { index, outcome }),
            UserData::Operation(operation) => {
                let buffer = cqueue::buffer_select(entry.flags());
                let more = cqueue::more(entry.flags());
                self.operations.push_back(Completion { operation, outcome, buffer, more });
            }
        }
    }
}
