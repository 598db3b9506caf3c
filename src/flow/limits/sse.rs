//! The limits of server-sent events.

use crate::base::time::SEC;

/// The limits of server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseLimits {
    /// Nanoseconds that a client waits before it reconnects.
    pub retry: u64,
    /// Nanoseconds between keep-alives.
    pub keepalive: u64,
    /// Publications that are read from a history at a time.
    pub replay_limit: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        SseLimits { retry: 3 * SEC, keepalive: 15 * SEC, replay_limit: 200 }
    }
}
