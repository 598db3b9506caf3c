//! Where an event goes: the owner of a name, and who watches what.

pub mod owner;
pub mod subject;
pub mod trie;
