//! The limits of streamed responses.

/// The limits of streamed responses, and the size of their chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// A chunk is sent once it is longer than this after an element, in bytes.
    pub chunk_threshold: usize,
    /// Documents that an owner delivers at a time.
    pub batch_size: usize,
    /// Initial bytes of a chunk's buffer.
    pub buffer_size: usize,
    /// Chunks that are made ahead of the reader.
    pub channel_buffer: usize,
    /// Elements per second; 0: no limit.
    pub rate_limit: u64,
    /// Documents that may be sorted for one response.
    pub sort_limit: usize,
    /// Bytes of replaced documents that a shard keeps for streams that have not come to them yet.
    pub cut_bytes: usize,
    /// Streams at once, on each shard.
    pub streams: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            chunk_threshold: 32768,
            batch_size: 1000,
            buffer_size: 51200,
            channel_buffer: 4,
            rate_limit: 0,
            sort_limit: 50_000,
            cut_bytes: 64 << 20,
            streams: 256,
        }
    }
}
