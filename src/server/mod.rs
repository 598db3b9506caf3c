//! Floor 5: the command line, settings as written and as meant, boot and shutdown.

pub mod demo;
