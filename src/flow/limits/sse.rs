//! What holds for server-sent events.

use crate::base::time::SEC;

/// Server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseLimits {
    /// Nanoseconds that a client waits before it comes back.
    pub retry: u64,
    /// Nanoseconds between signs of life.
    pub keepalive: u64,
    /// Publications that are read from a history at a time.
    pub replay_limit: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        SseLimits { retry: 3 * SEC, keepalive: 15 * SEC, replay_limit: 200 }
    }
}
