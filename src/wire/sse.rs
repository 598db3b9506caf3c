//! Server-sent events as chunks of a chunked HTTP/1.1 body. Fields and events are independent of chunks: an event may
//! stand in several.

use std::io::Write;

/// Room before the content of a chunk for its size: eight hex digits and the line end.
pub const ROOM: usize = 10;

/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Makes a chunk of what stands in `buf` behind `ROOM` bytes; it begins where the answer says.
pub fn seal(buf: &mut Vec<u8>) -> usize {
    let size = format!("{:x}\r\n", buf.len() - ROOM);
    let start = ROOM - size.len();
    buf[start..ROOM].copy_from_slice(size.as_bytes());
    buf.extend_from_slice(b"\r\n");
    start
}

/// One chunk; `write` appends its content, at least one byte (an empty chunk would end the body).
pub fn chunk(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut buf = vec![0; ROOM];
    write(&mut buf);
    let start = seal(&mut buf);
    buf.drain(..start);
    buf
}

/// Appends how long the client is to wait before it reconnects. It is an event of its own, without effect on others.
pub fn write_retry(ms: u64, out: &mut Vec<u8>) {
    write!(out, "retry: {ms}\n\n").expect("a Vec takes all");
}

/// Appends a comment, which keeps proxies and clients from thinking that the connection is dead.
pub fn write_comment(text: &str, out: &mut Vec<u8>) {
    write_field(":", text, out);
    out.push(b'\n');
}

/// Appends the event's id: the client's position after it.
pub fn write_id(id: &str, out: &mut Vec<u8>) {
    write_field("id:", id, out);
}

/// Appends the name of the event.
pub fn write_name(name: &str, out: &mut Vec<u8>) {
    write_field("event:", name, out);
}

/// Appends data that has no line ends, such as JSON in normal form, and ends the event.
pub fn write_json(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    let start = out.len();
    write(out);
    debug_assert!(!out[start..].iter().any(|b| matches!(b, b'\n' | b'\r')), "one line");
    out.extend_from_slice(b"\n\n");
}

/// Appends such data as a field of an event that goes on.
pub fn write_line(json: &[u8], out: &mut Vec<u8>) {
    write_json(out, |out| out.extend_from_slice(json));
    out.pop();
}

/// Appends any text as data, a field for each line, and ends the event. An empty text has a field too, or the client
/// would not see the event.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        write_field("data:", line, out);
    }
    out.push(b'\n');
}

/// One line. Bytes that would end it are left out; a client ignores an id with a NUL in it, so that goes as well.
fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    out.extend(value.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::{chunk, write_comment, write_id, write_json, write_name, write_retry};

    #[test]
    fn fields_are_written_as_the_originals_write_them() {
        let bytes = chunk(|out| {
            write_retry(3000, out);
            write_id("eyJyb29tLTEiOjd9", out);
            write_name("message", out);
            write_json(out, |out| out.extend_from_slice(b"{}"));
            write_comment("ping", out);
        });
        let text = "retry: 3000\n\nid: eyJyb29tLTEiOjd9\nevent: message\ndata: {}\n\n: ping\n\n";
        assert_eq!(bytes, format!("{:x}\r\n{text}\r\n", text.len()).into_bytes());
    }
}
