//! permessage-deflate (RFC 7692), always without context takeover: each message is compressed by itself, so that one
//! compressed frame serves everybody and no connection holds a compressor.

use crate::wire::ws::decode::Violation;
use crate::wire::ws::frame::{MessageKind, header_len};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

/// The name of the extension.
const NAME: &str = "permessage-deflate";
/// The parameters of every response; also the whole response, unless the client asks for our window size.
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The response to an offer that limits our window to the size it has anyway.
const ANSWER_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";
/// The parameters that an offer may have, each once.
const PARAMETERS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];
/// The end of every message, which is never sent: an empty stored block, without its header.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The same and a last block, so that a truncated message is not taken for a whole one.
const END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
/// The longest header of a frame without a mask.
const HEADER_ROOM: usize = 10;
/// Beyond this a message is not compressed: 1 MiB takes about 10 ms, in which the shard does nothing else.
const MOST: usize = 1 << 20;
/// The buffers that are worth keeping between messages.
const KEEP: usize = 64 << 10;

/// The value of the response's `Sec-WebSocket-Extensions` to the client's, which may hold several offers: to the first
/// that can be met. An offer with a parameter that is unknown, doubled or malformed is declined (RFC 7692, 7.1), and so
/// is one that wants our window below 32 KiB, which the compressor does not have.
pub fn negotiate(offers: &str) -> Option<&'static str> {
    split(offers, ',').find_map(answer)
}

fn answer(offer: &str) -> Option<&'static str> {
    let mut parts = split(offer, ';');
    if parts.next() != Some(NAME) {
        return None;
    }
    let mut seen = [false; PARAMETERS.len()];
    for part in parts {
        let (name, value) = part.split_once('=').map_or((part, None), |(n, v)| (n.trim(), Some(v.trim())));
        let value = value.map(|v| v.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(v));
        let place = PARAMETERS.iter().position(|known| *known == name)?;
        let right = match (place, value) {
            (0 | 1 | 3, None) => true,
            (2, Some(bits)) => bits == "15",
            (3, Some(bits)) => matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15"),
            _ => false,
        };
        if !right || std::mem::replace(&mut seen[place], true) {
            return None;
        }
    }
    Some(if seen[2] { ANSWER_WINDOW } else { ANSWER })
}

/// The parts of a header between separators that are not quoted.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = text.split(move |c| {
        quoted ^= c == '"';
        c == at && !quoted
    });
    parts.map(str::trim)
}

/// Compresses messages, one after the other. Its memory (about 300 KiB) is taken with the first.
#[derive(Debug, Default)]
pub struct Deflater {
    state: Option<Compress>,
    out: Vec<u8>,
}

impl Deflater {
    /// The compressed form of the frame of a whole message, as `encode` makes it; `None` if that is not smaller.
    pub fn frame(&mut self, plain: &[u8]) -> Option<&[u8]> {
        let header = match plain.get(1)? {
            ..126 => 2,
            126 => 4,
            _ => HEADER_ROOM,
        };
        let payload = &plain[header..];
        if payload.len() > MOST {
            return None;
        }
        let mut state = self.state.take().unwrap_or_else(|| Compress::new(Compression::fast(), false));
        if self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        self.out.clear();
        self.out.resize(HEADER_ROOM, 0);
        // Room for the worst case: zlib-rs 0.6 is not clean after a reset if the message before found no room.
        self.out.reserve(payload.len() + payload.len() / 8 + 64);
        state.compress_vec(payload, &mut self.out, FlushCompress::Sync).ok()?;
        if state.total_in() != payload.len() as u64 || !self.out.ends_with(&TAIL) {
            return None;
        }
        state.reset();
        self.state = Some(state);
        let len = self.out.len() - HEADER_ROOM - TAIL.len();
        if len >= payload.len() {
            return None;
        }
        let start = HEADER_ROOM - header_len(len);
        let opcode = OpCode::from(plain[0] & 0x0f);
        let header = FrameHeader { rsv1: true, opcode, ..FrameHeader::default() };
        header.format(len as u64, &mut &mut self.out[start..]).expect("there is room for it");
        Some(&self.out[start..HEADER_ROOM + len])
    }
}

/// Takes clients' messages apart, one after the other. Its memory (about 45 KiB) is taken with the first.
#[derive(Debug, Default)]
pub struct Inflater {
    state: Option<Decompress>,
    out: Vec<u8>,
}

