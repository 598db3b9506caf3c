//! One document as it is kept and sent: rendered once, when it changes, and shared by count from then on.

use crate::wire::json::write_string;
use crate::wire::key::Key;
use std::io::Write as _;

/// A document at one version. `text` is the item as REST and lists show it:
/// `{"created":..,"updated":..,"index":..,"path":..,"data":..}`.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub key: Key,
    /// The stamp of the first write; places the item in lists.
    pub created: u64,
    /// The stamp of the last write, 0 if there was only one.
    pub updated: u64,
    text: Box<str>,
    data_at: u32,
}

impl Item {
    /// Renders an item. `value` is normalised JSON.
    pub fn new(key: Key, created: u64, updated: u64, value: &str) -> Item {
        let mut text = Vec::with_capacity(value.len() + 2 * key.as_str().len() + 100);
        write!(text, "{{\"created\":{created},\"updated\":{updated},\"index\":").expect("a Vec takes all");
        write_string(key.index(), &mut text);
        text.extend_from_slice(b",\"path\":");
        write_string(key.as_str(), &mut text);
        text.extend_from_slice(b",\"data\":");
        let data_at = text.len() as u32;
        text.extend_from_slice(value.as_bytes());
        text.push(b'}');
        let text = String::from_utf8(text).expect("made of strings").into_boxed_str();
        Item { key, created, updated, text, data_at }
    }

    /// The stamp of the last write.
    pub fn version(&self) -> u64 {
        self.updated.max(self.created)
    }

    /// The whole item as JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bare value as JSON.
    pub fn value(&self) -> &str {
        &self.text[self.data_at as usize..self.text.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::Item;
    use crate::wire::key::Key;

    #[test]
    fn an_item_has_its_members_in_order() {
        let item = Item::new(Key::parse("things/1").unwrap(), 5, 7, "[1.0]");
        assert_eq!(item.text(), r#"{"created":5,"updated":7,"index":"1","path":"things/1","data":[1.0]}"#);
        assert_eq!((item.value(), item.version()), ("[1.0]", 7));
    }
}
