//! What several properties need: clients that fold what they get, and models.

pub mod events;
pub mod hub;
pub mod person;
pub mod room_model;
pub mod rooms;
pub mod stream_reader;
