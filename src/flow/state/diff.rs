//! What changed between two versions of a document, as RFC 6902 operations.

use std::ops::Range;

use crate::flow::state::align::{align, gaps};
use crate::wire::json::tree::{Node, Tree, ValueKind};
use crate::wire::json::{Json, read_string, write_string};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Adds a member, or inserts an element.
    Add,
    /// Removes a member or an element.
    Remove,
    /// Replaces a value.
    Replace,
}

impl OpKind {
    /// The operation's text up to the path.
    fn head(self) -> &'static str {
        match self {
            OpKind::Add => r#"{"op":"add","path":""#,
            OpKind::Remove => r#"{"op":"remove","path":""#,
            OpKind::Replace => r#"{"op":"replace","path":""#,
        }
    }
}

/// Between path and value.
const VALUE: &str = r#"","value":"#;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchOp {
    /// What it does.
    pub kind: OpKind,
    /// Where: a JSON pointer relative to the document's value ("" is the value itself), as it stands inside a JSON
    /// string: quotes, backslashes and control characters of names are escaped already.
    pub path: String,
    /// The value's place in the new version's text; empty for [`OpKind::Remove`].
    pub value: Range<usize>,
}

impl PatchOp {
    /// The length of its text, without a prefix.
    fn text_len(kind: OpKind, path: &str, value: &Range<usize>) -> usize {
        let end = if kind == OpKind::Remove { r#""}"#.len() } else { VALUE.len() + value.len() + "}".len() };
        kind.head().len() + path.len() + end
    }
}

/// The operations that turn one version into the next. Holds on to the new version, whose text has the values.
#[derive(Clone, Debug)]
pub struct Patch {
    ops: Vec<PatchOp>,
    new: Json,
    /// Length of all operations, each with a comma, without prefixes.
    len: usize,
}

impl Patch {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The operations, in the order in which they are to be applied.
    pub fn ops(&self) -> &[PatchOp] {
        &self.ops
    }

    /// An operation's value, as text.
    pub fn value(&self, op: &PatchOp) -> &str {
        &self.new.as_str()[op.value.clone()]
    }

    /// Appends the operations as JSON objects with commas between them, without brackets. `prefix` stands before each
    /// path and must be a JSON pointer that needs no escaping in a string, such as `/12/data`.
    pub fn write(&self, prefix: &str, out: &mut Vec<u8>) {
        out.reserve(self.text_len(prefix.len()));
        for (i, op) in self.ops.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            for part in [op.kind.head(), prefix, &op.path] {
                out.extend_from_slice(part.as_bytes());
            }
            if op.kind == OpKind::Remove {
                out.push(b'"');
            } else {
                out.extend_from_slice(VALUE.as_bytes());
                out.extend_from_slice(self.value(op).as_bytes());
            }
            out.push(b'}');
        }
    }

    /// How many bytes [`Patch::write`] appends with a prefix of that length.
    pub fn text_len(&self, prefix_len: usize) -> usize {
        (self.len + self.ops.len() * prefix_len).saturating_sub(1)
    }
}

/// What changed from `old` to `new`. Applying it to `old` gives `new`; the order of members does not count. A
/// container is replaced whole where that is shorter. Numbers and strings are compared as they are written.
///
/// No path goes through `__proto__` or `constructor/prototype`: clients that use fast-json-patch, such as ooo-client,
/// refuse such an operation. The nearest object around is replaced instead.
pub fn diff(old: &Json, new: &Json) -> Patch {
    let mut differ = Differ { ops: Vec::new(), len: 0, path: String::new() };
    if old != new {
        let (old, new) = (Tree::new(old), Tree::new(new));
        // Nothing may be longer than to replace the root, and that always fits.
        differ.value(old.root(), new.root(), usize::MAX);
    }
    Patch { ops: differ.ops, new: new.clone(), len: differ.len }
}

/// The walk over both versions.
struct Differ {
    ops: Vec<PatchOp>,
    /// Length of the operations so far, each with a comma.
    len: usize,
    /// Where the walk is.
    path: String,
}

