//! Frames of the hub: one JSON object with a `type` in each text message, or as the data of an event.

use crate::flow::encode::frame::{Dialect, Encoder, Frame, Variant};
use crate::wire::cursor::Cursor;
use crate::wire::feed::Publish;
use crate::wire::hub::write::{self, Placed};
use crate::wire::sse;

/// A publication in its place. `epoch`: of the server's histories.
pub fn publication(
    encoder: &mut Encoder,
    variant: Variant,
    publish: &Publish,
    placed: Placed,
    epoch: &str,
) -> Frame {
    let write = |out: &mut Vec<u8>| write::publication(publish, placed, out);
    if variant.dialect != Dialect::Sse || variant.personal || *publish.channel == *"*" {
        return encoder.object(variant.dialect, "message", write);
    }
    // all who share these bytes follow this channel and nothing else, so it is their whole place
    let channels = [(publish.channel.clone(), placed.sequence)].into();
    let cursor = Cursor { epoch: Some(epoch.into()), channels, ..Cursor::default() };
    encoder.chunk(|out| {
        sse::write_id(&cursor.encode(), out);
        sse::write_name("message", out);
        sse::write_json(out, write);
    })
}
