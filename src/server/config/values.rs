//! The values of settings: each is parsed from the same text in a flag, a variable and the file.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::flow::limits::Access;
use crate::flow::limits::channels::Overflow;
use crate::flow::limits::documents::PatchMode;
use crate::flow::limits::route::Profile;

/// An address to listen on: `127.0.0.1:8800`, `[::1]:8800`, `localhost:8800`; port 0 lets the kernel choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        let advice = "give ADDRESS:PORT, such as 127.0.0.1:8800, 0.0.0.0:8800 or [::1]:8800";
        numeric.parse().map(Self).map_err(|_| format!("'{text}' is not an address: {advice}"))
    }
}

/// A duration: `250ms`, `15s`, `3m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// A setting of so many nanoseconds.
    pub fn nanos(ns: u64) -> Span {
        Span(Duration::from_nanos(ns))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = "give a number with its unit, such as 250ms, 15s or 3m";
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("'{text}' is not a duration ({error}): {advice}"))
    }
}

/// Which cores get a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// `all`: every core that the process may use.
    All,
    /// A bare number: that many of them.
    Count(usize),
    /// A list or range with a comma or a dash (`0,2`, `0-3`, `0,`): exactly those.
    List(Vec<usize>),
}

/// More cores than any machine has; keeps a range from exhausting memory.
const MAX_CORE: usize = 4096;

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let forms = "'all', a number of cores (2), or a list (0,2 or 0-3 or 0,)";
            format!("'{text}' names no cores: give {forms}")
        };
        let number = |part: &str| part.trim().parse().ok().filter(|n| *n <= MAX_CORE).ok_or_else(wrong);
        if text == "all" {
            return Ok(Self::All);
        }
        if !text.contains([',', '-']) {
            return number(text).map(Self::Count);
        }
        let mut list = Vec::new();
        for part in text.strip_suffix(',').unwrap_or(text).split(',') {
            match part.split_once('-') {
                Some((first, last)) => {
                    let range = number(first)?..=number(last)?;
                    if range.is_empty() {
                        return Err(wrong());
                    }
                    list.extend(range);
                }
                None => list.push(number(part)?),
            }
        }
        list.sort_unstable();
        list.dedup();
        Ok(Self::List(list))
    }
}

impl FromStr for PatchMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            _ => Err(format!("'{text}' is not a patch mode: give auto, never or always")),
        }
    }
}

impl FromStr for Overflow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "disconnect" => Ok(Self::Disconnect),
            "drop-oldest" => Ok(Self::DropOldest),
            _ => Err(format!("'{text}' is not an overflow mode: give disconnect or drop-oldest")),
        }
    }
}

/// What a hub connection that never subscribes gets: `none`, or `all` channels (true).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implicit(pub bool);

impl FromStr for Implicit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(false)),
            "all" => Ok(Self(true)),
            _ => Err(format!("'{text}' is not a set of channels: give none or all")),
        }
    }
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err(format!("'{text}' is not an access level: give none, read or write")),
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cella" => Ok(Self::Cella),
            "cella-views" => Ok(Self::CellaViews),
            "hub" => Ok(Self::Hub),
            _ => Err(format!("'{text}' is not a profile: give cella, cella-views or hub")),
        }
    }
}

/// A value in the file: text, or a bare number, which is read as text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("text in quotes, or a number")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        from.deserialize_any(TextVisitor)
    }
}

macro_rules! read_as_text {
    ($($value:ty),*) => {$(
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Text::deserialize(from)?.0.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
read_as_text!(Address, Span, Cores, PatchMode, Overflow, Implicit, Access, Profile);

/// Reads a list that may also be written as its single element.
pub fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct ListVisitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;
        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("text in quotes, or a list of such")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|one| vec![one])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    from.deserialize_any(ListVisitor(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_all_a_count_or_a_list() {
        let read = |text: &str| text.parse::<Cores>();
        assert_eq!(read("all"), Ok(Cores::All));
        assert_eq!(read("2"), Ok(Cores::Count(2)));
        assert_eq!(read("0,"), Ok(Cores::List(vec![0])));
        assert_eq!(read("0,2"), Ok(Cores::List(vec![0, 2])));
        assert_eq!(read("0-3"), Ok(Cores::List(vec![0, 1, 2, 3])));
        assert_eq!(read("6,0-1,1"), Ok(Cores::List(vec![0, 1, 6])));
        for wrong in ["", "some", "-1", "3-1", "0,,1", ",", "1-", "0-99999999999", "-"] {
            assert!(read(wrong).is_err(), "{wrong:?} was read as cores");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!("localhost:80".parse(), Ok(Address(([127, 0, 0, 1], 80).into())));
        assert!("[::1]:8800".parse::<Address>().is_ok());
        for wrong in ["8800", "127.0.0.1", "example.org:80", ":8800", "127.0.0.1:70000"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong:?} was read as an address");
        }
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!("250ms".parse(), Ok(Span(Duration::from_millis(250))));
        assert_eq!("3m".parse(), Ok(Span(Duration::from_secs(180))));
        for wrong in ["60", "-1s", "", "soon"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong:?} was read as a duration");
        }
    }
}
