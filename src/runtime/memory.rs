//! What a connection costs, part by part, held to the manual's page on memory.

use super::slots::Slot;
use crate::flow::fanout::Fanout;
use crate::flow::fanout::pool::{Pool, PoolMember};
use crate::flow::fanout::send_queue::{Queue, Waiting};
use crate::shard::connections::Connections;
use crate::shard::connections::subscriptions::Subscription;
use crate::shard::mail::Mail;

#[test]
fn the_manual_tells_what_each_part_takes() {
    let manual = include_str!("../../docs/src/memory.md");
    let idle = Connections::PLACE + size_of::<PoolMember>() + Fanout::IDLE + size_of::<Slot>();
    for (part, bytes) in [
        ("the record, two subscriptions included", Connections::PLACE),
        ("its place in each pool", size_of::<PoolMember>()),
        ("its place on the sending side", Fanout::IDLE),
        ("its socket on the ring", size_of::<Slot>()),
        ("**an idle connection with one subscription**", idle),
        ("its entry in a broadcast", Fanout::DUE),
        ("each subscription beyond two", size_of::<Subscription>()),
        ("a request that is coming in", Connections::REQUEST),
        ("a feed", Connections::FEED),
        ("a queue", size_of::<Queue>()),
        ("each run of frames in it", size_of::<Waiting>()),
        ("a pool", size_of::<Pool>()),
        ("a message between shards", size_of::<Mail>()),
    ] {
        let row = manual.lines().find(|line| line.starts_with(&format!("| {part} | ")));
        let written = row.and_then(|row| row.split('|').nth(2)).map(str::trim);
        assert_eq!(written, Some(bytes.to_string().as_str()), "{part} in memory.md");
    }
}
