//! The sockets of one shard, by slot.

use crate::base::id::ConnId;
use crate::runtime::places::PlaceKind;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A connection's socket.
#[derive(Default)]
pub(super) struct Slot {
    /// The socket; `None` while the slot is free.
    fd: Option<OwnedFd>,
    generation: u32,
    /// What it has to give back when it closes.
    pub(super) place: PlaceKind,
    /// A multishot receive is in the kernel, or on its way out of it.
    pub(super) receiving: bool,
    /// The shard wants no bytes for now.
    pub(super) paused: bool,
    /// Nothing will come any more: end of stream, or broken.
    pub(super) ended: bool,
    /// A poll for writability is in the kernel.
    pub(super) watching: bool,
}

/// All slots. Numbers are given out densely, last freed first, so tables indexed by slot stay as small as the largest
/// number of connections there ever was.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    /// A free slot. It stays free until [`Slots::fill`].
    pub(super) fn vacant(&mut self) -> u32 {
        if let Some(&slot) = self.free.last() {
            return slot;
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot::default());
        self.free.push(slot);
        slot
    }

    /// Puts a socket into the slot that [`Slots::vacant`] has just named.
    pub(super) fn fill(&mut self, conn: ConnId, fd: OwnedFd, place: PlaceKind) {
        assert_eq!(self.free.pop(), Some(conn.slot), "a connection takes the slot it was offered");
        self.slots[conn.slot as usize] =
            Slot { fd: Some(fd), generation: conn.generation, place, ..Slot::default() };
    }

    /// The connection's slot, or `None` if the connection is gone: what comes for it then is stale.
    pub(super) fn get(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        (slot.fd.is_some() && slot.generation == conn.generation).then_some(slot)
    }

    /// The socket in a slot, whoever it belongs to; -1 if none.
    #[inline]
    pub(super) fn fd(&self, slot: u32) -> RawFd {
        self.slots.get(slot as usize).and_then(|slot| slot.fd.as_ref()).map_or(-1, |fd| fd.as_raw_fd())
    }

    /// Frees the connection's slot and gives back its socket and what the slot was doing.
    pub(super) fn take(&mut self, conn: ConnId) -> Option<(OwnedFd, Slot)> {
        let mut slot = std::mem::take(self.get(conn)?);
        self.free.push(conn.slot);
        Some((slot.fd.take()?, slot))
    }
}

impl Slot {
    /// The socket of a slot that is taken.
    pub(super) fn socket(&self) -> &OwnedFd {
        self.fd.as_ref().expect("`Slots::get` gives taken slots only")
    }
}
