//! What a shard holds at a moment, for those who check it from outside: the simulator. What is counted is in `Stats`.

use crate::base::id::{ConnId, ShardId};
use std::sync::Arc;

/// What one shard holds. Plain values: it changes nothing, and does not change.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Its connections, by slot.
    pub connections: Vec<ConnectionInspection>,
    /// Streamed answers that its connections are being given.
    pub streams: usize,
    /// Scans of its documents that are open, for streams on any shard.
    pub scans: usize,
    /// Bytes of earlier versions that it keeps for them.
    pub scan_bytes: usize,
    /// Imports that wait until less is under way.
    pub waiting_imports: usize,
    /// The rooms that it owns.
    pub rooms: Vec<RoomInspection>,
    /// The users that it owns.
    pub users: Vec<UserInspection>,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInspection {
    /// Which one.
    pub id: ConnId,
    /// Bytes that wait to be sent to it alone.
    pub queued: usize,
    /// Bytes of frames that wait until its place in a room is reserved.
    pub unhandled: usize,
    /// Documents that wait for the streamed answer that it is being given; `None` if it is given none.
    pub stream: Option<usize>,
    /// Whether reading from it is paused.
    pub paused: bool,
    /// Whether its last bytes are on their way.
    pub closing: bool,
}

/// One room.
#[derive(Clone, Debug)]
pub struct RoomInspection {
    /// Its name.
    pub name: Arc<str>,
    /// Its members.
    pub members: Vec<Arc<str>>,
    /// The connections that are in it.
    pub connections: Vec<(ShardId, ConnId)>,
}

/// One user.
#[derive(Clone, Debug)]
pub struct UserInspection {
    /// Its name.
    pub name: Arc<str>,
    /// The rooms that it is a member of, as its owner believes.
    pub rooms: Vec<Arc<str>>,
    /// Whether others see it as there.
    pub online: bool,
}
