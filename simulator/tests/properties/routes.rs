//! What must hold for streams with a catch-up.

use fanfare::base::time::SEC;
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::ChannelRule;
use fanfare::flow::limits::route::{FilterRule, Profile, Route, RouteId};
use fanfare::flow::limits::sse::SseLimits;
use fanfare::shard::io::Door;
use fanfare::wire::template::PathTemplate;
use fastrand::Rng;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::world::World;

fn route(path: &str, profile: Profile) -> Route {
    let path = PathTemplate::parse(path).unwrap();
    let channel = Some(path.name("org:{org}").unwrap());
    Route {
        id: RouteId::of(&path, channel.as_ref()),
        channel,
        path,
        profile,
        filter: Some(FilterRule { query: "entityTypes".into(), field: "entityType".into() }),
        id_field: Some("activityId".into()),
        keepalive: 30 * SEC,
        streams: 5000,
        streams_per_user: 10,
    }
}

fn limits(history: usize, replay_limit: usize) -> Limits {
    let rule = ChannelRule { channel: "org:*".into(), history: Some(history), ..ChannelRule::default() };
    let routes = vec![
        route("/organizations/{org}/sync/stream", Profile::Cella),
        route("/entities/{org}/stream", Profile::CellaViews),
    ];
    let sse = SseLimits { replay_limit, ..SseLimits::default() };
    Limits { channel_rules: vec![rule], routes, sse, queue_bytes: 4096, ..Limits::default() }
}

/// Names without order, as cella makes them.
fn nanoid(rng: &mut Rng) -> String {
    (0..21).map(|_| rng.alphanumeric()).collect()
}

/// Publishes a change and returns its name.
fn change(app: &mut Application, world: &mut World, rng: &mut Rng, n: u64) -> String {
    let id = nanoid(rng);
    let kind = if n.is_multiple_of(3) { "attachment" } else { "page" };
    let data = json!({"activityId": id, "action": "update", "entityType": kind, "n": n});
    app.send(world, &json!({"op": "publish", "channel": "org:1", "data": data}));
    id
}

fn numbers(source: &EventSource) -> Vec<u64> {
    source.data("change").iter().map(|change| change["n"].as_u64().unwrap()).collect()
}

fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn get(world: &mut World, target: &str) -> (u16, Value) {
    let peer = world.connect(Door::Clients(0), 1 << 20);
    world.send(peer, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    world.settle(|world| answer.extend(world.receive(peer).expect("it stays open")));
    let text = String::from_utf8(answer).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_default())
}

/// Upstream's bugs C1 to C5: whoever comes, breaks off at any moment and comes back with the last name that it saw, by
/// the address or by the browser's header, has each change once, oldest first, while changes go on.
#[test]
fn a_catch_up_is_oldest_first_and_skips_and_repeats_nothing() {
    for shards in SHARDS {
        for seed in 0..8 {
            let mut world = World::new(seed, shards, limits(10_000, 7));
            let mut rng = Rng::with_seed(seed);
            let mut app = Application::open(&mut world);
            for n in 0..100 {
                change(&mut app, &mut world, &mut rng, n);
                world.run(2);
            }
            let target = "/organizations/1/sync/stream?offset=-1&live=sse";
            let mut all: Vec<EventSource> =
                (0..4).map(|_| EventSource::open(&mut world, target, 1 << 20)).collect();
            let mut got: Vec<Vec<u64>> = vec![Vec::new(); 4];
            let mut known = vec!["-1".to_owned(); 4];
            for n in 100..300 {
                change(&mut app, &mut world, &mut rng, n);
                world.run(rng.usize(0..6));
                let i = rng.usize(0..4);
                all[i].read(&mut world);
                if rng.u8(0..6) > 0 {
                    continue;
                }
                got[i].append(&mut numbers(&all[i]));
                if !all[i].id().is_empty() {
                    known[i] = all[i].id();
                }
                let last = known[i].clone();
                world.disconnect(all[i].peer);
                // cella's hooks put it into the address, browsers into the header
                all[i] = match rng.bool() || last == "-1" {
                    true => {
                        let target = format!("/organizations/1/sync/stream?live=sse&offset={last}");
                        EventSource::open(&mut world, &target, 1 << 20)
                    }
                    false => EventSource::resume(&mut world, target, &last, 1 << 20),
                };
            }
            world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
            for (source, mut got) in all.iter().zip(got) {
                got.append(&mut numbers(source));
                assert_eq!(got, (0..300).collect::<Vec<_>>(), "{shards} shards seed {seed}");
                assert_eq!(source.data("resync_required").len(), 0);
            }
        }
    }
}