/// The walk gives up below a container once the operations are longer than replacing it; that also bounds the work
/// and memory of hostile documents. `false` means so: the caller gives up as well, up to the container whose limit
/// it was.
impl Differ {
    #[must_use]
    fn emit(&mut self, kind: OpKind, value: Range<usize>, limit: usize) -> bool {
        let len = self.len + PatchOp::text_len(kind, &self.path, &value) + 1;
        if len > limit {
            return false;
        }
        self.len = len;
        self.ops.push(PatchOp { kind, path: self.path.clone(), value });
        true
    }

    /// Does `step` with a member's name or an element's place added to the path.
    fn below(&mut self, segment: impl FnOnce(&mut String), step: impl FnOnce(&mut Differ) -> bool) -> bool {
        let len = self.path.len();
        self.path.push('/');
        segment(&mut self.path);
        let fits = step(self);
        self.path.truncate(len);
        fits
    }

    /// Does `step` with a member's name added to the path, unless clients refuse such a path: the object around it is
    /// replaced then.
    fn member(&mut self, member: Node<'_>, step: impl FnOnce(&mut Differ) -> bool) -> bool {
        let name = read_string(member.quoted_name().expect("a member has a name"));
        let refused = match &*name {
            "__proto__" => true,
            "prototype" => self.path.rsplit('/').next().is_some_and(is_constructor),
            _ => false,
        };
        !refused && self.below(|path| push_name(path, member), step)
    }

    fn value(&mut self, old: Node<'_>, new: Node<'_>, limit: usize) -> bool {
        if old.text() == new.text() {
            return true;
        }
        let (count, len) = (self.ops.len(), self.len);
        let whole = len + PatchOp::text_len(OpKind::Replace, &self.path, &new.span()) + 1;
        let fits = match (old.kind(), new.kind()) {
            (ValueKind::Object, ValueKind::Object) => self.object(old, new, limit.min(whole)),
            (ValueKind::Array, ValueKind::Array) => self.array(old, new, limit.min(whole)),
            _ => return self.emit(OpKind::Replace, new.span(), limit),
        };
        if fits {
            return true;
        }
        self.ops.truncate(count);
        self.len = len;
        self.emit(OpKind::Replace, new.span(), limit)
    }

    fn object(&mut self, old: Node<'_>, new: Node<'_>, limit: usize) -> bool {
        if let Some(changed) = few_changed(old, new) {
            return changed
                .into_iter()
                .all(|(old, new)| self.member(new, |differ| differ.value(old, new, limit)));
        }
        let (before, after) = (old.members(), new.members());
        let removed = before.iter().filter(|member| after.get(&member.name).is_none());
        removed
            .into_iter()
            .all(|member| self.member(member.value, |differ| differ.emit(OpKind::Remove, 0..0, limit)))
            && after.iter().all(|member| {
                let was = before.get(&member.name);
                was.is_some_and(|was| was.text() == member.value.text())
                    || self.member(member.value, |differ| match was {
                        Some(was) => differ.value(was, member.value, limit),
                        None => differ.emit(OpKind::Add, member.value.span(), limit),
                    })
            })
    }

    fn array(&mut self, old: Node<'_>, new: Node<'_>, limit: usize) -> bool {
        let (old, new): (Vec<_>, Vec<_>) = (old.children().collect(), new.children().collect());
        let same = |(a, b): &(&Node<'_>, &Node<'_>)| a.text() == b.text();
        let head = old.iter().zip(&new).take_while(same).count();
        let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
        let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
        if old.is_empty() || new.is_empty() {
            return self.in_place(old, new, head, limit);
        }
        let equal = align(&texts(old), &texts(new));
        gaps(&equal, old.len(), new.len())
            .all(|(gone, come)| self.run(&old[gone], &new[come.clone()], head + come.start, limit))
    }

