//! Properties of reading the hub's frames.

use super::{As, Bound, Class, Command, FrameFault, MemberCommand, Mode, Query, RoomCommand, parse};
use crate::base::stamp::Stamp;
use crate::wire::json::Json;
use crate::wire::key::Key;
use serde_json::{Value, json};

fn want(frame: Value) -> Result<Command, FrameFault> {
    parse(frame.to_string().as_bytes()).command
}

fn json_text(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

#[test]
fn reads_what_the_hook_sends_and_shows_nothing_of_it() {
    for (frame, want) in [
        (r#"{"type":"subscribe","channel":"x"}"#, Command::Subscribe("x".into(), None)),
        (r#"{"channel":"\u0078","type":"unsubscribe"}"#, Command::Unsubscribe("x".into())),
    ] {
        let frame = parse(frame.as_bytes());
        assert_eq!((frame.command, frame.shows, frame.reply_to.request), (Ok(want), Class::Plain, None));
    }
}

#[test]
fn each_frame_shows_of_its_sender_what_the_contract_says() {
    let shows = |frame: &str| parse(frame.as_bytes()).shows;
    for (frame, class) in [
        (r#"{"type":"subscribe","channel":"x"}"#, Class::Plain),
        (r#"{"type":"publish","channel":"x","data":1}"#, Class::Plain),
        (r#"{"type":"system"}"#, Class::Plain),
        ("nonsense", Class::Plain),
        (r#"{"type":"subscribe","channel":"x","request_id":1}"#, Class::Native),
        (r#"{"type":"subscribe","key":"x"}"#, Class::Native),
        (r#"{"action":"subscribe","channel_id":"x"}"#, Class::Native),
        (r#"{"type":"room.create","room_id":"x"}"#, Class::Native),
        (r#"{"type":"join"}"#, Class::Forge),
        (r#"{"type":"message","data":1}"#, Class::Forge),
        (r#"{"type":"typing","room_id":"r","data":"no"}"#, Class::Forge),
        (r#"{"type":"presence"}"#, Class::Forge),
    ] {
        assert_eq!(shows(frame), class, "{frame}");
    }
}

#[test]
fn every_frame_of_forge_and_of_its_generated_clients_is_read() {
    let room = |want| Ok(Command::Room("r".into(), want));
    assert_eq!(want(json!({"type": "join", "room_id": "r"})), room(RoomCommand::Join));
    assert_eq!(want(json!({"type": "leave", "room_id": "r"})), room(RoomCommand::Leave));
    assert_eq!(
        want(json!({"type": "typing", "room_id": "r", "data": true})),
        room(RoomCommand::Typing(true))
    );
    let Ok(Command::Room(_, RoomCommand::Message(post))) = want(
        json!({"type": "message", "room_id": "r", "channel_id": "c", "data": [1], "thread_id": "t", "user_id": "me"}),
    ) else {
        panic!("a message to both goes to the room")
    };
    assert_eq!((post.data, post.thread.as_deref()), (json_text("[1]"), Some("t")));
    let Ok(Command::Publish(channel, _, As::Subscriber)) =
        want(json!({"type": "message", "channel_id": "c"}))
    else {
        panic!("a message to a channel")
    };
    assert_eq!(&*channel, "c");
    assert!(matches!(
        want(json!({"action": "publish", "channel_id": "c", "data": 1})),
        Ok(Command::Publish(_, _, As::Writer))
    ));
    for presence in
        [json!({"type": "presence", "data": "away"}), json!({"type": "presence", "status": "away"})]
    {
        let Ok(Command::Presence(status)) = want(presence) else { panic!() };
        assert_eq!((status.status, status.custom), ("away", None));
    }
    assert_eq!(
        want(json!({"type": "subscribe_presence", "user_ids": ["a"]})),
        Ok(Command::Watch(vec!["a".into()]))
    );
    let before = Some(Bound::Time(1_000_000_000));
    let query = Query {
        limit: 5,
        before,
        after: Some(Bound::Sequence(3)),
        user: Some("u".into()),
        ..Query::default()
    };
    let asked = json!({"type": "history", "room_id": "r", "limit": 5, "after": 3,
                       "before": "1970-01-01T00:00:01Z", "user_id": "u"});
    assert_eq!(want(asked), room(RoomCommand::History(Box::new(query))));
    let mute = json!({"type": "room.mute", "room_id": "r", "user_id": "u", "for_ms": 5});
    assert_eq!(want(mute), room(RoomCommand::Member("u".into(), MemberCommand::Mute(Some(5)))));
    let react = json!({"type": "message.react", "room_id": "r", "message_id": "1f", "emoji": "+"});
    assert_eq!(want(react), room(RoomCommand::React(Stamp::new(31), "+".into(), true)));
}

#[test]
fn documents_are_wanted_in_a_mode_at_a_pace_and_from_versions() {
    let frame = json!({"type": "subscribe", "key": "a/**", "mode": "patch", "max_hz": 2.5, "versions": {"a/b": "1f"}});
    let Ok(Command::Follow(follow)) = want(frame) else { panic!() };
    assert_eq!((follow.name.as_str(), follow.mode, follow.max_hz), ("a/**", Mode::Patch, 3));
    assert_eq!(
        follow.versions.into_iter().collect::<Vec<_>>(),
        [(Key::parse("a/b").unwrap(), Stamp::new(31))]
    );
    assert!(matches!(want(json!({"type": "unsubscribe", "key": "a"})), Ok(Command::Unfollow(_))));
}

#[test]
fn what_is_wrong_is_a_fault_with_forges_words_where_it_has_any() {
    let long = "x".repeat(1025);
    let field = |frame| match want(frame) {
        Err(FrameFault::Field(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(json!({"type": "typing", "room_id": "r", "data": "yes"})), "invalid typing data");
    assert_eq!(field(json!({"type": "presence", "data": 1})), "invalid presence data");
    assert_eq!(field(json!({"type": "presence", "data": "asleep"})), "invalid status");
    for frame in [
        json!([]),
        json!({"type": 1}),
        json!({"type": "subscribe"}),
        json!({"type": "subscribe", "channel": 1}),
        json!({"type": "subscribe", "channel": ""}),
        json!({"type": "subscribe", "channel": "$x"}),
        json!({"type": "subscribe", "channel": long}),
        json!({"type": "subscribe", "channel": "x", "recover": 1}),
        json!({"type": "subscribe", "channel": "x", "recover": {"epoch": "e", "offset": -1}}),
        json!({"type": "subscribe", "key": "a b"}),
        json!({"type": "subscribe", "key": "a", "max_hz": -1}),
        json!({"type": "subscribe", "key": "a", "mode": "half"}),
        json!({"type": "subscribe", "key": "a", "versions": {"a": 1}}),
        json!({"type": "join", "room_id": "*"}),
        json!({"type": "join", "room_id": "a\nb"}),
        json!({"type": "join", "room_id": "x".repeat(257)}),
        json!({"type": "join", "room_id": {}}),
        json!({"type": "publish", "channel": "c", "metadata": []}),
        json!({"type": "message", "room_id": "r", "thread_id": 5}),
        json!({"type": "subscribe_presence", "user_ids": "a"}),
        json!({"type": "history", "room_id": "r", "before": "soon"}),
        json!({"type": "room.kick", "room_id": "r", "user_id": ""}),
        json!({"type": "message.edit", "room_id": "r", "message_id": "zz", "data": 1}),
        json!({"type": "subscribe", "channel": "x", "request_id": []}),
        json!({"type": "subscribe", "channel": "x", "request_id": "x".repeat(300)}),
    ] {
        field(frame);
    }
    for frame in [
        json!({}),
        json!({"type": ""}),
        json!({"type": "system"}),
        json!({"type": "fly"}),
        json!({"action": "fly"}),
        json!({"type": "message", "data": 1}),
        json!({"type": "join"}),
        json!({"type": "typing", "data": "yes"}),
    ] {
        assert!(matches!(want(frame.clone()), Err(FrameFault::Idle(_))), "{frame}");
    }
}

#[test]
fn ids_come_back_as_written_and_the_later_of_two_members_counts() {
    let frame = parse(br#"{"type":"join","request_id":"\u00e9","id":1.50,"room_id":"r"}"#);
    assert_eq!(
        (frame.reply_to.request.as_deref(), frame.reply_to.id.as_deref()),
        (Some(r#""\u00e9""#), Some("1.50"))
    );
    assert_eq!(frame.reply_to.room.as_deref(), Some("r"));
    let twice = parse(br#"{"type":"join","type":"leave","room_id":"r"}"#);
    assert_eq!(twice.command, Ok(Command::Room("r".into(), RoomCommand::Leave)));
}

/// Names of members that frames are put together from.
const NAMES: &[&str] = &[
    "type",
    "action",
    "channel",
    "channel_id",
    "room_id",
    "key",
    "data",
    "request_id",
    "id",
    "recover",
    "mode",
    "max_hz",
    "versions",
    "user_ids",
    "user_id",
    "status",
    "limit",
    "before",
    "message_id",
    "emoji",
    "metadata",
];

/// Values that frames are put together from.
const VALUES: &[&str] = &[
    "\"subscribe\"",
    "\"join\"",
    "\"message\"",
    "\"history\"",
    "\"room.mute\"",
    "\"typing\"",
    "1",
    "-0",
    "1e400",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\"a\"",
    "\"\\ud800\"",
    "true",
    "{\"epoch\":\"e\",\"offset\":1}",
    "[\"a\",1]",
    "\"\\u0000\"",
    "\"2024-02-29T12:00:00Z\"",
];

/// Frames put together from pieces of frames never panic, and ids never grow.
#[test]
fn random_frames_never_panic() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..50_000 {
        let mut text = String::from("{");
        for i in 0..rng.usize(0..6) {
            let comma = if i > 0 { "," } else { "" };
            text += &format!("{comma}\"{}\":{}", rng.choice(NAMES).unwrap(), rng.choice(VALUES).unwrap());
        }
        text.push('}');
        if rng.u8(0..4) == 0 {
            text.truncate(rng.usize(0..=text.len()));
        }
        let frame = parse(text.as_bytes());
        assert!(
            frame.reply_to.request.is_none_or(|id| id.len() <= 256)
                && frame.reply_to.id.is_none_or(|id| id.len() <= 256)
        );
    }
}
