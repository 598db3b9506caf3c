//! Frames of the hub: one JSON object with a `type` in each text message, or as the data of an event.

use crate::base::offset::Offset;
use crate::flow::encode::frame::{Dialect, Encoder, Frame, Variant};
use crate::flow::filter;
use crate::flow::limits::Limits;
use crate::flow::limits::route::RouteId;
use crate::wire::cursor::Cursor;
use crate::wire::feed::Publish;
use crate::wire::hub::write::{self, Placed};
use crate::wire::sse;
use std::sync::Arc;

/// A publication in its place.
pub fn publication(
    encoder: &mut Encoder,
    variant: Variant,
    publish: &Publish,
    placed: Placed,
    limits: &Limits,
    epoch: &str,
) -> Frame {
    let write = |out: &mut Vec<u8>| write::publication(publish, placed, out);
    match variant.dialect {
        Dialect::Change(route) => {
            let id = name(publish, placed.sequence, route, limits, epoch);
            encoder.chunk(|out| {
                sse::write_name("change", out);
                sse::write_line(publish.data.as_bytes(), out);
                sse::write_id(&id, out);
                out.push(b'\n');
            })
        }
        // all who share these bytes follow this channel and nothing else, so it is their whole place
        Dialect::Sse if !variant.personal && *publish.channel != *"*" => {
            let id = place(&publish.channel, placed.sequence, epoch);
            encoder.chunk(|out| {
                sse::write_id(&id, out);
                sse::write_name("message", out);
                sse::write_json(out, write);
            })
        }
        dialect => encoder.object(dialect, "message", write),
    }
}

/// The cursor of a reader that follows one channel and nothing else.
pub fn place(channel: &Arc<str>, offset: Offset, epoch: &str) -> String {
    let channels = [(channel.clone(), offset)].into();
    Cursor { epoch: Some(epoch.into()), channels, ..Cursor::default() }.encode()
}

/// What the readers of a route call a publication: the field that is its id, or the cursor behind it.
pub fn name(publish: &Publish, offset: Offset, route: RouteId, limits: &Limits, epoch: &str) -> String {
    let field = limits.route(route).and_then(|route| route.id_field.as_deref());
    let name = field.and_then(|path| filter::field(&publish.data, path));
    name.map_or_else(|| place(&publish.channel, offset, epoch), String::from)
}