    /// A run of elements that became another one, at place `at`. Objects that name themselves alike are taken for
    /// the same ones.
    fn run(&mut self, old: &[Node<'_>], new: &[Node<'_>], at: usize, limit: usize) -> bool {
        if old.is_empty() || new.is_empty() || old.len() + new.len() == 2 {
            return self.in_place(old, new, at, limit);
        }
        let (was, is) = (identities(old), identities(new));
        if was.iter().all(Option::is_none) || is.iter().all(Option::is_none) {
            return self.in_place(old, new, at, limit);
        }
        let alike = align(&was, &is);
        let mut ends = alike.iter();
        gaps(&alike, old.len(), new.len()).all(|(gone, come)| {
            self.in_place(&old[gone], &new[come.clone()], at + come.start, limit)
                && ends.next().is_none_or(|(i, j)| self.element(old[*i], new[*j], at + j, limit))
        })
    }

    /// Elements paired by place, then the rest removed or added.
    fn in_place(&mut self, old: &[Node<'_>], new: &[Node<'_>], at: usize, limit: usize) -> bool {
        let paired = old.len().min(new.len());
        let rest = at + paired;
        old.iter().zip(new).enumerate().all(|(i, (old, new))| self.element(*old, *new, at + i, limit))
            && old[paired..].iter().all(|_| {
                self.below(|path| push_place(path, rest), |differ| differ.emit(OpKind::Remove, 0..0, limit))
            })
            && new[paired..].iter().enumerate().all(|(i, new)| {
                let place = |path: &mut String| push_place(path, rest + i);
                self.below(place, |differ| differ.emit(OpKind::Add, new.span(), limit))
            })
    }

    fn element(&mut self, old: Node<'_>, new: Node<'_>, at: usize, limit: usize) -> bool {
        self.below(|path| push_place(path, at), |differ| differ.value(old, new, limit))
    }
}

/// The members that changed, where both objects have the same names in the same order and few members changed: the
/// usual case, for which no names need to be looked up.
fn few_changed<'a>(old: Node<'a>, new: Node<'a>) -> Option<Vec<(Node<'a>, Node<'a>)>> {
    let mut changed = Vec::new();
    let (mut before, mut after) = (old.children(), new.children());
    loop {
        match (before.next(), after.next()) {
            (None, None) => break,
            (Some(old), Some(new)) => {
                let name = old.quoted_name();
                // An escape may hide that two names say the same.
                if name != new.quoted_name() || name?.contains('\\') || changed.len() > 8 {
                    return None;
                }
                if old.text() != new.text() {
                    changed.push((old, new));
                }
            }
            _ => return None,
        }
    }
    // Of repeated names only the last one counts.
    let once = |node: Node<'_>| {
        new.children().filter(|child| child.quoted_name() == node.quoted_name()).count() == 1
    };
    changed.iter().all(|(_, new)| once(*new)).then_some(changed)
}

fn texts<'a>(nodes: &[Node<'a>]) -> Vec<Option<&'a str>> {
    nodes.iter().map(|node| Some(node.text())).collect()
}

/// How each object names itself: the text of its `id`, else of its `key`.
fn identities<'a>(nodes: &[Node<'a>]) -> Vec<Option<&'a str>> {
    let member = |node: &Node<'a>, name| node.children().find(|child| child.quoted_name() == Some(name));
    let identity = |node: &Node<'a>| member(node, r#""id""#).or_else(|| member(node, r#""key""#));
    nodes.iter().map(|node| identity(node).map(Node::text)).collect()
}

/// Whether a segment of a path says `constructor`, with escapes or without.
fn is_constructor(segment: &str) -> bool {
    read_string(&format!("\"{segment}\"")) == "constructor"
}

fn push_place(path: &mut String, at: usize) {
    path.push_str(&at.to_string());
}

/// A member's name as a segment of a pointer inside a JSON string.
fn push_name(path: &mut String, member: Node<'_>) {
    let quoted = member.quoted_name().expect("a member has a name");
    let name = read_string(quoted);
    if !name.contains(['~', '/']) {
        path.push_str(&quoted[1..quoted.len() - 1]);
        return;
    }
    let mut escaped = Vec::with_capacity(quoted.len() + 8);
    write_string(&name.replace('~', "~0").replace('/', "~1"), &mut escaped);
    let escaped = String::from_utf8(escaped).expect("only ASCII was added to a str");
    path.push_str(&escaped[1..escaped.len() - 1]);
}
