//! Which documents are wanted, and which fields of them: names, conditions, projections, order.

use crate::wire::json::number;
use crate::wire::json::tree::{Node, Tree, ValueKind};
use crate::wire::json::{Json, MAX_DEPTH, read_string};
use crate::wire::key::Name;
use std::cmp::Ordering;

/// The documents that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// A key, or all keys of a pattern.
    pub name: Name,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
}

impl Select {
    /// Whether a document that has such a key is one of them, by its value.
    pub fn passes(&self, value: &Json) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        let tree = Tree::new(value);
        self.conditions.iter().all(|condition| condition.holds(condition.path.find(tree.root())))
    }
}

/// The most names in the way to a field: values are nested no deeper.
const DEEPEST: usize = MAX_DEPTH;
/// The most fields of a projection.
const FIELDS: usize = 256;

/// The way to a field inside a value: names from outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads `a.b.c`; `None` if a name is empty, or there are too many.
    pub fn parse(text: &str) -> Option<Path> {
        let names: Vec<String> = text.split('.').take(DEEPEST + 1).map(str::to_owned).collect();
        let good = names.len() <= DEEPEST && names.iter().all(|name| !name.is_empty());
        good.then_some(Path(names))
    }

    /// The field, if it is there. Of members with the same name the last one counts.
    pub fn find<'a>(&self, root: Node<'a>) -> Option<Node<'a>> {
        self.0.iter().try_fold(root, |node, name| {
            let is =
                |child: &Node<'a>| child.quoted_name().is_some_and(|quoted| read_string(quoted) == *name);
            node.children().filter(is).last()
        })
    }
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal, or not there.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// A string that has the text in it, or an array that has an equal element.
    Contains,
}

/// One condition on a field. The field's type decides: numbers are compared as numbers, strings by code point; other
/// values can only be equal, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which field.
    pub path: Path,
    /// How it is compared.
    pub op: Comparison,
    /// With what.
    pub value: String,
}

impl Condition {
    /// Reads `field:op:value`; the value may hold colons.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Condition, &'static str> {
        let mut parts = text.splitn(3, ':');
        let (Some(field), Some(op), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("a condition is field:op:value");
        };
        let path = Path::parse(field).ok_or("a field is a name, or names with dots between them")?;
        let op = match op {
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "lt" => Comparison::Lt,
            "le" => Comparison::Le,
            "gt" => Comparison::Gt,
            "ge" => Comparison::Ge,
            "contains" => Comparison::Contains,
            _ => return Err("there are the comparisons eq, ne, lt, le, gt, ge and contains"),
        };
        Ok(Condition { path, op, value: value.to_owned() })
    }

    fn holds(&self, field: Option<Node<'_>>) -> bool {
        let Some(field) = field else { return self.op == Comparison::Ne };
        if self.op == Comparison::Contains {
            return match field.kind() {
                ValueKind::String => read_string(field.text()).contains(&*self.value),
                ValueKind::Array => {
                    field.children().any(|e| compare(e, &self.value) == Some(Ordering::Equal))
                }
                ValueKind::Object | ValueKind::Number | ValueKind::Literal => false,
            };
        }
        let order = compare(field, &self.value);
        match self.op {
            Comparison::Ne => order != Some(Ordering::Equal),
            Comparison::Eq => order == Some(Ordering::Equal),
            Comparison::Lt => order == Some(Ordering::Less),
            Comparison::Le => order.is_some_and(Ordering::is_le),
            Comparison::Gt => order == Some(Ordering::Greater),
            Comparison::Ge => order.is_some_and(Ordering::is_ge),
            Comparison::Contains => unreachable!("answered above"),
        }
    }
}

/// How a field stands to a text; `None` if they cannot be compared.
fn compare(field: Node<'_>, with: &str) -> Option<Ordering> {
    match field.kind() {
        ValueKind::String => Some((*read_string(field.text())).cmp(with)),
        ValueKind::Number => number::compare(field.text(), with),
        ValueKind::Object | ValueKind::Array | ValueKind::Literal => {
            (field.text() == with).then_some(Ordering::Equal)
        }
    }
}

