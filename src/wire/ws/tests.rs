//! The decoder against tungstenite's client, against itself in pieces, and against every rule.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use super::frame::CONTROL_MAX;
use super::*;

const MAX: usize = 1 << 20;

/// An event that owns its payload.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Message(MessageKind, Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<WsEvent<'_>> for Seen {
    fn from(event: WsEvent<'_>) -> Seen {
        match event {
            WsEvent::Message { kind, data, compressed } => Seen::Message(kind, data.to_vec(), compressed),
            WsEvent::Ping(payload) => Seen::Ping(payload.to_vec()),
            WsEvent::Pong(payload) => Seen::Pong(payload.to_vec()),
            WsEvent::Close { code, reason } => Seen::Close(code, reason.to_owned()),
        }
    }
}

type Outcome = (Vec<Seen>, Option<Violation>);

fn feed(decoder: &mut Decoder, mut input: &[u8], outcome: &mut Outcome) {
    let mut scratch = Vec::new();
    loop {
        match decoder.poll(&mut input, &mut scratch) {
            Ok(Some(event)) => {
                assert_eq!(outcome.1, None, "an event after a violation");
                outcome.0.push(event.into());
            }
            Ok(None) => break,
            Err(violation) => assert_eq!(outcome.1.replace(violation), None, "a second violation"),
        }
    }
    assert!(input.is_empty());
}

fn decode_with(decoder: &mut Decoder, pieces: &[&[u8]]) -> Outcome {
    let mut outcome = Outcome::default();
    pieces.iter().for_each(|piece| feed(decoder, piece, &mut outcome));
    outcome
}

fn decode(bytes: &[u8]) -> Outcome {
    decode_with(&mut Decoder::new(MAX, Compression::Off), &[bytes])
}

/// A client's frame with its first byte given whole.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header =
        FrameHeader { opcode: OpCode::Data(Data::Binary), mask: Some([1, 2, 3, 4]), ..Default::default() };
    Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes[0] = first;
    bytes
}

/// What tungstenite's client would send for random messages and control frames, and what should be seen.
fn random_conversation(rng: &mut fastrand::Rng) -> (Vec<u8>, Vec<Seen>) {
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    let control = |rng: &mut fastrand::Rng, bytes: &mut Vec<u8>, seen: &mut Vec<Seen>| {
        let payload: Vec<u8> = (0..rng.usize(..=CONTROL_MAX)).map(|_| rng.u8(..)).collect();
        let mut frame = if rng.bool() { Frame::ping(payload.clone()) } else { Frame::pong(payload.clone()) };
        frame.header_mut().mask = Some(rng.u32(..).to_ne_bytes());
        let ping = frame.header().opcode == OpCode::Control(Control::Ping);
        frame.format(bytes).unwrap();
        seen.push(if ping { Seen::Ping(payload) } else { Seen::Pong(payload) });
    };
    for _ in 0..rng.usize(1..5) {
        if rng.u8(..4) == 0 {
            control(rng, &mut bytes, &mut seen);
        }
        let (kind, data): (MessageKind, Vec<u8>) = match rng.bool() {
            true => {
                (MessageKind::Text, (0..rng.usize(..200)).map(|_| rng.char(..)).collect::<String>().into())
            }
            false => (
                MessageKind::Binary,
                (0..*rng.choice(&[0, 1, 125, 126, 300, 65_535, 65_536]).unwrap())
                    .map(|_| rng.u8(..))
                    .collect(),
            ),
        };
        let fragments = rng.usize(1..4);
        let mut rest = &data[..];
        for index in 0..fragments {
            let last = index + 1 == fragments;
            let (part, after) = rest.split_at(if last { rest.len() } else { rng.usize(..=rest.len()) });
            rest = after;
            let first = if kind == MessageKind::Text { Data::Text } else { Data::Binary };
            let opcode = OpCode::Data(if index == 0 { first } else { Data::Continue });
            let mut frame = Frame::message(part.to_vec(), opcode, last);
            frame.header_mut().mask = Some(rng.u32(..).to_ne_bytes());
            frame.format(&mut bytes).unwrap();
            if !last && rng.bool() {
                control(rng, &mut bytes, &mut seen);
            }
        }
        seen.push(Seen::Message(kind, data, false));
    }
    (bytes, seen)
}

