//! Keys and patterns, and the rules for both.
//!
//! A key is a path of segments, `things/123`: letters, digits, `-`, `_`, `.`, with `/` between segments; its first and
//! last characters are letters or digits. A pattern is a key in which at least one whole segment is `*`, which stands
//! for exactly one segment. In the native dialect a pattern may also end in a segment `**`: one or more segments.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The longest key or pattern, in bytes.
pub const MAX_KEY: usize = 1024;
/// Reserved first segments: endpoints of the server, not keys.
const RESERVED: [&str; 3] = ["ws", "sse", "_"];

/// Why a text is not a key or a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Empty, too long, a wrong character, or an empty segment.
    #[error(
        "a key has letters, digits, '-', '_' and '.' in segments between '/', and begins and ends with a letter or digit; a '*' stands for a whole segment"
    )]
    Malformed,
    /// The first segment is reserved.
    #[error("'ws', 'sse' and '_' are reserved and cannot begin a key")]
    Reserved,
    /// A pattern where only a key will do.
    #[error("a pattern is not allowed here, only a key")]
    Glob,
    /// A pattern that new items cannot be pushed to.
    #[error("items are pushed to a pattern whose last segment is '*' and its only one")]
    Push,
}

/// Whether a first segment is reserved.
pub fn is_reserved(segment: &str) -> bool {
    RESERVED.contains(&segment)
}

/// The name of one document. Cheap to clone, checked once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A key with at least one `*` segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// One document.
    Key(Key),
    /// All documents that match.
    Pattern(Pattern),
}

impl Name {
    /// Checks and reads a key or a pattern of the native dialect, which may end in `**`.
    pub fn parse_native(text: &str) -> Result<Name, KeyError> {
        let Some(stem) = text.strip_suffix("**") else { return Name::parse(text) };
        if text.len() > MAX_KEY {
            return Err(KeyError::Malformed);
        }
        if !stem.is_empty() {
            Name::parse(stem.strip_suffix('/').ok_or(KeyError::Malformed)?)?;
        }
        Ok(Name::Pattern(Pattern(text.into())))
    }

    /// Checks and reads a key or a pattern.
    pub fn parse(text: &str) -> Result<Name, KeyError> {
        let ends_well = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'*');
        let bytes = text.as_bytes();
        if bytes.len() > MAX_KEY || !ends_well(bytes.first()) || !ends_well(bytes.last()) {
            return Err(KeyError::Malformed);
        }
        let mut globs = false;
        for segment in text.split('/') {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            match segment {
                "*" => globs = true,
                s if !s.is_empty() && s.bytes().all(plain) => {}
                _ => return Err(KeyError::Malformed),
            }
        }
        if is_reserved(text.split('/').next().unwrap_or("")) {
            return Err(KeyError::Reserved);
        }
        Ok(if globs { Name::Pattern(Pattern(text.into())) } else { Name::Key(Key(text.into())) })
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        match self {
            Name::Key(key) => key.as_str(),
            Name::Pattern(pattern) => pattern.as_str(),
        }
    }

    /// Whether `key` is the one, or one of those meant.
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Name::Key(name) => name.as_str() == key,
            Name::Pattern(pattern) => pattern.matches(key),
        }
    }

    /// Whether there can be a key that both mean.
    pub fn meets(&self, other: &Name) -> bool {
        let (mut ours, mut theirs) = (self.as_str().split('/'), other.as_str().split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (Some("**"), Some(_)) | (Some(_), Some("**")) | (None, None) => return true,
                (Some(a), Some(b)) if a == "*" || b == "*" || a == b => {}
                _ => return false,
            }
        }
    }

    /// All keys that are meant begin with it.
    pub fn prefix(&self) -> &str {
        match self {
            Name::Key(key) => key.as_str(),
            Name::Pattern(pattern) => pattern.prefix(),
        }
    }
}

