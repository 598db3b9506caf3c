//! `--demo`: a real week of earthquakes (public domain, see README.md), replayed without end through the real feed.

use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

/// Quakes that exist at a time, as `quakes/{id}`; then the oldest is deleted.
const WINDOW: usize = 50;
/// A magnitude is revised after every so many quakes.
const REVISE_EVERY: usize = 2;
/// Between two lines.
const PACE: Duration = Duration::from_millis(200);
/// Before the next attempt to reach the feed.
const RETRY: Duration = Duration::from_secs(1);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Deserialize, Serialize)]
struct Quake {
    #[serde(skip_serializing)]
    id: String,
    mag: f64,
    place: String,
    /// Milliseconds since the Unix epoch.
    time: u64,
    lon: f64,
    lat: f64,
    depth: f64,
}

impl Quake {
    fn key(&self) -> String {
        format!("quakes/{}", self.id)
    }
}

/// Feed lines without their line feeds, without end: a quake is set, the oldest is deleted, now and then a magnitude is
/// revised, and `stats/today` and `stats/magnitudes` follow. Starts on an empty server.
pub fn lines() -> impl Iterator<Item = String> {
    let quakes: Vec<Quake> = serde_json::from_str(include_str!("earthquakes.json"))
        .expect("the vendored file is a list of quakes");
    let mut live = VecDeque::with_capacity(WINDOW + 1);
    let mut today = Today::default();
    (0..).flat_map(move |n| {
        let quake = quakes[n % quakes.len()].clone();
        let mut ops = vec![json!({"op": "set", "key": quake.key(), "data": quake})];
        if live.len() == WINDOW {
            ops.extend(live.pop_front().map(|old: Quake| json!({"op": "del", "key": old.key()})));
        }
        if n % REVISE_EVERY == 1 {
            ops.extend(live.get(n * 7 % WINDOW).map(|old| revise(old, n)));
        }
        ops.extend(today.count(&quake));
        live.push_back(quake);
        ops.into_iter().map(|op| op.to_string())
    })
}

/// A tenth up or down, as when an analyst has looked at it.
fn revise(quake: &Quake, n: usize) -> Value {
    let tenths = (quake.mag * 10.0).round() + if n % 4 == 1 { 1.0 } else { -1.0 };
    json!({"op": "merge", "key": quake.key(), "data": {"mag": tenths / 10.0, "revised": true}})
}

/// The statistics of one day; they begin again with each day of the data.
#[derive(Default)]
struct Today {
    day: u64,
    count: u64,
    strongest: Option<Quake>,
    /// Quakes by whole magnitude, 2 to 9.
    bands: [u64; 8],
}

impl Today {
    /// Counts one quake; gives the operations that update the statistics.
    fn count(&mut self, quake: &Quake) -> [Value; 2] {
        let day = quake.time / DAY_MS;
        if day != self.day {
            *self = Today { day, ..Today::default() };
        }
        self.count += 1;
        if self.strongest.as_ref().is_none_or(|strongest| strongest.mag < quake.mag) {
            self.strongest = Some(quake.clone());
        }
        self.bands[(quake.mag as usize).clamp(2, 9) - 2] += 1;
        let bands: serde_json::Map<_, _> =
            (2..).zip(self.bands).map(|(mag, count)| (format!("{mag}+"), count.into())).collect();
        let today = json!({"count": self.count, "strongest": self.strongest, "last": quake});
        [
            json!({"op": "set", "key": "stats/today", "data": today}),
            json!({"op": "set", "key": "stats/magnitudes", "data": bands}),
        ]
    }
}

/// Writes the lines to the feed at `socket_path`, about five per second, until `stop` is set. When the feed is not
/// there (yet) or goes away, tries again every second, from the first line on.
///
/// # Errors
/// Any other failure to connect, such as a denied permission.
pub fn replay(socket_path: &Path, stop: &AtomicBool) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        match UnixStream::connect(socket_path) {
            Ok(mut feed) => {
                for line in lines() {
                    if stop.load(Ordering::Relaxed) || feed.write_all((line + "\n").as_bytes()).is_err() {
                        break;
                    }
                    thread::sleep(PACE);
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                thread::sleep(RETRY);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::BufRead;
    use std::io::BufReader;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn every_line_applies_to_what_the_lines_before_it_have_made() {
        let mut documents: HashMap<String, Value> = HashMap::new();
        let (mut most, mut revised) = (0, 0);
        for line in lines().take(10_000) {
            assert!(line.len() < 1024 && !line.contains('\n'));
            let op: Value = serde_json::from_str(&line).expect("a line is JSON");
            let key = op["key"].as_str().expect("a key").to_owned();
            assert!(
                key.split('/').count() == 2 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/')
            );
            match op["op"].as_str().expect("an operation") {
                "set" => {
                    assert!(op["data"].is_object());
                    documents.insert(key, op["data"].clone());
                }
                "merge" => {
                    let mag = op["data"]["mag"].as_f64().expect("a magnitude");
                    let old = documents[&key]["mag"].as_f64().expect("the old one");
                    assert!(
                        (mag - old).abs() < 0.2 && mag.to_string().len() <= 4,
                        "{old} is revised to {mag}"
                    );
                    revised += 1;
                }
                "del" => assert!(documents.remove(&key).is_some(), "{key} is deleted twice"),
                other => panic!("unknown operation {other}"),
            }
            most = most.max(documents.len());
        }
        assert_eq!(most, WINDOW + 1 + 2, "the window, its newest, and the statistics");
        assert!(revised > 1000);
        assert_eq!(
            documents["stats/today"]["count"].as_u64(),
            documents["stats/magnitudes"]
                .as_object()
                .map(|bands| { bands.values().filter_map(Value::as_u64).sum() })
        );
    }

    #[test]
    fn replay_begins_again_on_a_feed_that_went_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("feed.sock");
        let feed = UnixListener::bind(&path).expect("a socket");
        let stop = AtomicBool::new(false);
        let first = lines().next();
        thread::scope(|scope| {
            let replay = scope.spawn(|| replay(&path, &stop));
            for _ in 0..2 {
                let (stream, _) = feed.accept().expect("the replay connects");
                let line = BufReader::new(stream).lines().next().expect("a line").expect("in UTF-8");
                assert_eq!(Some(line), first);
            }
            stop.store(true, Ordering::Relaxed);
            replay.join().expect("no panic").expect("no error");
        });
    }
}
