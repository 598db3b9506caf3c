//! Templates: `/organizations/{org}/stream` matches paths, `org:{org}` makes a name from their variables.

use std::ops::Range;
use thiserror::Error;

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The path does not begin with `/`, or has an empty segment.
    #[error("a path begins with '/' and has no empty segments")]
    Path,
    /// A brace without its other one, around no name, or inside a segment.
    #[error("a value is a whole segment of the path, written '{{name}}'")]
    Brace,
    /// The same variable twice.
    #[error("the path has the value '{0}' twice")]
    Twice(String),
    /// A variable that the path does not have.
    #[error("the path has no value '{0}'")]
    Unknown(String),
}

/// A path with variables, each a whole segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Text(Box<str>),
    Value(Box<str>),
}

/// A name with variables of a path in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameTemplate {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    Text(Box<str>),
    /// Which variable of the path.
    Value(usize),
}

impl PathTemplate {
    /// Reads a template such as `/organizations/{org}/stream`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<PathTemplate, TemplateError> {
        let mut segments: Vec<Segment> = Vec::new();
        for part in text.strip_prefix('/').ok_or(TemplateError::Path)?.split('/') {
            let value = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let segment = match value.unwrap_or(part) {
                "" if value.is_none() => return Err(TemplateError::Path),
                name if name.is_empty() || name.contains(['{', '}']) => return Err(TemplateError::Brace),
                name if value.is_none() => Segment::Text(name.into()),
                name => Segment::Value(name.into()),
            };
            if let Segment::Value(name) = &segment
                && segments.contains(&segment)
            {
                return Err(TemplateError::Twice(name.to_string()));
            }
            segments.push(segment);
        }
        Ok(PathTemplate { segments })
    }

    /// Where the values stand in a (decoded) path of this form, in the template's order; `None` if it is of another.
    /// Values are never empty.
    pub fn find(&self, path: &str) -> Option<Vec<Range<usize>>> {
        let mut at = 0;
        let mut found = Vec::new();
        let mut segments = self.segments.iter();
        for part in path.strip_prefix('/')?.split('/') {
            at += 1;
            match segments.next()? {
                Segment::Text(text) if **text == *part => {}
                Segment::Value(_) if !part.is_empty() => found.push(at..at + part.len()),
                _ => return None,
            }
            at += part.len();
        }
        segments.next().is_none().then_some(found)
    }

    /// The first segment, if it is not a value.
    pub fn first(&self) -> Option<&str> {
        match &self.segments[0] {
            Segment::Text(text) => Some(text),
            Segment::Value(_) => None,
        }
    }

    /// Reads the template of a name that is put together from values of this path, such as `org:{org}`.
    ///
    /// # Errors
    /// A brace stands alone, or the path has no such value.
    pub fn name(&self, text: &str) -> Result<NameTemplate, TemplateError> {
        let values = self.segments.iter().filter_map(|segment| match segment {
            Segment::Value(name) => Some(&**name),
            Segment::Text(_) => None,
        });
        let values: Vec<&str> = values.collect();
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, tail) = rest.split_at(at);
            let (name, tail) =
                tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or(TemplateError::Brace)?;
            let which = values.iter().position(|value| *value == name);
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.into())));
            pieces.push(Piece::Value(which.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?));
            rest = tail;
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.into())));
        Ok(NameTemplate { pieces })
    }
}

impl NameTemplate {
    /// The name, with the values that `find` has found in `path`.
    pub fn fill(&self, path: &str, values: &[Range<usize>]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Value(which) => path[values[*which].clone()].to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// A text that matches every name that `fill` can give, where `*` is any run of characters.
    pub fn glob(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Value(_) => "*".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{PathTemplate, TemplateError};

    #[test]
    fn a_path_gives_its_values_and_a_name_is_made_of_them() {
        let path = PathTemplate::parse("/organizations/{org}/sync/{kind}").unwrap();
        for (name, want) in
            [("org:{org}", "org:ä-1"), ("{kind}{org}", "xä-1"), ("fixed", "fixed"), ("{org}:", "ä-1:")]
        {
            let text = "/organizations/ä-1/sync/x";
            let name = path.name(name).unwrap();
            assert_eq!(name.fill(text, &path.find(text).unwrap()), want);
        }
        assert_eq!(path.name("a:{org}:b").unwrap().glob(), "a:*:b");
        for other in [
            "/organizations/1/sync",
            "/organizations/1/sync/x/",
            "/organizations/1/sync/x/y",
            "/organizations//sync/x",
            "/organizations/1/other/x",
            "organizations/1/sync/x",
            "",
            "/",
        ] {
            assert_eq!(path.find(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, why) in [
            ("", TemplateError::Path),
            ("a", TemplateError::Path),
            ("/", TemplateError::Path),
            ("/a//b", TemplateError::Path),
            ("/a/", TemplateError::Path),
            ("/{}", TemplateError::Brace),
            ("/{a", TemplateError::Brace),
            ("/a}", TemplateError::Brace),
            ("/x{a}", TemplateError::Brace),
            ("/{{a}}", TemplateError::Brace),
            ("/{a}/{a}", TemplateError::Twice("a".into())),
        ] {
            assert_eq!(PathTemplate::parse(text), Err(why), "{text}");
        }
        let path = PathTemplate::parse("/{a}").unwrap();
        assert_eq!(path.name("x:{b}"), Err(TemplateError::Unknown("b".into())));
        for text in ["{", "}", "a}b", "{a", "{a}}"] {
            assert_eq!(path.name(text), Err(TemplateError::Brace), "{text}");
        }
    }
}
