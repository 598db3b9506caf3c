//! What a shard counts. Every drop and every ending has one counter and one reason; labels are constants, so there are
//! as many series as there are rows and no more.

use crate::flow::encode::frame::Encoded;
use crate::flow::fanout::Sent;
use crate::shard::end_reason::EndReason;
use std::slice::from_ref;

/// The codes with which the feed refuses lines; the last stands for any that is missing here.
pub const CODES: [&str; 11] = [
    "invalid_json",
    "invalid_field",
    "unknown_op",
    "invalid_key",
    "invalid_data",
    "invalid_channel",
    "line_too_long",
    "not_found",
    "invalid_merge",
    "invalid_patch",
    "other",
];

/// The codes with which frames of the hub are rejected; the last stands for any that is missing here.
pub const FRAME_CODES: [&str; 16] = [
    "invalid_message",
    "message_too_large",
    "rate_limited",
    "send_denied",
    "muted",
    "banned",
    "room_access_denied",
    "channel_access_denied",
    "room_limit_reached",
    "channel_limit_reached",
    "feature_disabled",
    "not_found",
    "already_exists",
    "invalid_role",
    "forbidden",
    "error",
];

/// The counters of one shard, and at the end what there is at the moment (`Shard::stats` brings that up to date).
/// Nothing but `u64`s.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections accepted, of clients and of feeds.
    pub accepted: [u64; 2],
    /// Connections refused because the connection table was full.
    pub refused: u64,
    /// Connections that ended, by `EndReason`.
    pub ended: [u64; EndReason::ALL.len()],
    /// HTTP requests.
    pub requests: u64,
    /// WebSocket messages from clients.
    pub received: u64,
    /// Those of them that were compressed.
    pub inflated: u64,
    /// Frames of the hub that were not done, by `FRAME_CODES`.
    pub frames_rejected: [u64; FRAME_CODES.len()],
    /// What has gone out.
    pub sent: Sent,
    /// Times that a socket was full.
    pub blocked: u64,
    /// Times that one had taken everything since.
    pub drained: u64,
    /// Times that a document's subscriber fell behind: it gets the latest state later.
    pub conflated: u64,
    /// Times that a channel's subscriber fell behind: it gets what it misses later.
    pub late: u64,
    /// Publications that late readers never got, because nothing held them any more.
    pub dropped: u64,
    /// Subscriptions answered: with the state, and without because the client had it or there is none.
    pub joins: [u64; 2],
    /// What was encoded.
    pub encoded: Encoded,
    /// Feed lines applied.
    pub lines: u64,
    /// Feed lines refused, by `CODES`.
    pub lines_refused: [u64; CODES.len()],
    /// Documents set, merged or patched.
    pub written: u64,
    /// Documents deleted.
    pub deleted: u64,
    /// Publications appended.
    pub published: u64,
    /// Connections there are.
    pub open: u64,
    /// Those of them whose socket is full.
    pub full: u64,
    /// Bytes of frames that wait for the broadcast in progress.
    pub backlog: u64,
    /// Documents owned.
    pub documents: u64,
    /// Channels owned.
    pub channels: u64,
    /// Lists owned.
    pub lists: u64,
    /// Pools.
    pub pools: u64,
    /// Users owned that have a connection.
    pub users: u64,
    /// Rooms that it owns.
    pub rooms: u64,
    /// Sessions owned.
    pub sessions: u64,
}

impl Stats {
    /// A feed line was refused.
    pub fn refuse_line(&mut self, code: &str) {
        let at = CODES.iter().position(|known| *known == code);
        debug_assert!(at.is_some(), "{code} is missing in CODES");
        self.lines_refused[at.unwrap_or(CODES.len() - 1)] += 1;
    }

    /// A frame of the hub was not done.
    pub fn reject_frame(&mut self, code: &str) {
        let at = FRAME_CODES.iter().position(|known| *known == code);
        debug_assert!(at.is_some(), "{code} is missing in FRAME_CODES");
        self.frames_rejected[at.unwrap_or(FRAME_CODES.len() - 1)] += 1;
    }
}

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// What there is at the moment.
    Gauge,
}