/// `offset` comes once, behind all that was missed and before everything that is new, and names the last change.
#[test]
fn the_offset_stands_between_the_catch_up_and_the_live_stream() {
    for shards in SHARDS {
        let mut world = World::new(1, shards, limits(1000, 3));
        let mut rng = Rng::with_seed(1);
        let mut app = Application::open(&mut world);
        let path = "/organizations/1/sync/stream?live=sse";
        let mut early = EventSource::open(&mut world, path, 1 << 20);
        world.settle(|world| assert!(early.read(world)));
        assert_eq!(early.data("offset"), [json!({"cursor": null})]);
        let ids: Vec<String> = (0..10).map(|n| change(&mut app, &mut world, &mut rng, n)).collect();
        world.settle(|world| assert!(early.read(world)));
        for (offset, caught) in [("-1", 10), ("now", 0), (&*ids[3], 6), (&*ids[9], 0)] {
            let mut source = EventSource::open(&mut world, &format!("{path}&offset={offset}"), 1 << 20);
            world.settle(|world| assert!(source.read(world)));
            let names: Vec<&str> = source.got.iter().map(|event| &*event.name).collect();
            let want: Vec<&str> = [&vec!["change"; caught][..], &["offset", "ping"]].concat();
            assert_eq!(names, want, "{offset} {shards} shards");
            assert_eq!(source.data("offset"), [json!({"cursor": ids[9]})]);
            assert_eq!(source.got.last().unwrap().data, "pong");
            let changes = source.got.iter().filter(|event| event.name == "change");
            assert!(changes.zip(&ids[10 - caught..]).all(|(event, id)| event.id == *id));
        }
        assert_eq!(numbers(&early), (0..10).collect::<Vec<_>>());
        world.now.mono += 31 * SEC;
        world.settle(|world| assert!(early.read(world)));
        assert_eq!(early.got.iter().filter(|event| event.name == "ping").count(), 2);
    }
}

/// A client that chose types gets these and no others, missed or live; the cursor goes on all the same.
#[test]
fn a_choice_holds_for_what_was_missed_and_what_is_new() {
    for shards in SHARDS {
        let mut world = World::new(2, shards, limits(1000, 3));
        let mut rng = Rng::with_seed(2);
        let mut app = Application::open(&mut world);
        for n in 0..20 {
            change(&mut app, &mut world, &mut rng, n);
        }
        world.settle(|_| {});
        let path = "/organizations/1/sync/stream?live=sse&offset=-1&entityTypes=";
        let types = ["attachment", "page,attachment", "", "attachment,nothing", "nothing"];
        let mut all: Vec<EventSource> = types
            .iter()
            .map(|types| EventSource::open(&mut world, &format!("{path}{types}"), 1 << 20))
            .collect();
        world.run(10);
        for n in 20..40 {
            change(&mut app, &mut world, &mut rng, n);
            world.run(5);
        }
        world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
        let thirds: Vec<u64> = (0..40).filter(|n| n % 3 == 0).collect();
        let every: Vec<u64> = (0..40).collect();
        for (source, want) in all.iter().zip([&thirds, &every, &every, &thirds, &vec![]]) {
            assert_eq!(numbers(source), *want, "{} {shards} shards", source.target);
            assert_eq!(source.data("offset").len(), 1);
        }
        all.iter().for_each(|source| world.disconnect(source.peer));
        world.settle(|_| {});
        let pools = world.count(|stats| stats.pools);
        assert_eq!(pools, 0);
    }
}

/// A name that is not known any more leads to all that is kept, and the client is told that something may be missing.
#[test]
fn a_name_that_is_forgotten_is_told_of() {
    for shards in SHARDS {
        let mut world = World::new(3, shards, limits(10, 200));
        let mut rng = Rng::with_seed(3);
        let mut app = Application::open(&mut world);
        let ids: Vec<String> = (0..25).map(|n| change(&mut app, &mut world, &mut rng, n)).collect();
        world.settle(|_| {});
        for offset in [&*ids[0], "nobody", "eyJvcmc6MSI6MX0", "eyJvcmc6MSI6OTl9"] {
            let target = format!("/organizations/1/sync/stream?live=sse&offset={offset}");
            let mut source = EventSource::open(&mut world, &target, 1 << 20);
            world.settle(|world| assert!(source.read(world)));
            assert_eq!(source.got[0].name, "resync_required", "{offset}");
            assert_eq!(numbers(&source), (15..25).collect::<Vec<_>>());
        }
    }
}

