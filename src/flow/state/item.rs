//! One document as it is kept and sent: its value as it came, and the head that the item has around it, rendered once.

use crate::base::stamp::Stamp;
use crate::wire::json::{Json, write_string};
use crate::wire::key::Key;
use std::io::Write as _;

/// A document at one version. REST and lists show it as an item:
/// `{"created":..,"updated":..,"index":..,"path":..,"data":..}`.
#[derive(Debug)]
pub struct Item {
    /// Its name.
    pub key: Key,
    /// When it was first asked for; places the item in lists.
    pub created: Stamp,
    /// The stamp of the last write, 0 if there was only one.
    pub updated: Stamp,
    /// The value.
    pub value: Json,
    version: Stamp,
    head: Box<[u8]>,
}

impl Item {
    /// Renders an item whose version is the stamp of its last write.
    pub fn new(key: Key, created: Stamp, updated: Stamp, value: Json) -> Item {
        let mut head = Vec::with_capacity(2 * key.as_str().len() + 100);
        write!(head, "{{\"created\":{created},\"updated\":{updated},\"index\":").expect("a Vec takes all");
        write_string(key.index(), &mut head);
        head.extend_from_slice(b",\"path\":");
        write_string(key.as_str(), &mut head);
        head.extend_from_slice(b",\"data\":");
        Item { key, created, updated, value, version: updated.max(created), head: head.into() }
    }

    /// Renders a new item, whose version may be later than when it was asked for.
    pub fn first(key: Key, created: Stamp, version: Stamp, value: Json) -> Item {
        Item { version, ..Item::new(key, created, Stamp::ZERO, value) }
    }

    /// The stamp of the last write.
    pub fn version(&self) -> Stamp {
        self.version
    }

    /// Appends the item as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(out, |out| out.extend_from_slice(self.value.as_bytes()));
    }

    /// Appends the item as JSON, with what `value` appends in place of its value.
    pub fn write_with(&self, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.head);
        value(out);
        out.push(b'}');
    }

    /// The bytes that `write` appends.
    pub fn text_len(&self) -> usize {
        self.head.len() + self.value.as_str().len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::Item;
    use crate::base::stamp::Stamp;
    use crate::wire::json::Json;
    use crate::wire::key::Key;

    #[test]
    fn an_item_has_its_members_in_order() {
        let (created, updated) = (Stamp::new(5), Stamp::new(7));
        let item =
            Item::new(Key::parse("things/1").unwrap(), created, updated, Json::parse(b"[ 1.0 ]").unwrap());
        let mut text = Vec::new();
        item.write(&mut text);
        let want = r#"{"created":5,"updated":7,"index":"1","path":"things/1","data":[1.0]}"#;
        assert_eq!(
            (String::from_utf8(text).unwrap(), item.text_len(), item.version()),
            (want.into(), want.len(), updated)
        );
    }
}
