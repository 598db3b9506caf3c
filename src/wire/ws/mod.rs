//! The server's side of a WebSocket (RFC 6455): frames out, messages in. The handshake is `wire::http`'s.

mod decode;
mod deflate;
mod frame;
#[cfg(test)]
mod tests;

pub use decode::{Compression, Decoder, Violation, WsEvent};
pub use deflate::{Deflater, Inflater, negotiate};
pub use frame::{MessageKind, Opcode, encode, encode_close, encode_into, header_len};
