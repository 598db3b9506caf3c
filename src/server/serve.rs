//! Where boot hands over to the runtime.

use crate::server::boot::{Plan, Running};
use crate::server::bounds::Bounds;
use crate::server::error::ServerError;

/// Opens the doors of `plan` and starts a shard on each of its cores.
///
/// # Errors
/// A door cannot be opened; an executor or a ring cannot be made.
pub fn start(_plan: &Plan, _bounds: &Bounds) -> Result<Running, ServerError> {
    Err(ServerError::Runtime("this build has no runtime yet: it cannot serve.".to_owned()))
}
