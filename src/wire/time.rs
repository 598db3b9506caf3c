//! Moments as text: RFC 3339 in UTC, from and to nanoseconds since 1970. (The crates that do it want a system clock's
//! type, which nothing below the runtime may name.)

use std::io::Write;

const SEC: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Appends `ns` as `2026-11-20T19:05:57.123456789Z`.
pub fn write_time(ns: u64, out: &mut Vec<u8>) {
    let (secs, nanos) = (ns / SEC, ns % SEC);
    let (year, month, day) = date(secs / DAY);
    let (h, m, s) = (secs % DAY / 3600, secs % 3600 / 60, secs % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{nanos:09}Z").expect("a Vec takes all");
}

/// Nanoseconds since 1970 of an RFC 3339 text: fractions and offsets are understood, leap seconds are the second after.
/// `None` for anything else, and for what is before 1970 or after 2500.
pub fn parse_time(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| {
        let digits = bytes.get(from..from + len)?;
        digits.iter().all(u8::is_ascii_digit).then(|| text[from..from + len].parse::<u64>().ok())?
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|b| any.contains(b));
    let signs = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (h, m, s) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let proper = (1970..2500).contains(&year) && (1..=12).contains(&month) && h < 24 && m < 60 && s <= 60;
    if !signs || !proper || day == 0 || day > month_len(year, month) {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".") {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let used = digits.min(9);
        nanos = number(at + 1, used)? * 10u64.pow(9 - used as u32);
        at += 1 + digits;
    }
    let secs = days(year, month, day) * DAY + h * 3600 + m * 60 + s;
    let secs = match &bytes[at..] {
        b"Z" | b"z" => secs,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (h, m) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if h > 23 || m > 59 {
                return None;
            }
            let offset = h * 3600 + m * 60;
            if *sign == b'+' { secs.checked_sub(offset)? } else { secs + offset }
        }
        _ => return None,
    };
    Some(secs * SEC + nanos)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_len(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date. The year is counted from March, so that a leap day is its last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The date so many days behind 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (of_month, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    (era * 400 + year + u64::from(month <= 2), month, of_month)
}

#[cfg(test)]
mod tests {
    use super::{parse_time, write_time};
    use std::time::{Duration, UNIX_EPOCH};

    fn written(ns: u64) -> String {
        let mut out = Vec::new();
        write_time(ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn agrees_with_a_crate_that_has_a_clock() {
        let mut rng = fastrand::Rng::with_seed(11);
        for i in 0..20_000u64 {
            // every day of a century, then anything
            let ns =
                if i < 10_000 { i * 4 * 86_400_000_000_000 + 86_399_999_999_999 } else { rng.u64(..1 << 63) };
            let want = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(ns)).to_string();
            assert_eq!(written(ns), want);
            assert_eq!(parse_time(&want), Some(ns), "{want}");
        }
    }

    #[test]
    fn fractions_and_offsets_are_read_and_nonsense_is_not() {
        let noon = parse_time("2024-02-29T12:00:00Z").unwrap();
        for (text, want) in [
            ("2024-02-29T12:00:00.5Z", Some(noon + 500_000_000)),
            ("2024-02-29t12:00:00.0000000019z", Some(noon + 1)),
            ("2024-02-29 14:30:00+02:30", Some(noon)),
            ("2024-02-29T02:00:00-10:00", Some(noon)),
            ("2023-02-29T12:00:00Z", None),
            ("2024-02-29T12:00:00", None),
            ("2024-02-29T12:00:00.Z", None),
            ("2024-02-29T24:00:00Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("1970-01-01T00:00:00+01:00", None),
            ("1969-12-31T23:59:59Z", None),
            ("2024-02-29T12:00:00+0230", None),
            ("+024-02-29T12:00:00Z", None),
            ("2024-02-29T12:00:0éZ", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text), want, "{text}");
        }
    }
}
