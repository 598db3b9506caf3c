//! Percent-decoding of request targets: keys in paths, parameters in queries.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A target with a broken `%` escape, or whose decoded bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is not valid percent-encoded UTF-8")]
pub struct BadEncoding;

/// Decodes a raw path; `+` stands for itself. Slashes that were escaped come out as plain ones.
pub fn decode_path(raw: &str) -> Result<Cow<'_, str>, BadEncoding> {
    let whole = |escape: &str| escape.len() >= 2 && escape.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    // The crate would pass a broken escape through as text, so that two spellings named one key.
    if !raw.split('%').skip(1).all(whole) {
        return Err(BadEncoding);
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| BadEncoding)
}

/// The parameters of a raw query (without its `?`) in order, names and values decoded, `+` as a blank. Empty
/// parameters are passed over; one without `=` has an empty value.
pub fn query(raw: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), BadEncoding>> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode_form(name)?, decode_form(value)?))
    })
}

fn decode_form(raw: &str) -> Result<Cow<'_, str>, BadEncoding> {
    if raw.contains('+') {
        decode_path(&raw.replace('+', " ")).map(|text| Cow::Owned(text.into_owned()))
    } else {
        decode_path(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_decodes_escapes_and_nothing_else() {
        assert_eq!(decode_path("/things/123"), Ok(Cow::Borrowed("/things/123")));
        assert_eq!(decode_path("/a%20b+c%2Fd%c3%A9").as_deref(), Ok("/a b+c/dé"));
        assert_eq!(decode_path("/a%2520").as_deref(), Ok("/a%20"));
    }

    #[test]
    fn broken_escapes_and_broken_utf8_are_errors() {
        for raw in ["%", "/a%", "/a%2", "/%zz", "/%+1", "/%%20", "/%é", "/%ff", "/%c3", "/%ed%a0%80"] {
            assert_eq!(decode_path(raw), Err(BadEncoding), "{raw}");
            assert!(query(&format!("a={raw}")).any(|pair| pair.is_err()), "{raw}");
        }
    }

    #[test]
    fn a_query_gives_its_parameters_in_order() {
        let pairs: Result<Vec<_>, _> = query("a=b&c=d%26e&&f&=g&h=1=2&i+j=k+l&a=é").collect();
        let pairs: Vec<(String, String)> =
            pairs.unwrap().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let expected =
            [("a", "b"), ("c", "d&e"), ("f", ""), ("", "g"), ("h", "1=2"), ("i j", "k l"), ("a", "é")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_string(), value.to_string())));
        assert_eq!(query("").count(), 0);
    }

    #[test]
    fn random_text_never_panics() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let raw: String = (0..rng.usize(..12))
                .map(|_| *rng.choice(&['%', 'a', '2', 'f', '+', '&', '=', 'é']).unwrap())
                .collect();
            let _ = decode_path(&raw);
            let _ = query(&raw).count();
        }
    }
}
