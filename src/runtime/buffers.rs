//! Receive buffers that all connections of a shard share: the kernel takes one when bytes have come, and gets it back
//! as soon as the shard has read them. An idle connection holds none.

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// How many buffers a shard has. A power of two.
pub(super) const COUNT: u16 = 128;
/// The bytes of one buffer.
pub(super) const BYTES: usize = 2048;
/// The group that receives name.
pub(super) const GROUP: u16 = 0;

/// Offset of the buffers behind the ring of entries (16 bytes each), on a page of their own.
const RING_BYTES: usize = (COUNT as usize * size_of::<BufRingEntry>()).next_multiple_of(4096);
const TOTAL: usize = RING_BYTES + COUNT as usize * BYTES;

/// A ring of provided buffers, mapped once. Must be dropped only once the kernel has let go of it.
pub(super) struct Buffers {
    base: *mut u8,
    tail: u16,
}

impl Buffers {
    /// Maps and registers the buffers.
    #[allow(unsafe_code)]
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Buffers> {
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                TOTAL,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        let mut buffers = Buffers { base: base.cast(), tail: 0 };
        // SAFETY: `base` is page-aligned, holds `COUNT` entries, and is unmapped only in `drop`, which the owner
        // runs only once the kernel has let go of it.
        unsafe { submitter.register_buf_ring_with_flags(base as u64, COUNT, GROUP, 0)? };
        for id in 0..COUNT {
            buffers.recycle(id);
        }
        Ok(buffers)
    }

    /// The first `len` bytes of a buffer that the kernel has handed out.
    #[allow(unsafe_code)]
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < COUNT && len <= BYTES, "the kernel named a buffer that we never gave");
        // SAFETY: within the mapping by the assertion. Between completion and `recycle` the kernel does not write
        // to this buffer; `recycle` takes `&mut self`, so it cannot happen while this slice lives.
        unsafe { std::slice::from_raw_parts(self.base.add(RING_BYTES + id as usize * BYTES), len) }
    }

    /// Gives a buffer back to the kernel.
    #[allow(unsafe_code)]
    pub(super) fn recycle(&mut self, id: u16) {
        assert!(id < COUNT, "the kernel named a buffer that we never gave");
        let entries = self.base.cast::<BufRingEntry>();
        // SAFETY: the masked index lies within the mapped entries. The kernel reads entries only up to the tail, so
        // this one is ours until the store below; entry 0's spare bytes are the tail, and the setters leave them.
        unsafe {
            let entry = &mut *entries.add((self.tail & (COUNT - 1)) as usize);
            entry.set_addr(self.base.add(RING_BYTES + id as usize * BYTES) as u64);
            entry.set_len(BYTES as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(entries).cast_mut();
            // Release: the kernel must see the entry before the tail that covers it.
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: `base` came from a mapping of `TOTAL` bytes; no slice of it outlives `self`, and the kernel has let
        // go of it (see the type). An error would mean a leak, which the end of the process mends.
        let _ = unsafe { munmap(self.base.cast(), TOTAL) };
    }
}
