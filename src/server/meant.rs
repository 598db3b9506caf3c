//! Settings as meant: checked against each other, in the units that the lower floors count in.

use std::net::SocketAddr;

use bytesize::ByteSize;

use crate::flow::limits::channels::{ChannelRule, Retention};
use crate::flow::limits::documents::Rule;
use crate::flow::limits::hub::HubLimits;
use crate::flow::limits::stream::StreamLimits;
use crate::flow::limits::{Access, Limits};
use crate::server::config::{HubSettings, RuleSettings, Settings, StreamSettings};
use crate::server::doors;
use crate::server::error::ServerError;
use crate::server::values::Span;
use crate::wire::http::Origins;
use crate::wire::key::Name;

/// A size beyond this is a slip of the pen, and would not fit the frames' 32-bit arithmetic.
const MAX_SIZE: u64 = 1 << 30;

/// What `settings` mean for the shards.
///
/// # Errors
/// A setting makes no sense by itself or beside the others; the message names it.
pub fn limits(settings: &Settings) -> Result<Limits, ServerError> {
    let Settings { conn, feed, ooo, .. } = settings;
    check_addresses(settings)?;
    let (rules, mut channel_rules) = rules(&settings.rule)?;
    let routes = doors::routes(&settings.route)?;
    // a route promises a catch-up, so its channels have a past unless a rule says otherwise
    let promised = routes.iter().filter_map(|route| route.channel.as_ref());
    channel_rules.extend(promised.map(|channel| ChannelRule {
        channel: channel.glob(),
        history: Some(Retention::ROOM.count),
        ..ChannelRule::default()
    }));
    let limits = Limits {
        queue_bytes: size("[conn] queue_bytes", conn.queue_bytes)?,
        write_timeout: span("[conn] write_timeout", conn.write_timeout)?,
        handshake_timeout: span("[conn] handshake_timeout", conn.handshake_timeout)?,
        max_message: size("[conn] max_message", conn.max_message)?,
        deflate: conn.deflate,
        deflate_min: size("[conn] deflate_min", conn.deflate_min)?,
        max_line: size("[feed] max_line", feed.max_line)?,
        ping_interval: span("[ooo] ping_interval", ooo.ping_interval)?,
        pong_timeout: span("[ooo] pong_timeout", ooo.pong_timeout)?,
        max_body: size("[ooo] max_body", ooo.max_body)?,
        stream: stream(&settings.stream)?,
        sse: doors::sse(&settings.sse)?,
        routes,
        hub: hub(&settings.hub)?,
        patch: settings.patch,
        rules,
        channel_rules,
        anonymous: settings.listen.iter().map(|at| access(at.0, settings.anonymous)).collect(),
        origins: origins(&settings.origins)?,
    };
    if limits.pong_timeout <= limits.ping_interval {
        let reason = "must be longer than ping_interval, or every client is closed before it is asked";
        return Err(ServerError::wrong("[ooo] pong_timeout", reason));
    }
    Ok(limits)
}

fn hub(written: &HubSettings) -> Result<HubLimits, ServerError> {
    let some = |name: &str, number: u32| match number {
        0 => Err(ServerError::wrong(format!("[hub] {name}"), "must be more than 0")),
        number => Ok(number),
    };
    let number = |name: &str, number: u64| some(name, u32::try_from(number).unwrap_or(u32::MAX));
    Ok(HubLimits {
        implicit_channels: written.implicit_channels.0,
        ping_interval: span("[hub] ping_interval", written.ping_interval)?,
        max_message: size("[hub] max_message", written.max_message)?,
        queue_frames: number("queue_frames", written.queue_frames)? as usize,
        rate: some("rate", written.rate)?,
        burst: some("burst", written.burst)?,
        connections_per_user: some("connections_per_user", written.connections_per_user)?,
        rooms_per_user: some("rooms_per_user", written.rooms_per_user)?,
        channels_per_user: some("channels_per_user", written.channels_per_user)?,
        auto_create_rooms: written.auto_create_rooms,
        typing_timeout: span("[hub] typing_timeout", written.typing_timeout)?,
        presence_grace: span("[hub] presence_grace", written.presence_grace)?,
        presence_list: number("presence_list", written.presence_list)? as usize,
        session_ttl: match written.session_ttl.0.is_zero() {
            true => 0,
            false => span("[hub] session_ttl", written.session_ttl)?,
        },
    })
}