impl Key {
    /// Checks and reads a key.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        match Name::parse(text)? {
            Name::Key(key) => Ok(key),
            Name::Pattern(_) => Err(KeyError::Glob),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn index(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl Pattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` is one of those meant.
    pub fn matches(&self, key: &str) -> bool {
        let mut segments = key.split('/');
        for wanted in self.0.split('/') {
            match segments.next() {
                Some(_) if wanted == "**" => return true,
                Some(segment) if wanted == "*" || wanted == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// Everything before the first `*`: all keys that match begin with it.
    pub fn prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or("")
    }

    /// The key of a new item with that last segment; `None` unless `*` is the last segment and the only one.
    pub fn push(&self, index: &str) -> Option<Key> {
        let stem = self.0.strip_suffix('*').filter(|stem| !stem.contains('*'))?;
        Some(Key(format!("{stem}{index}").into()))
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyError, Name, Pattern};

    fn pattern(text: &str) -> Pattern {
        match Name::parse(text) {
            Ok(Name::Pattern(pattern)) => pattern,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn good_and_bad_names() {
        for good in ["a", "ab", "things/123", "x/_y/z", "a.b-c_d", "*", "a/*", "a/*/b/*", "A1/wss"] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "**", "a/**", "th*", "a/b*", "a b", "ä", "a?b", "_a", "a_", ".",
            "a~b",
        ] {
            assert_eq!(Name::parse(bad), Err(KeyError::Malformed), "{bad}");
        }
        assert_eq!(Name::parse(&"a".repeat(1025)), Err(KeyError::Malformed));
        for path in ["ws", "ws/x", "sse", "sse/a/b"] {
            assert_eq!(Name::parse(path), Err(KeyError::Reserved), "{path}");
        }
        assert_eq!(Key::parse("a/*"), Err(KeyError::Glob));
    }

    #[test]
    fn a_star_is_exactly_one_segment() {
        let cases = [("*", "a", true), ("*", "a/b", false), ("a/*", "a", false), ("a/*", "a/b", true)];
        let more =
            [("a/*", "a/b/c", false), ("a/*/c", "a/b/c", true), ("*/b", "a/b", true), ("*/b", "a/c", false)];
        for (p, key, is) in cases.into_iter().chain(more) {
            assert_eq!(pattern(p).matches(key), is, "{p} {key}");
        }
    }

    #[test]
    fn two_stars_end_a_native_pattern_and_mean_one_segment_or_more() {
        for bad in ["***", "a**", "a/***", "**/a", "a/**/b", "/**", "ws/**", "a//**"] {
            assert!(Name::parse_native(bad).is_err(), "{bad}");
        }
        let cases = [("**", "a", true), ("**", "a/b/c", true), ("a/**", "a", false), ("a/**", "a/b/c", true)];
        let more = [("a/*/**", "a/b", false), ("a/*/**", "a/b/c/d", true), ("a/**", "b/c", false)];
        for (p, key, is) in cases.into_iter().chain(more) {
            assert_eq!(Name::parse_native(p).unwrap().covers(key), is, "{p} {key}");
            assert!(Name::parse(p).is_err(), "only the native dialect has {p}");
        }
    }

    #[test]
    fn names_meet_where_one_key_can_be_meant_by_both() {
        let names = ["a", "*", "**", "a/b", "a/*", "*/b", "a/**", "b/*", "a/*/c", "*/**", "b/c/**"];
        let keys = ["a", "b", "a/b", "a/c", "b/b", "b/c", "a/b/c", "b/c/d", "c/c/c/c", "c/b"];
        for (a, b) in names.iter().flat_map(|a| names.map(|b| (*a, b))) {
            let (x, y) = (Name::parse_native(a).unwrap(), Name::parse_native(b).unwrap());
            let shared = keys.iter().any(|key| x.covers(key) && y.covers(key));
            assert_eq!(x.meets(&y), shared, "{a} {b}");
        }
    }

    #[test]
    fn only_a_last_star_takes_new_items() {
        assert_eq!(pattern("a/*").push("7").map(|k| k.as_str().to_owned()), Some("a/7".into()));
        assert_eq!(pattern("*").push("7").map(|k| k.as_str().to_owned()), Some("7".into()));
        assert_eq!((pattern("*/a").push("7"), pattern("*/*").push("7")), (None, None));
    }
}
