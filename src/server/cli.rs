//! The command line: what can be asked for, and who answers.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand};
use log::LevelFilter;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::flow::limits::Access;
use crate::flow::limits::documents::PatchMode;
use crate::server::boot::{self, BootPlan};
use crate::server::channel::{self, Listening};
use crate::server::config::values::{Address, Cores};
use crate::server::config::variables;
use crate::server::config::{DEFAULT_CONFIG, Settings};
use crate::server::doctor::{self, Severity};
use crate::server::error::ServerError;
use crate::server::events::EventFollower;
use crate::server::get;
use crate::server::probe::Probe;
use crate::server::publish::{self, Input, Verb};
use crate::server::subscribe::{self, Subscription};
use crate::wire::stream::Format;

const EXAMPLES: &str = "\
Examples:
  fanfare                                   serve on http://127.0.0.1:8800
  fanfare serve --demo                      the same, with data to look at
  fanfare pub things/1 '{\"name\":\"kettle\"}'  write a document
  fanfare sub 'things/*'                    follow all things
  fanfare doctor                            what this machine lacks

Settings: flags override FANFARE_... variables, these the file, it the defaults.
Exit codes: 0 ok, 1 failed, 2 wrong usage, 75 try again later (an address or the
feed is in use, io_uring is denied), 78 wrong settings.";

