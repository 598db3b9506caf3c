//! Frames of the hub: one JSON object with a `type` in each text message.

use crate::flow::encode::frame::{Encoder, Frame};
use crate::wire::feed::Publish;
use crate::wire::json::write_string;
use crate::wire::ws::Kind;

/// A publication.
pub fn publication(encoder: &mut Encoder, publish: &Publish) -> Frame {
    encoder.message(Kind::Text, |out| {
        out.extend_from_slice(br#"{"channel":"#);
        write_string(&publish.channel, out);
        out.extend_from_slice(br#","type":"#);
        write_string(&publish.kind, out);
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(publish.data.as_bytes());
        out.push(b'}');
    })
}
