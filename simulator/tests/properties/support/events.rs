//! What readers of server-sent events have got.

use serde_json::{Value, json};
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::world::World;
use std::collections::BTreeMap;

pub fn publish(app: &mut Application, world: &mut World, channel: &str, n: usize) {
    let data = json!({"n": n, "text": "z".repeat(50)});
    app.send(world, &json!({"op": "publish", "channel": channel, "data": data}));
}

/// The numbers that came on a channel.
pub fn numbers(source: &EventSource, channel: &str) -> Vec<u64> {
    let data = source.data("message");
    let of = data.iter().filter(|message| message["channel"] == channel);
    of.map(|message| message["data"]["n"].as_u64().unwrap()).collect()
}

pub fn settle(world: &mut World, all: &mut [EventSource]) {
    world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
}

/// The documents that the events so far make, by key.
pub fn fold(source: &EventSource) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for event in source.got.iter().filter(|event| !["connected", "message"].contains(&&*event.name)) {
        let message: Value = serde_json::from_str(&event.data).unwrap();
        let key = message["key"].as_str().unwrap_or_default().to_owned();
        let version = message["version"].as_str().unwrap_or_default().to_owned();
        match &*event.name {
            "snapshot" => {
                documents.insert(key, (version, message["data"].clone()));
            }
            "patch" => {
                let (held, document) = documents.get_mut(&key).expect("a snapshot comes before a patch");
                assert_eq!(message["from"], **held, "the very next change");
                let patch = serde_json::from_value(message["data"].clone()).unwrap();
                json_patch::patch(document, &json_patch::Patch(patch)).unwrap();
                *held = version;
            }
            "delete" => {
                documents.remove(&key);
            }
            "resync_required" => documents.clear(),
            "synced" => {}
            other => panic!("{other}"),
        }
    }
    documents.into_iter().map(|(key, (_, document))| (key, document)).collect()
}
