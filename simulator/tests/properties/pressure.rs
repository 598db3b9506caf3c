//! Back-pressure: a shard that falls behind slows the application down, wherever its feed is connected.

use fanfare::base::id::ShardId;
use fanfare::flow::limits::Limits;
use fanfare::flow::route::owner::owner;
use serde_json::json;
use simulator::clients::application::Application;
use simulator::clients::subscriber::Subscriber;
use simulator::world::World;

/// Opens until the connection is at that shard.
fn at<T>(shard: usize, mut open: impl FnMut() -> T, of: impl Fn(&T) -> usize) -> T {
    loop {
        let opened = open();
        if of(&opened) == shard {
            return opened;
        }
    }
}

/// One shard owns the key, another has the subscriber and stands still, a third has the feed.
#[test]
fn what_is_under_way_to_a_shard_that_stands_still_is_bounded() {
    const BUDGET: usize = 64 << 10;
    // a document, and a list whose owner is the one that stands still
    let key = (0..).map(|n| format!("doc{n}")).find(|key| owner(key, 3) == ShardId(0)).unwrap();
    let list = (0..).map(|n| format!("t{n}/*")).find(|list| owner(list, 3) == ShardId(1)).unwrap();
    let stem = list.trim_end_matches('*');
    let item = (0..).map(|n| format!("{stem}{n}")).find(|item| owner(item, 3) == ShardId(0)).unwrap();
    for (path, key) in [(&key, &key), (&list, &item)] {
        let mut world = World::new(7, 3, Limits { queue_bytes: BUDGET, ..Limits::default() });
        let mut app = at(2, || Application::open(&mut world), |app| app.peer.shard);
        let mut sub = at(1, || Subscriber::open(&mut world, path, None, 1 << 24), |sub| sub.peer.shard);
        world.settle(|world| assert!(sub.read(world)));
        for n in 0..600 {
            let data = json!({"n": n, "text": "x".repeat(2000 + n % 2)});
            app.send(&mut world, &json!({"op": "set", "key": key, "data": data, "id": n}));
        }
        for _ in 0..3000 {
            world.turn(0);
            world.turn(2);
        }
        let under_way = world.mail_bytes(0, 1);
        assert!(under_way > BUDGET / 2 && under_way <= BUDGET + 3000, "{path}: {under_way}");
        app.read(&mut world);
        assert!(app.replies.len() < 100, "{path}: what is not sent on is not accepted");
        world.settle(|world| {
            app.read(world);
            assert!(sub.read(world));
        });
        assert_eq!(app.replies.len(), 600);
        assert_eq!(sub.messages, 601, "{path}: nothing is left out");
    }
}
