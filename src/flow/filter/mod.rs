//! What a reader picks out: publications by a field of their data, documents by conditions.

pub mod select;

use crate::flow::filter::select::Path;
use crate::wire::json::tree::{Tree, ValueKind};
use crate::wire::json::{Json, read_string};

/// Publications whose data has one of these values in a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    field: Box<str>,
    /// In order, each once.
    values: Vec<Box<str>>,
}

impl Filter {
    /// Reads `a,b`; `None` if nothing is named, which means all publications.
    pub fn read(field: &str, list: &str) -> Option<Filter> {
        let mut values: Vec<Box<str>> =
            list.split(',').map(str::trim).filter(|value| !value.is_empty()).map(Box::from).collect();
        values.sort_unstable();
        values.dedup();
        (!values.is_empty()).then(|| Filter { field: field.into(), values })
    }

    /// Whether a publication with this data is one of them.
    pub fn allows(&self, data: &Json) -> bool {
        let value = field(data, &self.field);
        value.is_some_and(|value| self.values.binary_search_by(|own| (**own).cmp(&*value)).is_ok())
    }
}

/// A field (`a.b.c`) of a publication's data as text, if it is a string or a number.
pub fn field(data: &Json, path: &str) -> Option<Box<str>> {
    let [field] = fields(data, [path]);
    field
}

/// Several of them.
pub fn fields<const N: usize>(data: &Json, paths: [&str; N]) -> [Option<Box<str>>; N] {
    let tree = Tree::new(data);
    paths.map(|path| {
        let node = Path::parse(path)?.find(tree.root())?;
        match node.kind() {
            ValueKind::String => Some((*read_string(node.text())).into()),
            ValueKind::Number => Some(node.text().into()),
            ValueKind::Object | ValueKind::Array | ValueKind::Literal => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Filter, field};
    use crate::wire::json::Json;

    #[test]
    fn a_filter_takes_what_it_names_and_nothing_else() {
        let json = |text: &str| Json::parse(text.as_bytes()).unwrap();
        let filter = Filter::read("entityType", "page, attachment,,page,7").unwrap();
        for (text, allowed) in [
            (r#"{"entityType":"page"}"#, true),
            (r#"{"entityType":"attachment","a":1}"#, true),
            (r#"{"entityType":"\u0070age"}"#, true),
            (r#"{"entityType":7}"#, true),
            (r#"{"entityType":"pages"}"#, false),
            (r#"{"entityType":null}"#, false),
            (r#"{"entitytype":"page"}"#, false),
            (r#"{"a":{"entityType":"page"}}"#, false),
            (r#"["page"]"#, false),
            (r#""page""#, false),
        ] {
            assert_eq!(filter.allows(&json(text)), allowed, "{text}");
        }
        assert_eq!((Filter::read("f", ""), Filter::read("f", " , ")), (None, None));
        assert_eq!(filter, Filter::read("entityType", "7,attachment,page").unwrap(), "in whatever order");
        assert_eq!(field(&json(r#"{"a":{"b":"x"}}"#), "a.b").as_deref(), Some("x"));
    }
}
