//! Simulated clients, one for each language that a connection may speak.

pub mod application;
pub mod event_reader;
pub mod eventsource;
pub mod hub;
pub mod subscriber;
pub mod websocket;
