//! From one frame to many sockets: pools gather what a turn brings, a plan sends it.

pub mod plan;
pub mod pool;
pub mod queue;
pub mod sockets;
