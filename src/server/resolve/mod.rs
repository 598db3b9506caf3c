//! Turns settings as written into limits: checked against each other, and in the units of the core.

pub mod hub;
pub mod routes;
pub mod rules;
pub mod streams;
pub mod units;

use std::net::SocketAddr;

use crate::flow::limits::channels::{ChannelRule, Retention};
use crate::flow::limits::trust::{Allowed, Exposure, Trust};
use crate::flow::limits::{Access, Limits};
use crate::server::config::Settings;
use crate::server::error::ServerError;
use crate::server::resolve::hub::hub;
use crate::server::resolve::routes::routes;
use crate::server::resolve::rules::rules;
use crate::server::resolve::streams::{sse, stream};
use crate::server::resolve::units::{size, span};

/// The limits that `settings` set for the shards.
///
/// # Errors
/// A setting makes no sense by itself or beside the others; the message names it.
pub fn limits(settings: &Settings) -> Result<Limits, ServerError> {
    let Settings { conn, feed, ooo, .. } = settings;
    check_addresses(settings)?;
    let (rules, mut channel_rules) = rules(&settings.rule)?;
    let routes = routes(&settings.route)?;
    // A route promises a catch-up, so its channels keep a history unless a rule says otherwise.
    let channels = routes.iter().filter_map(|route| route.channel.as_ref());
    channel_rules.extend(channels.map(|channel| ChannelRule {
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
        sse: sse(&settings.sse)?,
        routes,
        hub: hub(&settings.hub)?,
        patch: settings.patch,
        rules,
        channel_rules,
        anonymous: settings.listen.iter().map(|at| access(at.0, settings.anonymous)).collect(),
        exposure: settings.listen.iter().map(|at| Exposure::of(at.0.ip())).collect(),
        trust: Trust { origins: origins(&settings.origins)?, hosts: hosts(&settings.hosts)? },
    };
    if limits.pong_timeout <= limits.ping_interval {
        let reason = "must be longer than ping_interval, or every client is closed before it is pinged";
        return Err(ServerError::wrong("[ooo] pong_timeout", reason));
    }
    Ok(limits)
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

fn origins(written: &[String]) -> Result<Allowed, ServerError> {
    let one = |origin: &String| match origin.split_once("://") {
        _ if origin == "*" => Ok(origin.clone()),
        Some((scheme, host)) if !scheme.is_empty() && !host.is_empty() && !host.contains('/') => {
            Ok(origin.to_ascii_lowercase())
        }
        _ => {
            let advice = "give scheme://host or scheme://host:port without a path, or '*' for all";
            Err(ServerError::wrong("origins", format!("'{origin}' is not an origin: {advice}")))
        }
    };
    Ok(Allowed::new(written.iter().map(one).collect::<Result<_, _>>()?))
}

fn hosts(written: &[String]) -> Result<Allowed, ServerError> {
    let one = |host: &String| {
        let is_address = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) || host.contains(':') && !is_address {
            let advice = "give a name or an address without scheme and port, or '*' for all";
            return Err(ServerError::wrong("hosts", format!("'{host}' is not a host: {advice}")));
        }
        Ok(host.to_ascii_lowercase())
    };
    Ok(Allowed::new(written.iter().map(one).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::limits::hub::HubLimits;

    fn resolved(text: &str) -> Result<Limits, String> {
        let settings: Settings = toml::from_str(text).expect("the test's TOML");
        limits(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_manual() {
        let limits = resolved("").expect("the defaults");
        assert_eq!(limits.queue_bytes, 65_536);
        assert_eq!(limits.max_line, 16 << 20);
        assert_eq!(limits.pong_timeout, 150_000_000_000);
        assert_eq!(limits.anonymous, [Access::Write]);
    }

    #[test]
    fn what_is_not_set_has_the_default_of_the_limits() {
        let limits = resolved("").expect("the defaults");
        assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
    }

    #[test]
    fn the_hub_settings_and_the_history_of_rules_are_taken() {
        let limits = resolved(
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
        let access = |text: &str| resolved(text).expect("right").anonymous;
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
            ("origins", "origins = ['*', 'app.example']"),
            ("hosts", "hosts = ['https://app.example']"),
            ("hosts", "hosts = ['app.example:8800']"),
            ("hosts", "hosts = ['::1']"),
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
            let error = resolved(text).expect_err(text);
            assert!(error.starts_with(&format!("{name}: ")), "{text:?} gave {error}");
        }
    }

    #[test]
    fn the_channels_of_a_route_keep_a_history_unless_a_rule_says_otherwise() {
        let route = "[[route]]\npath = '/a/{x}'\nprofile = 'cella'\nchannel = 'a:{x}'";
        let history = |text: &str, channel: &str| {
            let limits = resolved(&format!("{route}\n{text}")).expect("right");
            limits.retention(channel, Retention::NOTHING).count
        };
        assert_eq!((history("", "a:1"), history("", "b:1")), (1000, 0));
        assert_eq!(history("[[rule]]\nchannel = 'a:*'\nhistory = 7", "a:1"), 7);
    }

    #[test]
    fn origins_and_hosts_are_kept_in_lower_case_and_a_star_is_all() {
        let trust = |text| resolved(text).expect("right").trust;
        let listed = |one: &str| Allowed::Listed(vec![one.into()]);
        assert_eq!(trust("origins = 'https://App.example:1'").origins, listed("https://app.example:1"));
        assert_eq!(trust("origins = ['https://a.example', '*']").origins, Allowed::All);
        assert_eq!(trust("hosts = 'App.example'").hosts, listed("app.example"));
        assert_eq!(trust("hosts = '[2001:DB8::1]'").hosts, listed("[2001:db8::1]"));
        assert_eq!(trust("hosts = '*'").hosts, Allowed::All);
    }

    #[test]
    fn only_a_loopback_address_cannot_be_reached_from_elsewhere() {
        let listen = "listen = ['127.0.0.2:1', '[::1]:1', '0.0.0.0:1', '[::]:2', '192.0.2.1:1']";
        use Exposure::{Loopback, Network};
        assert_eq!(
            resolved(listen).expect("right").exposure,
            [Loopback, Loopback, Network, Network, Network]
        );
    }
}
