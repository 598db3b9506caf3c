//! The limits of the hub.

use crate::base::time::SEC;
use crate::flow::limits::channels::TailLimits;

/// The limits of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Whether a connection that never subscribed to anything gets every channel.
    pub implicit_channels: bool,
    /// Nanoseconds between pings.
    pub ping_interval: u64,
    /// The largest frame that a client may send, in bytes.
    pub max_message: usize,
    /// Frames that may wait for one connection.
    pub queue_frames: usize,
    /// How much is kept for late readers of channels, on each shard.
    pub tail: TailLimits,
    /// Frames that a connection may send per second.
    pub rate: u32,
    /// Frames that it may send at once.
    pub burst: u32,
    /// Connections of one user.
    pub connections_per_user: u32,
    /// Rooms that one user may be in.
    pub rooms_per_user: u32,
    /// Channels that one user may be subscribed to.
    pub channels_per_user: u32,
    /// Whether joining a room that does not exist creates it.
    pub auto_create_rooms: bool,
    /// Nanoseconds after which a user who does not repeat `typing` has stopped.
    pub typing_timeout: u64,
    /// Nanoseconds for which a user stays online after the last connection has closed.
    pub presence_grace: u64,
    /// Users beyond which a room sends their number instead of their names.
    pub presence_list: usize,
    /// Nanoseconds for which a session can be resumed; 0: sessions are off.
    pub session_ttl: u64,
}

impl Default for HubLimits {
    fn default() -> Self {
        HubLimits {
            implicit_channels: false,
            ping_interval: 30 * SEC,
            max_message: 64 << 10,
            queue_frames: 256,
            tail: TailLimits { bytes: 64 << 20, age: 60 * SEC },
            rate: 100,
            burst: 20,
            connections_per_user: 5,
            rooms_per_user: 50,
            channels_per_user: 100,
            auto_create_rooms: false,
            typing_timeout: 3 * SEC,
            presence_grace: 3 * SEC,
            presence_list: 500,
            session_ttl: 0,
        }
    }
}

impl HubLimits {
    /// Nanoseconds after which a client is closed if nothing was received from it: it has been pinged twice since.
    pub fn pong_timeout(&self) -> u64 {
        self.ping_interval / 2 * 5
    }
}
