//! The pieces of a connection: requests out of bytes, responses out of answers, streams, imports, rates.

pub mod events;
pub mod import;
pub mod listing;
pub mod pending;
pub mod reply_queue;
pub mod request_reader;
pub mod response_part;
pub mod stream;
pub mod token_bucket;
pub mod writer;
