//! The 64 bits that travel with an entry into the kernel and come back with its completion.

use crate::base::id::ConnId;

/// Whom a completion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserData {
    /// One send of a batch; the number is its place in the batch.
    Send(u32),
    /// Anything else that the ring asked for.
    Operation(Operation),
}

/// What the ring asks for besides sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// The completion is of no interest (closes and cancellations that failed: their target was done already).
    Ignore,
    /// Read of the wake-up eventfd.
    Wake,
    /// Multishot accept of the listener with this number.
    Accept(u32),
    /// Multishot receive.
    Receive(ConnId),
    /// One-shot poll for room in the send buffer.
    Writable(ConnId),
}

const IGNORE: u8 = 0;
const WAKE: u8 = 1;
const ACCEPT: u8 = 2;
const RECEIVE: u8 = 3;
const WRITABLE: u8 = 4;
const SEND: u8 = 5;

/// `kind(8) | generation(24) | slot(32)`.
#[inline]
fn pack(kind: u8, conn: ConnId) -> u64 {
    debug_assert!(conn.generation <= ConnId::LAST_GENERATION, "a generation travels whole");
    u64::from(kind) << 56 | u64::from(conn.generation) << 32 | u64::from(conn.slot)
}

impl UserData {
    /// The form in which it travels.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        match self {
            UserData::Send(index) => pack(SEND, ConnId { slot: index, generation: 0 }),
            UserData::Operation(operation) => operation.bits(),
        }
    }

    /// Reads back what [`UserData::bits`] made.
    #[inline]
    pub(super) fn from_bits(bits: u64) -> UserData {
        let conn = ConnId { slot: bits as u32, generation: (bits >> 32) as u32 & ConnId::LAST_GENERATION };
        UserData::Operation(match (bits >> 56) as u8 {
            SEND => return UserData::Send(conn.slot),
            RECEIVE => Operation::Receive(conn),
            ACCEPT => Operation::Accept(conn.slot),
            WRITABLE => Operation::Writable(conn),
            WAKE => Operation::Wake,
            _ => Operation::Ignore,
        })
    }
}

impl Operation {
    /// The form in which it travels.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        let nobody = ConnId { slot: 0, generation: 0 };
        match self {
            Operation::Ignore => pack(IGNORE, nobody),
            Operation::Wake => pack(WAKE, nobody),
            Operation::Accept(listener) => pack(ACCEPT, ConnId { slot: listener, generation: 0 }),
            Operation::Receive(conn) => pack(RECEIVE, conn),
            Operation::Writable(conn) => pack(WRITABLE, conn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_survives_the_journey() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..1000 {
            let generation =
                if round == 0 { ConnId::LAST_GENERATION } else { rng.u32(..=ConnId::LAST_GENERATION) };
            let conn = ConnId { slot: rng.u32(..), generation };
            for data in [
                UserData::Send(rng.u32(..)),
                UserData::Operation(Operation::Ignore),
                UserData::Operation(Operation::Wake),
                UserData::Operation(Operation::Accept(rng.u32(..))),
                UserData::Operation(Operation::Receive(conn)),
                UserData::Operation(Operation::Writable(conn)),
            ] {
                assert_eq!(UserData::from_bits(data.bits()), data);
            }
        }
    }
}
