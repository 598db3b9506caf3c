//! The 64 bits that travel with an operation into the kernel and come back with its completion.

use crate::base::id::ConnId;

/// What an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// The answer is of no interest (closes and cancellations that failed: their target was done already).
    Forget,
    /// Read of the wake-up eventfd.
    Wake,
    /// Multishot accept; the slot is the listener's number.
    Accept,
    /// Multishot receive.
    Recv,
    /// One-shot poll for room in the send buffer.
    Writable,
    /// Send; the slot is the place in the batch.
    Send,
}

/// `op(8) | generation(24) | slot(32)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) op: Op,
    pub(super) conn: ConnId,
}

/// The bits of a generation that travel.
const GENERATION: u32 = (1 << 24) - 1;

impl Tag {
    /// Tag of an operation on a connection.
    pub(super) fn new(op: Op, conn: ConnId) -> Tag {
        Tag { op, conn }
    }

    /// Tag of an operation that belongs to no connection; `place` means what `op` says.
    pub(super) fn at(op: Op, place: u32) -> Tag {
        Tag { op, conn: ConnId { slot: place, generation: 0 } }
    }

    /// The form in which it travels.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        (self.op as u64) << 56
            | u64::from(self.conn.generation & GENERATION) << 32
            | u64::from(self.conn.slot)
    }

    /// Reads back what [`Tag::bits`] made.
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Tag {
        let op = match (bits >> 56) as u8 {
            x if x == Op::Send as u8 => Op::Send,
            x if x == Op::Recv as u8 => Op::Recv,
            x if x == Op::Accept as u8 => Op::Accept,
            x if x == Op::Writable as u8 => Op::Writable,
            x if x == Op::Wake as u8 => Op::Wake,
            _ => Op::Forget,
        };
        Tag { op, conn: ConnId { slot: bits as u32, generation: (bits >> 32) as u32 & GENERATION } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_journey() {
        let mut rng = fastrand::Rng::with_seed(1);
        for op in [Op::Forget, Op::Wake, Op::Accept, Op::Recv, Op::Writable, Op::Send] {
            for _ in 0..1000 {
                let tag = Tag::new(op, ConnId { slot: rng.u32(..), generation: rng.u32(..=GENERATION) });
                assert_eq!(Tag::from_bits(tag.bits()), tag);
            }
        }
    }
}
