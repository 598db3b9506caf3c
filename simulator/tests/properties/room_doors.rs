//! What must hold for rooms by their other doors: channels, sessions, events, slow readers.

use crate::support::rooms::{codes, http, limits, pass, settle, told};
use fanfare::base::time::{MS, SEC};
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::ChannelRule;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::clients::hub::HubClient;
use simulator::world::World;

/// Whoever is no member of a private room hears nothing of it, by whatever door, from the moment at which it is one;
/// and hears it again once it is open.
#[test]
fn a_private_room_is_heard_by_its_members_only() {
    for shards in SHARDS {
        let mut world = World::new(3, shards, limits(|hub| hub.implicit_channels = true));
        let mut app = Application::open(&mut world);
        let mut all = HubClient::open(&mut world, "", 1 << 20);
        let mut plain = HubClient::open(&mut world, "channels=r", 1 << 20);
        let mut eve = HubClient::open(&mut world, "user=eve&channels=r", 1 << 20);
        let mut bob = HubClient::open(&mut world, "user=bob", 1 << 20);
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        let say = |app: &mut Application, world: &mut World, n: u64| {
            app.send(world, &json!({"op": "publish", "channel": "r", "data": n}));
        };
        say(&mut app, &mut world, 1);
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        let made = http(&mut world, "POST", "/_/rooms?user=ann", &json!({"id": "r", "private": true}));
        assert_eq!((made.0, &made.1["private"]), (201, &json!(true)));
        let put = http(&mut world, "PUT", "/_/rooms/r/members/bob?user=ann", &json!({"role": "member"}));
        assert_eq!((put.0, &put.1["role"]), (200, &json!("member")));
        bob.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        eve.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        eve.send(&mut world, &json!({"type": "subscribe", "channel": "r"}));
        eve.send(&mut world, &json!({"type": "history", "channel": "r"}));
        eve.send(&mut world, &json!({"type": "publish", "channel": "r", "data": "no"}));
        eve.send(&mut world, &json!({"type": "room.members", "room_id": "r"}));
        say(&mut app, &mut world, 2);
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        bob.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 3}));
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        let data = |one: &HubClient| -> Vec<Value> {
            told(one, "message", "r").iter().map(|frame| frame["data"].clone()).collect()
        };
        assert_eq!(data(&bob), [1, 2, 3], "{shards} shards");
        for one in [&all, &plain, &eve] {
            assert_eq!(data(one), [1], "{shards} shards");
        }
        assert!(plain.got.len() == 1 && all.got.len() == 1, "plain ones get publications only");
        let refused = codes(&eve);
        for code in ["channel_access_denied", "room_access_denied", "send_denied"] {
            assert!(refused.contains(&code), "{shards} shards: {refused:?}");
        }
        assert_eq!(refused.len(), 5, "each is answered once: {refused:?}");
        let open = http(&mut world, "PATCH", "/_/rooms/r?user=ann", &json!({"private": false}));
        assert_eq!(open.0, 200);
        eve.send(&mut world, &json!({"type": "subscribe", "channel": "r"}));
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        say(&mut app, &mut world, 4);
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        let ban = http(&mut world, "PUT", "/_/rooms/r/members/eve?user=ann", &json!({"banned": true}));
        assert_eq!(ban.0, 200);
        say(&mut app, &mut world, 5);
        settle(&mut world, &mut [&mut all, &mut plain, &mut eve, &mut bob]);
        assert_eq!(
            (data(&eve), data(&all), data(&plain)),
            (vec![json!(1), json!(4)], vec![json!(1), json!(4), json!(5)], vec![json!(1)])
        );
    }
}