/// Without `live=sse` the answer is one object: what was missed, oldest first, and the cursor behind it.
#[test]
fn a_plain_answer_has_what_was_missed() {
    for shards in SHARDS {
        let mut world = World::new(4, shards, limits(1000, 3));
        let mut rng = Rng::with_seed(4);
        let mut app = Application::open(&mut world);
        let path = "/organizations/1/sync/stream";
        assert_eq!(get(&mut world, path), (200, json!({"activities": [], "cursor": null})));
        let (_, nothing) = get(&mut world, &format!("{path}?offset=abc"));
        assert_eq!(nothing, json!({"activities": [], "cursor": "abc"}));
        let ids: Vec<String> = (0..10).map(|n| change(&mut app, &mut world, &mut rng, n)).collect();
        world.settle(|_| {});
        for (query, want) in [
            ("".to_owned(), (0..10).collect::<Vec<u64>>()),
            ("?offset=-1&live=no".to_owned(), (0..10).collect()),
            (format!("?offset={}", ids[6]), vec![7, 8, 9]),
            (format!("?offset={}&entityTypes=attachment", ids[6]), vec![9]),
            ("?offset=now".to_owned(), vec![]),
        ] {
            let (status, answer) = get(&mut world, &format!("{path}{query}"));
            let numbers: Vec<u64> =
                answer["activities"].as_array().unwrap().iter().map(|a| a["n"].as_u64().unwrap()).collect();
            assert_eq!((status, numbers, &answer["cursor"]), (200, want, &json!(ids[9])), "{query}");
        }
    }
}

/// No more readers than allowed, all together and by user; a place is free again when its reader has gone.
#[test]
fn places_on_a_route_are_counted_and_given_back() {
    for shards in SHARDS {
        let mut limits = limits(10, 10);
        (limits.routes[0].streams, limits.routes[0].streams_per_user) = (3, 2);
        let mut world = World::new(5, shards, limits);
        let path = "/organizations/1/sync/stream?live=sse";
        let user = format!("{path}&user=u");
        for _ in 0..3 {
            let mut all: Vec<EventSource> =
                [path, &user, &user].map(|target| EventSource::open(&mut world, target, 1 << 20)).into();
            world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
            assert_eq!(get(&mut world, path).0, 429, "{shards} shards");
            world.disconnect(all[0].peer);
            world.settle(|_| {});
            assert_eq!(get(&mut world, &user).0, 429, "the user has two already");
            let other = EventSource::open(&mut world, path, 1 << 20);
            world.settle(|_| {});
            // one that goes before it is let in leaves nothing behind
            world.disconnect(other.peer);
            let gone = EventSource::open(&mut world, path, 1 << 20);
            world.disconnect(gone.peer);
            all.drain(1..).for_each(|source| world.disconnect(source.peer));
            world.settle(|_| {});
        }
        assert_eq!(get(&mut world, "/organizations/1/sync/stream").0, 200, "a plain answer takes no place");
    }
}

/// The newer form: the offset comes first, as it is, then what is new; a comment is the sign of life.
#[test]
fn the_newer_form_says_first_where_it_begins() {
    for shards in SHARDS {
        let mut world = World::new(6, shards, limits(1000, 3));
        let mut rng = Rng::with_seed(6);
        let mut app = Application::open(&mut world);
        let mut first = EventSource::open(&mut world, "/entities/1/stream", 1 << 20);
        world.settle(|world| assert!(first.read(world)));
        assert_eq!((&*first.got[0].name, &*first.got[0].data), ("offset", ""), "the line is there");
        let id = change(&mut app, &mut world, &mut rng, 0);
        world.settle(|_| {});
        let mut second = EventSource::open(&mut world, "/entities/1/stream", 1 << 20);
        world.settle(|world| assert!(second.read(world)));
        let new = change(&mut app, &mut world, &mut rng, 1);
        world.settle(|world| assert!(second.read(world)));
        let got: Vec<(&str, &str)> = second.got.iter().map(|e| (&*e.name, &*e.id)).collect();
        assert_eq!(got, [("offset", ""), ("change", &*new)]);
        assert_eq!((&second.got[0].data, second.reader.comments), (&id, 1));
    }
}