#[test]
fn what_tungstenites_client_sends_is_seen_in_whole_and_in_random_pieces() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let (bytes, seen) = random_conversation(&mut rng);
        assert_eq!(decode(&bytes), (seen.clone(), None));
        let mut decoder = Decoder::new(MAX, Compression::Off);
        let mut outcome = Outcome::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = *rng.choice(&[1, 3, 100, 5000]).unwrap();
            let (piece, after) = rest.split_at(rng.usize(1..=most).min(rest.len()));
            feed(&mut decoder, piece, &mut outcome);
            rest = after;
        }
        assert_eq!(outcome, (seen, None));
        assert!(decoder.is_idle());
    }
}

#[test]
fn every_cut_of_a_stream_gives_the_same_events() {
    let mut stream = Vec::new();
    for (first, payload) in [
        (0x81, "snapshot é".as_bytes()),
        (0x01, b"\xe2\x82"),
        (0x89, b"ping"),
        (0x00, b""),
        (0x80, b"\xac!"),
        (0x82, &[7; 130][..]),
        (0x8a, b""),
        (0x88, b"\x03\xe8bye"),
    ] {
        stream.extend(frame(first, payload));
    }
    stream.extend(frame(0x81, b"after the close"));
    for bytes in [stream.clone(), [&stream[..60], &frame(0x81, b"abc\xff")[..]].concat()] {
        let whole = decode(&bytes);
        assert!(whole.0.len() >= 2);
        for at in 0..=bytes.len() {
            for second in (at..=bytes.len()).step_by(7) {
                let pieces = [&bytes[..at], &bytes[at..second], &bytes[second..]];
                let mut decoder = Decoder::new(MAX, Compression::Off);
                assert_eq!(decode_with(&mut decoder, &pieces), whole, "cut at {at} and {second}");
            }
        }
    }
    assert_eq!(decode(&stream).0.last(), Some(&Seen::Close(Some(1000), "bye".into())));
}

#[test]
fn random_bytes_end_in_events_or_in_one_violation() {
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut events, mut violations) = (0, 0);
    for round in 0..30_000 {
        let mut bytes = if round % 2 == 0 { Vec::new() } else { frame(0x81, b"hello") };
        bytes.extend(
            (0..rng.usize(..60))
                .map(|_| if rng.bool() { rng.u8(..) } else { *rng.choice(&[0x81, 0x80, 1, 0]).unwrap() }),
        );
        if rng.bool() {
            let at = rng.usize(..bytes.len().max(1)).min(bytes.len());
            bytes.splice(at..at, frame(rng.u8(..), &[b'a'; 3]));
        }
        let compression = if rng.bool() { Compression::Off } else { Compression::Deflate };
        let whole = decode_with(&mut Decoder::new(MAX, compression), &[&bytes]);
        let cut = rng.usize(..=bytes.len());
        let pieces = [&bytes[..cut], &bytes[cut..]];
        assert_eq!(decode_with(&mut Decoder::new(MAX, compression), &pieces), whole);
        events += whole.0.len();
        violations += usize::from(whole.1.is_some());
    }
    assert!(events > 10_000 && violations > 10_000, "{events} events, {violations} violations");
}