/// What the application says in a room has an id and a time, as what members say: forge's clients expect both, whether the
/// room has a history or not.
#[test]
fn what_the_application_says_in_a_room_has_an_id_and_a_time() {
    for shards in SHARDS {
        let none = ChannelRule { channel: "r".into(), history: Some(0), ..ChannelRule::default() };
        let limits = Limits { channel_rules: vec![none], ..limits(|_| {}) };
        let mut world = World::new(5, shards, limits);
        let mut app = Application::open(&mut world);
        let mut bob = HubClient::open(&mut world, "user=bob", 1 << 20);
        assert_eq!(http(&mut world, "POST", "/_/rooms?user=bob", &json!({"id": "r"})).0, 201);
        bob.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        settle(&mut world, &mut [&mut bob]);
        for n in 0..2 {
            let line = json!({"op": "publish", "channel": "r", "event": "order.created", "data": n});
            app.send(&mut world, &line);
        }
        settle(&mut world, &mut [&mut bob]);
        let messages = told(&bob, "message", "r");
        let ids: Vec<_> = messages.iter().filter_map(|frame| frame["id"].as_str()).collect();
        assert!(ids.len() == 2 && ids[0] < ids[1], "{shards} shards: {messages:?}");
        assert!(messages.iter().all(|frame| frame["timestamp"].is_string()), "{shards} shards: {messages:?}");
    }
}

/// A publication that a room's owner refuses is no longer under way: however many are, the connection may publish where
/// it is allowed to.
#[test]
fn refused_publications_do_not_silence_a_connection() {
    for shards in SHARDS {
        let mut world = World::new(11, shards, limits(|_| {}));
        let made = http(&mut world, "POST", "/_/rooms?user=ann", &json!({"id": "r", "private": true}));
        assert_eq!(made.0, 201);
        let mut eve = HubClient::native(&mut world, "user=eve");
        eve.send(&mut world, &json!({"type": "subscribe", "channel": "open"}));
        settle(&mut world, &mut [&mut eve]);
        // twice as many as may wait for their owners at once
        for _ in 0..4 {
            for n in 0..64 {
                eve.send(&mut world, &json!({"type": "publish", "channel": "r", "data": n}));
            }
            settle(&mut world, &mut [&mut eve]);
        }
        assert_eq!(codes(&eve), vec!["send_denied"; 256], "{shards} shards");
        eve.send(&mut world, &json!({"type": "publish", "channel": "open", "data": "heard"}));
        settle(&mut world, &mut [&mut eve]);
        assert_eq!(told(&eve, "message", "open").len(), 1, "{shards} shards");
    }
}

/// What is sent right behind a `room.create` or a `join`, in the same bytes, is done behind it; and what is said
/// while a connection waits is bounded.
#[test]
fn nothing_overtakes_an_entering() {
    for shards in SHARDS {
        for seed in 0..20 {
            let mut world = World::new(seed, shards, limits(|_| {}));
            let mut ann = HubClient::open(&mut world, "user=ann", 1 << 20);
            let mut bob = HubClient::open(&mut world, "user=bob", 1 << 20);
            settle(&mut world, &mut [&mut ann, &mut bob]);
            ann.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
            ann.send(&mut world, &json!({"type": "join", "room_id": "r"}));
            ann.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 1}));
            ann.send(&mut world, &json!({"type": "typing", "room_id": "r", "data": true}));
            settle(&mut world, &mut [&mut ann, &mut bob]);
            bob.send(&mut world, &json!({"type": "join", "room_id": "r"}));
            bob.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 2}));
            bob.send(&mut world, &json!({"type": "leave", "room_id": "r"}));
            bob.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 3}));
            settle(&mut world, &mut [&mut ann, &mut bob]);
            let data = |one: &HubClient| -> Vec<Value> {
                told(one, "message", "r").iter().map(|frame| frame["data"].clone()).collect()
            };
            assert_eq!(data(&ann), [1, 2], "{shards} shards seed {seed}");
            assert_eq!(data(&bob), [2; 0], "it left before it could read");
            assert_eq!(
                (codes(&ann), codes(&bob)),
                (vec![], vec!["send_denied"]),
                "{shards} shards seed {seed}"
            );
            // the other shards stand still, so no answer comes from there
            bob.send(&mut world, &json!({"type": "join", "room_id": "r"}));
            let frame = json!({"type": "message", "room_id": "r", "data": "x".repeat(1000)});
            for _ in 0..200 {
                bob.send(&mut world, &frame);
                world.turn(bob.peer.shard);
            }
            let conn = world.connection(bob.peer).expect("it is there");
            let held = conn.unhandled;
            assert!(held < 70 << 10 && (conn.paused || held < 65 << 10), "{held} bytes");
            settle(&mut world, &mut [&mut ann, &mut bob]);
            assert_eq!(told(&ann, "message", "r").len(), 202, "nothing that was held is lost");
        }
    }
}

