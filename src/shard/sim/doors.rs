//! What must hold for rooms by their other doors: HTTP, channels, sessions, slow readers.

use super::World;
use super::client::{Application, Listener};
use super::eventsource::EventSource;
use crate::base::time::{MS, SEC};
use crate::flow::limits::Limits;
use crate::flow::limits::hub::HubLimits;
use crate::shard::io::Door;
use serde_json::{Value, json};

const SHARDS: [u16; 4] = [1, 2, 3, 8];

fn limits(hub: impl FnOnce(&mut HubLimits)) -> Limits {
    let mut limits = HubLimits { burst: 1_000_000, ..HubLimits::default() };
    hub(&mut limits);
    Limits { hub: limits, ..Limits::default() }
}

/// One request, and its answer: status and body.
fn http(world: &mut World, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let line = world.connect(Door::Clients(0), 1 << 20);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    world.say(line, head.as_bytes());
    world.settle(|_| {});
    let answer = String::from_utf8(world.hear(line).expect("it stays open")).expect("text");
    world.hang_up(line);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head[9..12].parse().expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn settle(world: &mut World, all: &mut [&mut Listener]) {
    world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world) || one.closed.is_some())));
}

fn pass(world: &mut World, all: &mut [&mut Listener], ns: u64) {
    world.now.mono += ns;
    world.now.wall += ns;
    settle(world, all);
}

/// What a listener was told of one kind, in one room or channel.
fn told<'a>(listener: &'a Listener, kind: &str, room: &str) -> Vec<&'a Value> {
    let of = |frame: &&Value| frame["type"] == kind && (frame["room_id"] == room || frame["channel"] == room);
    listener.got.iter().filter(of).collect()
}

fn codes(listener: &Listener) -> Vec<&str> {
    let errors = listener.got.iter().filter(|frame| frame["type"] == "error");
    errors.map(|frame| frame["data"]["code"].as_str().expect("a code")).collect()
}

