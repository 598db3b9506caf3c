//! Floor 5: the command line, settings as written and as meant, boot and shutdown.

pub mod boot;
pub mod channel;
pub mod cli;
pub mod config;
pub mod cores;
pub mod demo;
pub mod doctor;
pub mod doors;
pub mod error;
pub mod events;
pub mod get;
pub mod meant;
pub mod memory_budget;
pub mod probe;
pub mod publish;
pub mod request;
pub mod subscribe;
pub mod values;
