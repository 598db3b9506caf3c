//! Random lines of the feed: few keys and small values, so that operations meet.

use fastrand::Rng;
use serde_json::{Value, json};

/// One operation: a write, a deletion, or a batch of such.
pub fn random_operation(rng: &mut Rng) -> Value {
    match rng.u8(0..12) {
        9 => json!({"op": "del", "key": pick(rng, &["a/*", "b/*", "*/1"])}),
        10.. => {
            let ops: Vec<Value> = (0..rng.usize(1..5)).map(|_| random_write(rng)).collect();
            json!({"op": "batch", "ops": ops})
        }
        _ => random_write(rng),
    }
}

/// An operation on one key.
fn random_write(rng: &mut Rng) -> Value {
    let key = format!("{}/{}", pick(rng, &["a", "b"]), rng.u8(0..6));
    match rng.u8(0..9) {
        0..4 => json!({"op": "set", "key": key, "data": random_value(rng)}),
        4 | 5 => {
            json!({"op": "merge", "key": key, "data": {"n": rng.u8(0..4), "more": {"deep": rng.bool()}}})
        }
        6 => {
            let replace = json!({"op": "replace", "path": "/n", "value": rng.u8(0..9)});
            let add = json!({"op": "add", "path": "/list/0", "value": 7});
            json!({"op": "patch", "key": key, "patch": [replace, add]})
        }
        7 => json!({"op": "del", "key": key}),
        _ => json!({"op": "set", "key": format!("single{}", rng.u8(0..3)), "data": rng.u16(0..100)}),
    }
}

fn random_value(rng: &mut Rng) -> Value {
    let list: Vec<u8> = (0..rng.usize(0..4)).map(|_| rng.u8(0..3)).collect();
    json!({"n": rng.u8(0..4), "list": list, "s": "x".repeat(rng.usize(0..60))})
}

/// One of those.
pub fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}
