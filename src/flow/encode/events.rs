//! Events that say something about the connection itself.

use crate::wire::hub::write::{self, Object};
use crate::wire::json::write_string;
use crate::wire::sse::{LAST_CHUNK, chunk, write_json, write_name};
use std::fmt::Display;
use std::io::Write as _;

/// The first event: what the connection is called, and whether it goes on where the client was.
pub fn write_connected(conn: &impl Display, resumed: bool, out: &mut Vec<u8>) {
    write_name("connected", out);
    write_json(out, |out| {
        write!(out, r#"{{"conn_id":"{conn}","resumed":{resumed},"session_id":""}}"#)
            .expect("a Vec takes all");
    });
}

/// What was missed cannot be made up for; fresh state follows.
pub fn write_resync(out: &mut Vec<u8>) {
    write_name("resync_required", out);
    write_json(out, |out| out.extend_from_slice(br#"{"reason":"cursor could not be honoured"}"#));
}

/// A channel is not open to the client.
pub fn write_denied(channel: &str, code: &str, message: &str, out: &mut Vec<u8>) {
    write_name("denied", out);
    write_json(out, |out| {
        Object::new(out).text("channel", channel).text("code", code).text("message", message).end();
    });
}

/// The end of a stream of events, and why. `retry_after_ms`: when the client may come back by itself.
pub fn last(why: &str, code: u16, retry_after_ms: Option<u64>) -> Vec<u8> {
    let mut bytes = chunk(|out| {
        write_name("disconnect", out);
        write_json(out, |out| write::disconnect(why, code, retry_after_ms, out));
    });
    bytes.extend_from_slice(LAST_CHUNK);
    bytes
}

/// The data of the event that says that the client has caught up, and up to where.
pub fn write_offset(cursor: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"cursor":"#);
    match cursor {
        Some(cursor) => write_string(cursor, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::write_offset;

    #[test]
    fn the_offset_event_names_the_cursor_or_null() {
        for (cursor, text) in [(Some("a\"b"), r#"{"cursor":"a\"b"}"#), (None, r#"{"cursor":null}"#)] {
            let mut out = Vec::new();
            write_offset(cursor, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