/// The fields that are wanted of each value, in their nesting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask(Vec<(String, Mask)>);

impl Mask {
    /// Reads `a,b.c`; `None` if a name is empty, or there are too many.
    pub fn parse(text: &str) -> Option<Mask> {
        let mut mask = Mask::default();
        for (at, field) in text.split(',').enumerate() {
            mask.add(&Path::parse(field).filter(|_| at < FIELDS)?.0);
        }
        Some(mask)
    }

    /// A mask without members means the whole value, so a shorter path swallows the longer ones.
    fn add(&mut self, path: &[String]) {
        let mut at = self;
        for (depth, name) in path.iter().enumerate() {
            let place = at.0.iter().position(|(known, _)| known == name);
            if place.is_some_and(|place| at.0[place].1.0.is_empty()) {
                return;
            }
            let place = place.unwrap_or_else(|| {
                at.0.push((name.clone(), Mask::default()));
                at.0.len() - 1
            });
            at = &mut at.0[place].1;
            if depth + 1 == path.len() {
                at.0.clear();
            }
        }
    }

    /// Appends the wanted part of a value: `{}` if nothing of it is wanted.
    pub fn write(&self, value: Node<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for member in value.members().iter() {
            let Some((_, inner)) = self.0.iter().find(|(name, _)| *name == member.name) else { continue };
            let before = out.len();
            if !first {
                out.push(b',');
            }
            out.extend_from_slice(member.value.quoted_name().expect("a member has a name").as_bytes());
            out.push(b':');
            if inner.0.is_empty() {
                out.extend_from_slice(member.value.text().as_bytes());
            } else {
                let start = out.len();
                inner.write(member.value, out);
                if out[start..] == *b"{}" {
                    out.truncate(before);
                    continue;
                }
            }
            first = false;
        }
        out.push(b'}');
    }
}

/// An order by a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortOrder {
    path: Path,
    falling: bool,
}

/// Where a document stands in an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Rank {
    /// By a number: its literal.
    Number(Box<str>),
    /// By a string, behind all numbers.
    Text(Box<str>),
    /// Neither is there: behind everything, whichever way the order goes.
    Missing,
}

impl Rank {
    /// The bytes of its text.
    pub fn text_len(&self) -> usize {
        if let Rank::Text(text) | Rank::Number(text) = self { text.len() } else { 0 }
    }
}

impl SortOrder {
    /// Reads `field` or `-field`.
    pub fn parse(text: &str) -> Option<SortOrder> {
        let (field, falling) = text.strip_prefix('-').map_or((text, false), |field| (field, true));
        Some(SortOrder { path: Path::parse(field)?, falling })
    }

    /// Where a document stands.
    pub fn rank(&self, value: &Json) -> Rank {
        let tree = Tree::new(value);
        match self.path.find(tree.root()) {
            Some(node) if node.kind() == ValueKind::Number => Rank::Number(node.text().into()),
            Some(node) if node.kind() == ValueKind::String => Rank::Text((*read_string(node.text())).into()),
            _ => Rank::Missing,
        }
    }

