//! The sections of the settings file: `[conn]`, `[feed]`, `[ooo]`, `[hub]`, `[stream]` and `[sse]`, with their defaults.

use std::fmt;
use std::path::PathBuf;

use bytesize::ByteSize;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::flow::limits::Limits;
use crate::flow::limits::hub::HubLimits;
use crate::flow::limits::sse::SseLimits;
use crate::flow::limits::stream::StreamLimits;
use crate::server::config::values::{Implicit, Span};

/// `[conn]`: every client connection.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnSettings {
    /// How much may wait for one slow reader; beyond it the reader gets the latest state later.
    pub queue_bytes: ByteSize,
    /// A socket that takes no byte for this long is closed.
    pub write_timeout: Span,
    /// A connection that has not sent a whole request after this long is closed.
    pub handshake_timeout: Span,
    /// The largest message from a client; beyond it: close 1009.
    pub max_message: ByteSize,
    /// Whether clients that offer permessage-deflate get it.
    pub deflate: bool,
    /// The smallest frame that is compressed for them.
    pub deflate_min: ByteSize,
}

/// `[feed]`: the application's socket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// The socket's path; `None`: `boot::default_feed`.
    pub path: Option<PathBuf>,
    /// The longest line; a longer one gets an error and closes that feed connection.
    pub max_line: ByteSize,
}

/// `[ooo]`: the ooo dialect, over WebSocket and REST.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OooSettings {
    /// How often each client is pinged.
    pub ping_interval: Span,
    /// A client from which nothing was received for this long is closed.
    pub pong_timeout: Span,
    /// The largest request body; beyond it: 413.
    pub max_body: ByteSize,
}

/// `[hub]`: channels, rooms and documents over `/ws`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubSettings {
    /// What a connection that never subscribes gets.
    pub implicit_channels: Implicit,
    /// How often each client is pinged.
    pub ping_interval: Span,
    /// The largest frame from a client, and the largest body under `/_/rooms`; beyond it: the error `message_too_large`.
    pub max_message: ByteSize,
    /// Frames that may wait for one reader.
    pub queue_frames: u64,
    /// Bytes of the latest publications that each core keeps for late readers.
    pub tail_bytes: ByteSize,
    /// For how long it keeps them.
    pub tail_age: Span,
    /// Frames that a connection may send per second; beyond it: the error `rate_limited`.
    pub rate: u32,
    /// Frames that it may send at once.
    pub burst: u32,
    /// Connections of one user.
    pub connections_per_user: u32,
    /// Rooms that one user may be in.
    pub rooms_per_user: u32,
    /// Channels that one user may be subscribed to.
    pub channels_per_user: u32,
    /// Whether joining a room that does not exist creates it.
    pub auto_create_rooms: bool,
    /// A user who does not repeat `typing` for this long has stopped.
    pub typing_timeout: Span,
    /// A user whose last connection has closed stays online for this long.
    pub presence_grace: Span,
    /// A room with more users sends their number instead of their names.
    pub presence_list: u64,
    /// How long after its connection ended a session can be resumed; 0s: sessions are off.
    pub session_ttl: Span,
}

/// `[stream]`: streamed responses. A request may override the first five; 0 means the default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSettings {
    /// A chunk is sent once it is longer than this after an element.
    pub chunk_threshold: ByteSize,
    /// Documents that a shard delivers at a time.
    pub batch_size: u64,
    /// The initial size of a chunk's buffer.
    pub buffer_size: ByteSize,
    /// Chunks that are made ahead of the reader.
    pub channel_buffer: u64,
    /// Elements per second; 0: no limit.
    pub rate_limit: u64,
    /// Documents that may be sorted for one response.
    pub sort_limit: u64,
    /// How much a shard keeps of replaced documents for streams that have not come to them yet.
    pub cut_bytes: ByteSize,
    /// Streams at once, on each shard.
    pub streams: u64,
}

/// `[sse]`: server-sent events.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SseSettings {
    /// How long a client waits before it reconnects.
    pub retry: Span,
    /// How often a keep-alive is sent.
    pub keepalive: Span,
    /// Publications read from a history at a time during a replay.
    pub replay_limit: u64,
}

/// A size in bytes as a setting.
fn size(bytes: usize) -> ByteSize {
    ByteSize(bytes as u64)
}

impl Default for ConnSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            queue_bytes: size(limits.queue_bytes),
            write_timeout: Span::nanos(limits.write_timeout),
            handshake_timeout: Span::nanos(limits.handshake_timeout),
            max_message: size(limits.max_message),
            deflate: limits.deflate,
            deflate_min: size(limits.deflate_min),
        }
    }
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self { path: None, max_line: size(Limits::default().max_line) }
    }
}

impl Default for OooSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            ping_interval: Span::nanos(limits.ping_interval),
            pong_timeout: Span::nanos(limits.pong_timeout),
            max_body: size(limits.max_body),
        }
    }
}

impl Default for HubSettings {
    fn default() -> Self {
        let limits = HubLimits::default();
        Self {
            implicit_channels: Implicit(limits.implicit_channels),
            ping_interval: Span::nanos(limits.ping_interval),
            max_message: size(limits.max_message),
            queue_frames: limits.queue_frames as u64,
            tail_bytes: size(limits.tail.bytes),
            tail_age: Span::nanos(limits.tail.age),
            rate: limits.rate,
            burst: limits.burst,
            connections_per_user: limits.connections_per_user,
            rooms_per_user: limits.rooms_per_user,
            channels_per_user: limits.channels_per_user,
            auto_create_rooms: limits.auto_create_rooms,
            typing_timeout: Span::nanos(limits.typing_timeout),
            presence_grace: Span::nanos(limits.presence_grace),
            presence_list: limits.presence_list as u64,
            session_ttl: Span::nanos(limits.session_ttl),
        }
    }
}

impl Default for StreamSettings {
    fn default() -> Self {
        let StreamLimits {
            chunk_threshold,
            batch_size,
            buffer_size,
            channel_buffer,
            rate_limit,
            sort_limit,
            cut_bytes,
            streams,
        } = StreamLimits::default();
        Self {
            chunk_threshold: size(chunk_threshold),
            batch_size: batch_size as u64,
            buffer_size: size(buffer_size),
            channel_buffer: channel_buffer as u64,
            rate_limit,
            sort_limit: sort_limit as u64,
            cut_bytes: size(cut_bytes),
            streams: streams as u64,
        }
    }
}

impl Default for SseSettings {
    fn default() -> Self {
        let SseLimits { retry, keepalive, replay_limit } = SseLimits::default();
        Self {
            retry: Span::nanos(retry),
            keepalive: Span::nanos(keepalive),
            replay_limit: replay_limit as u64,
        }
    }
}

/// Reads `feed = "PATH"` as well as `[feed]`, because the flag and the section share the name.
pub fn feed_or_path<'de, D: Deserializer<'de>>(from: D) -> Result<FeedSettings, D::Error> {
    struct FeedVisitor;
    impl<'de> Visitor<'de> for FeedVisitor {
        type Value = FeedSettings;
        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("the path of a socket, or a section")
        }
        fn visit_str<E: Error>(self, path: &str) -> Result<FeedSettings, E> {
            Ok(FeedSettings { path: Some(path.into()), ..FeedSettings::default() })
        }
        fn visit_map<A: MapAccess<'de>>(self, section: A) -> Result<FeedSettings, A::Error> {
            FeedSettings::deserialize(MapAccessDeserializer::new(section))
        }
    }
    from.deserialize_any(FeedVisitor)
}
