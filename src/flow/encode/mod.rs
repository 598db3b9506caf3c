//! From a change to the bytes of a frame: once per change and variant, never per subscriber.

pub mod documents;
pub mod events;
pub mod frame;
pub mod hub;
pub mod ooo;
pub mod rooms;
