//! Floor 5: the command line, settings and the limits they resolve to, boot and shutdown.

pub mod boot;
pub mod channel;
pub mod cli;
pub mod config;
pub mod cores;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod events;
pub mod get;
pub mod memory_budget;
pub mod probe;
pub mod publish;
pub mod request;
pub mod resolve;
pub mod subscribe;
