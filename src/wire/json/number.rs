//! Numbers by their exact value, whatever their literals look like: `1e2` is `100.0`, and nothing is rounded.

use std::cmp::Ordering;

/// An exponent beyond this is taken for this: no text is long enough to tell two such apart by its digits.
const MOST: i128 = i128::MAX / 4;

/// The value of a literal: 0.d1d2d3… times a power of ten. Borrows the digits.
struct Decimal<'a> {
    negative: bool,
    /// The digits before and behind the point, without zeros at the front and the end of both together.
    digits: [&'a [u8]; 2],
    /// The power of ten of the point that stands before the first digit.
    power: i128,
}

impl<'a> Decimal<'a> {
    /// Reads a JSON number; `None` if the text is none.
    fn parse(text: &'a str) -> Option<Decimal<'a>> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(m, e)| (m, Some(e)));
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) {
            return None;
        }
        let exponent = exponent.map_or(Some(0), |text| {
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            let size = digits(unsigned).then(|| unsigned.parse().map_or(MOST, |size: i128| size.min(MOST)));
            size.map(|size| if text.starts_with('-') { -size } else { size })
        })?;
        let trimmed = whole.trim_start_matches('0');
        let fraction = fraction.unwrap_or_default().trim_end_matches('0');
        let power = exponent + trimmed.len() as i128;
        let (power, digits) = if trimmed.is_empty() {
            let digits = fraction.trim_start_matches('0');
            (power - (fraction.len() - digits.len()) as i128, ["", digits])
        } else if fraction.is_empty() {
            (power, [trimmed.trim_end_matches('0'), ""])
        } else {
            (power, [trimmed, fraction])
        };
        Some(Decimal { negative, digits: digits.map(str::as_bytes), power })
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        let zero = self.digits.iter().all(|part| part.is_empty());
        if zero { 0 } else { 1 - 2 * i8::from(self.negative) }
    }

    fn compare(&self, other: &Decimal<'_>) -> Ordering {
        let sign = self.sign();
        sign.cmp(&other.sign()).then_with(|| {
            let digits = |of: &Decimal<'a>| of.digits.concat();
            let size = self.power.cmp(&other.power).then_with(|| match (&self.digits, &other.digits) {
                ([a, []], [b, []]) => a.cmp(b),
                _ => digits(self).cmp(&other.digits.concat()),
            });
            match sign {
                0 => Ordering::Equal,
                1 => size,
                _ => size.reverse(),
            }
        })
    }
}

/// How two number literals stand to each other by value; `None` if one of the texts is no JSON number. Exact, but for
/// exponents of more than 38 digits, which are all one.
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    if let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>()) {
        return Some(a.cmp(&b));
    }
    Some(Decimal::parse(a)?.compare(&Decimal::parse(b)?))
}

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn literals_are_compared_by_their_exact_value() {
        for (a, b, order) in [
            ("0", "-0", Equal),
            ("0", "-0.0", Equal),
            ("-0e9", "0.000", Equal),
            ("1e400", "10e399", Equal),
            ("1e400", "1e401", Less),
            ("0.1", "0.10000000000000000001", Less),
            ("0", "1e-9999", Less),
            ("0", "-1e-9999", Greater),
            ("12345678901234567890", "12345678901234567891.0", Less),
            ("12345678901234567890", "1.234567890123456789e19", Equal),
            ("9007199254740993", "9007199254740992.0", Greater),
            ("-2.5", "-25e-1", Equal),
            ("-2.5", "-2.50001", Greater),
            ("100", "1E+2", Equal),
            ("0.001", "1e-3", Equal),
            ("10.01", "1001e-2", Equal),
            ("10.01", "10.1", Less),
            ("9", "10.0", Less),
            ("1e99999999999999999999999999999999999999999999", "2", Greater),
        ] {
            assert_eq!(compare(a, b), Some(order), "{a} {b}");
            assert_eq!(compare(b, a), Some(order.reverse()), "{b} {a}");
        }
        for none in ["", "-", "+", "apple", "1e", "1.", ".5", "0x1", "inf", "NaN", "1_0", "1e+-1"] {
            assert_eq!(compare(none, "1.5"), None, "{none}");
        }
    }

    /// Where doubles are exact, they say the same.
    #[test]
    fn agrees_with_doubles_where_they_are_exact() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut number = || f64::from(rng.i16(..)) * 2_f64.powi(rng.i32(-20..20));
        for _ in 0..20_000 {
            let (a, b) = (number(), number());
            assert_eq!(compare(&format!("{a:?}"), &format!("{b:e}")), a.partial_cmp(&b), "{a:?} {b:e}");
        }
    }
}
