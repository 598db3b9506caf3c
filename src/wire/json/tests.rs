//! Checking of JSON text: what is accepted, and in which form it is kept.

use fastrand::Rng;

use super::*;

fn normal(text: &str) -> String {
    Json::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}")).as_str().to_owned()
}

fn fault(text: &[u8]) -> (JsonFault, usize, Option<u8>) {
    let error = Json::parse(text).expect_err("must be refused");
    (error.fault, error.offset, error.byte)
}

#[test]
fn normal_form_has_no_blanks_and_keeps_numbers_and_order() {
    assert_eq!(
        normal(
            " {\n\t\"b\" : [ 12345678901234567890 , 1.0,2.50 ,1e3, 1E+3, -0 ] ,\r\"a\":{ } , \"\" : [ ]}\n"
        ),
        r#"{"b":[12345678901234567890,1.0,2.50,1e3,1E+3,-0],"a":{},"":[]}"#
    );
}

#[test]
fn strings_escape_what_go_escapes_and_nothing_else() {
    assert_eq!(
        normal("\"<a href='x'> & \u{2028}\u{2029}\u{2027}\u{e9}\u{1f600} \\/ \\u003C\""),
        "\"\\u003ca href='x'\\u003e \\u0026 \\u2028\\u2029\u{2027}\u{e9}\u{1f600} \\/ \\u003C\""
    );
    // At every place within a word, and in names.
    for pad in 0..20 {
        let pad = "x".repeat(pad);
        assert_eq!(
            normal(&format!("{{\"{pad}<\":\"{pad}&\"}}")),
            format!("{{\"{pad}\\u003c\":\"{pad}\\u0026\"}}")
        );
    }
}

#[test]
fn every_character_survives_write_and_read() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..3000 {
        let any = |rng: &mut Rng| match rng.u8(0..4) {
            0 => rng.char('\0'..'\u{80}'),
            1 => *rng
                .choice(['"', '\\', '<', '>', '&', '\u{2028}', '\u{2029}', '\u{2027}'])
                .iter()
                .next()
                .unwrap(),
            _ => rng.char(..),
        };
        let len = rng.usize(0..24);
        let text: String = (0..len).map(|_| any(&mut rng)).collect();
        let json = Json::string(&text);
        assert_eq!(read_string(json.as_str()), text);
        assert_eq!(normal(json.as_str()), json.as_str());
        assert_eq!(serde_json::from_str::<String>(json.as_str()).unwrap(), text);
    }
    assert_eq!(
        Json::string("\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}").as_str(),
        "\"\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\""
    );
}

#[test]
fn errors_say_what_where_and_which_byte() {
    assert_eq!(fault(b""), (JsonFault::Value, 0, None));
    assert_eq!(fault(b"not json"), (JsonFault::Literal("null"), 1, Some(b'o')));
    assert_eq!(fault(b"[1,]"), (JsonFault::Value, 3, Some(b']')));
    assert_eq!(fault(b"{\"a\":1,}"), (JsonFault::Name, 7, Some(b'}')));
    assert_eq!(fault(b"{\"a\" 1}"), (JsonFault::Colon, 5, Some(b'1')));
    assert_eq!(fault(b"[1 2]"), (JsonFault::InArray, 3, Some(b'2')));
    assert_eq!(fault(b"{\"a\":1]"), (JsonFault::InObject, 6, Some(b']')));
    assert_eq!(fault(b"01"), (JsonFault::Trailing, 1, Some(b'1')));
    assert_eq!(fault(b"1."), (JsonFault::Number, 2, None));
    assert_eq!(fault(b"\"a\nb\""), (JsonFault::Text, 2, Some(b'\n')));
    assert_eq!(fault(b"\"abc"), (JsonFault::Text, 4, None));
    assert_eq!(fault(b"\"\\x\""), (JsonFault::Escape, 2, Some(b'x')));
    assert_eq!(fault(b"\"\xff\""), (JsonFault::Encoding, 1, Some(0xff)));
    assert_eq!(fault(b"{} x"), (JsonFault::Trailing, 3, Some(b'x')));
    let text = Json::parse(b"not").unwrap_err().to_string();
    assert_eq!(text, "expected the literal null, found 'o' at byte 1");
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\ud83d""#, r#""\ud83d\n""#] {
        assert_eq!(fault(text.as_bytes()).0, JsonFault::Surrogate, "{text}");
    }
    assert_eq!(normal(r#""\ud83d\ude00\uFFFF""#), r#""\ud83d\ude00\uFFFF""#);
}

#[test]
fn nesting_goes_to_the_limit_and_not_beyond() {
    let nested = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth / 2), "[]".repeat(depth % 2));
    let close = |depth: usize| "}]".repeat(depth / 2);
    let deep = |depth: usize| {
        let inner = if depth.is_multiple_of(2) { "0" } else { "" };
        format!("{}{inner}{}", nested(depth), close(depth))
    };
    assert_eq!(normal(&deep(MAX_DEPTH)), deep(MAX_DEPTH));
    assert_eq!(fault(deep(MAX_DEPTH + 1).as_bytes()).0, JsonFault::Depth);
    assert_eq!(fault("[".repeat(1_000_000).as_bytes()).0, JsonFault::Depth);
}

