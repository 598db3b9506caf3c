//! The arguments of the commands that talk to a server: `pub`, `sub` and `get`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::server::boot;
use crate::server::client::channel::ChannelFollower;
use crate::server::client::documents::DocumentFollower;
use crate::server::client::events::EventFollower;
use crate::server::client::follow::follow;
use crate::server::client::get::{self, DocumentQuery};
use crate::server::client::publish::{self, Input, Verb};
use crate::server::error::ServerError;
use crate::wire::stream::Format;

/// Shown below the flags of `pub`.
pub const PUB_HELP: &str = "\
KEY JSON    set KEY to JSON; a KEY that ends in '/*' creates an item under it
KEY         (or KEY -) the same for each line of standard input
(nothing)   each line of standard input is a feed operation, such as
            {\"op\":\"merge\",\"key\":\"things/1\",\"data\":{\"price\":12}}

With --channel, the JSON (or each line) is published to that channel.

Prints 'KEY VERSION' or 'CHANNEL OFFSET' for each line that is applied, and
'ID: CODE: MESSAGE' on standard error for each line that is refused. ID is the
line's number, or the operation's own id. Lines after a refused one are still
sent, and the exit code is 1. Empty lines are skipped.

Examples:
  fanfare pub things/1 '{\"name\":\"kettle\"}'
  fanfare pub --merge things/1 '{\"price\":12}'
  fanfare pub --del 'things/*'
  fanfare pub --channel news '{\"title\":\"Tea is ready\"}'
  tail -f events.ndjson | fanfare pub 'events/*'";

/// Shown below the flags of `sub`.
pub const SUB_HELP: &str = "\
Prints one line of JSON per change: the whole document after it or, with
--changes, the message as received: {\"snapshot\":true,\"version\":V,\"data\":VALUE},
or \"snapshot\":false and RFC 6902 operations. The document of a key is an item
with its value under 'data'; that of a pattern is a list of items, newest first.
When the connection ends, it reconnects and continues from the last version.
PATTERN '/' follows the server's clock.

With --channel, prints each publication of the channel as received. After a
reconnect it asks for the publications that it missed.

Examples:
  fanfare sub things/1
  fanfare sub 'things/*' --count 1     print the current state, then exit
  fanfare sub 'things/*' --changes     see the patches
  fanfare sub --channel news           follow a channel";

/// Shown below the flags of `get`.
pub const GET_HELP: &str = "\
Prints items in the order of keys: as one JSON array, one per line (ndjson),
MessagePack values one after the other, or one CBOR array.

Examples:
  fanfare get 'things/*' | jq length
  fanfare get 'things/*' --format ndjson --where price:gt:10
  fanfare get 'things/*' --values --fields name,price --order -price --limit 5";

/// The arguments of `fanfare pub`.
#[derive(Debug, Args)]
pub struct PubArgs {
    /// The key to write; with --channel, the JSON to publish
    key: Option<String>,
    /// The value, JSON; if it is '-' or absent, each line of standard input is a value
    #[arg(allow_negative_numbers = true)]
    json: Option<String>,
    /// Merge deeply into the document instead of replacing it
    #[arg(long, requires = "key")]
    merge: bool,
    /// The JSON is a list of RFC 6902 operations to apply to the document
    #[arg(long, requires = "key", conflicts_with = "merge")]
    patch: bool,
    /// Delete the key, or every key of a pattern
    #[arg(long, requires = "key", conflicts_with_all = ["merge", "patch", "json"])]
    del: bool,
    /// Publish to this channel
    #[arg(long, value_name = "NAME", conflicts_with_all = ["merge", "patch", "del", "json"])]
    channel: Option<String>,
    /// The type of the publication [default: message]
    #[arg(long = "type", value_name = "TYPE", requires = "channel")]
    kind: Option<String>,
    /// The server's feed socket [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH", env = "FANFARE_FEED", hide_env_values = true)]
    feed: Option<PathBuf>,
}

impl PubArgs {
    /// Sends the operations to the feed.
    ///
    /// # Errors
    /// The feed cannot be reached, or refuses a line.
    pub fn run(mut self) -> Result<(), ServerError> {
        let feed = self.feed.take().map_or_else(boot::default_feed, Ok)?;
        publish::run(feed, &self.input())
    }

    fn input(self) -> Input {
        let verb = match (self.merge, self.patch, self.del) {
            (true, ..) => Verb::Merge,
            (_, true, _) => Verb::Patch,
            (.., true) => Verb::Del,
            _ => Verb::Set,
        };
        if let Some(channel) = self.channel {
            let verb = Verb::Publish(self.kind);
            return match self.key.filter(|json| json != "-") {
                None => Input::Values(verb, channel),
                value => Input::One(verb, channel, value),
            };
        }
        match (self.key, self.json.filter(|json| json != "-")) {
            (None, _) => Input::Operations,
            (Some(key), None) if verb != Verb::Del => Input::Values(verb, key),
            (Some(key), value) => Input::One(verb, key, value),
        }
    }
}

/// The arguments of `fanfare sub`.
#[derive(Debug, Args)]
pub struct SubArgs {
    /// A key, or a pattern with '*' for a whole segment
    #[arg(required_unless_present = "channel", conflicts_with = "channel")]
    pattern: Option<String>,
    /// Follow this channel instead
    #[arg(long, value_name = "NAME", conflicts_with = "changes")]
    channel: Option<String>,
    /// The server's URL
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8800")]
    url: String,
    /// Print each message as received instead of the whole document
    #[arg(long)]
    changes: bool,
    /// Exit after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Use server-sent events instead of WebSocket; prints one line per document that changes, for patterns too
    #[arg(long)]
    sse: bool,
    /// Exit with an error when the connection ends
    #[arg(long)]
    no_reconnect: bool,
}

impl SubArgs {
    /// Follows the subscription and prints it.
    ///
    /// # Errors
    /// The server refuses; or the connection ends and `--no-reconnect` is given.
    pub fn run(self) -> Result<(), ServerError> {
        // Ctrl-C is the usual way to end it, not a failure.
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
        }
        let Self { url, changes, count, .. } = self;
        let reconnect = !self.no_reconnect;
        let pattern = self.pattern.unwrap_or_default().trim_start_matches('/').to_owned();
        match self.channel {
            channel if self.sse => {
                let query = channel.map_or(("keys", pattern), |channel| ("channels", channel));
                follow(EventFollower::new(url, query, changes, count), reconnect)
            }
            Some(channel) => follow(ChannelFollower::new(url, channel, count), reconnect),
            None => follow(DocumentFollower::new(url, pattern, changes, count), reconnect),
        }
    }
}

/// The arguments of `fanfare get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A key, or a pattern with '*' for a whole segment
    pattern: String,
    /// The server's URL
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8800")]
    url: String,
    /// The output format: json, ndjson, msgpack or cbor
    #[arg(long, default_value = "json", value_parser = format)]
    format: Format,
    /// Print the values of the items only
    #[arg(long)]
    values: bool,
    /// Print only these fields of the values, such as name,price.net
    #[arg(long, value_name = "LIST")]
    fields: Option<String>,
    /// Print only documents that meet this condition (eq ne lt le gt ge contains); repeatable
    #[arg(long = "where", value_name = "FIELD:OP:VALUE")]
    conditions: Vec<String>,
    /// Order by this field instead of by key; '-FIELD' reverses the order
    #[arg(long, value_name = "[-]FIELD", allow_hyphen_values = true)]
    order: Option<String>,
    /// Print at most N documents
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Skip the first N documents
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
}

impl GetArgs {
    /// Prints the documents.
    ///
    /// # Errors
    /// The server refuses, cannot be reached, or breaks off.
    pub fn run(self) -> Result<(), ServerError> {
        get::run(&self.query())
    }

    fn query(self) -> DocumentQuery {
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        if self.values {
            parameters.push(("shape", "value".to_owned()));
        }
        let numbers = [("limit", self.limit), ("offset", self.offset)];
        let numbers = numbers.into_iter().filter_map(|(name, n)| Some((name, n?.to_string())));
        let texts = [("fields", self.fields), ("order", self.order)];
        parameters.extend(numbers);
        parameters.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text?))));
        parameters.extend(self.conditions.into_iter().map(|condition| ("where", condition)));
        let pattern = self.pattern.trim_start_matches('/').to_owned();
        DocumentQuery { url: self.url, pattern, accept: self.format.media_type(), parameters }
    }
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "json" => Ok(Format::Json),
        "ndjson" => Ok(Format::Ndjson),
        "msgpack" => Ok(Format::Msgpack),
        "cbor" => Ok(Format::Cbor),
        _ => Err("give json, ndjson, msgpack or cbor".to_owned()),
    }
}
