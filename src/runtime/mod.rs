//! Floor 4: what touches the machine: executors, the ring, mailboxes, listeners, the event loop.

pub mod control_lane;
pub mod error;
pub mod kernel;
pub mod listen;
pub mod places;
pub mod stopper;
pub mod workers;

mod accept;
mod buffers;
mod clock;
mod completions;
mod event_loop;
mod lent_buffers;
mod mailbox;
mod messages;
mod notifier;
mod ring;
mod send;
mod slots;
mod uring;
mod user_data;

pub use clock::now;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