    /// How two ranks stand to each other.
    pub fn compare(&self, a: &Rank, b: &Rank) -> Ordering {
        use Rank::{Missing, Number, Text};
        let rising = match (a, b) {
            (Missing, Missing) => return Ordering::Equal,
            (Missing, _) => return Ordering::Greater,
            (_, Missing) => return Ordering::Less,
            (Number(a), Number(b)) => number::compare(a, b).unwrap_or(Ordering::Equal),
            (Text(a), Text(b)) => a.cmp(b),
            (Number(_), Text(_)) => Ordering::Less,
            (Text(_), Number(_)) => Ordering::Greater,
        };
        if self.falling { rising.reverse() } else { rising }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_condition_compares_by_the_type_of_the_field() {
        let value = r#"{"n":10,"big":9007199254740993,"s":"b:c","t":true,"o":{"x":"é"},"l":[1,"two"],"x":1,"x":2,"z":null}"#;
        let value = json(value);
        for (text, holds) in [
            ("n:eq:10", true),
            ("n:eq:10.0", true),
            ("n:eq:1e1", true),
            ("n:gt:9", true),
            ("n:lt:9", false),
            ("n:ge:10", true),
            ("n:le:10", true),
            ("n:lt:10", false),
            ("n:ne:10", false),
            ("n:gt:apple", false),
            ("n:ne:apple", true),
            ("n:contains:1", false),
            ("big:eq:9007199254740992", false),
            ("big:gt:9007199254740992", true),
            ("big:gt:9007199254740992.0", true),
            ("big:eq:9007199254740993.00", true),
            ("s:eq:b:c", true),
            ("s:gt:b", true),
            ("s:contains::", true),
            ("s:contains:d", false),
            ("t:eq:true", true),
            ("t:ne:false", true),
            ("t:gt:false", false),
            ("z:eq:null", true),
            ("o.x:eq:é", true),
            ("o.y:ne:1", true),
            ("o.y:eq:1", false),
            ("o.y:le:1", false),
            ("o.y:contains:", false),
            ("l:contains:1", true),
            ("l:contains:two", true),
            ("l:contains:tw", false),
            ("x:eq:2", true),
            ("x:eq:1", false),
        ] {
            let select =
                Select { name: Name::parse("a").unwrap(), conditions: vec![Condition::parse(text).unwrap()] };
            assert_eq!(select.passes(&value), holds, "{text}");
        }
        for bad in ["", "n", "n:eq", ":eq:1", "a..b:eq:1", "n:is:1", "n:EQ:1"] {
            assert!(Condition::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mask_keeps_the_nesting_and_leaves_out_what_is_missing() {
        let value = r#"{"a":1,"b":{"c":[1],"d":2,"e":{"f":3}},"g":"h","i":{}}"#;
        for (fields, want) in [
            ("a", r#"{"a":1}"#),
            ("g,a", r#"{"a":1,"g":"h"}"#),
            ("b.c", r#"{"b":{"c":[1]}}"#),
            ("b.c,b.e.f,a", r#"{"a":1,"b":{"c":[1],"e":{"f":3}}}"#),
            ("b.c,b", r#"{"b":{"c":[1],"d":2,"e":{"f":3}}}"#),
            ("b,b.c", r#"{"b":{"c":[1],"d":2,"e":{"f":3}}}"#),
            ("x,b.x,a.x,i", r#"{"i":{}}"#),
            ("x", "{}"),
        ] {
            let json = json(value);
            let mut out = Vec::new();
            Mask::parse(fields).unwrap().write(Tree::new(&json).root(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{fields}");
        }
        assert_eq!((Mask::parse(""), Mask::parse("a,"), Mask::parse("a.")), (None, None, None));
        let deep = |names: usize| vec!["a"; names].join(".");
        assert!(Mask::parse(&deep(128)).is_some() && Mask::parse(&deep(129)).is_none());
        assert!(
            Mask::parse(&vec!["a"; 256].join(",")).is_some()
                && Mask::parse(&vec!["a"; 257].join(",")).is_none()
        );
    }

    #[test]
    fn numbers_come_before_strings_and_missing_ones_last_both_ways() {
        let values =
            [r#"{"k":"b"}"#, r#"{"k":10}"#, "{}", r#"{"k":9.5}"#, r#"{"k":"a"}"#, "7", r#"{"k":null}"#];
        for (order, want) in [("k", [3, 1, 4, 0, 2, 5, 6]), ("-k", [0, 4, 1, 3, 2, 5, 6])] {
            let order = SortOrder::parse(order).unwrap();
            let mut places: Vec<usize> = (0..values.len()).collect();
            places.sort_by(|a, b| {
                order.compare(&order.rank(&json(values[*a])), &order.rank(&json(values[*b])))
            });
            assert_eq!(places, want);
        }
    }
}
