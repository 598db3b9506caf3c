//! The scenarios as data: each one is a [`Plan`], the command line may change its numbers.

use clap::ValueEnum;
use serde::Serialize;

/// What is to be shown about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// One topic, many subscribers, a steady rate: latency and CPU per delivery.
    Fanout,
    /// As fast as the server takes it, a fixed number of publications in flight: the most it delivers.
    Saturate,
    /// Every connection has a topic of its own: routing rather than fan-out.
    Topics,
    /// Connections that only stay: memory per connection.
    Idle,
    /// All connections drop at once and come back at once: time until every one has state again.
    Storm,
    /// A tenth of the connections stops reading, then reads on and must end with the right document.
    Slow,
    /// A real document of 43 KiB with small changes: bytes per update against the snapshot.
    Patch,
    /// Connections come and go while the server publishes.
    Churn,
    /// A reader streams a million documents while the server publishes: what that costs the subscribers, and in memory.
    Stream,
}

/// The protocol spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// fanfare's `/ws`: text frames, `subscribe`, channel publications.
    Hub,
    /// fanfare's `/{key}`: binary frames, snapshots and JSON Patches of documents.
    Ooo,
    /// Another server: each message holds one publication, in whatever wrapping; the path says which topic.
    Raw,
}

/// What carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// WebSocket.
    Ws,
    /// server-sent events.
    Sse,
}

/// How publications are offered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// None.
    Nothing,
    /// So many per second, on an open-loop schedule.
    Paced(f64),
    /// As fast as possible with so many in flight.
    Saturate(usize),
}

/// What a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A small JSON object of so many bytes.
    Bytes(usize),
    /// The next version of the real document.
    Document,
}

/// What disturbs the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Upset {
    /// Nothing.
    Calm,
    /// All connections drop and reconnect, so many times.
    Storm(u32),
    /// Every n-th connection stops reading until the publisher is done.
    Slow(usize),
    /// This share of all connections is replaced per second.
    Churn(f64),
    /// A reader streams documents in the second half.
    Stream(Documents),
}

/// What is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Documents {
    /// How many.
    pub count: usize,
    /// Bytes of each one's value.
    pub size: usize,
    /// How they are read.
    pub pace: Pace,
}

/// How a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// As fast as it comes, again and again.
    Fast,
    /// Less than a megabyte a second.
    Slow,
}

/// One run, fully described.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Which scenario this is.
    pub scenario: Scenario,
    /// Protocol.
    pub dialect: Dialect,
    /// What carries it.
    pub transport: Transport,
    /// Subscribers.
    pub conns: usize,
    /// Topics; connection `i` has topic `i % topics`, publication `s` goes to topic `s % topics`.
    pub topics: usize,
    /// What is published.
    pub content: Content,
    /// How it is offered.
    pub load: Load,
    /// What disturbs it.
    pub upset: Upset,
    /// Length of the measured part.
    pub seconds: f64,
}

/// Numbers from the command line that replace the table's.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--dialect`
    pub dialect: Option<Dialect>,
    /// `--transport`
    pub transport: Option<Transport>,
    /// `--conns`
    pub conns: Option<usize>,
    /// `--topics`
    pub topics: Option<usize>,
    /// `--size`
    pub size: Option<usize>,
    /// `--rate`
    pub rate: Option<f64>,
    /// `--window`
    pub window: Option<usize>,
    /// `--seconds`
    pub seconds: Option<f64>,
    /// `--documents`
    pub documents: Option<usize>,
    /// `--document-size`
    pub document_size: Option<usize>,
    /// `--reader`
    pub reader: Option<Pace>,
}

