//! The commands that talk to a server: `pub`, `sub` and `get`.

pub mod channel;
pub mod documents;
pub mod events;
pub mod follow;
pub mod get;
pub mod http;
pub mod publish;
pub mod websocket;
