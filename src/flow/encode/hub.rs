//! Frames of the hub: one JSON object with a `type` in each text message.

use crate::flow::encode::frame::{Encoder, Frame};
use crate::wire::feed::Publish;
use crate::wire::hub::write::{self, Placed};
use crate::wire::ws::Kind;

/// A publication in its place.
pub fn publication(encoder: &mut Encoder, publish: &Publish, placed: Placed) -> Frame {
    encoder.message(Kind::Text, |out| write::publication(publish, placed, out))
}
