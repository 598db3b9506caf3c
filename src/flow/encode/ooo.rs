//! The ooo envelope: `{"snapshot":bool,"version":"hex","data":...}` in a binary message.

use crate::base::stamp::Stamp;
use crate::flow::encode::frame::{Encoder, Frame};
use crate::flow::limits::documents::PatchMode;
use crate::flow::state::diff::Patch;
use crate::flow::state::item::Item;
use crate::flow::state::list::{List, ListStep};
use crate::wire::ws::MessageKind;
use std::io::Write;

/// More than a position in a list is long.
const POSITION: usize = 8;
/// The item of a key that has no document.
pub const EMPTY_ITEM: &str = r#"{"created":0,"updated":0,"index":"","data":{}}"#;
/// What an operation with a whole value costs beside path and value.
const OP_COST: usize = r#"{"op":"replace","path":"","value":},"#.len();

fn envelope(snapshot: bool, version: Stamp, out: &mut Vec<u8>) {
    write!(out, r#"{{"snapshot":{snapshot},"version":"{version:x}","data":"#).expect("a Vec takes all");
}

fn write_item(item: Option<&Item>, out: &mut Vec<u8>) {
    match item {
        Some(item) => item.write(out),
        None => out.extend_from_slice(EMPTY_ITEM.as_bytes()),
    }
}

/// The state of a key: its item, or the empty one.
pub fn item(encoder: &mut Encoder, version: Stamp, item: Option<&Item>) -> Frame {
    encoder.count.snapshots += 1;
    encoder.message(MessageKind::Binary, |out| {
        envelope(true, version, out);
        write_item(item, out);
        out.push(b'}');
    })
}

/// A change of a key's item. `patch` says how the value changed, if it was there before and after.
pub fn item_change(
    encoder: &mut Encoder,
    mode: PatchMode,
    version: Stamp,
    new: Option<&Item>,
    patch: Option<&Patch>,
) -> Frame {
    let whole = new.map_or(EMPTY_ITEM.len(), Item::text_len);
    let ops = new.zip(patch).map(|(new, patch)| (new.updated, patch)).filter(|(_, patch)| {
        let len = OP_COST + "/updated".len() + 20 + patch.text_len("/data".len());
        mode == PatchMode::Always || len <= whole
    });
    match (mode, ops) {
        (PatchMode::Never, _) | (PatchMode::Auto, None) => item(encoder, version, new),
        (_, ops) => patch_message(encoder, version, whole, |out| match ops {
            Some((updated, patch)) => {
                write!(out, r#"{{"op":"replace","path":"/updated","value":{updated}}}"#)
                    .expect("a Vec takes all");
                if !patch.is_empty() {
                    out.push(b',');
                    patch.write("/data", out);
                }
            }
            None => {
                out.extend_from_slice(br#"{"op":"replace","path":"","value":"#);
                write_item(new, out);
                out.push(b'}');
            }
        }),
    }
}

/// A message with operations, instead of a state of `whole` bytes.
fn patch_message(
    encoder: &mut Encoder,
    version: Stamp,
    whole: usize,
    write_ops: impl FnOnce(&mut Vec<u8>),
) -> Frame {
    let mut ops = 0;
    let frame = encoder.message(MessageKind::Binary, |out| {
        envelope(false, version, out);
        let start = out.len();
        out.push(b'[');
        write_ops(out);
        out.push(b']');
        ops = out.len() - start;
        out.push(b'}');
    });
    encoder.count.patches += 1;
    encoder.count.saved += whole.saturating_sub(ops) as u64;
    frame
}

/// The whole list, newest first.
pub fn list(encoder: &mut Encoder, list: &List) -> Frame {
    encoder.count.snapshots += 1;
    encoder.message(MessageKind::Binary, |out| {
        out.reserve(list.text_len() + 80);
        envelope(true, list.version, out);
        out.push(b'[');
        for (i, item) in list.newest_first().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            item.write(out);
        }
        out.extend_from_slice(b"]}");
    })
}

/// A change of a list; `list` stands already as after the steps.
pub fn list_change(encoder: &mut Encoder, mode: PatchMode, list_now: &List, steps: &[ListStep]) -> Frame {
    let whole = list_now.text_len();
    let long = || steps.iter().map(step_len).sum::<usize>() > whole;
    if mode == PatchMode::Never || (mode == PatchMode::Auto && long()) {
        return list(encoder, list_now);
    }
    patch_message(encoder, list_now.version, whole, |out| {
        for (i, step) in steps.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_step(step, out);
        }
    })
}

/// A little more than the step's text will be.
fn step_len(step: &ListStep) -> usize {
    match step {
        ListStep::Remove(_) => OP_COST + POSITION,
        ListStep::Add(_, item) | ListStep::Change(_, item, None) => OP_COST + POSITION + item.text_len(),
        ListStep::Change(_, item, Some(patch)) => {
            (OP_COST + POSITION + item.text_len()).min(fields_len(patch))
        }
    }
}

fn fields_len(patch: &Patch) -> usize {
    OP_COST + "/12345678/updated".len() + 20 + patch.text_len("/12345678/data".len())
}

fn write_step(step: &ListStep, out: &mut Vec<u8>) {
    let (op, at, item) = match step {
        ListStep::Change(at, item, Some(patch))
            if fields_len(patch) <= OP_COST + POSITION + item.text_len() =>
        {
            write!(out, r#"{{"op":"replace","path":"/{at}/updated","value":{}}}"#, item.updated)
                .expect("a Vec takes all");
            if !patch.is_empty() {
                out.push(b',');
                patch.write(&format!("/{at}/data"), out);
            }
            return;
        }
        ListStep::Remove(at) => {
            return write!(out, r#"{{"op":"remove","path":"/{at}"}}"#).expect("a Vec takes all");
        }
        ListStep::Add(at, item) => ("add", at, item),
        ListStep::Change(at, item, _) => ("replace", at, item),
    };
    write!(out, r#"{{"op":"{op}","path":"/{at}","value":"#).expect("a Vec takes all");
    item.write(out);
    out.push(b'}');
}

/// One tick of the clock: decimal nanoseconds, no JSON.
pub fn clock(encoder: &mut Encoder, wall: u64) -> Frame {
    encoder.message(MessageKind::Binary, |out| write!(out, "{wall}").expect("a Vec takes all"))
}