const PUB_HELP: &str = "\
KEY JSON    set KEY to JSON; a KEY that ends in '/*' gets a new item
KEY         (or KEY -) the same with each line of standard input
(nothing)   each line of standard input is an operation of the feed, such as
            {\"op\":\"merge\",\"key\":\"things/1\",\"data\":{\"price\":12}}

With --channel, the JSON (or each line) is a publication into that channel.

For each line that is applied, prints 'KEY VERSION' or 'CHANNEL OFFSET'; for one that is not,
'ID: CODE: MESSAGE' on standard error, where ID is the number of the line
unless an operation brings its own. Lines after a failed one are still sent;
the exit code is then 1. Empty lines are skipped.

Examples:
  fanfare pub things/1 '{\"name\":\"kettle\"}'
  fanfare pub --merge things/1 '{\"price\":12}'
  fanfare pub --del 'things/*'
  fanfare pub --channel news '{\"title\":\"Tea is ready\"}'
  tail -f events.ndjson | fanfare pub 'events/*'";

const SUB_HELP: &str = "\
Prints one line of JSON per change: the whole document as it is then, or with
--changes the message as it came: {\"snapshot\":true,\"version\":V,\"data\":VALUE},
or with false and RFC 6902 operations. The document of a key is an item with
its value under 'data', that of a pattern a list of items, newest first. When
the connection ends, it comes back after a while and goes on from the last
version. PATTERN '/' follows the server's clock.

With --channel, prints each publication of the channel as it came. After a
break it asks for what it has missed.

Examples:
  fanfare sub things/1
  fanfare sub 'things/*' --count 1     the present state, then end
  fanfare sub 'things/*' --changes     see the patches
  fanfare sub --channel news           follow a channel";

const GET_HELP: &str = "\
Prints what the server streams: items in the order of keys, as one JSON array,
one per line (ndjson), MessagePack one behind the other, or one CBOR array.

Examples:
  fanfare get 'things/*' | jq length
  fanfare get 'things/*' --format ndjson --where price:gt:10
  fanfare get 'things/*' --values --fields name,price --order -price --limit 5";

/// A broadcast tier: keeps the copies of many subscribers up to date, by snapshot and JSON Patch.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default command)
    Serve(ServeArgs),
    /// Write documents through the feed of a server on this machine
    #[command(after_help = PUB_HELP)]
    Pub(PubArgs),
    /// Follow a key or pattern and print it
    #[command(after_help = SUB_HELP)]
    Sub(SubArgs),
    /// Print the documents of a key or pattern
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
    /// Check what this machine and this shell offer to a server, and say what mends it
    Doctor,
    /// Check a settings file (and that its cores are ours), without serving
    CheckConfig {
        /// The file, TOML
        file: PathBuf,
    },
    /// Print a settings file with every setting, its default and its meaning
    DefaultConfig,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Settings file, TOML ('fanfare default-config' prints one)
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where clients come in; may be given several times [default: 127.0.0.1:8800]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<Address>,
    /// Where operators come in: /livez, /readyz, /metrics [default: 127.0.0.1:8801]
    #[arg(long, value_name = "ADDR")]
    admin: Option<Address>,
    /// The application's Unix socket [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH")]
    feed: Option<PathBuf>,
    /// Cores to serve on: 'all', a number of them, or a list (0,2 or 0-3 or 0,) [default: all]
    #[arg(long, value_name = "all|N|LIST")]
    cores: Option<Cores>,
    /// What clients may do without identity [default: write on loopback listeners, none elsewhere]
    #[arg(long, value_name = "none|read|write")]
    anonymous: Option<Access>,
    /// How changes travel: as a patch where it is smaller, never, or always [default: auto]
    #[arg(long, value_name = "auto|never|always")]
    patch: Option<PatchMode>,
    /// Origins of the web pages that may connect, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    origins: Vec<String>,
    /// Feed a built-in public data set, to have something to look at
    #[arg(long)]
    demo: bool,
    /// What goes to standard error: off, error, warn, info, debug or trace; FANFARE_LOG filters by module [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
}

#[derive(Debug, Args)]
struct PubArgs {
    /// The key to write; with --channel, the JSON to publish
    key: Option<String>,
    /// The value, JSON; '-' or nothing: read values from standard input
    #[arg(allow_negative_numbers = true)]
    json: Option<String>,
    /// Merge into the document, deep, instead of replacing it
    #[arg(long, requires = "key")]
    merge: bool,
    /// The JSON is a list of RFC 6902 operations on the document
    #[arg(long, requires = "key", conflicts_with = "merge")]
    patch: bool,
    /// Delete the key, or every key of a pattern
    #[arg(long, requires = "key", conflicts_with_all = ["merge", "patch", "json"])]
    del: bool,
    /// Publish into this channel
    #[arg(long, value_name = "NAME", conflicts_with_all = ["merge", "patch", "del", "json"])]
    channel: Option<String>,
    /// The type of what is published [default: message]
    #[arg(long = "type", value_name = "TYPE", requires = "channel")]
    kind: Option<String>,
    /// The server's feed [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH", env = "FANFARE_FEED", hide_env_values = true)]
    feed: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SubArgs {
    /// A key, or a pattern with '*' for a whole segment
    #[arg(required_unless_present = "channel", conflicts_with = "channel")]
    pattern: Option<String>,
    /// A channel instead
    #[arg(long, value_name = "NAME", conflicts_with = "changes")]
    channel: Option<String>,
    /// The server
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8800")]
    url: String,
    /// Print each message as it came instead of the whole document
    #[arg(long)]
    changes: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// By Server-Sent Events instead of WebSocket: one line per document that changes, patterns included
    #[arg(long)]
    sse: bool,
    /// End with an error when the connection ends
    #[arg(long)]
    no_reconnect: bool,
}

#[derive(Debug, Args)]
struct GetArgs {
    /// A key, or a pattern with '*' for a whole segment
    pattern: String,
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8800")]
    url: String,
    /// json, ndjson, msgpack or cbor
    #[arg(long, default_value = "json", value_parser = format)]
    format: Format,
    /// The bare values instead of the items
    #[arg(long)]
    values: bool,
    /// Only these fields of the values, such as name,price.net
    #[arg(long, value_name = "LIST")]
    fields: Option<String>,
    /// Only documents for which this holds (eq ne lt le gt ge contains); may be given several times
    #[arg(long = "where", value_name = "FIELD:OP:VALUE")]
    conditions: Vec<String>,
    /// By this field instead of by key; '-FIELD' falls
    #[arg(long, value_name = "[-]FIELD", allow_hyphen_values = true)]
    order: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Pass over so many
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
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

/// Reads the arguments, does what they ask for, and says why on standard error where that fails.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve(cli.serve));
    let level = match &command {
        Command::Serve(args) => args.log_level,
        _ => None,
    };
    start_log(level);
    match answer(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn answer(command: Command) -> Result<(), ServerError> {
    match command {
        Command::Serve(args) => boot::serve(&BootPlan::new(&settings(args)?)?),
        Command::Pub(args) => {
            publish::run(args.feed.clone().unwrap_or_else(boot::default_feed), &input(args))
        }
        Command::Sub(args) => {
            // Ctrl-C is how one ends it; that is no failure.
            for signal in [SIGTERM, SIGINT] {
                signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
            }
            let (url, changes, count, reconnect) = (args.url, args.changes, args.count, !args.no_reconnect);
            let pattern = args.pattern.unwrap_or_default().trim_start_matches('/').to_owned();
            match args.channel {
                _ if args.sse => {
                    let query = args.channel.map_or(("keys", pattern), |channel| ("channels", channel));
                    subscribe::keep_following(EventFollower::new(url, query, changes, count), reconnect)
                }
                Some(channel) => channel::run(Listening { url, channel, count, reconnect }),
                None => subscribe::run(Subscription { url, pattern, changes, count, reconnect }),
            }
        }
        Command::Get(args) => get::run(&wanted(args)),
        Command::Doctor => {
            let findings = doctor::examine(&Probe::take());
            for finding in &findings {
                say(&format!("{finding}\n"))?;
            }
            match findings.iter().any(|finding| finding.severity == Severity::Wrong) {
                true => Err(ServerError::Unfit),
                false => Ok(()),
            }
        }
        Command::CheckConfig { file } => {
            BootPlan::new(&Settings::from_file(&file)?)?;
            say(&format!("{}: ok\n", file.display()))
        }
        Command::DefaultConfig => say(DEFAULT_CONFIG),
    }
}

fn wanted(args: GetArgs) -> get::Request {
    let mut parameters: Vec<(&'static str, String)> = Vec::new();
    if args.values {
        parameters.push(("shape", "value".to_owned()));
    }
    let numbers = [("limit", args.limit), ("offset", args.offset)];
    let numbers = numbers.into_iter().filter_map(|(name, n)| Some((name, n?.to_string())));
    let texts = [("fields", args.fields), ("order", args.order)];
    parameters.extend(numbers);
    parameters.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text?))));
    parameters.extend(args.conditions.into_iter().map(|condition| ("where", condition)));
    let pattern = args.pattern.trim_start_matches('/').to_owned();
    get::Request { url: args.url, pattern, accept: args.format.media_type(), parameters }
}

/// Prints to standard output; that its reader is gone is no failure.
fn say(text: &str) -> Result<(), ServerError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn start_log(level: Option<LevelFilter>) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Info).parse_env("FANFARE_LOG");
    if let Some(level) = level {
        builder.filter_level(level);
    }
    builder.init();
}

