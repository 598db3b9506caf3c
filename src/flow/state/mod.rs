//! What is kept: documents with their versions, and the lists of patterns.

pub mod item;
pub mod list;
pub mod stamp;
pub mod store;