/// Whoever is no member of a private room hears nothing of it, by whatever door, from the moment at which it is one;
/// and hears it again once it is open.
#[test]
fn a_private_room_is_heard_by_its_members_only() {
    for shards in SHARDS {
        let mut world = World::new(3, shards, limits(|hub| hub.implicit_channels = true));
        let mut app = Application::open(&mut world);
        let mut all = Listener::open(&mut world, "", 1 << 20);
        let mut plain = Listener::open(&mut world, "channels=r", 1 << 20);
        let mut eve = Listener::open(&mut world, "user=eve&channels=r", 1 << 20);
        let mut bob = Listener::open(&mut world, "user=bob", 1 << 20);
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
        let data = |one: &Listener| -> Vec<Value> {
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

/// What is sent right behind a `room.create` or a `join`, in the same bytes, is done behind it; and what is said
/// while a connection waits is bounded.
#[test]
fn nothing_overtakes_an_entering() {
    for shards in SHARDS {
        for seed in 0..20 {
            let mut world = World::new(seed, shards, limits(|_| {}));
            let mut ann = Listener::open(&mut world, "user=ann", 1 << 20);
            let mut bob = Listener::open(&mut world, "user=bob", 1 << 20);
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
            let data = |one: &Listener| -> Vec<Value> {
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
                world.turn(bob.line.shard);
            }
            let conn = world.shards[bob.line.shard].clients.get(bob.line.conn).expect("it is there");
            let held = conn.hub.as_ref().and_then(|hub| hub.held.as_ref()).map_or(0, Vec::len);
            assert!(held < 70 << 10 && (conn.paused || held < 65 << 10), "{held} bytes");
            settle(&mut world, &mut [&mut ann, &mut bob]);
            assert_eq!(told(&ann, "message", "r").len(), 202, "nothing that was held is lost");
        }
    }
}

/// All connections of a user that is kicked or banned are put out, told why, and hear nothing more; a user stays a
/// member over a session that is taken up, and sits in its rooms again, with what it has missed.
#[test]
fn who_is_put_out_hears_no_more_and_who_comes_back_hears_all() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, limits(|hub| hub.session_ttl = 30 * SEC));
        let mut ann = Listener::open(&mut world, "user=ann&session_id=", 1 << 20);
        let mut bobs: Vec<Listener> =
            (0..3).map(|_| Listener::open(&mut world, "user=bob", 1 << 20)).collect();
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
        world.hang_up(ann.line);
        one.send(&mut world, &json!({"type": "message", "room_id": "r", "data": 2}));
        settle(&mut world, &mut [one, two, three]);
        let mut ann = Listener::open(&mut world, &format!("user=ann&session_id={session}"), 1 << 20);
        settle(&mut world, &mut [&mut ann, one, two, three]);
        assert_eq!(told(&ann, "message", "r").len(), 1, "{shards} shards: {:?}", ann.got);
        assert_eq!(told(&ann, "message", "r")[0]["data"], 2);
        assert_eq!(told(&ann, "presence_sync", "r").len(), 1, "it sits in the room");
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
        let mut slow = Listener::open(&mut world, "user=slow", 1500);
        settle(&mut world, &mut [&mut slow]);
        slow.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
        slow.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        pass(&mut world, &mut [&mut slow], 150 * MS);
        let query = |n: usize| format!("user=u{n}");
        let mut others: Vec<Listener> =
            (0..30).map(|n| Listener::open(&mut world, &query(n), 1 << 20)).collect();
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
                world.work(40);
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

/// Every route of rooms over HTTP, as its caller sees it.
#[test]
fn rooms_are_kept_over_http() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, limits(|hub| hub.rooms_per_user = 2));
        let mut go = |method: &str, path: &str, body: Value| http(&mut world, method, path, &body);
        let none = Value::Null;
        let made =
            go("POST", "/_/rooms?user=ann", json!({"id": "a/1", "name": "A", "metadata": {"k": [1.0]}}));
        assert_eq!((made.0, &made.1["id"], &made.1["name"]), (201, &json!("a/1"), &json!("A")), "{made:?}");
        assert_eq!(go("POST", "/_/rooms?user=bob", json!({"id": "a/1"})).1["code"], "already_exists");
        let unnamed = go("POST", "/_/rooms?user=ann", json!({"private": true}));
        let id = unnamed.1["id"].as_str().expect("the server names it").to_owned();
        let third = go("POST", "/_/rooms?user=ann", json!({"id": "c"}));
        assert_eq!((third.0, &third.1["code"]), (429, &json!("room_limit_reached")));
        let names = |rooms: &Value| -> Vec<String> {
            let rooms = rooms["rooms"].as_array().expect("a list");
            rooms.iter().map(|room| room["id"].as_str().expect("an id").to_owned()).collect()
        };
        assert_eq!(names(&go("GET", "/_/rooms?user=bob", none.clone()).1), ["a/1"]);
        let mut both = vec![id.clone(), "a/1".to_owned()];
        both.sort();
        assert_eq!(names(&go("GET", "/_/rooms?user=ann", none.clone()).1), both);
        assert_eq!(names(&go("GET", "/_/rooms", none.clone()).1), both, "the application sees all");
        assert_eq!(
            go("GET", &format!("/_/rooms/{id}?user=bob"), none.clone()).1["code"],
            "room_access_denied"
        );
        assert_eq!(go("GET", "/_/rooms/none", none.clone()).0, 404);
        assert_eq!(go("PATCH", "/_/rooms/a%2F1?user=bob", json!({"name": "B"})).1["code"], "forbidden");
        assert_eq!(go("PATCH", "/_/rooms/a%2F1?user=ann", json!({"name": "B"})).1["name"], "B");
        assert_eq!(
            go("PUT", "/_/rooms/a%2F1/members/bob?user=ann", json!({"role": "king"})).1["code"],
            "invalid_role"
        );
        assert_eq!(go("PUT", "/_/rooms/a%2F1/members/bob?user=ann", json!({"role": "admin"})).0, 200);
        assert_eq!(go("PUT", "/_/rooms/a%2F1/members/cat?user=bob", none.clone()).1["role"], "member");
        let members = go("GET", "/_/rooms/a%2F1/members", none.clone()).1;
        let roles: Vec<(&str, &str)> = members["members"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|member| (member["user_id"].as_str().unwrap(), member["role"].as_str().unwrap()))
            .collect();
        assert_eq!(roles, [("ann", "owner"), ("bob", "admin"), ("cat", "member")]);
        assert!(members["members"][0]["joined_at"].as_str().is_some_and(|at| at.ends_with('Z')));
        assert_eq!(go("DELETE", "/_/rooms/a%2F1/members/cat?user=bob&ban=1", none.clone()).0, 204);
        assert_eq!(go("PUT", "/_/rooms/a%2F1/members/cat?user=bob", none.clone()).1["code"], "banned");
        assert_eq!(go("DELETE", "/_/rooms/a%2F1?user=bob", none.clone()).1["code"], "forbidden");
        assert_eq!(go("DELETE", "/_/rooms/a%2F1?user=ann", none.clone()).0, 204);
        assert_eq!(go("GET", "/_/rooms/a%2F1", none.clone()).0, 404);
        assert_eq!(go("POST", "/_/rooms?user=ann", json!({"id": "c"})).0, 201, "its place is free again");
    }
}