/// File, variables and flags, the later over the earlier.
fn settings(args: ServeArgs) -> Result<Settings, ServerError> {
    let mut settings = match &args.config {
        Some(path) => Settings::from_file(path)?,
        None => Settings::default(),
    };
    // A name or value that is no UTF-8 is none of ours.
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    for name in variables::apply(&mut settings, text)? {
        log::warn!("{name} is set, but there is no such setting; 'fanfare default-config' lists them");
    }
    fn over<T>(setting: &mut T, flag: Option<T>) {
        if let Some(value) = flag {
            *setting = value;
        }
    }
    over(&mut settings.listen, Some(args.listen).filter(|list| !list.is_empty()));
    over(&mut settings.admin, args.admin);
    over(&mut settings.feed.path, args.feed.map(Some));
    over(&mut settings.cores, args.cores);
    over(&mut settings.anonymous, args.anonymous.map(Some));
    over(&mut settings.patch, args.patch);
    over(&mut settings.origins, Some(args.origins).filter(|list| !list.is_empty()));
    settings.demo |= args.demo;
    Ok(settings)
}

fn input(args: PubArgs) -> Input {
    let verb = match (args.merge, args.patch, args.del) {
        (true, ..) => Verb::Merge,
        (_, true, _) => Verb::Patch,
        (.., true) => Verb::Del,
        _ => Verb::Set,
    };
    if let Some(channel) = args.channel {
        let verb = Verb::Publish(args.kind);
        return match args.key.filter(|json| json != "-") {
            None => Input::Values(verb, channel),
            value => Input::One(verb, channel, value),
        };
    }
    match (args.key, args.json.filter(|json| json != "-")) {
        (None, _) => Input::Operations,
        (Some(key), None) if verb != Verb::Del => Input::Values(verb, key),
        (Some(key), value) => Input::One(verb, key, value),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, "patch = 'never'\norigins = ['https://a.example']").expect("it is ours");
        let path = file.path().to_str().expect("its name is text");
        let line = ["fanfare", "-c", path, "--patch", "always", "--listen", "[::1]:1", "--listen", "[::1]:2"];
        let read = settings(Cli::parse_from(line).serve).expect("right");
        assert_eq!(read.patch, PatchMode::Always);
        assert_eq!(read.listen.len(), 2);
        assert_eq!(read.origins, ["https://a.example"]);
    }

    #[test]
    fn no_command_is_serve_with_the_same_flags() {
        let bare = Cli::parse_from(["fanfare", "--demo", "--cores", "0,"]);
        assert!(bare.command.is_none() && bare.serve.demo && bare.serve.cores == Some(Cores::List(vec![0])));
    }
}