/// All connections of a user that is kicked or banned are put out, told why, and hear nothing more; a user stays a
/// member over a session that is taken up, and is in its rooms again, with what it has missed.
#[test]
fn who_is_put_out_hears_no_more_and_who_comes_back_hears_all() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, limits(|hub| hub.session_ttl = 30 * SEC));
        let mut ann = HubClient::open(&mut world, "user=ann&session_id=", 1 << 20);
        let mut bobs: Vec<HubClient> =
            (0..3).map(|_| HubClient::open(&mut world, "user=bob", 1 << 20)).collect();
        let [one, two, three] = &mut bobs[..] else { unreachable!() };
        settle(&mut world, &mut [&mut ann, one, two, three]);
        ann.send(&mut world, &json!({"type": "room.create", "room_id": "r", "private": true}));
        ann.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        ann.send(
            &mut world,
            &json!({"type": "room.role", "room_id": "r", "user_id": "bob", "role": "admin"}),
        );
        settle(&mut world, &mut [&mut ann, one, two, three]);
        for bob in [&mut *one, &mut *two] {
            bob.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        }
        // a member may listen without being in the room
        three.send(&mut world, &json!({"type": "subscribe", "channel": "r"}));
        settle(&mut world, &mut [&mut ann, one, two, three]);
        ann.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 1}));
        pass(&mut world, &mut [&mut ann, one, two, three], 150 * MS);
        let session = ann.got.iter().find(|frame| frame["event"] == "session").expect("it has a session");
        let session = session["data"]["session_id"].as_str().expect("a name").to_owned();
        world.disconnect(ann.peer);
        one.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 2}));
        settle(&mut world, &mut [one, two, three]);
        let mut ann = HubClient::open(&mut world, &format!("user=ann&session_id={session}"), 1 << 20);
        settle(&mut world, &mut [&mut ann, one, two, three]);
        assert_eq!(told(&ann, "message", "r").len(), 1, "{shards} shards: {:?}", ann.got);
        assert_eq!(told(&ann, "message", "r")[0]["data"], 2);
        assert_eq!(told(&ann, "presence_sync", "r").len(), 1, "it is in the room");
        ann.send(
            &mut world,
            &json!({"type": "room.ban", "room_id": "r", "user_id": "bob", "reason": "noise"}),
        );
        settle(&mut world, &mut [&mut ann, one, two, three]);
        ann.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 4}));
        one.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 5}));
        three.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        settle(&mut world, &mut [&mut ann, one, two, three]);
        assert_eq!(told(three, "message", "r").len(), 2, "{shards} shards: {:?}", three.got);
        for bob in [&*one, &*two] {
            let out = told(bob, "system", "r").into_iter().find(|frame| frame["event"] == "banned");
            assert_eq!(out.expect("it is told")["data"]["reason"], "noise");
            assert!(told(bob, "message", "r").iter().all(|frame| frame["data"] != 4));
        }
        assert!(told(three, "system", "r").is_empty(), "it was not in the room");
        assert_eq!((codes(one), codes(three)), (vec!["send_denied"], vec!["banned"]), "{shards} shards");
        assert_eq!(told(&ann, "member_leave", "r").len(), 1);
        assert_eq!(told(&ann, "message", "r").len(), 2, "what the banned one said is not heard");
    }
}

