//! The WebSocket's handshake, and what a connection of the hub asks for in it.

use crate::base::stamp::Stamp;
use crate::flow::limits::Limits;
use crate::flow::request::query::{names, parameter};
use crate::wire::cursor::{BadCursor, Cursor};
use crate::wire::feed::is_channel;
use crate::wire::http::{Field, Head, Response, upgrade};
use crate::wire::hub::is_room;
use crate::wire::ws::{Compression, negotiate};
use std::sync::Arc;

/// The subprotocol of our own dialect.
const NATIVE: &str = "fanfare.v1";

/// The answer to a WebSocket's handshake.
#[derive(Debug)]
pub struct Handshake {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it agrees to.
    pub compression: Compression,
    /// Whether it agrees to speak our own dialect.
    pub native: bool,
}

impl Handshake {
    /// Answers a handshake; `hub`: at a door of the hub, where the dialect is agreed on.
    ///
    /// # Errors
    /// The response to one that is malformed.
    pub fn read(head: &Head, hub: bool, limits: &Limits) -> Result<Handshake, Response<'static>> {
        let upgrade = upgrade(head)?;
        let native = hub && upgrade.protocols().any(|protocol| protocol == NATIVE);
        let protocol = match native {
            true => Some(NATIVE),
            false => upgrade.protocols().find(|protocol| *protocol == "bearer" || *protocol == NATIVE),
        };
        let offers = head.get(Field::SecWebSocketExtensions).filter(|_| limits.deflate);
        let (bytes, compression) = match offers.and_then(negotiate) {
            Some(agreed) => {
                let extensions = [("Sec-WebSocket-Extensions", agreed)];
                (upgrade.response(protocol, &extensions), Compression::Deflate)
            }
            None => (upgrade.response(protocol, &[]), Compression::Off),
        };
        Ok(Handshake { bytes, compression, native })
    }
}

/// What a WebSocket of the hub says of itself in its request.
#[derive(Debug, Default)]
pub struct HubRequest {
    /// The channels that it wants at once.
    pub channels: Vec<Arc<str>>,
    /// The rooms that it wants to be in at once.
    pub rooms: Vec<Arc<str>>,
    /// That it wants a session, and the earlier one that it had.
    pub session: Option<Option<Stamp>>,
    /// Whether it has agreed to speak our own dialect.
    pub native: bool,
    /// Whether it has shown that it speaks forge's.
    pub forge: bool,
    /// How far it had come with everything, if it was here before.
    pub cursor: Option<Result<Cursor, BadCursor>>,
}

impl HubRequest {
    /// Reads `?user=`, `?channels=`, `?session_id=`, `?rooms=` and the cursor.
    pub fn read(head: &Head, native: bool) -> HubRequest {
        let session = parameter(head, "session_id");
        HubRequest {
            channels: names(head, "channels", is_channel),
            rooms: names(head, "rooms", is_room),
            forge: session.is_some() || parameter(head, "rooms").is_some(),
            session: session.map(|id| Stamp::from_hex(&id)),
            native,
            cursor: cursor(head),
        }
    }
}

/// How far the client had come, by one of the names that the parameter has.
fn cursor(head: &Head) -> Option<Result<Cursor, BadCursor>> {
    let names = ["cursor", "lastEventId", "last_event_id"];
    let text = names.iter().find_map(|name| parameter(head, name))?;
    (!text.is_empty()).then(|| Cursor::decode(&text))
}
