//! Finished bytes, and what makes two subscribers' bytes differ.

use crate::wire::ws::{self, Kind};
use std::sync::Arc;

/// The finished bytes of one change in one variant. One count per hop between cores.
pub type Frame = Arc<[u8]>;

/// The language of a subscriber's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Binary WebSocket frames with the ooo envelope.
    Ooo,
    /// Text WebSocket frames of the hub.
    Hub,
}

/// Builds frames in buffers that stay.
#[derive(Debug, Default)]
pub struct Encoder {
    payload: Vec<u8>,
    frame: Vec<u8>,
}

impl Encoder {
    /// The longest payload whose buffer is worth keeping.
    const KEEP: usize = 1 << 20;

    /// One whole WebSocket message; `write` appends its payload.
    pub fn message(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        self.payload.clear();
        self.frame.clear();
        write(&mut self.payload);
        ws::encode_into(ws::Op::Message(kind), self.payload.len(), &mut self.frame);
        self.frame.extend_from_slice(&self.payload);
        let frame = Frame::from(&self.frame[..]);
        if self.payload.len() > Self::KEEP {
            *self = Encoder::default();
        }
        frame
    }
}

/// The frames of one change, made when the first subscriber of a variant asks.
#[derive(Debug, Default)]
pub struct Frames(Vec<(Variant, Option<Frame>)>);

impl Frames {
    /// The frame in `variant`; `None` if that variant has nothing to say about the change.
    pub fn get(&mut self, variant: Variant, make: impl FnOnce() -> Option<Frame>) -> Option<Frame> {
        if let Some((_, frame)) = self.0.iter().find(|(v, _)| *v == variant) {
            return frame.clone();
        }
        let frame = make();
        self.0.push((variant, frame.clone()));
        frame
    }
}
