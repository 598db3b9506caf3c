//! RFC 6902 patches that the application sends: all six operations, all of them or none.
//!
//! The crate `json-patch` does the operations, on a `serde_json::Value` that stands in for the document: objects and
//! arrays as they are, every other value as a string that holds its *text* (`1e3`, `"a"`, `null`). So number
//! literals and escapes come through verbatim (`serde_json` itself writes `1e3` as `1e+3`), and no name or number of
//! a stranger meets the members with which `serde_json` marks its own types.

use json_patch::jsonptr::{Pointer, PointerBuf};
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchErrorKind, PatchOperation, RemoveOperation,
    ReplaceOperation,
};
use serde_json::{Map, Value};
use std::cmp::Ordering;

use crate::wire::json::number;
use crate::wire::json::tree::{MemberNodes, Node, Tree, ValueKind};
use crate::wire::json::{Json, MAX_DEPTH, MAX_LEN, read_string, write_string};

/// How many bytes of values the copies and moves of one patch may carry in all.
pub const MAX_CARRIED: usize = 16 << 20;

/// A patch that does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", .index.map(|index| format!("operation {index}: ")).unwrap_or_default())]
pub struct ApplyError {
    /// Which operation, counted from 0; `None` if the patch as a whole is wrong.
    pub index: Option<usize>,
    /// What is wrong.
    pub why: Why,
}

/// What can be wrong with a patch. Paths are as the patch has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// A patch is an array.
    #[error("a patch must be an array of operations")]
    NotAnArray,
    /// An operation is an object.
    #[error("must be an object")]
    NotAnObject,
    /// A member that the operation needs.
    #[error("has no {0:?}")]
    Missing(&'static str),
    /// A member that must be a string.
    #[error("{0:?} must be a string")]
    NotAString(&'static str),
    /// Not one of the six.
    #[error("{0:?} is none of add, remove, replace, move, copy, test")]
    UnknownOp(String),
    /// Not a JSON pointer (RFC 6901).
    #[error("{0:?} is not a JSON pointer")]
    NotAPointer(String),
    /// The path leads nowhere.
    #[error("there is no {0:?}")]
    NoSuchPath(String),
    /// A value may not be moved into itself.
    #[error("cannot move a value to {0:?}, which is inside it")]
    IntoItself(String),
    /// A `test` found another value.
    #[error("the value at {0:?} is another one")]
    TestFailed(String),
    /// The result would nest too deep.
    #[error("the document would be nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Copies or moves of too much.
    #[error("copies and moves may carry {MAX_CARRIED} bytes in all")]
    TooMuch,
    /// The result would be longer than any text that is taken.
    #[error("the document would be longer than {MAX_LEN} bytes")]
    TooLong,
}

/// Applies `patch`, an array of operations whose pointers are relative to `doc`. `doc` itself is not touched.
///
/// `test` compares strings by what they say, and numbers by their exact value. The order of members may change where one is removed.
///
/// # Errors
/// The first operation that fails, and why; nothing is applied then.
pub fn apply(doc: &Json, patch: &Json) -> Result<Json, ApplyError> {
    let patch = Tree::new(patch);
    if patch.root().kind() != ValueKind::Array {
        return Err(ApplyError { index: None, why: Why::NotAnArray });
    }
    let mut copy = Copy { value: stand_in(Tree::new(doc).root()), carried: 0 };
    for (index, op) in patch.root().children().enumerate() {
        copy.apply(op).map_err(|why| ApplyError { index: Some(index), why })?;
    }
    let mut out = Vec::with_capacity(doc.as_bytes().len() + 64);
    write(&copy.value, &mut out);
    if out.len() > MAX_LEN {
        return Err(ApplyError { index: None, why: Why::TooLong });
    }
    Ok(Json::from_normalised(String::from_utf8(out).expect("put together from text")))
}

/// The document on its way; dropped if an operation fails.
struct Copy {
    value: Value,
    carried: usize,
}

impl Copy {
    fn apply(&mut self, op: Node<'_>) -> Result<(), Why> {
        if op.kind() != ValueKind::Object {
            return Err(Why::NotAnObject);
        }
        let members = op.members();
        let name = string(&members, "op")?;
        let path = pointer(&members, "path")?;
        let op = match name.as_str() {
            "add" => PatchOperation::Add(AddOperation { value: self.new_value(&members, &path)?, path }),
            "replace" => {
                PatchOperation::Replace(ReplaceOperation { value: self.new_value(&members, &path)?, path })
            }
            "remove" => PatchOperation::Remove(RemoveOperation { path }),
            "test" => return self.test(&members, &path),
            "move" => PatchOperation::Move(MoveOperation { from: self.carry(&members, &path)?, path }),
            "copy" => PatchOperation::Copy(CopyOperation { from: self.carry(&members, &path)?, path }),
            _ => return Err(Why::UnknownOp(name)),
        };
        json_patch::patch_unsafe(&mut self.value, std::slice::from_ref(&op)).map_err(|error| {
            let path = error.path.to_string();
            match error.kind {
                PatchErrorKind::CannotMoveInsideItself => Why::IntoItself(path),
                _ => Why::NoSuchPath(path),
            }
        })
    }

    /// The operation's value, if it may stand at `path`.
    fn new_value(&self, members: &MemberNodes<'_>, path: &Pointer) -> Result<Value, Why> {
        let value = stand_in(members.get("value").ok_or(Why::Missing("value"))?);
        check_depth(path, measure(&value).depth)?;
        Ok(value)
    }

    /// Where to copy or move from, if what is there may stand at `path`.
    fn carry(&mut self, members: &MemberNodes<'_>, path: &Pointer) -> Result<PointerBuf, Why> {
        let from = pointer(members, "from")?;
        let size = measure(self.at(&from)?);
        check_depth(path, size.depth)?;
        self.carried += size.len;
        if self.carried > MAX_CARRIED { Err(Why::TooMuch) } else { Ok(from) }
    }

    fn test(&self, members: &MemberNodes<'_>, path: &Pointer) -> Result<(), Why> {
        let expected = stand_in(members.get("value").ok_or(Why::Missing("value"))?);
        if same(self.at(path)?, &expected) { Ok(()) } else { Err(Why::TestFailed(path.to_string())) }
    }

    fn at(&self, path: &Pointer) -> Result<&Value, Why> {
        self.value.pointer(path.as_str()).ok_or_else(|| Why::NoSuchPath(path.to_string()))
    }
}

fn string(members: &MemberNodes<'_>, name: &'static str) -> Result<String, Why> {
    let node = members.get(name).ok_or(Why::Missing(name))?;
    match node.kind() {
        ValueKind::String => Ok(read_string(node.text()).into_owned()),
        _ => Err(Why::NotAString(name)),
    }
}

fn pointer(members: &MemberNodes<'_>, name: &'static str) -> Result<PointerBuf, Why> {
    let text = string(members, name)?;
    Pointer::parse(&text).map(Pointer::to_buf).map_err(|_| Why::NotAPointer(text))
}

/// What stands in for a value: leaves as strings that hold their text.
fn stand_in(node: Node<'_>) -> Value {
    match node.kind() {
        ValueKind::Array => node.children().map(stand_in).collect(),
        ValueKind::Object => {
            let mut map = Map::new();
            for child in node.children() {
                let name = read_string(child.quoted_name().expect("a member has a name")).into_owned();
                map.insert(name, stand_in(child));
            }
            Value::Object(map)
        }
        _ => Value::String(node.text().to_owned()),
    }
}

/// The way back from [`stand_in`].
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            out.push(b'{');
            for (i, (name, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(list) => {
            out.push(b'[');
            for (i, value) in list.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(value, out);
            }
            out.push(b']');
        }
        leaf => out.extend_from_slice(text(leaf).as_bytes()),
    }
}

