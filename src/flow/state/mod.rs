//! What is kept: documents, and how one version of a document becomes the next.

pub mod align;
pub mod apply;
pub mod diff;
pub mod merge;
pub mod tree;

#[cfg(test)]
mod tests;
