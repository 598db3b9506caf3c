//! A real document, and the small changes that such a document sees in life.

use super::Work;
use fanfare::flow::state::diff::diff;
use fanfare::wire::json::Json;
use serde_json::Value;

const EARTHQUAKES: &str = include_str!("../../loadtest/data/earthquakes.json");
/// The day on which the document was made, in milliseconds.
const DAY: u64 = 1_517_968_154_000;

/// The document cut down to so many of its 60 entries.
pub fn entries(size: usize) -> Value {
    let mut value: Value = serde_json::from_str(EARTHQUAKES).expect("the vendored document is JSON");
    value["features"].as_array_mut().expect("it has features").truncate(size);
    value
}

/// Versions of the document: from one to the next, one to three entries change in their stamp and one other member.
pub fn versions(size: usize, count: usize) -> Vec<Json> {
    let (mut value, mut rng) = (entries(size), fastrand::Rng::with_seed(1));
    let mut next = |stamp: u64| {
        let features = value["features"].as_array_mut().expect("it has features");
        for _ in 0..rng.usize(1..=3) {
            let at = rng.usize(..features.len());
            let properties = &mut features[at]["properties"];
            properties["updated"] = Value::from(DAY + stamp);
            match rng.u8(..3) {
                0 => properties["mag"] = Value::from(f64::from(rng.u32(10..70)) / 10.0),
                1 => properties["felt"] = Value::from(properties["felt"].as_u64().unwrap_or(0) + 1),
                _ => properties["status"] = Value::from("reviewed"),
            }
        }
        Json::parse(value.to_string().as_bytes()).expect("a value's text is JSON")
    };
    (0..count as u64).map(&mut next).collect()
}

/// From version to version.
pub fn diff_small_changes(size: usize) -> Work {
    let versions = versions(size, 64);
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % (versions.len() - 1);
        diff(&versions[at], &versions[at + 1]).text_len(0)
    })
}

/// From one document to the other.
fn diff_between(old: &str, new: &str) -> Work {
    let [old, new] = [old, new].map(|text| Json::parse(text.as_bytes()).expect("it is JSON"));
    Box::new(move || diff(&old, &new).text_len(0))
}

fn array(elements: impl Iterator<Item = u32>) -> String {
    let elements: Vec<String> = elements.map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    format!("[{}]", elements.join(","))
}

/// An array of different elements, and the same in another order.
pub fn diff_shuffled(size: usize) -> Work {
    let mut numbers: Vec<u32> = (0..size as u32).collect();
    let old = array(numbers.iter().copied());
    fastrand::Rng::with_seed(13).shuffle(&mut numbers);
    diff_between(&old, &array(numbers.into_iter()))
}

/// Two arrays in which the same three elements repeat, in another order.
pub fn diff_repeated(size: usize) -> Work {
    let mut rng = fastrand::Rng::with_seed(13);
    let [old, new] = [(); 2].map(|()| array((0..size).map(|_| rng.u32(..3))));
    diff_between(&old, &new)
}

/// An array in which everything changes, below a name as long as it.
pub fn diff_long_name(size: usize) -> Work {
    let [old, new] = ["1", "2"].map(|n| {
        let elements = vec![n; size].join(",");
        format!(r#"{{"{}":[{elements}]}}"#, "x".repeat(size))
    });
    diff_between(&old, &new)
}