#[test]
fn a_prefix_leaves_what_follows_alone() {
    for (text, value, used) in [
        (&b" {\"a\": 1} trailing \xff"[..], "{\"a\":1}", 9),
        (b"12abc", "12", 2),
        (b"null", "null", 4),
        (b"[]\"", "[]", 2),
    ] {
        let (json, end) = Json::parse_prefix(text).unwrap();
        assert_eq!((json.as_str(), end), (value, used));
    }
}

#[test]
fn splicing_appends_or_leaves_the_buffer_alone() {
    let mut out = b"data: ".to_vec();
    Json::normalise_into(b"[ 1, \"<\" ]", &mut out).unwrap();
    assert_eq!(out, b"data: [1,\"\\u003c\"]");
    for bad in [&b"[ 1, \"<\" "[..], b"[ 1 ] 2", b"\"  \xe2\""] {
        Json::normalise_into(bad, &mut out).unwrap_err();
        assert_eq!(out, b"data: [1,\"\\u003c\"]");
    }
    assert_eq!(Json::normalise_prefix_into(b" 1 ,2", &mut out), Ok(2));
    assert_eq!(out, b"data: [1,\"\\u003c\"]1");
}

/// Texts of every kind, and mutations of them.
fn mutated(rng: &mut Rng) -> Vec<u8> {
    const SEEDS: [&str; 6] = [
        r#"{"a":[1,-2.5e+10,true,false,null],"b":{"c":"d\n\u00e9\ud83d\ude00"},"":[[],{}]}"#,
        r#" [ 0 , -0 , 1E5 , 0.0001 ] "#,
        "\"caf\u{e9} \u{2028} \u{1f600} <&> \\\" \\\\ \\/\"",
        r#"{"key":"value","key":"again","n":12345678901234567890}"#,
        "[[[[[[{\"a\":{\"b\":{}}}]]]]]]",
        "nulltruefalse",
    ];
    let mut text = rng.choice(SEEDS).unwrap().as_bytes().to_vec();
    for _ in 0..rng.usize(0..4) {
        let at = rng.usize(..text.len().max(1)).min(text.len());
        match rng.u8(0..4) {
            0 if at < text.len() => drop(text.remove(at)),
            1 if at < text.len() => text[at] = rng.u8(..),
            2 => text.insert(at, *rng.choice(b"{}[]\",:0129.eE+-\\utrfn \n\x00\xe2\x80").unwrap()),
            _ => text.truncate(rng.usize(..=text.len())),
        }
    }
    text
}

#[test]
fn accepts_what_serde_json_accepts_and_means_the_same() {
    let mut rng = Rng::with_seed(2);
    let mut accepted = 0;
    for _ in 0..60_000 {
        let text = mutated(&mut rng);
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        let ours = Json::parse(&text);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {ours:?} {theirs:?}", String::from_utf8_lossy(&text));
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            accepted += 1;
            assert_eq!(serde_json::from_str::<serde_json::Value>(ours.as_str()).unwrap(), theirs);
            assert_eq!(normal(ours.as_str()), ours.as_str());
        }
    }
    assert!((10_000..50_000).contains(&accepted), "the corpus is one-sided: {accepted}");
}

#[test]
fn no_bytes_panic() {
    let mut rng = Rng::with_seed(3);
    for _ in 0..50_000 {
        let len = rng.usize(0..40);
        let any: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        let near: Vec<u8> =
            (0..len).map(|_| *rng.choice(b"{}[]\",:01.e-\\utnfls \xe2\x80\xa8\xff").unwrap()).collect();
        for text in [any, near] {
            if let Err(error) = Json::parse(&text) {
                assert_eq!(error.byte, text.get(error.offset).copied());
            }
        }
    }
}

#[test]
fn the_private_names_of_serde_json_are_names_like_others() {
    let text = r#"{"$serde_json::private::Number":"1e","x":[{"$serde_json::private::RawValue":"]"}]}"#;
    assert_eq!(normal(text), text);
}