#[test]
fn every_broken_rule_has_its_violation_and_code() {
    let unmasked = encode(Opcode::Message(MessageKind::Text), b"a");
    let long16 = [&[0x82, 0xfe, 0, 125, 0, 0, 0, 0][..], &[0; 125]].concat();
    let long64 = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &[0; 65_535]].concat();
    let top_bit = [&[0x82, 0xff, 0x80][..], &[0; 11]].concat();
    let long_ping = [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
    let too_big = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1][..], &[0; 4]].concat();
    let mut rows = vec![
        (unmasked, Violation::Unmasked, 1002),
        (long16, Violation::LongLength, 1002),
        (long64, Violation::LongLength, 1002),
        (top_bit, Violation::LengthTopBit, 1002),
        (long_ping, Violation::LongControl, 1002),
        (too_big, Violation::TooBig, 1009),
        (frame(0x80, b"a"), Violation::OrphanContinuation, 1002),
        (frame(0x00, b"a"), Violation::OrphanContinuation, 1002),
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), Violation::InterruptedMessage, 1002),
        ([frame(0x02, b""), frame(0x02, b"b")].concat(), Violation::InterruptedMessage, 1002),
        (frame(0x81, b"ab\xff"), Violation::NotUtf8, 1007),
        (frame(0x81, b"ab\xe2\x82"), Violation::NotUtf8, 1007),
        (frame(0x81, b"\xed\xa0\x80"), Violation::NotUtf8, 1007),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"a")].concat(), Violation::NotUtf8, 1007),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), Violation::NotUtf8, 1007),
        (frame(0x01, b"\xff"), Violation::NotUtf8, 1007),
        (frame(0x81, &[0xff; 200])[..9].to_vec(), Violation::NotUtf8, 1007),
        (frame(0x88, b"\x03"), Violation::CloseCode, 1002),
        (frame(0x88, b"\x03\xe8\xff"), Violation::CloseReason, 1007),
    ];
    for bits in [0x10, 0x20, 0x30, 0x40, 0x70] {
        for opcode in [0x81, 0x82, 0x89] {
            rows.push((frame(opcode | bits, b""), Violation::ReservedBits, 1002));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push((frame(0x80 | opcode, b""), Violation::ReservedOpcode, 1002));
    }
    for opcode in [0x08, 0x09, 0x0a] {
        rows.push((frame(opcode, b""), Violation::FragmentedControl, 1002));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        rows.push((frame(0x88, &code.to_be_bytes()), Violation::CloseCode, 1002));
    }
    for (bytes, violation, code) in rows {
        let (events, seen) = decode(&bytes);
        assert_eq!((events, seen), (vec![], Some(violation)), "{:02x?}", &bytes[..bytes.len().min(16)]);
        assert_eq!(violation.code(), code);
        assert!(violation.to_string().len() <= CONTROL_MAX - 2);
    }
    let interrupted = [frame(0x01, b"a"), frame(0x89, b""), frame(0x82, b"b"), frame(0x89, b"")].concat();
    assert_eq!(decode(&interrupted), (vec![Seen::Ping(vec![])], Some(Violation::InterruptedMessage)));
}

#[test]
fn close_frames_give_code_and_reason() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999_u16] {
        let outcome = decode(&frame(0x88, &[&code.to_be_bytes()[..], "né".as_bytes()].concat()));
        assert_eq!(outcome, (vec![Seen::Close(Some(code), "né".into())], None));
    }
    assert_eq!(decode(&frame(0x88, b"")), (vec![Seen::Close(None, String::new())], None));
}

#[test]
fn the_largest_message_passes_and_one_byte_more_fails_before_it_is_kept() {
    let max = 1000;
    let check = |bytes: &[u8]| decode_with(&mut Decoder::new(max, Compression::Off), &[bytes]);
    let whole = vec![Seen::Message(MessageKind::Binary, vec![0; max], false)];
    assert_eq!(check(&frame(0x82, &vec![0; max])), (whole.clone(), None));
    assert_eq!(check(&frame(0x82, &vec![0; max + 1])[..8]), (vec![], Some(Violation::TooBig)));
    let half = frame(0x02, &vec![0; max / 2]);
    assert_eq!(check(&[half.clone(), frame(0x80, &vec![0; max / 2])].concat()), (whole, None));
    let over = [half, frame(0x80, &vec![0; max / 2 + 1])[..8].to_vec()].concat();
    assert_eq!(check(&over), (vec![], Some(Violation::TooBig)));
    let none = Decoder::new(0, Compression::Off);
    assert_eq!(decode_with(&mut { none }, &[&frame(0x81, b"")]).1, None);
}

