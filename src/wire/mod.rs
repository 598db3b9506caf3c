//! Floor 1: codecs, bytes to values and back. No I/O, no clock, no state beyond a cursor.

pub mod cursor;
pub mod feed;
pub mod http;
pub mod hub;
pub mod json;
pub mod key;
pub mod sse;
pub mod stream;
pub mod template;
pub mod time;
pub mod url;
pub mod ws;
