//! What is kept: documents with their versions, the lists of patterns, and how one version becomes the next.

pub mod align;
pub mod apply;
pub mod diff;
pub mod history;
pub mod item;
pub mod list;
pub mod merge;
pub mod order;
pub mod permission;
pub mod presence;
pub mod room;
pub mod scan;
pub mod stamp;
pub mod store;
pub mod tail;
pub mod typing;

#[cfg(test)]
mod rooms_tests;
#[cfg(test)]
mod tests;
