//! The sockets of one shard, by slot.

use crate::base::id::ConnId;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// One place for a connection.
#[derive(Default)]
pub(super) struct Slot {
    /// The socket; `None` while the place is free.
    fd: Option<OwnedFd>,
    generation: u32,
    /// A multishot receive is in the kernel, or on its way out of it.
    pub(super) receiving: bool,
    /// The shard wants no bytes for now.
    pub(super) paused: bool,
    /// Nothing will come any more: end of stream, or broken.
    pub(super) ended: bool,
    /// A poll for writability is in the kernel.
    pub(super) watching: bool,
}

/// All places. Numbers are given out densely, last freed first, so tables indexed by slot stay as small as the largest
/// number of connections there ever was.
pub(super) struct Slots {
    places: Vec<Slot>,
    free: Vec<u32>,
    limit: u32,
}

impl Slots {
    /// Room for `limit` connections; memory is taken as they come.
    pub(super) fn new(limit: u32) -> Slots {
        Slots { places: Vec::new(), free: Vec::new(), limit }
    }

    /// A free place, or `None` if all are taken. It stays free until [`Slots::fill`].
    pub(super) fn vacant(&mut self) -> Option<u32> {
        if let Some(&slot) = self.free.last() {
            return Some(slot);
        }
        if self.places.len() >= self.limit as usize {
            return None;
        }
        let slot = self.places.len() as u32;
        self.places.push(Slot::default());
        self.free.push(slot);
        Some(slot)
    }

    /// Puts a socket into the place that [`Slots::vacant`] has just named.
    pub(super) fn fill(&mut self, conn: ConnId, fd: OwnedFd) {
        assert_eq!(self.free.pop(), Some(conn.slot), "a connection takes the place it was offered");
        self.places[conn.slot as usize] =
            Slot { fd: Some(fd), generation: conn.generation, ..Slot::default() };
    }

    /// The connection's place, or `None` if the connection is gone: what comes for it then is stale.
    pub(super) fn get(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.places.get_mut(conn.slot as usize)?;
        (slot.fd.is_some() && slot.generation == conn.generation).then_some(slot)
    }

    /// The socket in a place, whoever it belongs to; -1 if none.
    #[inline]
    pub(super) fn fd(&self, slot: u32) -> RawFd {
        self.places.get(slot as usize).and_then(|slot| slot.fd.as_ref()).map_or(-1, |fd| fd.as_raw_fd())
    }

    /// Frees the connection's place and gives back its socket and what the place was doing.
    pub(super) fn take(&mut self, conn: ConnId) -> Option<(OwnedFd, Slot)> {
        let mut slot = std::mem::take(self.get(conn)?);
        self.free.push(conn.slot);
        Some((slot.fd.take()?, slot))
    }
}

impl Slot {
    /// The socket of a place that is taken.
    pub(super) fn socket(&self) -> &OwnedFd {
        self.fd.as_ref().expect("`Slots::get` gives taken places only")
    }
}
