//! Frames of the hub: one JSON object with a `type` in each text message, or as the data of an event.

use crate::flow::encode::frame::{Dialect, Encoder, Frame, Variant};
use crate::wire::cursor::Cursor;
use crate::wire::feed::Publish;
use crate::wire::json::write_string;
use crate::wire::sse;

/// A publication. `place`: the epoch of the server's histories, and its offset in its channel's.
pub fn publication(encoder: &mut Encoder, variant: Variant, publish: &Publish, place: (&str, u64)) -> Frame {
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"channel":"#);
        write_string(&publish.channel, out);
        out.extend_from_slice(br#","type":"#);
        write_string(&publish.kind, out);
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(publish.data.as_bytes());
        out.push(b'}');
    };
    if variant.dialect != Dialect::Sse || variant.personal || *publish.channel == *"*" {
        return encoder.object(variant.dialect, "message", write);
    }
    // all who share these bytes follow this channel and nothing else, so it is their whole place
    let channels = [(publish.channel.clone(), place.1)].into();
    let cursor = Cursor { epoch: Some(place.0.into()), channels, ..Cursor::default() };
    encoder.chunk(|out| {
        sse::write_id(&cursor.encode(), out);
        sse::write_name("message", out);
        sse::write_json(out, write);
    })
}