/// A member that reads nothing while others come, go and change is not closed for that: when it reads again, it is
/// told how things are, members included.
#[test]
fn a_slow_member_is_told_how_things_are_when_it_reads_again() {
    for shards in SHARDS {
        let limits = Limits { queue_bytes: 2048, ..limits(|_| {}) };
        let mut world = World::new(9, shards, limits);
        let mut slow = HubClient::open(&mut world, "user=slow", 1500);
        settle(&mut world, &mut [&mut slow]);
        slow.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
        slow.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        pass(&mut world, &mut [&mut slow], 150 * MS);
        let query = |n: usize| format!("user=u{n}");
        let mut others: Vec<HubClient> =
            (0..30).map(|n| HubClient::open(&mut world, &query(n), 1 << 20)).collect();
        for round in 0..4 {
            for (n, other) in others.iter_mut().enumerate() {
                let away = json!({"type": "presence", "data": (["away", "busy"][round % 2])});
                let stays = n % 3 > 0 || round % 2 == 0;
                let kind = if stays { "join" } else { "leave" };
                other.send(&mut world, &json!({"type": kind, "room_id": "r"}));
                other.send(&mut world, &away);
            }
            world.now.mono += 150 * MS;
            for _ in 0..20 {
                world.run(40);
                others.iter_mut().for_each(|other| assert!(other.read(&mut world)));
            }
        }
        let before = slow.got.len();
        for ns in [150 * MS, 150 * MS] {
            world.now.mono += ns;
            world.settle(|world| {
                assert!(slow.read(world));
                others.iter_mut().for_each(|other| assert!(other.read(world)));
            });
        }
        assert!(slow.closed.is_none(), "{shards} shards: {:?}", slow.closed);
        let sync = slow.got[before..].iter().rfind(|frame| frame["type"] == "presence_sync");
        let sync = sync.expect("it is told");
        let members = sync["members"].as_array().expect("who missed who came and went is told").len();
        assert_eq!((members, &sync["member_count"]), (21, &json!(21)), "{shards} shards: {sync}");
        let named = sync["presences"].as_array().expect("a list");
        let busy = named.iter().filter(|presence| presence["status"] == "busy").count();
        assert_eq!((named.len(), busy), (21, 20), "{shards} shards: {sync}");
    }
}

/// A member gets its rooms as events: who is there, what is said, and what it has missed when it comes back.
#[test]
fn rooms_are_heard_as_events() {
    for shards in SHARDS {
        let mut world = World::new(4, shards, limits(|_| {}));
        assert_eq!(
            http(&mut world, "POST", "/_/rooms?user=ann", &json!({"id": "r", "private": true})).0,
            201
        );
        assert_eq!(http(&mut world, "PUT", "/_/rooms/r/members/bob?user=ann", &Value::Null).0, 200);
        let mut bob = EventSource::open(&mut world, "/sse?rooms=r&user=bob", 1 << 20);
        let mut eve = EventSource::open(&mut world, "/sse?rooms=r&user=eve", 1 << 20);
        let say = |world: &mut World, n: u64| {
            let said = http(world, "POST", "/_/rooms/r/messages?user=ann", &json!({"data": n}));
            assert_eq!(said.0, 201);
        };
        world.settle(|world| assert!(bob.read(world) && eve.read(world)));
        world.now.mono += 150 * MS;
        say(&mut world, 1);
        world.settle(|world| assert!(bob.read(world) && eve.read(world)));
        let messages = |one: &EventSource, kind: &str| -> Vec<Value> {
            one.data("message").into_iter().filter(|frame| frame["type"] == kind).collect()
        };
        let said = |one: &EventSource| -> Vec<Value> {
            messages(one, "message").iter().map(|frame| frame["data"].clone()).collect()
        };
        assert_eq!(said(&bob), [1], "{shards} shards: {:?}", bob.got);
        assert_eq!(messages(&bob, "presence_sync").len(), 1);
        assert_eq!(messages(&bob, "presence")[0]["user_id"], "bob");
        world.disconnect(bob.peer);
        say(&mut world, 2);
        bob.reconnect(&mut world, 1 << 20);
        world.settle(|world| assert!(bob.read(world) && eve.read(world)));
        say(&mut world, 3);
        world.settle(|world| assert!(bob.read(world) && eve.read(world)));
        assert_eq!(said(&bob), [1, 2, 3], "{shards} shards: {:?}", bob.got);
        assert!(eve.data("message").is_empty(), "{:?}", eve.got);
        assert_eq!(http(&mut world, "DELETE", "/_/rooms/r/members/bob?user=ann", &Value::Null).0, 204);
        world.settle(|world| assert!(bob.read(world)));
        say(&mut world, 4);
        world.settle(|world| assert!(bob.read(world)));
        assert_eq!(
            (said(&bob).len(), messages(&bob, "system").len()),
            (3, 1),
            "it is told, and hears no more"
        );
    }
}