impl Inflater {
    /// The payload of a compressed message, at most `max` bytes of it; text is valid UTF-8.
    pub fn message(&mut self, kind: MessageKind, data: &[u8], max: usize) -> Result<&[u8], Violation> {
        if self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        self.out.clear();
        let state = self.state.get_or_insert_with(|| Decompress::new(false));
        state.reset(false);
        inflate(state, data, max, &mut self.out)?;
        if kind == MessageKind::Text {
            std::str::from_utf8(&self.out).map_err(|_| Violation::NotUtf8)?;
        }
        Ok(&self.out)
    }
}

fn inflate(state: &mut Decompress, data: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Violation> {
    let mut parts = [data, &END].into_iter();
    let mut input = parts.next().expect("there are two");
    loop {
        if out.len() == out.capacity() {
            out.reserve(out.len().clamp(1024, KEEP).min(max + 1 - out.len()));
        }
        let (read, written) = (state.total_in(), out.len());
        let status = state.decompress_vec(input, out, FlushDecompress::Sync);
        let status = status.map_err(|_| Violation::Deflate)?;
        if out.len() > max {
            return Err(Violation::TooBig);
        }
        let used = (state.total_in() - read) as usize;
        input = &input[used..];
        match status {
            Status::StreamEnd if input.is_empty() => return Ok(()),
            // A sender may end a block for good in the middle (7.2.3.4); another one follows.
            Status::StreamEnd => state.reset(false),
            Status::Ok | Status::BufError if input.is_empty() && out.len() < out.capacity() => {
                input = parts.next().ok_or(Violation::Deflate)?;
            }
            Status::Ok | Status::BufError if used == 0 && out.len() == written => {
                return Err(Violation::Deflate);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ws::{Opcode, encode};

    const MAX: usize = 100_000;

    #[test]
    fn offers_are_met_or_declined_by_the_letter() {
        let answers = [
            (Some(ANSWER), "permessage-deflate"),
            (Some(ANSWER), "permessage-deflate; client_max_window_bits"),
            (Some(ANSWER), "permessage-deflate;client_max_window_bits = \"10\" ; server_no_context_takeover"),
            (Some(ANSWER), "permessage-deflate; client_no_context_takeover; client_max_window_bits=8"),
            (Some(ANSWER_WINDOW), "permessage-deflate; server_max_window_bits=15"),
            (Some(ANSWER), "x-webkit-deflate-frame, permessage-deflate"),
            (Some(ANSWER), "permessage-deflate; server_max_window_bits=10, permessage-deflate"),
            (Some(ANSWER), "foo; bar=\"a,b;permessage-deflate\", permessage-deflate"),
            (None, ""),
            (None, "foo; bar=\", permessage-deflate; \""),
            (None, "permessage-deflates"),
            (None, "Permessage-Deflate"),
            (None, "permessage-deflate; unknown"),
            (None, "permessage-deflate;"),
            (None, "permessage-deflate; client_max_window_bits; client_max_window_bits"),
            (None, "permessage-deflate; client_max_window_bits=10; client_max_window_bits=10"),
            (None, "permessage-deflate; client_max_window_bits=7"),
            (None, "permessage-deflate; client_max_window_bits=16"),
            (None, "permessage-deflate; client_max_window_bits=08"),
            (None, "permessage-deflate; client_max_window_bits="),
            (None, "permessage-deflate; server_max_window_bits"),
            (None, "permessage-deflate; server_max_window_bits=14"),
            (None, "permessage-deflate; server_no_context_takeover=true"),
            (None, "permessage-deflate; client_no_context_takeover=\"\""),
        ];
        for (want, offers) in answers {
            assert_eq!(negotiate(offers), want, "{offers}");
        }
    }

    /// What a client sends: the deflated message without its tail.
    fn deflated(data: &[u8], flush: FlushCompress) -> Vec<u8> {
        let (mut out, mut state) =
            (Vec::with_capacity(data.len() + 100), Compress::new(Compression::best(), false));
        state.compress_vec(data, &mut out, flush).unwrap();
        assert_eq!(state.total_in(), data.len() as u64);
        match flush {
            FlushCompress::Sync => out.truncate(out.strip_suffix(&TAIL).expect("a flush ends so").len()),
            _ => out.push(0), // RFC 7692, 7.2.3.4
        }
        out
    }

    fn inflated(data: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
        Inflater::default().message(MessageKind::Binary, data, max).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_frame_comes_back_as_it_was_whatever_went_before() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        let mut smaller = 0;
        for _ in 0..300 {
            let letters = rng.u8(1..=255);
            let data: Vec<u8> = (0..rng.usize(0..70_000)).map(|_| rng.u8(0..letters)).collect();
            let plain = encode(Opcode::Message(MessageKind::Binary), &data);
            let Some(frame) = deflater.frame(&plain) else { continue };
            smaller += 1;
            assert!(frame.len() < plain.len());
            let (header, len) = FrameHeader::parse(&mut std::io::Cursor::new(frame)).unwrap().unwrap();
            assert!(header.rsv1 && header.is_final && header.opcode == OpCode::from(2));
            let payload = &frame[frame.len() - len as usize..];
            assert_eq!(frame.len() - payload.len(), header_len(payload.len()));
            assert_eq!(inflater.message(MessageKind::Binary, payload, MAX).unwrap(), data);
            assert_eq!(inflated(payload, MAX).unwrap(), data, "by a client that remembers nothing");
        }
        assert!(smaller > 100, "{smaller}");
    }

    #[test]
    fn what_does_not_shrink_or_is_huge_stays_plain() {
        let mut rng = fastrand::Rng::with_seed(2);
        for len in [0, 1, 10, 200, 70_000] {
            let noise: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
            assert_eq!(
                Deflater::default().frame(&encode(Opcode::Message(MessageKind::Text), &noise)),
                None,
                "{len}"
            );
        }
        for (len, some) in [(MOST, true), (MOST + 1, false)] {
            let frame = encode(Opcode::Message(MessageKind::Text), &vec![b'a'; len]);
            assert_eq!(Deflater::default().frame(&frame).is_some(), some);
        }
    }

    #[test]
    fn every_way_to_end_a_message_is_understood() {
        let text = b"Hello, Hello, Hello";
        for flush in [FlushCompress::Sync, FlushCompress::Finish] {
            assert_eq!(inflated(&deflated(text, flush), MAX).unwrap(), text);
        }
        // the examples of RFC 7692, 7.2.3
        for hello in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflated(hello, MAX).unwrap(), b"Hello", "{hello:x?}");
        }
        assert_eq!(inflated(&[0x00], MAX).unwrap(), b"");
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = deflated(&vec![0; 50 << 20], FlushCompress::Sync);
        assert!(bomb.len() < 100_000);
        let mut inflater = Inflater::default();
        assert_eq!(inflater.message(MessageKind::Binary, &bomb, MAX), Err(Violation::TooBig));
        assert!(inflater.out.capacity() <= 2 * MAX, "{}", inflater.out.capacity());
        let exact = deflated(&vec![0; MAX], FlushCompress::Sync);
        assert_eq!(inflated(&exact, MAX).unwrap().len(), MAX);
        assert_eq!(inflated(&exact, MAX - 1), Err(Violation::TooBig));
    }

    #[test]
    fn damage_is_found_and_does_no_harm_to_the_next_message() {
        let mut rng = fastrand::Rng::with_seed(3);
        let text: Vec<u8> = (0..2000).map(|_| rng.alphanumeric() as u8).collect();
        let whole = deflated(&text, FlushCompress::Sync);
        let mut inflater = Inflater::default();
        for cut in 1..whole.len() - 1 {
            let result = inflater.message(MessageKind::Binary, &whole[..cut], MAX);
            assert!(matches!(result, Err(Violation::Deflate)), "cut at {cut}");
        }
        for _ in 0..2000 {
            let mut broken = whole.clone();
            let at = rng.usize(0..broken.len());
            broken[at] ^= 1 << rng.u8(0..8);
            let _ = inflater.message(MessageKind::Binary, &broken, MAX);
            let noise: Vec<u8> = (0..rng.usize(0..50)).map(|_| rng.u8(..)).collect();
            let _ = inflater.message(MessageKind::Binary, &noise, MAX);
        }
        assert_eq!(inflater.message(MessageKind::Binary, &whole, MAX).unwrap(), text);
        let bytes = deflated(&[b'a', 0xff], FlushCompress::Sync);
        assert_eq!(inflater.message(MessageKind::Text, &bytes, MAX), Err(Violation::NotUtf8));
        assert_eq!(inflater.message(MessageKind::Binary, &bytes, MAX).unwrap(), [b'a', 0xff]);
    }
}
