//! A reader is late, not cut: whoever goes on reading gets every publication, once and in order, however large the burst
//! and however slow the reader.

use fanfare::base::time::SEC;
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::channels::{ChannelRule, TailLimits};
use fanfare::flow::limits::hub::HubLimits;
use fanfare::flow::limits::route::{Profile, Route, RouteId};
use fanfare::wire::template::PathTemplate;
use fastrand::Rng;
use serde_json::{Value, json};
use simulator::SHARDS;
use simulator::clients::application::Application;
use simulator::clients::eventsource::EventSource;
use simulator::clients::hub::HubClient;
use simulator::world::World;

/// Two without a history, one with a short one, one with all of it.
const CHANNELS: [&str; 4] = ["a", "b", "some", "all"];

/// One of those who read.
enum Reader {
    Hub(HubClient),
    Events(EventSource),
    Route(EventSource),
}

impl Reader {
    fn open(world: &mut World, rng: &mut Rng) -> (Reader, Vec<&'static str>) {
        let capacity = rng.usize(200..6000);
        let channels: Vec<&str> = CHANNELS.into_iter().filter(|_| rng.bool()).collect();
        let channels = if channels.is_empty() { vec!["a"] } else { channels };
        let list = channels.join(",");
        match rng.u8(0..6) {
            0 => (Reader::Hub(HubClient::open(world, "", capacity)), CHANNELS.to_vec()),
            1 | 2 => (Reader::Hub(HubClient::open(world, &format!("channels={list}"), capacity)), channels),
            3 => {
                let target = "/streams/a?live=sse&offset=now";
                (Reader::Route(EventSource::open(world, target, capacity)), vec!["a"])
            }
            4 => (Reader::Events(EventSource::open(world, "/sse?channels=all", capacity)), vec!["all"]),
            _ => {
                let target = format!("/sse?channels={list}");
                (Reader::Events(EventSource::open(world, &target, capacity)), channels)
            }
        }
    }

    /// Reads what is there; it is there itself, whatever came.
    fn read(&mut self, world: &mut World) {
        match self {
            Reader::Hub(client) => assert!(client.read(world), "{:?}", client.closed),
            Reader::Events(source) | Reader::Route(source) => {
                assert!(source.read(world) && !source.reader.ended, "{:?}", source.got.last());
            }
        }
    }

    /// What it got of a channel, by number.
    fn got(&self, channel: &str) -> Vec<u64> {
        let of = |frames: &mut dyn Iterator<Item = Value>| {
            let of = frames.filter(|frame| frame["channel"] == channel);
            of.map(|frame| frame["data"]["n"].as_u64().expect("a number")).collect()
        };
        match self {
            Reader::Hub(client) => of(&mut client.got.iter().cloned()),
            Reader::Events(source) => of(&mut source.data("message").into_iter()),
            Reader::Route(_) if channel != "a" => Vec::new(),
            Reader::Route(source) => {
                source.data("change").iter().map(|data| data["n"].as_u64().expect("a number")).collect()
            }
        }
    }
}

fn limits(rng: &mut Rng) -> Limits {
    let path = PathTemplate::parse("/streams/{name}").expect("a path");
    let channel = Some(path.name("{name}").expect("a name"));
    let route = Route {
        id: RouteId::of(&path, channel.as_ref()),
        channel,
        path,
        profile: Profile::Cella,
        filter: None,
        id_field: None,
        keepalive: 30 * SEC,
        streams: 5000,
        streams_per_user: 100,
    };
    let rule = |channel: &str, history| {
        let (channel, history) = (channel.into(), Some(history));
        ChannelRule { channel, history, ..ChannelRule::default() }
    };
    Limits {
        queue_bytes: rng.usize(500..5000),
        write_timeout: u64::MAX / 4,
        routes: vec![route],
        channel_rules: vec![rule("some", rng.usize(1..50)), rule("all", 1 << 20)],
        hub: HubLimits {
            implicit_channels: true,
            queue_frames: rng.usize(1..40),
            tail: TailLimits { bytes: 4 << 20, age: 3600 * SEC },
            ..HubLimits::default()
        },
        ..Limits::default()
    }
}

/// Bursts of any size within the tail, and any mixture of fast, slow, stopped and returning readers of every dialect.
#[test]
fn whoever_goes_on_reading_gets_everything_in_order_once() {
    let (mut late, mut returned) = (0, 0);
    for shards in SHARDS {
        for seed in 0..25 {
            let mut rng = Rng::with_seed(seed);
            let mut world = World::new(seed, shards, limits(&mut rng));
            let mut app = Application::open(&mut world);
            let mut all: Vec<(Reader, Vec<&str>)> =
                (0..8).map(|_| Reader::open(&mut world, &mut rng)).collect();
            world.settle(|world| all.iter_mut().for_each(|(reader, _)| reader.read(world)));
            let mut said = [0u64; CHANNELS.len()];
            for _ in 0..30 {
                for _ in 0..rng.usize(0..80) {
                    let at = rng.usize(0..CHANNELS.len());
                    let data = json!({"n": said[at], "text": "z".repeat(rng.usize(0..300))});
                    said[at] += 1;
                    app.send(&mut world, &json!({"op": "publish", "channel": CHANNELS[at], "data": data}));
                }
                world.run(rng.usize(0..40));
                for (n, (reader, channels)) in all.iter_mut().enumerate() {
                    // some read always, some seldom, some not before the end
                    if n < 6 && rng.usize(0..6) >= n {
                        reader.read(&mut world);
                    }
                    if let Reader::Events(source) = reader
                        && *channels == ["all"]
                        && rng.u8(0..9) == 0
                    {
                        source.reconnect(&mut world, 1000);
                        returned += 1;
                    }
                }
            }
            world.settle(|world| all.iter_mut().for_each(|(reader, _)| reader.read(world)));
            for (n, (reader, channels)) in all.iter().enumerate() {
                for (at, channel) in CHANNELS.iter().enumerate() {
                    let want = if channels.contains(channel) { said[at] } else { 0 };
                    let want: Vec<u64> = (0..want).collect();
                    assert_eq!(
                        reader.got(channel),
                        want,
                        "{shards} shards, seed {seed}: reader {n}, {channel}"
                    );
                }
            }
            late += world.count(|stats| stats.late);
        }
    }
    assert!(late > 1000 && returned > 100, "{late} times somebody was late, and {returned} came back");
}