/// Frames about others that a client was sent of these kinds.
fn count(client: &HubClient, kinds: &[&str]) -> usize {
    client.got.iter().filter(|frame| kinds.iter().any(|kind| frame["type"] == *kind)).count()
}

/// A hundred members lose their connections and come back: within the grace that is no news to those who stayed; after
/// it, one change for each who went and one for each who came.
#[test]
fn a_mass_reconnect_costs_changes_only() {
    const MANY: usize = 100;
    for shards in SHARDS {
        let mut world = World::new(6, shards, limits(|_| {}));
        let mut ann = HubClient::open(&mut world, "user=ann", 1 << 20);
        settle(&mut world, &mut [&mut ann]);
        ann.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
        ann.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        settle(&mut world, &mut [&mut ann]);
        let come = |world: &mut World| -> Vec<HubClient> {
            let each = (0..MANY).map(|n| {
                let mut one = HubClient::open(world, &format!("user=u{n}"), 1 << 20);
                one.send(world, &json!({"type": "join", "room_id": "r"}));
                one
            });
            each.collect()
        };
        let rest = |world: &mut World, ann: &mut HubClient, all: &mut [HubClient], ns: u64| {
            for ns in [0, ns, 150 * MS, 150 * MS] {
                world.now.mono += ns;
                world.settle(|world| {
                    assert!(ann.read(world));
                    all.iter_mut().for_each(|one| assert!(one.read(world)));
                });
            }
        };
        let kinds = ["presence", "presence_sync", "member_join", "member_leave"];
        let mut all = come(&mut world);
        rest(&mut world, &mut ann, &mut all, 0);
        assert_eq!(
            count(&ann, &kinds),
            1 + 1 + 2 * MANY,
            "itself, the state, and each as member and as there"
        );
        for (away, news) in [(SEC, 0), (5 * SEC, 2 * MANY)] {
            let before = count(&ann, &kinds);
            all.drain(..).for_each(|one| world.disconnect(one.peer));
            rest(&mut world, &mut ann, &mut [], away);
            all = come(&mut world);
            rest(&mut world, &mut ann, &mut all, 0);
            assert_eq!(count(&ann, &kinds) - before, news, "{shards} shards, away for {away}");
            assert!(all.iter().all(|one| count(one, &["presence_sync"]) == 1));
        }
    }
}

