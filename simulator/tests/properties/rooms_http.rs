//! What must hold for rooms over HTTP.

use crate::support::rooms::{http, limits, pass, settle};
use fanfare::base::time::SEC;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::hub::HubClient;
use simulator::world::World;

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
        let mut eve = HubClient::open(&mut world, "", 1 << 20);
        let mut ann = HubClient::open(&mut world, "user=ann", 1 << 20);
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
        let bob = HubClient::open(&mut world, "user=bob", 1 << 20);
        settle(&mut world, &mut [&mut eve, &mut ann]);
        world.disconnect(bob.peer);
        pass(&mut world, &mut [&mut eve, &mut ann], SEC);
        // a page that is loaded again is no news
        let bob = HubClient::open(&mut world, "user=bob", 1 << 20);
        pass(&mut world, &mut [&mut eve, &mut ann], 5 * SEC);
        world.disconnect(bob.peer);
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
