//! The real document of the `patch` scenario, its small changes, and a subscriber's folded copy.
//!
//! The document is a public-domain list of earthquakes; a change is what such a list sees in life: a magnitude
//! corrected, a report of "felt it" counted, an entry reviewed.

use crate::marker::Marker;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

const EARTHQUAKES: &str = include_str!("../data/earthquakes.json");

/// The document as the publisher has it.
pub struct Document {
    value: Value,
    random: fastrand::Rng,
}

impl Document {
    /// The first version; the same seed gives the same changes.
    pub fn new(seed: u64) -> Document {
        let value = serde_json::from_str(EARTHQUAKES).expect("the vendored document is JSON");
        Document { value, random: fastrand::Rng::with_seed(seed) }
    }

    /// Changes one to three entries, puts `marker` in, and returns the whole as JSON.
    pub fn advance(&mut self, marker: Marker) -> String {
        let features = self.value["features"].as_array_mut().expect("the vendored document has features");
        for _ in 0..self.random.usize(1..=3) {
            let at = self.random.usize(..features.len());
            let properties = &mut features[at]["properties"];
            properties["updated"] = Value::from(1_517_968_154_000u64 + marker.seq);
            match self.random.u8(..3) {
                0 => properties["mag"] = Value::from(self.random.u32(10..70) as f64 / 10.0),
                1 => properties["felt"] = Value::from(properties["felt"].as_u64().unwrap_or(0) + 1),
                _ => properties["status"] = Value::from("reviewed"),
            }
        }
        self.value["metadata"]["marker"] = Value::from(marker.to_text());
        self.value.to_string()
    }
}

/// One message of the ooo dialect.
#[derive(Deserialize)]
struct Envelope<'a> {
    snapshot: bool,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A subscriber's copy: snapshots replace it, patches change it.
#[derive(Debug, Default)]
pub enum Fold {
    /// No snapshot yet.
    #[default]
    Empty,
    /// A snapshot as it came. Parsed only when something needs it, or a server that sends nothing but snapshots would
    /// measure our parser.
    Text(String),
    /// A copy that patches have changed.
    Value(Value),
}

impl Fold {
    /// Applies one message. The error says what is wrong with it.
    pub fn handle(&mut self, message: &[u8]) -> Result<(), String> {
        let envelope: Envelope = serde_json::from_slice(message).map_err(|e| format!("bad envelope: {e}"))?;
        let data = envelope.data.get();
        if envelope.snapshot {
            *self = Fold::Text(data.to_owned());
            return Ok(());
        }
        let copy = self.value()?;
        let patch: json_patch::Patch = serde_json::from_str(data).map_err(|e| format!("bad patch: {e}"))?;
        json_patch::patch(copy, &patch).map_err(|e| format!("a patch does not apply: {e}"))
    }

    fn value(&mut self) -> Result<&mut Value, String> {
        if let Fold::Text(text) = self {
            *self = Fold::Value(serde_json::from_str(text).map_err(|e| format!("bad snapshot: {e}"))?);
        }
        match self {
            Fold::Value(value) => Ok(value),
            _ => Err("a patch before the first snapshot".into()),
        }
    }

    /// The copy holds exactly this value, number literals included.
    pub fn is(&mut self, value: &Value) -> bool {
        self.value().is_ok_and(|item| item.get("data") == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_tens_of_kib_differ_little_and_repeat_with_the_seed() {
        let (mut a, mut b) = (Document::new(1), Document::new(1));
        let versions: Vec<String> = (0..50).map(|seq| a.advance(Marker { seq, sent: seq })).collect();
        for (seq, version) in versions.iter().enumerate() {
            assert_eq!(*version, b.advance(Marker { seq: seq as u64, sent: seq as u64 }));
            assert!((40_000..50_000).contains(&version.len()));
        }
        let value = |text: &String| serde_json::from_str::<Value>(text).unwrap();
        for pair in versions.windows(2) {
            let patch = json_patch::diff(&value(&pair[0]), &value(&pair[1]));
            assert!((1..=7).contains(&patch.len()), "{patch}");
        }
    }

    #[test]
    fn a_fold_follows_snapshots_and_patches_and_refuses_what_does_not_apply() {
        let mut fold = Fold::default();
        let patch =
            br#"{"snapshot":false,"version":"2","data":[{"op":"replace","path":"/data/a","value":2.50}]}"#;
        assert!(fold.handle(patch).is_err(), "nothing to patch yet");
        fold.handle(br#"{"snapshot":true,"version":"1","data":{"created":1,"data":{"a":1}}}"#).unwrap();
        fold.handle(patch).unwrap();
        assert!(fold.is(&serde_json::from_str(r#"{"a":2.50}"#).unwrap()));
        assert!(!fold.is(&serde_json::from_str(r#"{"a":2}"#).unwrap()));
        let bad = br#"{"snapshot":false,"version":"3","data":[{"op":"remove","path":"/data/zz"}]}"#;
        assert!(fold.handle(bad).is_err());
        assert!(fold.handle(b"{").is_err());
    }
}