impl Scenario {
    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The plan of the table.
    pub fn plan(self) -> Plan {
        use Content::{Bytes, Document};
        use Dialect::{Hub, Ooo};
        use Load::{Nothing, Paced, Saturate};
        use Upset::{Calm, Churn, Slow, Storm, Stream};
        let million = Stream(Documents { count: 1_000_000, size: 400, pace: Pace::Fast });
        let (dialect, conns, topics, content, load, upset, seconds) = match self {
            Scenario::Fanout => (Hub, 1000, 1, Bytes(128), Paced(20.0), Calm, 5.0),
            Scenario::Saturate => (Hub, 500, 1, Bytes(128), Saturate(32), Calm, 5.0),
            Scenario::Topics => (Hub, 1000, 1000, Bytes(128), Paced(1000.0), Calm, 5.0),
            Scenario::Idle => (Hub, 10_000, 1, Bytes(128), Nothing, Calm, 3.0),
            Scenario::Storm => (Ooo, 2000, 1, Bytes(128), Paced(10.0), Storm(3), 6.0),
            Scenario::Slow => (Ooo, 500, 1, Bytes(4096), Paced(200.0), Slow(10), 10.0),
            Scenario::Patch => (Ooo, 100, 1, Document, Paced(50.0), Calm, 5.0),
            Scenario::Churn => (Hub, 1000, 1, Bytes(128), Paced(50.0), Churn(0.2), 5.0),
            Scenario::Stream => (Hub, 1000, 1, Bytes(128), Paced(20.0), million, 10.0),
        };
        let transport = Transport::Ws;
        Plan { scenario: self, dialect, transport, conns, topics, content, load, upset, seconds }
    }

    /// The table's plan with the command line's numbers. The error is a sentence for the user.
    pub fn plan_with(self, over: &Overrides) -> Result<Plan, String> {
        let mut plan = self.plan();
        plan.dialect = over.dialect.unwrap_or(plan.dialect);
        plan.transport = over.transport.unwrap_or(plan.transport);
        plan.conns = over.conns.unwrap_or(plan.conns);
        plan.seconds = over.seconds.unwrap_or(plan.seconds);
        // `topics` means a topic per connection, whatever their number.
        let own_topic = if plan.topics > 1 { plan.conns } else { 1 };
        plan.topics = over.topics.unwrap_or(own_topic);
        if let Some(size) = over.size {
            match &mut plan.content {
                Content::Bytes(bytes) => *bytes = size,
                Content::Document => return Err("--size: this scenario publishes a real document".into()),
            }
        }
        if let Some(rate) = over.rate {
            match &mut plan.load {
                Load::Paced(paced) => *paced = rate,
                _ => return Err(format!("--rate: {} is not paced", self.name())),
            }
        }
        if let Some(window) = over.window {
            match &mut plan.load {
                Load::Saturate(in_flight) => *in_flight = window,
                _ => return Err(format!("--window: {} is paced; give --rate", self.name())),
            }
        }
        match &mut plan.upset {
            Upset::Stream(documents) => {
                documents.count = over.documents.unwrap_or(documents.count);
                documents.size = over.document_size.unwrap_or(documents.size);
                documents.pace = over.reader.unwrap_or(documents.pace);
            }
            _ if (over.documents.or(over.document_size), over.reader) != (None, None) => {
                return Err(format!(
                    "--documents, --document-size, --reader: {} streams nothing",
                    self.name()
                ));
            }
            _ => {}
        }
        plan.check()?;
        Ok(plan)
    }
}

