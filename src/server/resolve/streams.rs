//! Resolves `[stream]` and `[sse]`.

use crate::flow::limits::sse::SseLimits;
use crate::flow::limits::stream::StreamLimits;
use crate::server::config::sections::{SseSettings, StreamSettings};
use crate::server::error::ServerError;
use crate::server::resolve::units::{MAX_SIZE, count, span};

/// The limits of streamed responses. A 0 means the default.
///
/// # Errors
/// A setting is too large; the message names it.
pub fn stream(written: &StreamSettings) -> Result<StreamLimits, ServerError> {
    let default = StreamLimits::default();
    let number = |name: &str, written: u64, default: usize| match written {
        0 => Ok(default),
        1..=MAX_SIZE => Ok(written as usize),
        _ => Err(ServerError::wrong(format!("[stream] {name}"), "is too much; give at most 1073741824")),
    };
    Ok(StreamLimits {
        chunk_threshold: number(
            "chunk_threshold",
            written.chunk_threshold.as_u64(),
            default.chunk_threshold,
        )?,
        batch_size: number("batch_size", written.batch_size, default.batch_size)?,
        buffer_size: number("buffer_size", written.buffer_size.as_u64(), default.buffer_size)?,
        channel_buffer: number("channel_buffer", written.channel_buffer, default.channel_buffer)?,
        rate_limit: written.rate_limit.min(1_000_000_000),
        sort_limit: number("sort_limit", written.sort_limit, default.sort_limit)?,
        cut_bytes: number("cut_bytes", written.cut_bytes.as_u64(), default.cut_bytes)?,
        streams: number("streams", written.streams, default.streams)?,
    })
}

/// The limits of server-sent events.
///
/// # Errors
/// A setting makes no sense; the message names it.
pub fn sse(written: &SseSettings) -> Result<SseLimits, ServerError> {
    Ok(SseLimits {
        retry: span("[sse] retry", written.retry)?,
        keepalive: span("[sse] keepalive", written.keepalive)?,
        replay_limit: count("[sse]", "replay_limit", written.replay_limit)?,
    })
}