/// A room that is not open to all is not open over a route either, nor as events: who asks is told, and hears nothing.
#[test]
fn a_private_room_stays_private() {
    for shards in SHARDS {
        let mut world = World::new(7, shards, limits(1000, 3));
        let mut rng = Rng::with_seed(7);
        let mut app = Application::open(&mut world);
        let mut before = EventSource::open(&mut world, "/sse?channels=org:1", 1 << 20);
        let mut chosen = EventSource::open(
            &mut world,
            "/organizations/1/sync/stream?live=sse&entityTypes=page,attachment",
            1 << 20,
        );
        world.settle(|world| assert!(before.read(world) && chosen.read(world)));
        let peer = world.connect(Door::Clients(0), 1 << 20);
        let body = r#"{"id":"org:1","private":true}"#;
        world.send(peer, post("/_/rooms?user=ann", body).as_bytes());
        world.settle(|_| {});
        assert!(world.receive(peer).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 201")));
        for n in 0..5 {
            change(&mut app, &mut world, &mut rng, n);
        }
        world.settle(|world| assert!(before.read(world) && chosen.read(world)));
        let path = "/organizations/1/sync/stream";
        let targets =
            ["/sse?channels=org:1", "/sse?channels=org:1,open&user=bob", "/sse?channels=org:1&user=ann"];
        let more = [
            format!("{path}?live=sse"),
            format!("{path}?live=sse&entityTypes=page"),
            "/entities/1/stream".into(),
        ];
        let targets = targets.map(str::to_owned).into_iter().chain(more);
        let mut all: Vec<EventSource> =
            targets.map(|target| EventSource::open(&mut world, &target, 1 << 20)).collect();
        all.extend([before, chosen]);
        world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
        app.send(&mut world, &json!({"op": "publish", "channel": "open", "data": {"n": 1}}));
        app.send(&mut world, &json!({"op": "publish", "channel": "org:1", "data": {"n": 2}}));
        world.settle(|world| all.iter_mut().for_each(|source| assert!(source.read(world))));
        for source in &all {
            let heard: Vec<u64> = source
                .got
                .iter()
                .filter(|event| ["message", "change"].contains(&&*event.name))
                .map(|event| {
                    serde_json::from_str::<Value>(&event.data).unwrap()["data"]["n"].as_u64().unwrap_or(9)
                })
                .collect();
            let (want, denied) = match &*source.target {
                "/sse?channels=org:1&user=ann" => (vec![2], 0),
                "/sse?channels=org:1,open&user=bob" => (vec![1], 1),
                _ => (vec![], 1),
            };
            assert_eq!(heard, want, "{} {shards} shards", source.target);
            assert_eq!(source.data("denied").len(), denied, "{}", source.target);
        }
        let (status, answer) = get(&mut world, path);
        assert!(status == 403 && answer["activities"].is_null(), "{status} {answer}");
    }
}

/// The newer form's catch-up: what happened in each view since it looked last, by organization, type and place; a view
/// whose place is not known any more is told so.
#[test]
fn views_hear_what_happened_in_them() {
    for shards in SHARDS {
        let mut world = World::new(8, shards, limits(20, 3));
        let mut app = Application::open(&mut world);
        for n in 0..30 {
            let data = json!({
                "activityId": format!("id-{n}"), "kind": if n == 25 { "membership" } else { "product" }, "seq": n,
                "organizationId": if n % 2 == 0 { "even" } else { "odd" },
                "productType": if n % 3 == 0 { "task" } else { "page" }, "path": format!("root/{}", n % 4),
            });
            app.send(&mut world, &json!({"op": "publish", "channel": "org:1", "data": data}));
        }
        world.settle(|_| {});
        let view = |key: &str, prefix: &str, more: Value| {
            let mut view = json!({"key": key, "prefixes": [prefix]});
            view.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            view
        };
        let body = json!({"cursor": "id-19", "views": [
            view("all", "root", json!({})),
            view("odd", "root", json!({"organizationId": "odd", "entityTypes": ["task"], "cursor": "id-25"})),
            view("deep", "root/1", json!({"depth": "self"})),
            view("none", "root", json!({"depth": "self"})),
            view("gone", "root", json!({"cursor": "id-3"})),
        ]})
        .to_string();
        let peer = world.connect(Door::Clients(0), 1 << 20);
        world.send(peer, post("/entities/1/stream", &body).as_bytes());
        let mut answer = Vec::new();
        world.settle(|world| answer.extend(world.receive(peer).expect("it stays open")));
        let text = String::from_utf8(answer).unwrap();
        let got: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        let want = json!({
            "changes": {"even": {}, "odd": {"signals": {"membership": true}}},
            "views": [
                {"key": "all", "status": "ok", "frontiers": {"page": 29, "task": 27}, "counts": {"page": 7, "task": 3}},
                {"key": "odd", "status": "ok", "frontiers": {"task": 27}, "counts": {"task": 1}},
                {"key": "deep", "status": "ok", "frontiers": {"page": 29, "task": 21}, "counts": {"page": 2, "task": 1}},
                {"key": "none", "status": "ok", "frontiers": {}, "counts": {}},
                {"key": "gone", "status": "opaque"},
            ],
            "cursor": "id-29",
        });
        assert_eq!(got, want, "{shards} shards");
    }
}
