//! Bytes to values and back.

use super::Work;
use super::document::entries;
use fanfare::base::offset::Offset;
use fanfare::base::stamp::Stamp;
use fanfare::flow::encode::frame::{Dialect, Encoder, Variant};
use fanfare::flow::encode::{hub, ooo};
use fanfare::flow::limits::Limits;
use fanfare::flow::state::item::Item;
use fanfare::wire::feed::Publish;
use fanfare::wire::hub::write::Placed;
use fanfare::wire::json::Json;
use fanfare::wire::key::Key;
use fanfare::wire::ws::{Compression, Decoder, Deflater, Inflater, MessageKind, Opcode, encode};

/// Messages in one read.
pub const FRAMES: usize = 32;

/// A masked text message, as a client sends it.
pub fn masked(text: &[u8]) -> Vec<u8> {
    let mask = [7, 11, 13, 17];
    let mut frame = vec![0x81];
    match text.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(len).expect("pieces send short messages").to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

pub fn frame_parse(len: usize) -> Work {
    let bytes = masked(&vec![b'x'; len]).repeat(FRAMES);
    let (mut decoder, mut scratch) = (Decoder::new(1 << 20, Compression::Off), Vec::new());
    Box::new(move || {
        let (mut input, mut events) = (&bytes[..], 0);
        while let Ok(Some(_)) = decoder.poll(&mut input, &mut scratch) {
            events += 1;
        }
        assert_eq!(events, FRAMES);
        events
    })
}

/// A frame of JSON for everybody who takes it compressed.
pub fn deflate(len: usize) -> Work {
    let (frame, mut deflater) = (json_frame(len), Deflater::default());
    Box::new(move || deflater.frame(&frame).expect("JSON shrinks").len())
}

/// The same as if a client had sent it.
pub fn inflate(len: usize) -> Work {
    let (frame, mut deflater, mut inflater) = (json_frame(len), Deflater::default(), Inflater::default());
    // two or four bytes of header
    let deflated = deflater.frame(&frame).expect("JSON shrinks");
    let data = deflated[if deflated[1] < 126 { 2 } else { 4 }..].to_vec();
    Box::new(move || inflater.message(MessageKind::Text, &data, 1 << 20).expect("what was deflated").len())
}

fn json_frame(len: usize) -> Vec<u8> {
    let text = entries(60).to_string().repeat(1 + len / 1000);
    encode(Opcode::Message(MessageKind::Text), &text.as_bytes()[..len])
}

/// As an application sends it: with blanks.
pub fn normalise(size: usize) -> Work {
    let text = serde_json::to_string_pretty(&entries(size)).expect("a value has a text");
    Box::new(move || Json::parse(text.as_bytes()).expect("it is JSON").as_bytes().len())
}

/// Compact as most libraries write it: nothing has to change.
pub fn normalise_again(size: usize) -> Work {
    let text = entries(size).to_string();
    Box::new(move || Json::parse(text.as_bytes()).expect("it is JSON").as_bytes().len())
}

pub fn encode_item(len: usize) -> Work {
    let key = Key::parse("things/123").expect("a key");
    let item = Item::new(key, Stamp::new(1), Stamp::new(2), Json::string(&"x".repeat(len)));
    let mut encoder = Encoder::default();
    Box::new(move || ooo::item(&mut encoder, item.version(), Some(&item)).len())
}

pub fn encode_publication(len: usize) -> Work {
    let publish = Publish::new("news", "message", Json::string(&"x".repeat(len)));
    let mut encoder = Encoder::default();
    let placed = Placed { room: false, sequence: Offset::new(1), stamp: Stamp::ZERO, told: false };
    let (variant, limits) = (Variant::plain(Dialect::Hub), Limits::default());
    Box::new(move || hub::publication(&mut encoder, variant, &publish, placed, &limits, "0").len())
}
