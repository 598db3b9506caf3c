//! The server's side of HTTP/1.1 (RFC 9112): requests in, responses out, the upgrade to a WebSocket, CORS.

mod bad_request;
mod body;
mod cors;
mod head;
mod response;
mod upgrade;

pub use bad_request::BadRequest;
pub use body::{BodyDecoder, Fed};
pub use cors::{cors_headers, preflight};
pub use head::{Field, Framing, Head, MAX_HEAD, Method, Version, parse_head};
pub use response::{CONTINUE, Response};
pub use upgrade::{Upgrade, upgrade};
