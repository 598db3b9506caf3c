//! The codes with which connections are closed, and what clients do about them. The ranges are those of the protocol's
//! page.

/// The server stops.
pub const GOING_AWAY: u16 = 1001;
/// The reader is too slow; its range tells clients to come back.
pub const SLOW: u16 = 3008;
/// The user has as many connections as it may have. Those may be dead and not found to be yet, so the client may come
/// back, but not at once.
pub const TOO_MANY_CONNECTIONS: u16 = 3009;
/// The session was taken up by another connection; its range tells clients to stay away.
pub const SESSION_TAKEN: u16 = 3510;

/// After how many milliseconds a client that was closed with that code may come back by itself, if at all.
pub fn retry_after_ms(code: u16) -> Option<u64> {
    match code {
        TOO_MANY_CONNECTIONS => Some(10_000),
        GOING_AWAY | 3000..=3499 => Some(1_000),
        _ => None,
    }
}