impl Plan {
    fn check(&self) -> Result<(), String> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let load_ok = match self.load {
            Load::Nothing => true,
            Load::Paced(rate) => positive(rate) && rate <= 1e6,
            Load::Saturate(window) => (1..=MAX_WINDOW).contains(&window),
        };
        if !load_ok {
            return Err(format!("--rate goes up to 1,000,000, --window from 1 to {MAX_WINDOW}"));
        }
        if self.conns == 0 || self.topics == 0 || self.topics > self.conns {
            return Err(
                "--conns and --topics are at least 1, and there are no more topics than connections".into()
            );
        }
        if !positive(self.seconds) || self.seconds > 3600.0 {
            return Err("--seconds is more than 0 and at most 3600".into());
        }
        if self.transport == Transport::Sse && self.dialect == Dialect::Ooo {
            return Err("the ooo dialect has no event streams: --dialect hub".into());
        }
        if let Upset::Stream(documents) = self.upset
            && !((1..=100_000_000).contains(&documents.count) && (2..=1 << 20).contains(&documents.size))
        {
            return Err("--documents is between 1 and 100,000,000, --document-size up to 1 MiB".into());
        }
        match (self.upset, self.content) {
            (Upset::Slow(_), _) | (_, Content::Document) if self.topics > 1 => {
                Err(format!("{} has one topic", self.scenario.name()))
            }
            (_, Content::Document) if self.dialect != Dialect::Ooo => Err("patch needs --dialect ooo".into()),
            _ => Ok(()),
        }
    }

    /// Connection `index` is one of those that stop reading.
    pub fn is_slow(&self, index: usize) -> bool {
        matches!(self.upset, Upset::Slow(every) if index.is_multiple_of(every))
    }

    /// Connections live as long as the run, so every publication has a known number of receivers.
    pub fn is_steady(&self) -> bool {
        matches!(self.upset, Upset::Calm | Upset::Slow(_) | Upset::Stream(_))
    }
}

/// The most publications in flight.
pub const MAX_WINDOW: usize = 4096;

/// What runs without arguments: about ten seconds in all.
pub fn quick() -> Vec<Plan> {
    [Scenario::Fanout, Scenario::Saturate, Scenario::Patch]
        .map(|scenario| Plan { seconds: 1.5, ..scenario.plan() })
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_table_is_a_sound_plan() {
        for &scenario in Scenario::value_variants() {
            let plan = scenario.plan_with(&Overrides::default()).unwrap();
            assert_eq!(plan.scenario, scenario);
        }
        assert!(quick().iter().all(|plan| plan.check().is_ok()));
    }

    #[test]
    fn overrides_replace_the_numbers_and_refuse_what_makes_no_sense() {
        let over = Overrides { conns: Some(7), rate: Some(3.0), ..Overrides::default() };
        let plan = Scenario::Topics.plan_with(&over).unwrap();
        assert_eq!((plan.conns, plan.topics, plan.load), (7, 7, Load::Paced(3.0)));
        assert!(Scenario::Saturate.plan_with(&over).is_err());
        let bad = [
            Overrides { window: Some(1), ..Overrides::default() },
            Overrides { conns: Some(0), ..Overrides::default() },
            Overrides { topics: Some(2000), ..Overrides::default() },
            Overrides { rate: Some(f64::NAN), ..Overrides::default() },
            Overrides { seconds: Some(0.0), ..Overrides::default() },
        ];
        assert!(bad.iter().all(|over| Scenario::Fanout.plan_with(over).is_err()));
        let hub = Overrides { dialect: Some(Dialect::Hub), ..Overrides::default() };
        assert!(Scenario::Patch.plan_with(&hub).is_err());
        let sse = Overrides { transport: Some(Transport::Sse), ..Overrides::default() };
        assert!(Scenario::Fanout.plan_with(&sse).is_ok() && Scenario::Storm.plan_with(&sse).is_err());
        let over = Overrides { documents: Some(9), reader: Some(Pace::Slow), ..Overrides::default() };
        let streamed = Documents { count: 9, size: 400, pace: Pace::Slow };
        assert_eq!(Scenario::Stream.plan_with(&over).unwrap().upset, Upset::Stream(streamed));
        assert!(Scenario::Fanout.plan_with(&over).is_err());
    }

    #[test]
    fn a_tenth_is_slow() {
        let plan = Scenario::Slow.plan();
        assert_eq!((0..plan.conns).filter(|&i| plan.is_slow(i)).count(), plan.conns / 10);
    }
}
