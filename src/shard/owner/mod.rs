//! The owner's side: documents, channels, lists, rooms, users and sessions whose names fall to this shard.

pub mod channels;
pub mod documents;
pub mod front;
pub mod lists;
pub mod partitions;
pub mod quotas;
pub mod replays;
pub mod room_asks;
pub mod rooms;
pub mod route_readers;
pub mod sequencer;
pub mod sessions;
pub mod users;
pub mod watch;