/// The text for which a leaf stands.
fn text(leaf: &Value) -> &str {
    leaf.as_str().expect("leaves stand in as strings")
}

/// How deep a value nests and about how many bytes its text has.
struct Size {
    depth: usize,
    len: usize,
}

fn measure(value: &Value) -> Size {
    let around = |sizes: &mut dyn Iterator<Item = Size>| {
        let zero = Size { depth: 0, len: 2 };
        let inside = sizes
            .fold(zero, |sum, size| Size { depth: sum.depth.max(size.depth), len: sum.len + size.len + 1 });
        Size { depth: inside.depth + 1, len: inside.len }
    };
    match value {
        Value::Array(list) => around(&mut list.iter().map(measure)),
        Value::Object(map) => around(&mut map.iter().map(|(name, value)| {
            let Size { depth, len } = measure(value);
            Size { depth, len: len + name.len() + 3 }
        })),
        leaf => Size { depth: 0, len: text(leaf).len() },
    }
}

fn check_depth(path: &Pointer, depth: usize) -> Result<(), Why> {
    if path.count() + depth > MAX_DEPTH { Err(Why::TooDeep) } else { Ok(()) }
}

/// Whether two values are equal as `test` means it.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (Value::String(a), Value::String(b)) => a == b || same_leaf(a, b),
        _ => false,
    }
}

/// Whether two leaves that are written differently mean the same.
fn same_leaf(a: &str, b: &str) -> bool {
    if a.starts_with('"') && b.starts_with('"') {
        return read_string(a) == read_string(b);
    }
    number::compare(a, b).is_some_and(Ordering::is_eq)
}
