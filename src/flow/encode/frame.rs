//! Finished bytes, and what makes two subscribers' bytes differ.

use crate::flow::limits::documents::PatchMode;
use crate::flow::limits::route::RouteId;
use crate::wire::sse;
use crate::wire::ws::{self, Deflater, MessageKind};
use smallvec::SmallVec;
use std::sync::Arc;

/// The finished bytes of one change in one variant. One count per hop between cores.
pub type Frame = Arc<[u8]>;

/// The language of a subscriber's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Binary WebSocket frames with the ooo envelope. One key, pattern or the clock, by the path; the client says
    /// nothing.
    Ooo,
    /// Text WebSocket frames of the hub: JSON both ways.
    Hub,
    /// Server-sent events: the hub's objects as data, in chunks of a response. The client says nothing.
    Sse,
    /// Server-sent events as that route has them: what was published, and nothing around it.
    Change(RouteId),
}

/// Everything that makes two subscribers' bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The language.
    pub dialect: Dialect,
    /// Whether the client takes deflated messages. What is too small to gain by it is sent as it is.
    pub deflate: bool,
    /// How the subscriber wants changes of documents; the native dialect lets it choose.
    pub patch: PatchMode,
    /// Whether the connection adds something of its own to each frame, so that no two members share bytes.
    pub personal: bool,
}

impl Variant {
    /// A dialect as it is, for clients that did not ask for compression.
    pub fn plain(dialect: Dialect) -> Variant {
        Variant { dialect, deflate: false, patch: PatchMode::Auto, personal: false }
    }
}

/// What encoding has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Snapshots, patches, publications and everything else.
    pub frames: u64,
    /// States sent whole.
    pub snapshots: u64,
    /// Changes sent as patches.
    pub patches: u64,
    /// Bytes by which those patches were shorter than the state.
    pub saved: u64,
    /// Frames that were deflated.
    pub deflated: u64,
    /// Their bytes before.
    pub before: u64,
    /// Their bytes after.
    pub after: u64,
}

/// Builds frames in buffers that stay.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Room for the longest header, then the payload, so that the frame is copied once only, into its shared place.
    frame: Vec<u8>,
    header: Vec<u8>,
    deflater: Deflater,
    deflate_min: usize,
    /// What it has come to so far.
    pub count: Encoded,
}

impl Encoder {
    /// The longest frame whose buffer is worth keeping.
    const KEEP: usize = 1 << 20;
    /// The most bytes of a header: ten for WebSocket, as for a chunk.
    const HEADER: usize = sse::ROOM;

    /// An encoder that deflates frames of at least `deflate_min` bytes.
    pub fn new(deflate_min: usize) -> Encoder {
        Encoder { deflate_min, ..Encoder::default() }
    }

    /// Frames of at least so many bytes are deflated from now on.
    pub fn set_deflate_min(&mut self, deflate_min: usize) {
        self.deflate_min = deflate_min;
    }

    /// One whole WebSocket message; `write` appends its payload.
    pub fn message(&mut self, kind: MessageKind, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        self.frame_of(write, |frame, header| {
            ws::encode_into(ws::Opcode::Message(kind), frame.len() - Self::HEADER, header);
            let start = Self::HEADER - header.len();
            frame[start..Self::HEADER].copy_from_slice(header);
            start
        })
    }

    /// Bytes with something around them: `seal` says where they begin.
    fn frame_of(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        seal: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> usize,
    ) -> Frame {
        self.count.frames += 1;
        self.frame.clear();
        self.frame.resize(Self::HEADER, 0);
        write(&mut self.frame);
        self.header.clear();
        let start = seal(&mut self.frame, &mut self.header);
        let frame = Frame::from(&self.frame[start..]);
        if self.frame.len() > Self::KEEP {
            self.frame = Vec::new();
        }
        frame
    }

