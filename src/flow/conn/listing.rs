//! Names page by page: what `?api=keys` and `?api=channels` answer.

use crate::base::offset::Offset;
use crate::flow::request::paging::Page;
use crate::wire::json::write_string;
use crate::wire::key::Key;
use std::sync::Arc;

/// What one shard knows of a channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: Arc<str>,
    /// The number of its last publication; `None` from a shard that is not its owner.
    pub offset: Option<Offset>,
    /// Connections of that shard that are subscribed to it.
    pub subscribers: usize,
}

/// Writes one page of `keys`.
pub fn write_keys(page: &Page, keys: &mut Vec<Key>, out: &mut Vec<u8>) {
    write_page(page, "keys", keys, Key::as_str, |key, out| write_string(key.as_str(), out), out);
}

/// One row for each channel that its owner names: others are private, or gone.
pub fn merge(rows: &mut Vec<Row>) {
    rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    rows.dedup_by(|next, kept| {
        let same = next.name == kept.name;
        if same {
            kept.offset = kept.offset.max(next.offset);
            kept.subscribers += next.subscribers;
        }
        same
    });
    rows.retain(|row| row.offset.is_some());
}

/// Writes one page of the channels that have an owner's row.
pub fn write_channels(page: &Page, rows: &mut Vec<Row>, out: &mut Vec<u8>) {
    merge(rows);
    let write = |row: &Row, out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"name":"#);
        write_string(&row.name, out);
        let (offset, subscribers) = (row.offset.unwrap_or_default(), row.subscribers);
        out.extend_from_slice(format!(r#","offset":{offset},"subscribers":{subscribers}}}"#).as_bytes());
    };
    write_page(page, "channels", rows, |row| &row.name, write, out);
}

fn write_page<T>(
    page: &Page,
    what: &str,
    rows: &mut Vec<T>,
    name: impl Fn(&T) -> &str,
    write: impl Fn(&T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let Page { page, limit, filter } = page;
    let wanted = filter.to_lowercase();
    rows.retain(|row| name(row).to_lowercase().contains(&wanted));
    rows.sort_by_cached_key(|row| name(row).to_lowercase());
    let from = (page - 1).saturating_mul(*limit).min(rows.len());
    out.extend_from_slice(format!(r#"{{"{what}":"#).as_bytes());
    array(&rows[from..(from + limit).min(rows.len())], out, write);
    let total = rows.len();
    out.extend_from_slice(format!(r#","total":{total},"page":{page},"limit":{limit},"filter":"#).as_bytes());
    write_string(filter, out);
    out.extend_from_slice(b"}\n");
}
/// Writes a JSON list.
pub fn array<T>(values: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(value, out);
    }
    out.push(b']');
}
