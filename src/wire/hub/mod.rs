//! The hub's frames: one JSON object with a `type` (or an `action`) in each text message. `frame` and `parse` have what
//! clients send, `write` what the server sends.

mod frame;
mod members;
mod parse;
#[cfg(test)]
mod tests;
pub mod write;

pub use frame::{
    As, Bound, Class, ClientFrame, Command, DEFAULT_LIMIT, EVERYONE, Follow, FrameFault, MAX_LIST, MAX_NAME,
    MAX_TEXT, MemberCommand, Mode, NewMessage, Query, Recover, ReplyTo, RoomCommand, RoomProfile, STATUSES,
    StatusUpdate, is_room, is_user,
};
pub use members::RawMembers;
pub use parse::parse;
