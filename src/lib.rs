//! fanfare: a broadcast tier for Linux.
//!
//! The modules stand in the order of the floors, lowest first; a floor uses only the ones above it in this list
//! (`tests/floors.rs` holds the code to it). `docs/src/ARCHITECTURE.md` is the map.

pub mod base;
pub mod wire;
pub mod flow;
pub mod shard;
pub mod runtime;
pub mod server;
