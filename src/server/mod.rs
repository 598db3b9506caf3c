//! Floor 6: the command line, settings and the limits they resolve to, boot and shutdown.

pub mod boot;
pub mod cli;
pub mod client;
pub mod config;
pub mod cores;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod memory_budget;
pub mod resolve;
