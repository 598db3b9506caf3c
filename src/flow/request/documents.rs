//! What a client of the hub asks of documents.

use crate::base::stamp::Stamp;
use crate::flow::limits::documents::PatchMode;
use crate::wire::cursor::KeyPosition;
use crate::wire::key::{Key, Name};
use hashbrown::HashMap;

/// The versions of documents that a client has.
pub type Versions = HashMap<Key, Stamp>;

/// A subscription to documents, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentRequest {
    /// Subscribe, or change how it is subscribed.
    Subscribe {
        /// To what.
        name: Name,
        /// How changes are to come.
        patch: PatchMode,
        /// At most so many deliveries a second; 0: as they come.
        max_hz: u32,
        /// What the client has already.
        versions: Versions,
        /// How far it had come, by its cursor.
        far: Option<KeyPosition>,
        /// The `request_id`.
        request: Option<Box<str>>,
    },
    /// End a subscription; the `request_id`.
    Unsubscribe(Name, Option<Box<str>>),
}

impl DocumentRequest {
    /// Subscribe to a name of which the client has nothing.
    pub fn subscribe(name: Name) -> DocumentRequest {
        let (patch, max_hz, versions, far, request) = Default::default();
        DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request }
    }
}