/// A connection that gives no sign of life is given up, and its user is missed, without any goodbye.
#[test]
fn whoever_gives_no_sign_of_life_is_missed() {
    for shards in SHARDS {
        let mut world = World::new(8, shards, limits(|_| {}));
        let mut ann = HubClient::open(&mut world, "user=ann", 1 << 20);
        let mut ghost = HubClient::open(&mut world, "user=ghost", 1 << 20);
        settle(&mut world, &mut [&mut ann, &mut ghost]);
        ann.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
        for one in [&mut ann, &mut ghost] {
            one.send(&mut world, &json!({"type": "join", "room_id": "r"}));
            world.settle(|_| {});
        }
        for _ in 0..100 {
            ann.send(&mut world, &json!({"type": "heartbeat"}));
            world.now.mono += SEC;
            world.settle(|world| {
                assert!(ann.read(world));
            });
        }
        let of_ghost =
            ann.got.iter().filter(|frame| frame["type"] == "presence" && frame["user_id"] == "ghost");
        let shown: Vec<&Value> = of_ghost.map(|frame| &frame["status"]).collect();
        assert_eq!(shown, ["online", "offline"], "{shards} shards");
        assert!(told(&ann, "member_leave", "r").is_empty(), "it is a member still");
    }
}

/// An event stream that no longer wants a room is not in it any more; and `*`, which is no room's name, makes none.
#[test]
fn an_event_stream_leaves_no_trace_in_a_room() {
    for shards in SHARDS {
        let mut world = World::new(13, shards, limits(|_| {}));
        assert_eq!(http(&mut world, "POST", "/_/rooms?user=ann", &json!({"id": "r"})).0, 201);
        let mut ann = EventSource::open(&mut world, "/sse?rooms=r&user=ann", 1 << 20);
        world.settle(|world| assert!(ann.read(world)));
        let inside = |world: &World| -> usize {
            let rooms = world.shards.iter().flat_map(|shard| shard.inspect().rooms);
            rooms.filter(|room| &*room.name == "r").map(|room| room.connections.len()).sum()
        };
        assert_eq!(inside(&world), 1, "{shards} shards");
        let conn = ann.data("connected")[0]["conn_id"].clone();
        let body = json!({"conn_id": conn, "rooms": ["r"]});
        assert_eq!(http(&mut world, "POST", "/sse/unsubscribe?user=ann", &body).0, 200);
        assert_eq!(inside(&world), 0, "{shards} shards");
        let body = json!({"conn_id": conn, "rooms": ["*"]});
        assert_eq!(http(&mut world, "POST", "/sse/subscribe?user=ann", &body).0, 207);
        assert_eq!(http(&mut world, "GET", "/sse?rooms=*&user=ann", &Value::Null).0, 400);
    }
}

/// A channel counts until its subscription ends, by whatever way: here by entering the room of that name and leaving it.
#[test]
fn a_room_that_was_left_does_not_count_as_a_channel() {
    for shards in SHARDS {
        let mut world = World::new(14, shards, limits(|hub| hub.channels_per_user = 2));
        let mut ann = HubClient::native(&mut world, "user=ann");
        for n in 0..6 {
            let room = format!("r{n}");
            assert_eq!(http(&mut world, "POST", "/_/rooms?user=bob", &json!({"id": room})).0, 201);
            for kind in ["subscribe", "join", "leave"] {
                let field = if kind == "subscribe" { "channel" } else { "room_id" };
                ann.send(&mut world, &json!({"type": kind, field: room}));
                settle(&mut world, &mut [&mut ann]);
            }
        }
        assert_eq!(codes(&ann), Vec::<&str>::new(), "{shards} shards");
    }
}

