//! The command line.

use crate::scenario::{Dialect, Overrides, Pace, Scenario, Transport};
use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;

/// The explanation of the numbers, for `--help` and the HTML report.
pub const NUMBERS: &str = "\
What the numbers mean:
  connects/s            connections opened per second, handshake and subscription included
  memory per connection growth of the server's resident memory from none to all connections, divided by them
  published/s           publications per second handed to the server (saturate: that reached every subscriber)
  deliveries/s          publications received, counted once per subscriber, per second
  latency               from the moment a publication was due (not when it was sent) to its arrival at each subscriber
  to the last           the same to the arrival at the last subscriber of all: how long one broadcast takes
  to state              from the drop (storm, churn) or the connect to the first message with the subscriber's state
  p50 p90 p99 p99.9 max half, 90 %, ... of all values are at most this
  publisher late        how late the load test handed publications over by its own fault; it is part of the latency
  lost                  publications that a subscriber should have received and never did, by sequence numbers
  duplicates, order     received twice; received after a later one
  server CPU            CPU time of all threads of the server in the measured part, also per delivery, and its share
                        in user space (10 ms clock ticks); the kernel's part includes delivering over the loopback
  LOSS                  what the server got wrong; INVALID: why the numbers do not describe the server
  server memory         resident bytes with idle connections, and at the highest
  frames per read       above 1: the server merges several messages into one write
  bytes per delivery    bytes on the wire for one delivery
  client busy           share of its time that the busiest client thread worked; above 90 % with more than 32 sockets
                        waiting at each poll the client is the bottleneck and the run is INVALID
  update, snapshot      ooo dialect: mean bytes of an update and of the whole document, and their ratio
  slow connections      those that stopped reading: how many the server closed, how many publications they received
                        once they read again, and how many they missed (a document goes to its latest state)
  memory for them       growth of the server's memory over that with idle connections
  connections replaced  dropped by the load test and opened again (storm, churn)
  stream                items per second that the reader received, whole responses, bytes per second
  first byte            from the request to the first byte of the body, at worst
  latency without it    latency in the same run before the stream began
  p99 with it           the 99th percentile of the streaming half, as a multiple of that of the half before
  memory for it         growth of the server's memory over that before the stream
  CPU per item          the server's CPU in the streaming half beyond that of the half before, per streamed item
  right documents       subscribers whose folded copy equals the publisher's document at the end

Exit codes: 0 every run valid and nothing lost; 1 loss, or an invalid run, or no run at all; 2 wrong usage.

The manual page docs/src/loadtest.md has commands for other servers.";

/// Drives a broadcast server with many subscribers and prints what it delivered, how fast, at what cost.
///
/// Without arguments it starts a fanfare of its own and takes about ten seconds for fanout, saturate and patch.
#[derive(Parser, Debug)]
#[command(version, after_long_help = NUMBERS)]
pub struct Args {
    /// Scenarios to run, one after the other, each on a fresh server
    pub scenarios: Vec<Scenario>,
    /// Subscribers
    #[arg(long)]
    pub conns: Option<usize>,
    /// Topics; connection i has topic i mod N
    #[arg(long)]
    pub topics: Option<usize>,
    /// Bytes of a publication's JSON value (at least 37)
    #[arg(long)]
    pub size: Option<usize>,
    /// Publications per second, all topics together
    #[arg(long)]
    pub rate: Option<f64>,
    /// Publications in flight (saturate)
    #[arg(long)]
    pub window: Option<usize>,
    /// Length of the measured part
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Protocol; by default the scenario's own, and raw for a --target
    #[arg(long)]
    pub dialect: Option<Dialect>,
    /// Transport: WebSocket, or server-sent events (hub, raw) [default: ws; sse for a --target sse://...]
    #[arg(long)]
    pub transport: Option<Transport>,
    /// Documents that the server holds and the reader streams (stream)
    #[arg(long, value_name = "N")]
    pub documents: Option<usize>,
    /// Bytes of the value of each (stream)
    #[arg(long, value_name = "BYTES")]
    pub document_size: Option<usize>,
    /// Pace of the reader (stream)
    #[arg(long)]
    pub reader: Option<Pace>,
    /// Client threads
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Source addresses of the subscribers, taken in turn (28,000 connections each)
    #[arg(long, value_delimiter = ',')]
    pub addrs: Vec<IpAddr>,
    /// Cores of the client threads, or `none`; by default the last one if the server that we start has another
    #[arg(long, value_name = "CORES|none")]
    pub pin: Option<String>,
    /// Cores of the server that we start [default: the first one, if there are several]
    #[arg(long, value_delimiter = ',')]
    pub server_cores: Vec<usize>,
    /// One more argument for the server that we start (repeatable), as in --server-arg=--patch=never
    #[arg(long, allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// A server that already runs: ws://HOST:PORT/PATH or sse://HOST:PORT/PATH, {t} is the topic's number
    #[arg(long, requires = "publisher")]
    pub target: Option<String>,
    /// Where to publish to it: unix:PATH, http://HOST:PORT/PATH or ws://HOST:PORT/PATH
    #[arg(long, requires = "target")]
    pub publisher: Option<String>,
    /// The body of one publication; {t} and {payload} are filled in [default: by dialect]
    #[arg(long, requires = "target")]
    pub body: Option<String>,
    /// Processes of the server that already runs, their children included
    #[arg(long, value_delimiter = ',', requires = "target")]
    pub server_pid: Vec<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Also write a page with plots, which needs no network
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

impl Args {
    /// What replaces the numbers of the scenarios' table.
    pub fn overrides(&self) -> Overrides {
        let raw = self.target.is_some().then_some(Dialect::Raw);
        let sse = self.target.as_ref().is_some_and(|target| target.starts_with("sse://"));
        Overrides {
            dialect: self.dialect.or(raw),
            transport: self.transport.or(sse.then_some(Transport::Sse)),
            conns: self.conns,
            topics: self.topics,
            size: self.size,
            rate: self.rate,
            window: self.window,
            seconds: self.seconds,
            documents: self.documents,
            document_size: self.document_size,
            reader: self.reader,
        }
    }
}
