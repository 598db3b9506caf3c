//! What bounds streamed answers.

/// What bounds streamed answers, and how they are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// A chunk is sent once it is longer than this after an element, in bytes.
    pub chunk_threshold: usize,
    /// Documents that an owner gives at a time.
    pub batch_size: usize,
    /// Bytes with which a chunk's buffer begins.
    pub buffer_size: usize,
    /// Chunks that are made ahead of the reader.
    pub channel_buffer: usize,
    /// Elements a second; 0: no limit.
    pub rate_limit: u64,
    /// Documents that may be sorted for one answer.
    pub sort_limit: usize,
    /// Bytes of replaced documents that a shard keeps for streams that have yet to come to them.
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