/// What is told of everybody's subscriptions names no private room and nobody who is watched, and no client speaks for
/// the application.
#[test]
fn nobody_is_told_of_private_rooms_and_watched_users_and_only_the_feed_speaks_to_all() {
    for shards in SHARDS {
        let mut world = World::new(12, shards, limits(|_| {}));
        for (room, private) in [("secret-room", true), ("open-room", false)] {
            let made =
                http(&mut world, "POST", "/_/rooms?user=ann", &json!({"id": room, "private": private}));
            assert_eq!(made.0, 201);
        }
        let mut ann = HubClient::native(&mut world, "user=ann");
        for room in ["secret-room", "open-room"] {
            ann.send(&mut world, &json!({"type": "join", "room_id": room}));
        }
        ann.send(&mut world, &json!({"type": "subscribe", "channel": "open"}));
        ann.send(&mut world, &json!({"type": "subscribe", "key": "documents/*"}));
        ann.send(&mut world, &json!({"type": "subscribe_presence", "user_ids": ["watched-user"]}));
        settle(&mut world, &mut [&mut ann]);
        for path in ["/?api=state", "/?api=channels", "/_/rooms?user=eve"] {
            let said = http(&mut world, "GET", path, &json!(null)).1.to_string();
            assert!(!said.contains("secret-room") && !said.contains("watched-user"), "{path}: {said}");
            assert!(said.contains("open-room"), "{path}: {said}");
        }
        let state = http(&mut world, "GET", "/?api=state", &json!(null)).1.to_string();
        assert!(state.contains("\"open\"") && state.contains("documents/*"), "{state}");

        let mut eve = HubClient::native(&mut world, "");
        eve.send(&mut world, &json!({"type": "publish", "channel": "*", "data": "not for all"}));
        settle(&mut world, &mut [&mut ann, &mut eve]);
        assert_eq!(codes(&eve), ["send_denied"], "{shards} shards");
        assert!(told(&ann, "message", "*").is_empty());
    }
}

/// What all clients but the first hear when its user shows itself so.
fn heard(world: &mut World, all: &mut [HubClient; 5], status: &str) -> [bool; 4] {
    settle(world, &mut all.each_mut());
    all.iter_mut().for_each(|one| one.got.clear());
    all[0].send(world, &json!({"type": "presence", "status": status}));
    settle(world, &mut all.each_mut());
    [1, 2, 3, 4].map(|one: usize| all[one].got.iter().any(|frame| frame["status"] == status))
}

/// How a user shows itself is told to those who share a room with it or may read one that it is in, for as long as that
/// is so; to all others it is offline.
#[test]
fn presence_is_for_those_who_share_a_room_or_may_read_it() {
    let watch = |world: &mut World, all: &mut [HubClient; 5]| {
        for one in &mut all[1..] {
            one.send(world, &json!({"type": "subscribe_presence", "user_ids": ["ann"]}));
        }
    };
    for shards in SHARDS {
        let mut world = World::new(13, shards, limits(|_| {}));
        for (room, private) in [("den", true), ("hall", false)] {
            let room = json!({"id": room, "private": private});
            assert_eq!(http(&mut world, "POST", "/_/rooms?user=owner", &room).0, 201);
        }
        for user in ["ann", "bob"] {
            let path = format!("/_/rooms/den/members/{user}?user=owner");
            assert!(http(&mut world, "PUT", &path, &json!({"role": "member"})).0 < 300);
        }
        // the last two: another connection of ann's, and the application
        let users = ["user=ann", "user=bob", "user=eve", "user=ann", ""];
        let mut all = users.map(|user| HubClient::native(&mut world, user));
        settle(&mut world, &mut all.each_mut());
        watch(&mut world, &mut all);
        let shared = heard(&mut world, &mut all, "busy");
        assert_eq!(shared, [true, false, true, true], "{shards} shards: ann and bob share a room");

        all[1].send(&mut world, &json!({"type": "leave", "room_id": "den"}));
        let left = heard(&mut world, &mut all, "away");
        assert_eq!(left, [false, false, true, true], "{shards} shards: bob has left it");

        all[0].send(&mut world, &json!({"type": "join", "room_id": "hall"}));
        settle(&mut world, &mut all.each_mut());
        watch(&mut world, &mut all);
        assert_eq!(heard(&mut world, &mut all, "online"), [true; 4], "{shards} shards: an open room");

        assert_eq!(http(&mut world, "PATCH", "/_/rooms/hall?user=owner", &json!({"private": true})).0, 200);
        let closed = heard(&mut world, &mut all, "busy");
        assert_eq!(closed, [false, false, true, true], "{shards} shards: it is private now");
    }
}
