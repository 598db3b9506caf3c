//! The limits of channels: their history, and readers that are too slow.

use crate::base::time::SEC;

/// What happens when a reader is too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The change is left out; the latest state follows when the reader has caught up. For documents.
    Conflate,
    /// The reader is closed, with a reason. For channels.
    #[default]
    Disconnect,
    /// The oldest publications of the same channel make room. For channels.
    DropOldest,
    /// As `Conflate`, and frames that wait already make room for those that may not be left out. For presence and typing.
    Yield,
}

/// Overrides for some channels. Each setting comes from the first rule that has it.
#[derive(Clone, Debug, Default)]
pub struct ChannelRule {
    /// The channels' names: `*` matches any run of characters.
    pub channel: String,
    /// What happens when a reader is too slow.
    pub overflow: Option<Overflow>,
    /// How many publications are kept.
    pub history: Option<usize>,
    /// How many bytes of them.
    pub history_bytes: Option<usize>,
    /// For how many nanoseconds.
    pub history_age: Option<u64>,
}

impl ChannelRule {
    /// Whether it applies to a channel.
    pub(super) fn means(&self, name: &str) -> bool {
        let mut parts = self.channel.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

/// How much of a channel's history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Publications; 0: none.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
    /// Nanoseconds.
    pub age: u64,
}

impl Retention {
    /// The default of a channel.
    pub const NOTHING: Retention = Retention { count: 0, bytes: 16 << 20, age: 720 * 3600 * SEC };
    /// The default of a room, or of a route's channel.
    pub const ROOM: Retention = Retention { count: 1000, ..Retention::NOTHING };
}

/// How much of the latest publications of all channels a shard keeps for late readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailLimits {
    /// Bytes, with what an entry takes beside its text.
    pub bytes: usize,
    /// Nanoseconds.
    pub age: u64,
}

#[cfg(test)]
mod tests {
    use super::ChannelRule;

    #[test]
    fn a_star_in_a_channel_rule_is_any_run_of_characters() {
        for (rule, name, is) in [
            ("org:*", "org:1/2", true),
            ("org:*", "org:", true),
            ("org:*", "or", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*a", "bab", false),
            ("ab*ba", "aba", false),
        ] {
            let rule = ChannelRule { channel: rule.into(), ..ChannelRule::default() };
            assert_eq!(rule.means(name), is, "{} {name}", rule.channel);
        }
    }
}