fn stream(written: &StreamSettings) -> Result<StreamLimits, ServerError> {
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

fn size(place: &str, written: ByteSize) -> Result<usize, ServerError> {
    match written.as_u64() {
        0 => Err(ServerError::wrong(place, "must be more than 0")),
        bytes @ 1..=MAX_SIZE => Ok(bytes as usize),
        _ => Err(ServerError::wrong(place, format!("{written} is too much; give at most 1GiB"))),
    }
}

/// Nanoseconds, more than none.
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

/// The rules for keys and those for channels, each in the order of the file.
fn rules(written: &[RuleSettings]) -> Result<(Vec<Rule>, Vec<ChannelRule>), ServerError> {
    let (mut keys, mut channels) = (Vec::new(), Vec::new());
    for rule in written {
        match (&rule.pattern, &rule.channel) {
            (Some(pattern), None) => keys.push(key_rule(pattern, rule)?),
            (None, Some(channel)) => channels.push(channel_rule(channel, rule)?),
            _ => return Err(ServerError::wrong("[[rule]]", "give it either a pattern or a channel")),
        }
    }
    Ok((keys, channels))
}

fn key_rule(pattern: &str, written: &RuleSettings) -> Result<Rule, ServerError> {
    let wrong = |reason: &str| Err(ServerError::wrong(format!("[[rule]] with pattern '{pattern}'"), reason));
    match (Name::parse(pattern), written.patch, written.limit) {
        (Err(why), ..) => wrong(&why.to_string()),
        _ if written.overflow.is_some() => wrong("overflow is for channels; documents are always conflated"),
        _ if written.history.is_some()
            || written.history_bytes.is_some()
            || written.history_age.is_some() =>
        {
            wrong("history is for channels")
        }
        (_, None, None) => wrong("says nothing; give it patch or limit"),
        (_, _, Some(0)) => wrong("limit must be more than 0"),
        (Ok(Name::Key(_)), _, Some(_)) => wrong("limit is for lists; the pattern needs a '*'"),
        (Ok(name), patch, limit) => Ok(Rule { name, patch, limit }),
    }
}

fn channel_rule(channel: &str, written: &RuleSettings) -> Result<ChannelRule, ServerError> {
    let wrong = |reason: &str| Err(ServerError::wrong(format!("[[rule]] with channel '{channel}'"), reason));
    if written.patch.is_some() || written.limit.is_some() {
        return wrong("patch and limit are for keys");
    }
    let place = |name: &str| format!("[[rule]] with channel '{channel}', {name}");
    let rule = ChannelRule {
        channel: channel.to_owned(),
        overflow: written.overflow,
        history: written.history,
        history_bytes: written.history_bytes.map(|bytes| size(&place("history_bytes"), bytes)).transpose()?,
        history_age: written.history_age.map(|age| span(&place("history_age"), age)).transpose()?,
    };
    let says = [
        rule.overflow.is_some(),
        rule.history.is_some(),
        rule.history_bytes.is_some(),
        rule.history_age.is_some(),
    ];
    match says.contains(&true) {
        true => Ok(rule),
        false => wrong("says nothing; give it overflow or history"),
    }
}

fn check_addresses(settings: &Settings) -> Result<(), ServerError> {
    // `Door::Clients` counts listeners in a byte.
    if settings.listen.is_empty() || settings.listen.len() > 256 {
        return Err(ServerError::wrong("listen", "give 1 to 256 addresses"));
    }
    let mut seen: Vec<SocketAddr> = Vec::new();
    for address in settings.listen.iter().chain([&settings.admin]).filter(|address| address.0.port() != 0) {
        if seen.contains(&address.0) {
            return Err(ServerError::wrong(
                "listen",
                format!("{} is named twice (listen and admin)", address.0),
            ));
        }
        seen.push(address.0);
    }
    Ok(())
}

fn access(listener: SocketAddr, anonymous: Option<Access>) -> Access {
    let unset = if listener.ip().is_loopback() { Access::Write } else { Access::None };
    anonymous.unwrap_or(unset)
}

fn origins(written: &[String]) -> Result<Origins, ServerError> {
    if written.iter().any(|origin| origin == "*") {
        return Ok(Origins::Any);
    }
    let one = |origin: &String| match origin.split_once("://") {
        Some((scheme, host)) if !scheme.is_empty() && !host.is_empty() && !host.contains('/') => {
            Ok(origin.to_ascii_lowercase())
        }
        _ => {
            let advice = "give scheme://host or scheme://host:port without a path, or '*' for all";
            Err(ServerError::wrong("origins", format!("'{origin}' is no origin: {advice}")))
        }
    };
    Ok(Origins::new(written.iter().map(one).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str) -> Result<Limits, String> {
        let settings: Settings = toml::from_str(text).expect("the test's TOML");
        limits(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_mean_what_the_manual_says() {
        let limits = meant("").expect("the defaults");
        assert_eq!(limits.queue_bytes, 65_536);
        assert_eq!(limits.max_line, 16 << 20);
        assert_eq!(limits.pong_timeout, 150_000_000_000);
        assert_eq!(limits.anonymous, [Access::Write]);
    }

    #[test]
    fn what_is_not_set_is_as_the_limits_have_it() {
        let limits = meant("").expect("the defaults");
        assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
    }

    #[test]
    fn the_hub_settings_and_the_history_of_rules_are_taken() {
        let limits = meant(
            "[hub]\nimplicit_channels = 'all'\nrate = 7\nsession_ttl = '30s'\n[[rule]]\nchannel = 'a*'\nhistory = 0\nhistory_bytes = '1KiB'",
        );
        let limits = limits.expect("right");
        assert_eq!(limits.hub.session_ttl, 30_000_000_000);
        let hub = HubLimits {
            implicit_channels: true,
            rate: 7,
            session_ttl: limits.hub.session_ttl,
            ..HubLimits::default()
        };
        assert_eq!(limits.hub, hub);
        let rule = &limits.channel_rules[0];
        assert_eq!((rule.history, rule.history_bytes, rule.history_age), (Some(0), Some(1024), None));
    }

    #[test]
    fn anonymous_writing_is_for_loopback_unless_set() {
        let access = |text: &str| meant(text).expect("right").anonymous;
        let listen = "listen = ['127.0.0.2:1', '[::1]:1', '0.0.0.0:1', '[::]:2', '192.0.2.1:1']\n";
        use Access::{None, Read, Write};
        assert_eq!(access(listen), [Write, Write, None, None, None]);
        assert_eq!(access(&format!("{listen}anonymous = 'read'")), [Read; 5]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, text) in [
            ("[conn] queue_bytes", "[conn]\nqueue_bytes = 0"),
            ("[sse] replay_limit", "[sse]\nreplay_limit = 0"),
            ("[sse] keepalive", "[sse]\nkeepalive = '0s'"),
            ("[[route]] with path 'a'", "[[route]]\npath = 'a'\nprofile = 'hub'"),
            ("[feed] max_line", "[feed]\nmax_line = '2GiB'"),
            ("[ooo] pong_timeout", "[ooo]\npong_timeout = '60s'"),
            ("[ooo] ping_interval", "[ooo]\nping_interval = '0s'"),
            ("[conn] write_timeout", "[conn]\nwrite_timeout = '300years'"),
            ("listen", "listen = []"),
            ("listen", "listen = ['127.0.0.1:9']\nadmin = '127.0.0.1:9'"),
            ("origins", "origins = ['app.example']"),
            ("origins", "origins = ['https://app.example/']"),
            ("[hub] ping_interval", "[hub]\nping_interval = '0s'"),
            ("[hub] rate", "[hub]\nrate = 0"),
            ("[hub] queue_frames", "[hub]\nqueue_frames = 0"),
            ("[[rule]] with pattern 'a'", "[[rule]]\npattern = 'a'\nhistory = 3"),
            ("[[rule]] with channel 'a', history_age", "[[rule]]\nchannel = 'a'\nhistory_age = '0s'"),
            ("[[rule]]", "[[rule]]\nlimit = 3"),
            ("[[rule]]", "[[rule]]\npattern = 'a'\nchannel = 'a'"),
            ("[[rule]] with channel 'a'", "[[rule]]\nchannel = 'a'"),
            ("[[rule]] with channel 'a'", "[[rule]]\nchannel = 'a'\nlimit = 3"),
            ("[[rule]] with pattern 'a'", "[[rule]]\npattern = 'a'\noverflow = 'disconnect'"),
            ("[[rule]] with pattern 'a'", "[[rule]]\npattern = 'a'"),
            ("[[rule]] with pattern 'a'", "[[rule]]\npattern = 'a'\nlimit = 3"),
            ("[[rule]] with pattern 'a/*'", "[[rule]]\npattern = 'a/*'\nlimit = 0"),
            ("[[rule]] with pattern '/a'", "[[rule]]\npattern = '/a'\npatch = 'never'"),
        ] {
            let error = meant(text).expect_err(text);
            assert!(error.starts_with(&format!("{name}: ")), "{text:?} gave {error}");
        }
    }

    #[test]
    fn the_channels_of_a_route_have_a_past_unless_a_rule_says_otherwise() {
        let route = "[[route]]\npath = '/a/{x}'\nprofile = 'cella'\nchannel = 'a:{x}'";
        let kept = |text: &str, channel: &str| {
            let limits = meant(&format!("{route}\n{text}")).expect("right");
            limits.retention(channel, Retention::NOTHING).count
        };
        assert_eq!((kept("", "a:1"), kept("", "b:1")), (1000, 0));
        assert_eq!(kept("[[rule]]\nchannel = 'a:*'\nhistory = 7", "a:1"), 7);
    }

    #[test]
    fn origins_are_compared_in_lower_case_and_a_star_is_all() {
        assert_eq!(
            meant("origins = 'https://App.example:1'").expect("right").origins,
            Origins::List(vec!["https://app.example:1".into()])
        );
        assert_eq!(meant("origins = ['https://a.example', '*']").expect("right").origins, Origins::Any);
    }
}
