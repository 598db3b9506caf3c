//! An identity that ends while its connection stays.

use crate::base::id::ShardId;
use crate::flow::fanout::sockets::{Due, Short, Slices, Sockets};
use crate::flow::identity::Identity;
use crate::flow::limits::Access;
use crate::shard::connections::Connections;
use crate::shard::context::Context;
use crate::shard::io::Door;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: fanfare.v1\r\n\r\n";

/// A socket that takes everything.
#[derive(Default)]
struct Taken(Vec<u8>);

impl Sockets for Taken {
    fn send(&mut self, batch: &[Due<'_>], _: &mut Vec<Short>) {
        for due in batch {
            match due.bytes {
                Slices::One(run) => self.0.extend_from_slice(run),
                Slices::Many(runs) => self.0.extend(runs.concat()),
            }
        }
    }
}

/// What the server says to a frame of a client.
fn told(connections: &mut Connections, ctx: &mut Context, text: &str) -> String {
    let id = connections.table.id(0);
    let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
    connections.bytes(ctx, id, &frame);
    let mut taken = Taken::default();
    while connections.flush(ctx, &mut taken) {}
    String::from_utf8_lossy(&taken.0).into_owned()
}

#[test]
fn whoever_may_read_no_more_gets_nothing_new_and_may_let_go_of_what_it_has() {
    let mut ctx = Context::new(ShardId(0), 1, Default::default(), "e".into());
    let mut connections = Connections::new(&mut ctx);
    connections.table.shared.set_anonymous(Identity::anonymous(Access::Write).until(10));
    let id = connections.open(&mut ctx, 0, Door::Clients(0));
    connections.bytes(&mut ctx, id, UPGRADE.as_bytes());
    let asks = [
        r#"{"type":"subscribe","channel":"c","request_id":1}"#,
        r#"{"type":"subscribe","key":"k","request_id":1}"#,
        r#"{"type":"publish","channel":"d","data":1,"request_id":1}"#,
        r#"{"action":"history","channel":"c","request_id":1}"#,
    ];
    for (wall, refused) in [(9, 0), (10, asks.len())] {
        ctx.now.wall = wall;
        let told = asks.map(|ask| told(&mut connections, &mut ctx, ask));
        let why = "is not allowed here without a token";
        assert_eq!(told.iter().filter(|told| told.contains(why)).count(), refused, "at {wall}: {told:?}");
    }
    let left = told(&mut connections, &mut ctx, r#"{"type":"unsubscribe","channel":"c","request_id":1}"#);
    assert!(left.contains("\"unsubscribed\""), "{left}");
}