/// One metric: a series for each of its labels.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it tells, as a line.
    pub help: &'static str,
    /// The name of its label; empty if it is a single series.
    pub label: &'static str,
    /// The label's values.
    pub values: &'static [&'static str],
    /// The numbers, one for each value.
    pub read: fn(&Stats) -> &[u64],
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Stats) -> &[u64]) -> Metric {
    Metric { name, kind: Kind::Counter, help, label: "", values: &[""], read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Stats) -> &[u64]) -> Metric {
    Metric { kind: Kind::Gauge, ..counter(name, help, read) }
}

const fn by(label: &'static str, values: &'static [&'static str], metric: Metric) -> Metric {
    Metric { label, values, ..metric }
}

/// All metrics.
pub const METRICS: &[Metric] = &[
    by(
        "door",
        &["clients", "feed"],
        counter("fanfare_connections_accepted_total", "Connections accepted.", |s| &s.accepted),
    ),
    counter(
        "fanfare_connections_refused_total",
        "Connections refused because the connection table was full.",
        |s| from_ref(&s.refused),
    ),
    by(
        "reason",
        &EndReason::LABELS,
        counter("fanfare_connections_ended_total", "Connections that ended.", |s| &s.ended),
    ),
    counter("fanfare_requests_total", "HTTP requests, WebSocket handshakes included.", |s| {
        from_ref(&s.requests)
    }),
    counter("fanfare_messages_received_total", "WebSocket messages from clients.", |s| from_ref(&s.received)),
    counter(
        "fanfare_messages_inflated_total",
        "WebSocket messages from clients that were compressed.",
        |s| from_ref(&s.inflated),
    ),
    by(
        "code",
        &FRAME_CODES,
        counter("fanfare_hub_frames_rejected_total", "Frames of hub clients that the server refused.", |s| {
            &s.frames_rejected
        }),
    ),
    counter("fanfare_deliveries_total", "Frames delivered, counted once per connection.", |s| {
        from_ref(&s.sent.deliveries)
    }),
    counter("fanfare_sends_total", "Sends; one can carry many frames.", |s| from_ref(&s.sent.sends)),
    counter("fanfare_sent_bytes_total", "Bytes that sockets have taken.", |s| from_ref(&s.sent.bytes)),
    counter("fanfare_sends_blocked_total", "Sends that a full socket did not take completely.", |s| {
        from_ref(&s.blocked)
    }),
    counter(
        "fanfare_sockets_drained_total",
        "Times that a full socket had taken everything queued for it.",
        |s| from_ref(&s.drained),
    ),
    counter(
        "fanfare_conflated_total",
        "Times that a reader of documents fell behind and was left to get the latest state later.",
        |s| from_ref(&s.conflated),
    ),
    counter(
        "fanfare_late_total",
        "Times that a reader of a channel fell behind and was left to get what it missed later.",
        |s| from_ref(&s.late),
    ),
    counter(
        "fanfare_publications_dropped_total",
        "Publications that late readers did not get, because neither a history nor the tail held them any more.",
        |s| from_ref(&s.dropped),
    ),
    by(
        "state",
        &["sent", "none"],
        counter(
            "fanfare_joins_total",
            "Subscriptions started or resumed after falling behind: with state sent, or with none to send.",
            |s| &s.joins,
        ),
    ),
    counter("fanfare_frames_encoded_total", "Frames encoded, each for any number of connections.", |s| {
        from_ref(&s.encoded.frames)
    }),
    counter("fanfare_snapshots_encoded_total", "Encoded frames that hold a whole state.", |s| {
        from_ref(&s.encoded.snapshots)
    }),
    counter("fanfare_patches_encoded_total", "Encoded frames that hold a patch.", |s| {
        from_ref(&s.encoded.patches)
    }),
    counter(
        "fanfare_patch_saved_bytes_total",
        "Bytes that patches saved compared with the whole state.",
        |s| from_ref(&s.encoded.saved),
    ),
    counter("fanfare_frames_deflated_total", "Frames compressed, each for any number of connections.", |s| {
        from_ref(&s.encoded.deflated)
    }),
    counter("fanfare_deflate_in_bytes_total", "Bytes of the compressed frames before compression.", |s| {
        from_ref(&s.encoded.before)
    }),
    counter("fanfare_deflate_out_bytes_total", "Bytes of the compressed frames after compression.", |s| {
        from_ref(&s.encoded.after)
    }),
    counter("fanfare_feed_lines_total", "Feed lines applied.", |s| from_ref(&s.lines)),
    by(
        "code",
        &CODES,
        counter("fanfare_feed_lines_refused_total", "Feed lines refused.", |s| &s.lines_refused),
    ),
    counter("fanfare_documents_written_total", "Documents set, merged or patched.", |s| from_ref(&s.written)),
    counter("fanfare_documents_deleted_total", "Documents deleted.", |s| from_ref(&s.deleted)),
    counter("fanfare_publications_total", "Publications appended to channels.", |s| from_ref(&s.published)),
    gauge("fanfare_connections", "Connections.", |s| from_ref(&s.open)),
    gauge("fanfare_connections_full", "Connections whose socket is full.", |s| from_ref(&s.full)),
    gauge("fanfare_backlog_bytes", "Bytes of frames that wait for the broadcast in progress.", |s| {
        from_ref(&s.backlog)
    }),
    gauge("fanfare_documents", "Documents.", |s| from_ref(&s.documents)),
    gauge("fanfare_channels", "Channels that have had a publication.", |s| from_ref(&s.channels)),
    gauge("fanfare_lists", "Lists that are kept up to date.", |s| from_ref(&s.lists)),
    gauge("fanfare_pools", "Pools: sets of connections that share one subscription.", |s| from_ref(&s.pools)),
    gauge("fanfare_users", "Users with a connection.", |s| from_ref(&s.users)),
    gauge("fanfare_rooms", "Rooms.", |s| from_ref(&s.rooms)),
    gauge("fanfare_sessions", "Sessions that are open or can be resumed.", |s| from_ref(&s.sessions)),
];

#[cfg(test)]
mod tests {
    use super::{Kind, METRICS, Stats};
    use crate::shard::end_reason::EndReason;
    use std::collections::HashSet;

    #[test]
    fn every_field_is_one_series() {
        let stats = Stats::default();
        let mut places = HashSet::new();
        for metric in METRICS {
            let values = (metric.read)(&stats);
            assert_eq!(values.len(), metric.values.len(), "{}", metric.name);
            for value in values {
                assert!(places.insert(std::ptr::from_ref(value)), "{} shares a field", metric.name);
            }
            let counts = metric.name.ends_with("_total");
            assert_eq!(counts, metric.kind == Kind::Counter, "{}", metric.name);
        }
        assert_eq!(places.len(), size_of::<Stats>() / size_of::<u64>(), "a field without a metric");
    }

    #[test]
    fn reasons_have_their_labels() {
        for (at, reason) in EndReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert_eq!(format!("{reason:?}").to_lowercase(), EndReason::LABELS[at].replace('_', ""));
        }
    }

    /// `docs/src/metrics.md` has exactly these rows.
    #[test]
    fn the_manual_lists_every_metric() {
        let manual = include_str!("../../docs/src/metrics.md");
        let row = |metric: &super::Metric| {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let values: Vec<String> = metric.values.iter().map(|value| format!("`{value}`")).collect();
            let labels = match metric.label {
                "" => String::new(),
                label => format!("`{label}`: {}", values.join(", ")),
            };
            format!("| `{}` | {kind} | {labels} | {} |", metric.name, metric.help).replace("|  |", "| |")
        };
        let wanted: Vec<String> = METRICS.iter().map(row).collect();
        let written: Vec<&str> = manual.lines().filter(|line| line.starts_with("| `fanfare_")).collect();
        assert_eq!(written, wanted, "\n{}", wanted.join("\n"));
    }
}
