//! The simulated world: N shards, lanes with delays, sockets that fill up and stall, virtual time, one seed.
//!
//! A run is a function of its seed. `tests/properties/` holds what must be true of fanfare in such a world; the program
//! (`main.rs`) does random operations for as long as one likes.

pub mod socket;

pub mod world;

pub mod clients;

pub mod model;

pub mod operations;

pub mod random;

/// The numbers of shards at which every property is held.
pub const SHARDS: [u16; 4] = [1, 2, 3, 8];
