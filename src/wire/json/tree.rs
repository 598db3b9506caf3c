//! A read-only index over the text of one JSON value: where each value stands, what it is, what is in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use crate::wire::json::{Json, read_string, string_end};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Members in `{}`.
    Object,
    /// Elements in `[]`.
    Array,
    /// A string.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

/// Marks a value that is no member of an object.
const NO_NAME: u32 = u32::MAX;

/// One value. The values inside it follow it in the list; `next` is the first one that is not inside it.
#[derive(Debug)]
struct ValueEntry {
    start: u32,
    end: u32,
    next: u32,
    /// Where the member's name begins, at its quote. It ends two bytes before `start`, with a colon between.
    name: u32,
    kind: ValueKind,
}

/// The index of one text.
#[derive(Debug)]
pub struct Tree<'a> {
    text: &'a str,
    entries: Vec<ValueEntry>,
}

impl<'a> Tree<'a> {
    /// Reads the text once.
    pub fn new(json: &'a Json) -> Tree<'a> {
        let text = json.as_bytes();
        let mut entries: Vec<ValueEntry> = Vec::with_capacity(text.len() / 12 + 1);
        let mut open: Vec<usize> = Vec::new();
        let mut in_object = false;
        let mut at = 0;
        while at < text.len() {
            if matches!(text[at], b'}' | b']') {
                let next = place(entries.len());
                let closed = open.pop().expect("normal form is balanced");
                entries[closed].next = next;
                at += 1;
                entries[closed].end = place(at);
                in_object = open.last().is_some_and(|i| entries[*i].kind == ValueKind::Object);
                continue;
            }
            if text[at] == b',' {
                at += 1;
            }
            let mut name = NO_NAME;
            if in_object {
                name = place(at);
                at = string_end(text, at) + 1;
            }
            let start = at;
            let kind = match text[at] {
                b'{' => ValueKind::Object,
                b'[' => ValueKind::Array,
                b'"' => ValueKind::String,
                b't' | b'f' | b'n' => ValueKind::Literal,
                _ => ValueKind::Number,
            };
            at = match kind {
                ValueKind::Object | ValueKind::Array => {
                    open.push(entries.len());
                    // An empty object's end comes next, before any name.
                    in_object = kind == ValueKind::Object;
                    at + 1
                }
                ValueKind::String => string_end(text, at),
                ValueKind::Number | ValueKind::Literal => scalar_end(text, at),
            };
            let next = place(entries.len() + 1);
            entries.push(ValueEntry { start: place(start), end: place(at), next, name, kind });
        }
        Tree { text: json.as_str(), entries }
    }

    /// The whole value.
    pub fn root(&self) -> Node<'_> {
        Node { tree: self, at: 0 }
    }
}

/// A place in a text; texts are kept well under 4 GiB.
fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a text in normal form is shorter than 4 GiB")
}

fn scalar_end(text: &[u8], at: usize) -> usize {
    let rest = text[at..].iter().position(|byte| matches!(byte, b',' | b']' | b'}'));
    rest.map_or(text.len(), |len| at + len)
}

/// One value of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    tree: &'a Tree<'a>,
    at: u32,
}

impl<'a> Node<'a> {
    fn entry(self) -> &'a ValueEntry {
        &self.tree.entries[self.at as usize]
    }

    /// What it is.
    pub fn kind(self) -> ValueKind {
        self.entry().kind
    }

    /// Where its text stands.
    pub fn span(self) -> Range<usize> {
        self.entry().start as usize..self.entry().end as usize
    }

    /// Its text, verbatim.
    pub fn text(self) -> &'a str {
        &self.tree.text[self.span()]
    }

    /// The member's name as written, quotes included; `None` if it is not a member of an object.
    pub fn quoted_name(self) -> Option<&'a str> {
        let ValueEntry { name, start, .. } = *self.entry();
        (name != NO_NAME).then(|| &self.tree.text[name as usize..start as usize - 1])
    }

    /// The values directly inside, in order; members of an object as written, repeated names included.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> {
        let end = self.entry().next;
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            let node = Node { at, ..self };
            (at < end).then(|| {
                at = node.entry().next;
                node
            })
        })
    }

    /// The members of an object, each name once; empty for other values.
    pub fn members(self) -> MemberNodes<'a> {
        MemberNodes::new(self)
    }
}

/// One member of an object.
#[derive(Clone, Debug)]
pub struct MemberNode<'a> {
    /// Its name, decoded.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Node<'a>,
}

/// The members of one object. Of members with the same name the last one counts, as in JavaScript's `JSON.parse`.
#[derive(Debug)]
pub struct MemberNodes<'a> {
    list: Vec<MemberNode<'a>>,
    /// Places in the list by name; empty while the list is short enough to be searched. The hash is a keyed one, as
    /// names come from strangers.
    index: HashMap<Cow<'a, str>, usize>,
}

/// Up to this many members a search is quicker than an index.
const FEW: usize = 8;

impl<'a> MemberNodes<'a> {
    fn new(object: Node<'a>) -> MemberNodes<'a> {
        let count = object.children().filter(|child| child.quoted_name().is_some()).count();
        let mut members = MemberNodes { list: Vec::with_capacity(count), index: HashMap::new() };
        if count > FEW {
            members.index.reserve(count);
        }
        for (value, quoted) in object.children().filter_map(|child| Some((child, child.quoted_name()?))) {
            let name = read_string(quoted);
            let next = members.list.len();
            let place = if count > FEW {
                *members.index.entry(name.clone()).or_insert(next)
            } else {
                members.place(&name).unwrap_or(next)
            };
            match members.list.get_mut(place) {
                Some(member) => member.value = value,
                None => members.list.push(MemberNode { name, value }),
            }
        }
        members
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.index.is_empty() {
            self.list.iter().position(|member| member.name == name)
        } else {
            self.index.get(name).copied()
        }
    }

    /// The value of the member of that name.
    pub fn get(&self, name: &str) -> Option<Node<'a>> {
        self.place(name).map(|place| self.list[place].value)
    }

    /// The members, each where its name first stood.
    pub fn iter(&self) -> std::slice::Iter<'_, MemberNode<'a>> {
        self.list.iter()
    }
}
