//! The members of one JSON object, looked up by name.

use crate::wire::feed::object;
use crate::wire::hub::frame::FrameFault;
use crate::wire::json::Json;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The members of an object, as they came. Of two with one name the later counts, as in `JSON.parse`.
#[derive(Debug)]
pub struct RawMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((MemberName(name), value)) =
                    map.next_entry::<MemberName<'de>, &'de RawValue>()?
                {
                    members.push((name, value));
                }
                Ok(RawMembers(members))
            }
        }
        from.deserialize_map(Collect)
    }
}

impl<'a> RawMembers<'a> {
    /// Reads an object.
    pub fn read(text: &'a [u8]) -> Option<RawMembers<'a>> {
        object(text).ok()
    }

    /// A member as it stands there; `null` counts as missing.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().rfind(|(own, _)| own == name)?;
        Some(found.1.get()).filter(|raw| *raw != "null")
    }

    /// A text.
    pub fn text(&self, name: &str, why: &'static str) -> Result<Option<Cow<'a, str>>, FrameFault> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        match raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
            None => Err(FrameFault::Field(why)),
            Some(plain) if !plain.contains('\\') => Ok(Some(Cow::Borrowed(plain))),
            Some(_) => serde_json::from_str(raw)
                .map(|text: String| Some(Cow::Owned(text)))
                .map_err(|_| FrameFault::Field(why)),
        }
    }

    /// A text of at most `most` bytes that is not empty.
    pub fn name(&self, name: &str, most: usize, why: &'static str) -> Result<Option<Arc<str>>, FrameFault> {
        match self.text(name, why)? {
            None => Ok(None),
            Some(text) if text.is_empty() || text.len() > most => Err(FrameFault::Field(why)),
            Some(text) => Ok(Some(Arc::from(&*text))),
        }
    }

    /// Every member, where each is a text.
    pub fn texts(&self, why: &'static str) -> Result<Vec<(String, String)>, FrameFault> {
        let text = |(name, raw): &(Cow<'a, str>, &RawValue)| {
            serde_json::from_str(raw.get())
                .map(|text| (name.clone().into_owned(), text))
                .map_err(|_| FrameFault::Field(why))
        };
        self.0.iter().map(text).collect()
    }

    /// A whole number from 0.
    pub fn number(&self, name: &str, why: &'static str) -> Result<Option<u64>, FrameFault> {
        self.raw(name).map(|raw| raw.parse().map_err(|_| FrameFault::Field(why))).transpose()
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str, why: &'static str) -> Result<Option<bool>, FrameFault> {
        match self.raw(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(FrameFault::Field(why)),
        }
    }

    /// Any value, in normal form; a `null` that is there is one.
    pub fn json(&self, name: &str, why: &'static str) -> Result<Option<Json>, FrameFault> {
        let found = self.0.iter().rfind(|(own, _)| own == name);
        found
            .map(|(_, raw)| Json::parse(raw.get().as_bytes()).map_err(|_| FrameFault::Field(why)))
            .transpose()
    }

    /// An object, in normal form.
    pub fn object(&self, name: &str, why: &'static str) -> Result<Option<Json>, FrameFault> {
        match self.raw(name) {
            None => Ok(None),
            Some(raw) if raw.starts_with('{') => self.json(name, why),
            Some(_) => Err(FrameFault::Field(why)),
        }
    }
}
