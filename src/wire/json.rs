//! JSON text as fanfare keeps it: checked once at the door, then carried verbatim.

use std::sync::Arc;

/// One JSON value as compact text; shared by count, never parsed again just to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
