//! The documents as a child would keep them, and what must be true of the copies of subscribers.

use crate::clients::subscriber::Subscriber;
use fanfare::wire::key::{Name, Pattern};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The documents, by key.
#[derive(Debug, Default)]
pub struct Model(pub BTreeMap<String, Value>);

impl Model {
    /// Does what the feed is asked; false if it must be refused.
    pub fn apply(&mut self, op: &Value) -> bool {
        let key = op["key"].as_str().unwrap_or("").to_owned();
        match op["op"].as_str().expect("an operation") {
            "set" => drop(self.0.insert(key, op["data"].clone())),
            "merge" => match self.0.get_mut(&key) {
                Some(old) => merge(old, &op["data"]),
                None => return false,
            },
            "patch" => {
                let patch: json_patch::Patch =
                    serde_json::from_value(op["patch"].clone()).expect("a patch is a patch");
                let Some(old) = self.0.get(&key) else { return false };
                let mut new = old.clone();
                if json_patch::patch(&mut new, &patch).is_err() {
                    return false;
                }
                self.0.insert(key, new);
            }
            "del" if key.contains('*') => self.0.retain(|k, _| !pattern(&key).matches(k)),
            "del" => return self.0.remove(&key).is_some(),
            "batch" => {
                let before = self.0.clone();
                if !op["ops"].as_array().expect("a batch").iter().all(|op| self.apply(op)) {
                    self.0 = before;
                    return false;
                }
            }
            other => panic!("{other}"),
        }
        true
    }

    /// Every copy is the model's, and those of one path are one.
    pub fn check_copies<'a>(&self, subs: impl Iterator<Item = &'a Subscriber>) {
        let mut first: HashMap<&str, &Subscriber> = HashMap::new();
        for sub in subs {
            self.check_document(&sub.path, sub.doc.as_ref().expect("a state"));
            let other = first.entry(&sub.path).or_insert(sub);
            assert_eq!((&sub.version, &sub.doc), (&other.version, &other.doc), "{}", sub.path);
        }
    }

    fn check_document(&self, path: &str, doc: &Value) {
        if path.contains('*') {
            let items = doc.as_array().expect("a list");
            let item =
                |item: &Value| (item["path"].as_str().expect("a key").to_owned(), item["data"].clone());
            let got: BTreeMap<String, Value> = items.iter().map(item).collect();
            let want = self.0.iter().filter(|(key, _)| pattern(path).matches(key));
            assert_eq!(got, want.map(|(k, v)| (k.clone(), v.clone())).collect(), "{path}");
            let created: Vec<u64> =
                items.iter().map(|item| item["created"].as_u64().expect("a stamp")).collect();
            assert!(created.is_sorted_by(|a, b| a > b), "newest first: {created:?}");
        } else {
            let empty = json!({"created": 0, "updated": 0, "index": "", "data": {}});
            match self.0.get(path) {
                Some(value) => assert_eq!(doc["data"], *value, "{path}"),
                None => assert_eq!(*doc, empty, "{path}"),
            }
        }
    }
}

fn pattern(text: &str) -> Pattern {
    match Name::parse(text) {
        Ok(Name::Pattern(pattern)) => pattern,
        other => panic!("{other:?}"),
    }
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                match target.get_mut(key) {
                    Some(old @ Value::Object(_)) => merge(old, value),
                    _ => drop(target.insert(key.clone(), value.clone())),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
