//! Documents in the native dialect: `snapshot`, `patch` and `delete`, each with its key and version.

use crate::base::stamp::Stamp;
use crate::flow::encode::frame::{Dialect, Encoder, Frame};
use crate::flow::limits::documents::PatchMode;
use crate::flow::state::diff::Patch;
use crate::flow::state::item::Item;
use crate::wire::hub::write::Object;
use crate::wire::json::write_string;
use crate::wire::key::Key;
use std::io::Write;

/// What one write did to a document.
#[derive(Clone, Copy, Debug)]
pub struct DocumentChange<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The version before; `None` if it was not there.
    pub from: Option<Stamp>,
    /// The version now.
    pub version: Stamp,
    /// What it is now; `None` if it is deleted.
    pub new: Option<&'a Item>,
    /// How the value changed, where it was there before and after and somebody may want to know.
    pub patch: Option<&'a Patch>,
}

fn head(kind: &str, key: &Key, out: &mut Vec<u8>) {
    write!(out, r#"{{"type":"{kind}","key":"#).expect("a Vec takes all");
    write_string(key.as_str(), out);
}

/// The whole document.
pub fn snapshot(encoder: &mut Encoder, dialect: Dialect, item: &Item) -> Frame {
    encoder.count.snapshots += 1;
    encoder.object(dialect, "snapshot", |out| {
        head("snapshot", &item.key, out);
        write!(out, r#","version":"{:x}","data":"#, item.version()).expect("a Vec takes all");
        out.extend_from_slice(item.value.as_bytes());
        out.push(b'}');
    })
}

/// The document is gone.
pub fn delete(encoder: &mut Encoder, dialect: Dialect, key: &Key, from: Stamp, version: Stamp) -> Frame {
    encoder.object(dialect, "delete", |out| {
        head("delete", key, out);
        write!(out, r#","from":"{from:x}","version":"{version:x}"}}"#).expect("a Vec takes all");
    })
}

/// What a write did: a patch where there is one and `mode` wants it, the whole document otherwise.
pub fn change(encoder: &mut Encoder, dialect: Dialect, mode: PatchMode, change: DocumentChange<'_>) -> Frame {
    let DocumentChange { key, from, version, new, patch } = change;
    let Some(item) = new else { return delete(encoder, dialect, key, from.unwrap_or(version), version) };
    let whole = item.value.as_str().len();
    let wanted = |patch: &&Patch| match mode {
        PatchMode::Always => true,
        PatchMode::Never => false,
        PatchMode::Auto => patch.text_len(0) <= whole,
    };
    let Some((from, patch)) = from.zip(patch.filter(wanted)) else { return snapshot(encoder, dialect, item) };
    let mut ops = 0;
    let frame = encoder.object(dialect, "patch", |out| {
        head("patch", key, out);
        write!(out, r#","from":"{from:x}","version":"{version:x}","data":["#).expect("a Vec takes all");
        let start = out.len();
        patch.write("", out);
        ops = out.len() - start + 2;
        out.extend_from_slice(b"]}");
    });
    encoder.count.patches += 1;
    encoder.count.saved += whole.saturating_sub(ops) as u64;
    frame
}

/// The state of a subscription is complete: so many keys' state was sent.
pub fn synced(
    encoder: &mut Encoder,
    dialect: Dialect,
    name: &str,
    request: Option<&str>,
    count: u32,
) -> Frame {
    encoder.object(dialect, "synced", |out| {
        Object::reply("synced", request, out).text("key", name).number("count", count.into()).end();
    })
}
