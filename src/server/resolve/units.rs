//! Sizes, durations and counts: checked, and in the units of the core.

use bytesize::ByteSize;

use crate::server::config::values::Span;
use crate::server::error::ServerError;

/// The largest size. A larger one is a mistake, and would not fit the frames' 32-bit arithmetic.
pub const MAX_SIZE: u64 = 1 << 30;

/// Bytes, at least one.
///
/// # Errors
/// None, or more than `MAX_SIZE`; the message names the setting.
pub fn size(place: &str, written: ByteSize) -> Result<usize, ServerError> {
    match written.as_u64() {
        0 => Err(ServerError::wrong(place, "must be more than 0")),
        bytes @ 1..=MAX_SIZE => Ok(bytes as usize),
        _ => Err(ServerError::wrong(place, format!("{written} is too much; give at most 1GiB"))),
    }
}

/// Nanoseconds, at least one.
///
/// # Errors
/// None, or more than the clock can count; the message names the setting.
pub fn span(place: &str, written: Span) -> Result<u64, ServerError> {
    // Half the range of the clock, so that now + span never wraps.
    match u64::try_from(written.0.as_nanos()) {
        Ok(0) => Err(ServerError::wrong(place, "must be more than 0s")),
        Ok(ns) if ns <= u64::MAX / 2 => Ok(ns),
        _ => Err(ServerError::wrong(place, "is too long; give at most 290 years")),
    }
}

/// A number of things, at least one.
///
/// # Errors
/// None, or more than a billion; the message names the setting.
pub fn count(place: &str, name: &str, written: u64) -> Result<usize, ServerError> {
    match written {
        0 => Err(ServerError::wrong(format!("{place} {name}"), "must be more than 0")),
        1..=1_000_000_000 => Ok(written as usize),
        _ => Err(ServerError::wrong(format!("{place} {name}"), "is too much; give at most 1000000000")),
    }
}
