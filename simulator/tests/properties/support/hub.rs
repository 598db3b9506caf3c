//! Limits of the hub, and what its clients were told.

use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::{ChannelRule, TailLimits};
use fanfare::flow::limits::hub::HubLimits;
use serde_json::Value;
use simulator::clients::hub::HubClient;
use simulator::world::World;

pub fn hub(change: impl FnOnce(&mut HubLimits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.hub);
    limits
}

pub fn keeping(history: usize) -> Limits {
    let rule = ChannelRule { channel: "h*".into(), history: Some(history), ..ChannelRule::default() };
    Limits { channel_rules: vec![rule], ..Limits::default() }
}

/// The codes of the errors among the frames.
pub fn codes(frames: &[Value]) -> Vec<&str> {
    let errors = frames.iter().filter(|frame| frame["type"] == "error");
    errors.map(|frame| frame["data"]["code"].as_str().expect("a code")).collect()
}

pub fn of_type<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|frame| frame["type"] == kind).collect()
}

/// Lets the world rest, and gives what each client got.
pub fn rest<const N: usize>(world: &mut World, all: [&mut HubClient; N]) -> [Vec<Value>; N] {
    let mut all = all;
    world.settle(|world| {
        all.iter_mut().for_each(|client| assert!(client.read(world) || client.closed.is_some()))
    });
    all.map(|client| std::mem::take(&mut client.got))
}

/// A tail that holds next to nothing: whoever is late soon meets the rule of its channel.
pub fn short_tail() -> Limits {
    hub(|hub| hub.tail = TailLimits { bytes: 1024, age: u64::MAX })
}