/// Messages over HTTP: said, changed, deleted, reacted to, and found again.
#[test]
fn messages_are_kept_over_http() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, limits(|_| {}));
        let mut go = |method: &str, path: &str, body: Value| http(&mut world, method, path, &body);
        let none = Value::Null;
        assert_eq!(go("POST", "/_/rooms?user=ann", json!({"id": "a"})).0, 201);
        for (user, role) in [("bob", "admin"), ("cat", "member")] {
            let path = format!("/_/rooms/a/members/{user}?user=ann");
            assert_eq!(go("PUT", &path, json!({"role": role})).0, 200);
        }
        let mut ids = Vec::new();
        for n in 0..5 {
            let user = ["ann", "bob", "cat"][n % 3];
            let said =
                go("POST", &format!("/_/rooms/a/messages?user={user}"), json!({"data": format!("M{n}")}));
            assert_eq!((said.0, &said.1["sequence"], &said.1["user_id"]), (201, &json!(n + 1), &json!(user)));
            ids.push(said.1["id"].as_str().expect("an id").to_owned());
        }
        assert_eq!(go("POST", "/_/rooms/a/messages?user=dan", json!({"data": 1})).1["code"], "send_denied");
        let mute = go("PUT", "/_/rooms/a/members/cat?user=ann", json!({"mute_ms": 60000}));
        assert_eq!(mute.0, 200);
        assert_eq!(go("POST", "/_/rooms/a/messages?user=cat", json!({"data": 1})).1["code"], "muted");
        let message = |n: usize| format!("/_/rooms/a/messages/{}", ids[n]);
        assert_eq!(go("PATCH", &format!("{}?user=bob", message(1)), json!({"data": "new"})).0, 200);
        assert_eq!(
            go("PATCH", &format!("{}?user=bob", message(0)), json!({"data": "x"})).1["code"],
            "forbidden"
        );
        assert_eq!(go("DELETE", &format!("{}?user=bob", message(2)), none.clone()).0, 204);
        assert_eq!(go("PUT", &format!("{}/reactions/%2B1?user=ann", message(1)), none.clone()).0, 200);
        let past = go("GET", "/_/rooms/a/history?limit=2&before=4", none.clone()).1;
        let past: Vec<_> = past["messages"].as_array().expect("a list").clone();
        assert_eq!(
            past.iter().map(|m| m["data"].clone()).collect::<Vec<_>>(),
            ["M3", "new"],
            "{shards} shards"
        );
        assert_eq!(
            (&past[1]["edited"], &past[1]["reactions"]),
            (&json!(true), &json!([{"emoji": "+1", "user_ids": ["ann"]}]))
        );
        let by = go("GET", "/_/rooms/a/history?by=ann&search=m3", none.clone()).1;
        assert_eq!(by["messages"][0]["data"], "M3", "{by}");
    }
}