#[test]
fn a_header_alone_reserves_no_memory_for_what_it_announces() {
    let mut decoder = Decoder::new(MAX, Compression::Off);
    let header = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0][..], &[0; 4]].concat();
    assert_eq!(decode_with(&mut decoder, &[&header]), (vec![], None));
    assert_eq!(decoder.kept(), 0);
    decode_with(&mut decoder, &[&[1; 100]]);
    assert!((100..1024).contains(&decoder.kept()));
}

#[test]
fn a_lower_limit_counts_for_a_message_under_way() {
    let mut decoder = Decoder::new(20, Compression::Off);
    let begun = decode_with(&mut decoder, &[&frame(0x01, &[b'a'; 10])]);
    assert_eq!(begun, Outcome::default());
    decoder.set_max_message(5);
    assert_eq!(decode_with(&mut decoder, &[&frame(0x80, b"b")]).1, Some(Violation::TooBig));
}

#[test]
fn between_messages_a_decoder_is_small_and_holds_nothing() {
    assert!(size_of::<Decoder>() <= 40);
    let mut decoder = Decoder::new(MAX, Compression::Off);
    let bytes = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x89, b"c")].concat();
    for (end, idle) in [(3, false), (7, false), (8, false), (bytes.len(), true)] {
        let mut decoder = Decoder::new(MAX, Compression::Off);
        decode_with(&mut decoder, &[&bytes[..end]]);
        assert_eq!(decoder.is_idle(), idle, "{end}");
    }
    decode_with(&mut decoder, &[&frame(0x81, b"\xff")]);
    assert!(decoder.is_idle());
}

#[test]
fn with_deflate_rsv1_marks_a_message_and_nothing_else() {
    let check = |bytes: &[u8]| decode_with(&mut Decoder::new(MAX, Compression::Deflate), &[bytes]);
    let fragments =
        [frame(0x41, b"\xff"), frame(0x89, b""), frame(0x80, b"\xfe"), frame(0x81, b"a")].concat();
    let expected = vec![
        Seen::Ping(vec![]),
        Seen::Message(MessageKind::Text, vec![0xff, 0xfe], true),
        Seen::Message(MessageKind::Text, b"a".to_vec(), false),
    ];
    assert_eq!(check(&fragments), (expected, None));
    for bytes in [frame(0xc9, b""), frame(0xa1, b""), frame(0x91, b"")] {
        assert_eq!(check(&bytes), (vec![], Some(Violation::ReservedBits)));
    }
    let marked_later = [frame(0x41, b""), frame(0xc0, b"")].concat();
    assert_eq!(check(&marked_later), (vec![], Some(Violation::ReservedBits)));
}

#[test]
fn frames_are_written_in_their_shortest_form() {
    for (len, header) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let bytes = encode(Opcode::Message(MessageKind::Binary), &vec![7; len]);
        assert_eq!(&bytes[..header.len()], header);
        assert_eq!((header_len(len), bytes.len()), (header.len(), header.len() + len));
        assert!(bytes[header.len()..].iter().all(|&byte| byte == 7));
    }
    for (op, first) in
        [(Opcode::Message(MessageKind::Text), 0x81), (Opcode::Ping, 0x89), (Opcode::Pong, 0x8a)]
    {
        assert_eq!(encode(op, b"x"), [first, 1, b'x']);
    }
}

#[test]
fn a_close_reason_is_cut_between_characters() {
    assert_eq!(encode_close(None, "unsaid"), [0x88, 0]);
    assert_eq!(encode_close(Some(1001), "bye"), [0x88, 5, 0x03, 0xe9, b'b', b'y', b'e']);
    for (reason, kept) in
        [("a".repeat(123), 123), ("a".repeat(124), 123), ("é".repeat(62), 122), ("€".repeat(60), 123)]
    {
        let bytes = encode_close(Some(1001), &reason);
        assert_eq!((bytes.len(), &bytes[4..]), (4 + kept, &reason.as_bytes()[..kept]));
    }
}
