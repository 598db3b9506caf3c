//! What a shard holds at a moment, for those who check it from outside: the simulator. What is counted is in `Stats`.

use crate::base::id::{ConnId, ShardId};
use crate::flow::conn::Phase;
use crate::flow::state::presence::Status;
use crate::shard::connections::Clients;
use crate::shard::owner::documents::Owner;
use crate::shard::owner::rooms::Rooms;
use crate::shard::owner::users::Users;
use std::sync::Arc;

/// What one shard holds. Plain values: it changes nothing, and does not change.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its connections, by slot.
    pub connections: Vec<Connection>,
    /// Streamed answers that its connections are being given.
    pub streams: usize,
    /// Scans of its documents that are open, for streams on any shard.
    pub scans: usize,
    /// Bytes of earlier versions that it keeps for them.
    pub scan_bytes: usize,
    /// Imports that wait until less is under way.
    pub waiting_imports: usize,
    /// The rooms that it owns.
    pub rooms: Vec<Room>,
    /// The users that it owns.
    pub users: Vec<User>,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
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
pub struct Room {
    /// Its name.
    pub name: Arc<str>,
    /// Its members.
    pub members: Vec<Arc<str>>,
    /// The connections that are in it.
    pub connections: Vec<(ShardId, ConnId)>,
}

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: Arc<str>,
    /// The rooms that it is a member of, as its owner believes.
    pub rooms: Vec<Arc<str>>,
    /// Whether others see it as there.
    pub online: bool,
}

impl Inspection {
    /// Looks at the parts of a shard.
    pub(super) fn new(clients: &Clients, owner: &Owner, rooms: &Rooms, users: &Users) -> Inspection {
        let (scans, scan_bytes) = owner.cuts();
        let rooms = rooms.iter().map(|(name, place)| Room {
            name: name.clone(),
            members: place.room.members().into_iter().map(|(user, _)| user.clone()).collect(),
            connections: place.lines().map(|(_, line)| (line.0, line.1)).collect(),
        });
        let users = users.iter().map(|(name, user)| User {
            name: name.clone(),
            rooms: user.rooms().cloned().collect(),
            online: user.shown().status != Status::Offline,
        });
        let connections = (0..clients.conns.bound()).filter_map(|slot| connection(clients, slot));
        Inspection {
            connections: connections.take(clients.conns.len()).collect(),
            streams: clients.streams.len(),
            scans,
            scan_bytes,
            waiting_imports: clients.held_imports.len(),
            rooms: rooms.collect(),
            users: users.collect(),
        }
    }
}

fn connection(clients: &Clients, slot: u32) -> Option<Connection> {
    let conn = clients.conns.at(slot)?;
    let held = conn.hub.as_ref().and_then(|hub| hub.held.as_ref());
    Some(Connection {
        id: clients.id(slot),
        queued: clients.fanout.queued(slot),
        unhandled: held.map_or(0, Vec::len),
        stream: match &conn.phase {
            Phase::Http(http) => http.stream.as_ref().map(|stream| stream.held()),
            _ => None,
        },
        paused: conn.paused,
        closing: matches!(conn.phase, Phase::Closing),
    })
}
