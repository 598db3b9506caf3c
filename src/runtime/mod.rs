//! Floor 4: what touches the machine: executors, the ring, mailboxes, listeners, the turn.

pub mod boot;
pub mod error;
pub mod kernel;

mod accept;
mod buffers;
mod completions;
mod lent;
mod listen;
mod mailbox;
mod messages;
mod ring;
mod send;
mod slots;
mod turn;
mod uring;
mod user_data;
mod wake;

pub use turn::now;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