    /// One object of the native dialects: a text message, or an event of that name.
    pub fn object(&mut self, dialect: Dialect, event: &str, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        match dialect {
            Dialect::Ooo | Dialect::Hub => self.message(MessageKind::Text, write),
            Dialect::Sse | Dialect::Change(_) => self.chunk(|out| {
                sse::write_name(event, out);
                sse::write_json(out, write);
            }),
        }
    }

    /// One chunk of a stream of events; `write` appends its content.
    pub fn chunk(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        self.frame_of(write, |frame, _| sse::seal(frame))
    }

    /// Several messages to one reader as one run of bytes, each deflated if `variant` has it so.
    pub fn run(&mut self, variant: Variant, messages: impl Iterator<Item = Frame>) -> Frame {
        let mut out = Vec::new();
        for message in messages {
            let message = if variant.deflate { self.deflate(&message) } else { message };
            out.extend_from_slice(&message);
        }
        out.into()
    }

    /// The frame of a message with its payload deflated, or that frame itself where nothing would be gained.
    fn deflate(&mut self, plain: &Frame) -> Frame {
        if plain.len() < self.deflate_min {
            return plain.clone();
        }
        let Some(deflated) = self.deflater.frame(plain) else { return plain.clone() };
        self.count.deflated += 1;
        self.count.before += plain.len() as u64;
        self.count.after += deflated.len() as u64;
        deflated.into()
    }
}

/// The frames of one change, made when the first subscriber of a variant asks.
#[derive(Debug, Default)]
pub struct Frames(SmallVec<[(Variant, Option<Frame>); 1]>);

impl Frames {
    /// The frame in `variant`; `None` if its dialect has nothing to say about the change.
    pub fn get(
        &mut self,
        encoder: &mut Encoder,
        variant: Variant,
        make: impl FnOnce(&mut Encoder) -> Option<Frame>,
    ) -> Option<Frame> {
        if let Some(frame) = self.find(variant) {
            return frame.clone();
        }
        let plain = Variant { deflate: false, ..variant };
        let mut frame = match self.find(plain) {
            Some(frame) => frame.clone(),
            None => {
                let frame = make(encoder);
                self.0.push((plain, frame.clone()));
                frame
            }
        };
        if variant.deflate {
            frame = frame.map(|frame| encoder.deflate(&frame));
            self.0.push((variant, frame.clone()));
        }
        frame
    }

    /// They are made anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn find(&self, variant: Variant) -> Option<&Option<Frame>> {
        self.0.iter().find(|(v, _)| *v == variant).map(|(_, frame)| frame)
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Encoder, Frame, Frames, MessageKind, Variant};
    use std::cell::Cell;

    /// The frames of one change for the two who want it plain and the two who want it deflated.
    fn four(min: usize, text: &[u8]) -> ([Frame; 4], u32) {
        let (mut encoder, mut frames, made) = (Encoder::new(min), Frames::default(), Cell::new(0));
        let get = |deflate| {
            let variant = Variant { deflate, ..Variant::plain(Dialect::Hub) };
            let frame = frames.get(&mut encoder, variant, |encoder| {
                made.set(made.get() + 1);
                Some(encoder.message(MessageKind::Text, |out| out.extend_from_slice(text)))
            });
            frame.expect("the hub has something to say")
        };
        ([true, false, true, false].map(get), made.get())
    }

    #[test]
    fn each_variant_is_made_once_and_shared() {
        let ([deflated, plain, again, too], made) = four(100, &[b'a'; 500]);
        assert_eq!((made, &plain[..4]), (1, &[0x81, 126, 1, 244][..]));
        assert!(Frame::ptr_eq(&deflated, &again) && Frame::ptr_eq(&plain, &too));
        assert!(deflated[0] == 0xc1 && deflated.len() < 30, "{deflated:?}");
    }

    #[test]
    fn where_deflating_gains_nothing_all_share_the_plain_frame() {
        let mut rng = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(500).collect();
        for (min, text) in [(501, &[b'a'; 496][..]), (100, &noise)] {
            let (frames, made) = four(min, text);
            assert!(made == 1 && frames.iter().all(|frame| Frame::ptr_eq(frame, &frames[0])));
        }
    }
}