/// Whoever watches users is told how they are, and every change, until it does so no more.
#[test]
fn watched_users_are_told_of() {
    for shards in SHARDS {
        let mut world = World::new(2, shards, limits(|_| {}));
        let mut eve = Listener::open(&mut world, "", 1 << 20);
        let mut ann = Listener::open(&mut world, "user=ann", 1 << 20);
        settle(&mut world, &mut [&mut eve, &mut ann]);
        let watch = json!({"type": "subscribe_presence", "user_ids": ["ann", "bob"], "request_id": "w"});
        eve.send(&mut world, &watch);
        settle(&mut world, &mut [&mut eve, &mut ann]);
        let sync = eve.got.iter().find(|frame| frame["type"] == "presence_sync").expect("it is told at once");
        let mut how: Vec<(&str, &str)> = sync["presences"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (one["user_id"].as_str().unwrap(), one["status"].as_str().unwrap()))
            .collect();
        how.sort_unstable();
        assert_eq!((how, &sync["request_id"]), (vec![("ann", "online"), ("bob", "offline")], &json!("w")));
        let before = eve.got.len();
        ann.send(&mut world, &json!({"type": "presence", "status": "busy", "custom_status": "in a call"}));
        let bob = Listener::open(&mut world, "user=bob", 1 << 20);
        settle(&mut world, &mut [&mut eve, &mut ann]);
        world.hang_up(bob.line);
        pass(&mut world, &mut [&mut eve, &mut ann], SEC);
        // a page that is loaded again is no news
        let bob = Listener::open(&mut world, "user=bob", 1 << 20);
        pass(&mut world, &mut [&mut eve, &mut ann], 5 * SEC);
        world.hang_up(bob.line);
        settle(&mut world, &mut [&mut eve, &mut ann]);
        pass(&mut world, &mut [&mut eve, &mut ann], 5 * SEC);
        let mut how: Vec<(&str, &str)> = eve.got[before..]
            .iter()
            .filter(|frame| frame["type"] == "presence")
            .map(|one| (one["user_id"].as_str().unwrap(), one["status"].as_str().unwrap()))
            .collect();
        how.sort_by_key(|(user, _)| *user);
        assert_eq!(how, [("ann", "busy"), ("bob", "online"), ("bob", "offline")], "{shards} shards");
        eve.send(&mut world, &json!({"type": "unsubscribe_presence", "user_ids": []}));
        settle(&mut world, &mut [&mut eve, &mut ann]);
        let before = eve.got.len();
        ann.send(&mut world, &json!({"type": "presence", "data": "away"}));
        settle(&mut world, &mut [&mut eve, &mut ann]);
        assert_eq!(eve.got.len(), before);
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
        world.hang_up(bob.line);
        say(&mut world, 2);
        bob.again(&mut world, 1 << 20);
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

/// Frames about others that a listener was sent of these kinds.
fn count(listener: &Listener, kinds: &[&str]) -> usize {
    listener.got.iter().filter(|frame| kinds.iter().any(|kind| frame["type"] == *kind)).count()
}

/// A hundred members lose their connections and come back: within the grace that is no news to those who stayed; after
/// it, one change for each who went and one for each who came.
#[test]
fn a_mass_reconnect_costs_changes_only() {
    const MANY: usize = 100;
    for shards in SHARDS {
        let mut world = World::new(6, shards, limits(|_| {}));
        let mut ann = Listener::open(&mut world, "user=ann", 1 << 20);
        settle(&mut world, &mut [&mut ann]);
        ann.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
        ann.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        settle(&mut world, &mut [&mut ann]);
        let come = |world: &mut World| -> Vec<Listener> {
            let each = (0..MANY).map(|n| {
                let mut one = Listener::open(world, &format!("user=u{n}"), 1 << 20);
                one.send(world, &json!({"type": "join", "room_id": "r"}));
                one
            });
            each.collect()
        };
        let rest = |world: &mut World, ann: &mut Listener, all: &mut [Listener], ns: u64| {
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
            all.drain(..).for_each(|one| world.hang_up(one.line));
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
        let mut ann = Listener::open(&mut world, "user=ann", 1 << 20);
        let mut ghost = Listener::open(&mut world, "user=ghost", 1 << 20);
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
