//! A user's connection to the hub, and what it knows of the rooms that it is in.

use serde_json::Value;
use simulator::clients::hub::HubClient;
use simulator::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who is there of a room, as far as a client was told: names, or a number.
pub type View = Result<BTreeMap<String, String>, u64>;

/// What a client in a room knows of it.
#[derive(Debug, Default)]
pub struct Known {
    /// What was said since it came, in order.
    pub said: Vec<(String, Value)>,
    pub last: u64,
    pub presence: Option<View>,
    pub typing: BTreeSet<String>,
    pub members: BTreeSet<String>,
}

/// A user's connection, and what it has been told.
pub struct Person {
    pub client: HubClient,
    pub user: usize,
    pub rooms: BTreeMap<String, Known>,
    pub answers: BTreeMap<u64, Value>,
}

pub fn name(user: usize) -> Arc<str> {
    format!("u{user}").into()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Person {
    pub fn open(world: &mut World, user: usize) -> Person {
        let client = HubClient::open(world, &format!("user={}", name(user)), 1 << 20);
        Person { client, user, rooms: BTreeMap::new(), answers: BTreeMap::new() }
    }

    pub fn read(&mut self, world: &mut World) {
        self.client.read(world);
        for frame in std::mem::take(&mut self.client.got) {
            self.fold(frame);
        }
    }

    pub fn fold(&mut self, frame: Value) {
        if let Some(request) = frame["request_id"].as_u64() {
            self.answers.insert(request, frame);
            return;
        }
        let (kind, event, user) = (text(&frame["type"]), text(&frame["event"]), text(&frame["user_id"]));
        let room = text(&frame["room_id"]);
        if ["kicked", "banned", "left", "room.deleted"].contains(&&*event) {
            self.rooms.remove(&room);
            return;
        }
        if kind == "presence_sync" {
            self.rooms.entry(room.clone()).or_default();
        }
        let Some(known) = self.rooms.get_mut(&room) else { return };
        match &*kind {
            "presence_sync" => {
                let online = frame["counts"]["online"].as_u64().expect("a number");
                let named = frame["presences"].as_array().expect("a list");
                let map = named.iter().map(|p| (text(&p["user_id"]), text(&p["status"]))).collect();
                // what follows begins anew, and names those who type
                known.typing.clear();
                known.presence = Some(if named.len() as u64 == online { Ok(map) } else { Err(online) });
            }
            "presence" => {
                let Some(Ok(map)) = &mut known.presence else { panic!("{frame} to one that counts") };
                match text(&frame["status"]) {
                    status if status == "offline" => map.remove(&user),
                    status => map.insert(user, status),
                };
            }
            "typing" if frame["data"] == true => assert!(known.typing.insert(user), "{frame}"),
            "typing" => {
                known.typing.remove(&user);
            }
            "member_join" => {
                known.members.insert(user);
            }
            "member_leave" => {
                known.members.remove(&user);
            }
            "message" | "system" if frame["sequence"].is_u64() => {
                let sequence = frame["sequence"].as_u64().expect("a number");
                assert!(known.last == 0 || sequence == known.last + 1, "{frame} behind {}", known.last);
                known.last = sequence;
                known.said.push((event, frame["data"].clone()));
            }
            "system" | "error" => {}
            other => panic!("{other}: {frame}"),
        }
    }
}
