//! What must hold for batches: nobody sees a state between two writes of one.

use fanfare::flow::limits::Limits;
use serde_json::json;
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::hub::HubClient;
use simulator::clients::subscriber::Subscriber;
use simulator::world::World;

/// A key that a batch writes several times changes once, for the subscribers of the key, natively and in the list.
#[test]
fn a_key_that_a_batch_writes_twice_changes_once() {
    for shards in SHARDS {
        let mut world = World::new(5, shards, Limits::default());
        let mut app = Application::open(&mut world);
        app.send(&mut world, &json!({"op": "set", "key": "at/1", "data": {"x": 0, "y": 0}}));
        app.send(&mut world, &json!({"op": "set", "key": "at/2", "data": {"x": 0, "y": 0}}));
        world.settle(|world| app.read(world));
        let mut key = Subscriber::open(&mut world, "at/1", None, 1 << 20);
        let mut list = Subscriber::open(&mut world, "at/*", None, 1 << 20);
        let mut hub = HubClient::native(&mut world, "");
        hub.send(&mut world, &json!({"type": "subscribe", "key": "at/*", "mode": "snapshot"}));
        world.settle(|world| assert!(key.read(world) && list.read(world) && hub.read(world)));
        let before = (key.messages, list.messages);
        hub.take(&mut world);
        let set = |path: &str| json!([{"op": "replace", "path": path, "value": 1}]);
        let ops = json!([
            {"op": "patch", "key": "at/1", "patch": set("/x")},
            {"op": "del", "key": "at/2"},
            {"op": "set", "key": "at/3", "data": 3},
            {"op": "patch", "key": "at/1", "patch": set("/y")},
            {"op": "set", "key": "at/2", "data": {"x": 2, "y": 2}},
            {"op": "del", "key": "at/3"},
        ]);
        app.send(&mut world, &json!({"id": 1, "op": "batch", "ops": ops}));
        world.settle(|world| {
            app.read(world);
            assert!(key.read(world) && list.read(world) && hub.read(world));
        });
        assert_eq!(app.replies.last().expect("a reply")["ok"], true, "{shards} shards");
        assert_eq!(key.messages - before.0, 1, "{shards} shards");
        let states = list.seen.iter().flat_map(|(_, doc)| doc.as_array().expect("a list"));
        assert!(states.into_iter().all(|item| item["data"]["x"] == item["data"]["y"]), "{:?}", list.seen);
        let frames = hub.take(&mut world);
        let data: Vec<_> =
            frames.iter().map(|frame| (frame["type"].clone(), frame["data"].clone())).collect();
        assert_eq!(data.len(), 2, "{shards} shards: {data:?}");
        assert!(data.contains(&(json!("snapshot"), json!({"x": 1, "y": 1}))), "{data:?}");
        assert!(data.contains(&(json!("snapshot"), json!({"x": 2, "y": 2}))), "{data:?}");
        // what one owner has of the batch, a list shows in one message
        assert!((1..=usize::from(shards)).contains(&(list.messages - before.1)), "{shards} shards");
    }
}

/// What a batch sweeps and sets again is there in the end, and was never away.
#[test]
fn a_batch_that_replaces_a_whole_list_shows_no_hole() {
    for shards in SHARDS {
        let mut world = World::new(6, shards, Limits::default());
        let mut app = Application::open(&mut world);
        for n in 0..4 {
            app.send(&mut world, &json!({"op": "set", "key": format!("t/{n}"), "data": "old"}));
        }
        world.settle(|world| app.read(world));
        let mut kept = Subscriber::open(&mut world, "t/1", None, 1 << 20);
        let mut list = Subscriber::open(&mut world, "t/*", None, 1 << 20);
        world.settle(|world| assert!(kept.read(world) && list.read(world)));
        let ops = json!([
            {"op": "set", "key": "t/9", "data": "swept at once"},
            {"op": "del", "key": "t/*"},
            {"op": "set", "key": "t/1", "data": "new"},
            {"op": "set", "key": "t/7", "data": "new"},
        ]);
        app.send(&mut world, &json!({"id": 1, "op": "batch", "ops": ops}));
        world.settle(|world| {
            app.read(world);
            assert!(kept.read(world) && list.read(world));
        });
        assert!(kept.seen.iter().all(|(_, doc)| doc["data"] == "old" || doc["data"] == "new"), "{kept:?}");
        assert!(list.seen.iter().all(|(_, doc)| doc.to_string().contains("t/1\"")), "{shards} shards");
        assert!(list.seen.iter().all(|(_, doc)| !doc.to_string().contains("swept at once")));
        let doc = list.doc.expect("a list");
        let mut paths: Vec<_> =
            doc.as_array().expect("a list").iter().map(|item| item["path"].to_string()).collect();
        paths.sort();
        assert_eq!(paths, ["\"t/1\"", "\"t/7\""], "{shards} shards");
    }
}
