//! Requests about rooms, and what clients were told of them.

use fanfare::flow::limits::Limits;
use fanfare::flow::limits::hub::HubLimits;
use fanfare::shard::io::Door;
use serde_json::Value;
use simulator::clients::hub::HubClient;
use simulator::world::World;

pub fn limits(hub: impl FnOnce(&mut HubLimits)) -> Limits {
    let mut limits = HubLimits { burst: 1_000_000, ..HubLimits::default() };
    hub(&mut limits);
    Limits { hub: limits, ..Limits::default() }
}

/// One request, and its answer: status and body.
pub fn http(world: &mut World, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let peer = world.connect(Door::Clients(0), 1 << 20);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.send(peer, head.as_bytes());
    world.settle(|_| {});
    let answer = String::from_utf8(world.receive(peer).expect("it stays open")).expect("text");
    world.disconnect(peer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head[9..12].parse().expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

pub fn settle(world: &mut World, all: &mut [&mut HubClient]) {
    world.settle(|world| all.iter_mut().for_each(|one| assert!(one.read(world) || one.closed.is_some())));
}

pub fn pass(world: &mut World, all: &mut [&mut HubClient], ns: u64) {
    world.now.mono += ns;
    world.now.wall += ns;
    settle(world, all);
}

/// What a client was told of one kind, in one room or channel.
pub fn told<'a>(client: &'a HubClient, kind: &str, room: &str) -> Vec<&'a Value> {
    let of = |frame: &&Value| frame["type"] == kind && (frame["room_id"] == room || frame["channel"] == room);
    client.got.iter().filter(of).collect()
}

pub fn codes(client: &HubClient) -> Vec<&str> {
    let errors = client.got.iter().filter(|frame| frame["type"] == "error");
    errors.map(|frame| frame["data"]["code"].as_str().expect("a code")).collect()
}
