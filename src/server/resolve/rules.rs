//! Resolves `[[rule]]`: overrides for some keys or channels.

use crate::flow::limits::channels::ChannelRule;
use crate::flow::limits::documents::Rule;
use crate::server::config::tables::RuleSettings;
use crate::server::error::ServerError;
use crate::server::resolve::units::{size, span};
use crate::wire::key::Name;

/// The rules for keys and the rules for channels, each in the order of the file.
///
/// # Errors
/// A rule makes no sense; the message names it by its pattern or channel.
pub fn rules(written: &[RuleSettings]) -> Result<(Vec<Rule>, Vec<ChannelRule>), ServerError> {
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
        (_, None, None) => wrong("sets nothing; give it patch or limit"),
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
    let set = [
        rule.overflow.is_some(),
        rule.history.is_some(),
        rule.history_bytes.is_some(),
        rule.history_age.is_some(),
    ];
    match set.contains(&true) {
        true => Ok(rule),
        false => wrong("sets nothing; give it overflow or history"),
    }
}
