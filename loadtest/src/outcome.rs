//! From what was recorded to what is reported, and the verdict on it.

use crate::measure::{Account, Percentiles, Tally};
use crate::proc::{Cpu, Machine};
use crate::reader::Reading;
use crate::scenario::{Dialect, Load, Pace, Plan, Upset};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// A client thread this busy cannot be trusted with latencies ...
const BUSY: f64 = 0.9;
/// ... if so many sockets wait for it at each poll.
const BEHIND: f64 = 32.0;
/// A publisher later than this (99th percentile, microseconds) did not offer the load that was asked for.
const LATE: f64 = 5000.0;
/// Cores that other processes may use before it is worth a note.
const OTHERS: f64 = 0.1;

/// The state of the world at one moment of a run.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// Nanoseconds of the run's clock.
    pub at: u64,
    /// The server's CPU so far.
    pub cpu: Cpu,
    /// The server's memory.
    pub rss: u64,
    /// What the whole machine did.
    pub machine: Machine,
    /// Publications handed over.
    pub published: u64,
    /// Publications that everyone has.
    pub completed: u64,
    /// Counters of each client thread.
    pub threads: Vec<Tally>,
    /// CPU seconds of each client thread.
    pub busy: Vec<f64>,
}

impl Mark {
    fn tally(&self) -> Tally {
        self.threads.iter().copied().fold(Tally::default(), Tally::plus)
    }
}

/// One point of the plots.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Nanoseconds of the run's clock.
    pub at: u64,
    /// Deliveries so far.
    pub delivered: u64,
    /// The server's resident bytes.
    pub rss: u64,
}

/// What the conductor wrote down.
#[derive(Debug)]
pub struct Record {
    /// Before the first connection.
    pub before: Mark,
    /// All connections up.
    pub connected: Mark,
    /// A moment later.
    pub settled: Mark,
    /// The part before the stream begins (`stream`).
    pub calm: Mark,
    /// The measured part begins.
    pub started: Mark,
    /// The publisher is done.
    pub stopped: Mark,
    /// What it published has arrived.
    pub drained: Mark,
    /// For the plots.
    pub samples: Vec<Sample>,
    /// How late publications were handed over by our own fault, nanoseconds.
    pub lag: Histogram<u64>,
    /// Publications that waited because the server did not take them.
    pub pushed_back: u64,
    /// The server never took all that was due.
    pub unsent: bool,
    /// Times that a window was full of lost publications.
    pub stalls: u64,
    /// Seconds that each storm took; NaN: not all came back.
    pub storms: Vec<f64>,
    /// The count of `stated` at which the present storm is over.
    pub stated_due: u64,
    /// Publications that the server refused.
    pub refused: u64,
    /// Its first reason.
    pub refusal: Option<String>,
    /// What the reader saw (`stream`).
    pub reading: Option<Reading>,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            before: Mark::default(),
            connected: Mark::default(),
            settled: Mark::default(),
            calm: Mark::default(),
            started: Mark::default(),
            stopped: Mark::default(),
            drained: Mark::default(),
            samples: Vec::new(),
            lag: crate::measure::histogram(),
            pushed_back: 0,
            unsent: false,
            stalls: 0,
            storms: Vec::new(),
            stated_due: 0,
            refused: 0,
            refusal: None,
            reading: None,
        }
    }
}

/// What a run says about documents (ooo dialect).
#[derive(Debug, Serialize)]
pub struct Documents {
    /// Mean bytes of the snapshot that a joining subscriber got.
    pub snapshot_bytes: f64,
    /// Mean bytes of an update.
    pub update_bytes: f64,
    /// Updates in percent of the snapshot.
    pub update_percent: f64,
    /// Deliveries that were snapshots, not patches.
    pub snapshots: u64,
    /// Checked copies that equal the publisher's document.
    pub right: u64,
    /// Checked copies that do not.
    pub wrong: u64,
}

/// What became of the connections that stopped reading.
#[derive(Debug, Serialize)]
pub struct Slow {
    /// How many there were.
    pub conns: u64,
    /// Why some ended.
    pub closed: BTreeMap<String, u64>,
    /// Publications that they received, in all, once they read again.
    pub received: u64,
    /// Publications that they did not: documents go to their latest state, channels follow the server's rule.
    pub missed: u64,
    /// The server's memory at its highest, above what it was with idle connections.
    pub rss_growth: u64,
}

/// What a stream was, and what it cost.
#[derive(Debug, Serialize)]
pub struct Streamed {
    /// Answers read to their end.
    pub passes: u64,
    /// Items read.
    pub items: u64,
    /// Items per second.
    pub items_per_s: f64,
    /// Bytes per second.
    pub bytes_per_s: f64,
    /// From a request to the first byte of its body, at worst.
    pub first_byte_us: f64,
    /// The server's memory at its highest, above what it was before.
    pub rss_growth: u64,
    /// The server's CPU beyond that of the part before, per item.
    pub cpu_us_per_item: f64,
    /// Latencies in the part before.
    pub calm_us: Percentiles,
    /// The 99th percentile with the stream, in those without.
    pub p99_ratio: f64,
}

/// One run's results. `--help` and the documentation explain each.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Outcome {
    pub plan: Plan,
    pub server: String,
    /// No loss and a trustworthy measurement.
    pub valid: bool,
    /// What the server got wrong.
    pub loss: Vec<String>,
    /// Why the numbers do not describe the server.
    pub invalid: Vec<String>,
    pub notes: Vec<String>,
    pub connects_per_s: f64,
    pub rss_before: u64,
    pub rss_connected: u64,
    pub rss_per_conn: f64,
    pub rss_peak: u64,
    pub span_s: f64,
    pub published: u64,
    pub published_per_s: f64,
    pub delivered: u64,
    pub delivered_per_s: f64,
    pub lost: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    pub alien: u64,
    pub damaged: u64,
    pub closed: BTreeMap<String, u64>,
    pub replaced: u64,
    pub latency_us: Percentiles,
    pub to_last_us: Percentiles,
    pub to_state_us: Percentiles,
    pub publish_lag_us: Percentiles,
    pub server_cpu_share: f64,
    pub server_cpu_us_per_delivery: f64,
    pub server_user_us_per_delivery: f64,
    pub wire_bytes_per_delivery: f64,
    pub frames_per_read: f64,
    pub client_busy: f64,
    pub ready_per_poll: f64,
    pub storms_s: Vec<Option<f64>>,
    pub documents: Option<Documents>,
    pub slow: Option<Slow>,
    pub stream: Option<Streamed>,
    pub samples: Vec<Sample>,
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

impl Outcome {
    /// Computes everything and judges it.
    pub fn new(plan: &Plan, server: &str, record: Record, account: Account) -> Outcome {
        let paced = !matches!(plan.load, Load::Saturate(_));
        // A saturated server always has some in flight; a paced one is measured until all have arrived.
        let (a, b) = (&record.started, if paced { &record.drained } else { &record.stopped });
        let (first, last, total) = (a.tally(), b.tally(), account.tally);
        let span = (b.at - a.at) as f64 / 1e9;
        let received = |tally: Tally| (tally.delivered + tally.slow_delivered) as f64;
        let deliveries = received(last) - received(first);
        let published = b.published - a.published;
        let rss_peak = record.samples.iter().map(|sample| sample.rss).max().unwrap_or(0);
        let connect_s = (record.connected.at - record.before.at) as f64 / 1e9;
        let (busy, ready) = client_load(a, b, span);
        let mut outcome = Outcome {
            plan: plan.clone(),
            server: server.to_owned(),
            valid: false,
            loss: vec![],
            invalid: vec![],
            notes: vec![],
            connects_per_s: ratio(plan.conns as f64, connect_s),
            rss_before: record.before.rss,
            rss_connected: record.settled.rss,
            rss_per_conn: (record.settled.rss as f64 - record.before.rss as f64) / plan.conns as f64,
            rss_peak,
            span_s: span,
            published,
            published_per_s: ratio(if paced { published } else { b.completed - a.completed } as f64, span),
            delivered: last.delivered - first.delivered,
            delivered_per_s: ratio(deliveries, span),
            lost: total.lost,
            duplicates: total.duplicates,
            out_of_order: total.late,
            alien: total.alien,
            damaged: total.damaged,
            replaced: total.replaced,
            latency_us: Percentiles::of(&account.latency),
            to_last_us: Percentiles::of(&account.to_last),
            to_state_us: Percentiles::of(&account.to_state),
            publish_lag_us: Percentiles::of(&record.lag),
            server_cpu_share: ratio(b.cpu.run - a.cpu.run, span),
            server_cpu_us_per_delivery: ratio((b.cpu.run - a.cpu.run) * 1e6, deliveries),
            server_user_us_per_delivery: ratio((b.cpu.user - a.cpu.user) * 1e6, deliveries),
            wire_bytes_per_delivery: ratio((last.bytes - first.bytes) as f64, deliveries),
            frames_per_read: ratio((last.frames - first.frames) as f64, (last.reads - first.reads) as f64),
            client_busy: busy,
            ready_per_poll: ready,
            storms_s: record.storms.iter().map(|s| s.is_finite().then_some(*s)).collect(),
            documents: (plan.dialect == Dialect::Ooo && plan.load != Load::Nothing).then(|| documents(total)),
            slow: matches!(plan.upset, Upset::Slow(_)).then(|| Slow {
                conns: (0..plan.conns).filter(|&index| plan.is_slow(index)).count() as u64,
                closed: account.slow_closed.clone(),
                received: total.slow_delivered,
                missed: total.slow_missed,
                rss_growth: rss_peak.saturating_sub(record.settled.rss),
            }),
            stream: record.reading.as_ref().map(|reading| streamed(reading, &record, &account)),
            closed: account.closed.clone(),
            samples: vec![],
        };
        outcome.judge(&record, &account);
        outcome.samples = record.samples;
        outcome
    }

    fn judge(&mut self, record: &Record, account: &Account) {
        let total = account.tally;
        let counted = [
            (total.lost, "publications were lost"),
            (total.duplicates, "publications came twice"),
            (total.late, "publications came out of order"),
            (total.alien, "messages were never published, or came on the wrong topic"),
            (total.damaged, "payloads were damaged"),
            (total.broken, "messages do not apply to the subscriber's copy"),
            (total.wrong, "subscribers hold a wrong document"),
            (account.closed.values().sum(), "connections ended that should have stayed"),
            (record.refused, "publications were refused"),
            (record.stalls, "times the window was full of publications that did not arrive"),
        ];
        self.loss = counted.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        self.judge_stream(record);
        self.loss.extend(
            account.fault.iter().chain(&record.refusal).map(|why| format!("the first reason: {why}")),
        );
        if self.storms_s.contains(&None) {
            self.loss.push("not every connection came back with its state".into());
        }
        if self.plan.load != Load::Nothing && self.delivered == 0 {
            self.invalid.push("nothing was delivered in the measured time".into());
        }
        if self.client_busy > BUSY && self.ready_per_poll > BEHIND {
            self.invalid.push(format!(
                "the client was the bottleneck: a client thread was {:.0} % busy with {:.0} sockets waiting at each poll \
                 (more --threads, fewer --conns)",
                self.client_busy * 100.0,
                self.ready_per_poll
            ));
        } else if self.client_busy > BUSY {
            self.notes.push("a client thread was busy all the time, but kept up".into());
        }
        if self.publish_lag_us.p99 > LATE {
            self.invalid
                .push(format!("our publisher was late by {:.1} ms (p99)", self.publish_lag_us.p99 / 1e3));
        }
        if record.unsent {
            self.invalid.push("the server did not take the publications at this rate".into());
        }
        if record.pushed_back > 0 {
            self.notes
                .push(format!("{} publications waited for the server to take them", record.pushed_back));
        }
        let (a, b) = (&record.started, &record.drained);
        let stolen = b.machine.stolen - a.machine.stolen;
        if stolen > 0.02 * self.span_s {
            self.notes.push(format!("the host took {:.0} ms of CPU time away", stolen * 1e3));
        }
        if a.rss == 0 {
            self.notes.push("no server process to watch (--server-pid): CPU and memory are missing".into());
        } else {
            let ours = b.cpu.run - a.cpu.run + b.busy.iter().sum::<f64>() - a.busy.iter().sum::<f64>();
            let others = (b.machine.busy - a.machine.busy - ours) / (b.at - a.at).max(1) as f64 * 1e9;
            if others > OTHERS {
                self.notes.push(format!("other processes used {:.0} % of a core meanwhile", others * 100.0));
            }
        }
        if cfg!(debug_assertions) {
            self.notes.push("a debug build of loadtest: use --release for numbers".into());
        }
        self.valid = self.loss.is_empty() && self.invalid.is_empty();
    }
}

impl Outcome {
    fn judge_stream(&mut self, record: &Record) {
        let (Some(reading), Upset::Stream(documents)) = (&record.reading, self.plan.upset) else { return };
        self.loss.extend(reading.fault.clone());
        if reading.passes > 0 && reading.last != documents.count as u64 {
            self.loss.push(format!("a stream had {} of {} documents", reading.last, documents.count));
        }
        if documents.pace == Pace::Fast && reading.passes == 0 {
            self.invalid.push("no stream was read to its end".into());
        }
    }
}

fn streamed(reading: &Reading, record: &Record, account: &Account) -> Streamed {
    let (calm, from, to) = (&record.calm, &record.started, &record.stopped);
    let seconds = |a: &Mark, b: &Mark| (b.at - a.at) as f64 / 1e9;
    let before = ratio(from.cpu.run - calm.cpu.run, seconds(calm, from));
    let extra = to.cpu.run - from.cpu.run - before * seconds(from, to);
    let calm_us = Percentiles::of(&account.calm);
    Streamed {
        passes: reading.passes,
        items: reading.items,
        items_per_s: ratio(reading.items as f64, reading.seconds),
        bytes_per_s: ratio(reading.bytes as f64, reading.seconds),
        first_byte_us: reading.first_byte,
        rss_growth: reading.rss_peak.saturating_sub(from.rss),
        cpu_us_per_item: ratio(extra * 1e6, reading.items as f64),
        p99_ratio: ratio(Percentiles::of(&account.latency).p99, calm_us.p99),
        calm_us,
    }
}

/// The busiest client thread: share of its time at work, and sockets that each of its polls found.
fn client_load(a: &Mark, b: &Mark, span: f64) -> (f64, f64) {
    let loads = (0..a.threads.len()).map(|thread| {
        let (from, to) = (a.threads[thread], b.threads[thread]);
        let spun = (to.spun - from.spun) as f64 / 1e9;
        let busy = ratio(b.busy[thread] - a.busy[thread] - spun, span).max(0.0);
        (busy, ratio((to.events - from.events) as f64, (to.polls - from.polls) as f64))
    });
    loads.max_by(|x, y| x.0.total_cmp(&y.0)).unwrap_or_default()
}

fn documents(total: Tally) -> Documents {
    let update_bytes = ratio(total.message_bytes as f64, total.delivered as f64);
    let snapshot_bytes = ratio(total.state_bytes as f64, total.stated as f64);
    Documents {
        snapshot_bytes,
        update_bytes,
        update_percent: ratio(update_bytes * 100.0, snapshot_bytes),
        snapshots: total.snapshots,
        right: total.right,
        wrong: total.wrong,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::scenario::Scenario;

    /// An outcome with made-up but plausible figures.
    pub fn example() -> (Record, Account) {
        let mut account = Account::new();
        let mark = |at: u64, delivered: u64, busy: f64| Mark {
            at,
            rss: 1 << 20,
            published: delivered / 10,
            completed: delivered / 10,
            threads: vec![Tally { delivered, polls: delivered, events: delivered * 10, ..Tally::default() }],
            busy: vec![busy],
            ..Mark::default()
        };
        account.tally.delivered = 1000;
        (1..=1000).for_each(|us| account.latency.record(us * 1000).unwrap());
        let record = Record {
            before: mark(0, 0, 0.0),
            connected: mark(100_000_000, 0, 0.0),
            settled: mark(600_000_000, 0, 0.0),
            started: mark(1_000_000_000, 0, 0.0),
            stopped: mark(2_000_000_000, 1000, 0.5),
            drained: mark(2_000_000_000, 1000, 0.5),
            samples: (0..20)
                .map(|i| Sample { at: i * 100_000_000, delivered: i * 50, rss: 1 << 20 })
                .collect(),
            ..Record::default()
        };
        (record, account)
    }

    fn judged(change: impl Fn(&mut Record, &mut Account)) -> Outcome {
        let (mut record, mut account) = example();
        change(&mut record, &mut account);
        Outcome::new(&Scenario::Fanout.plan(), "test", record, account)
    }

    #[test]
    fn a_clean_run_is_valid_and_its_rates_are_per_second() {
        let outcome = judged(|_, _| ());
        assert!(outcome.valid, "{:?} {:?}", outcome.loss, outcome.invalid);
        assert_eq!(
            (outcome.delivered, outcome.delivered_per_s, outcome.published_per_s),
            (1000, 1000.0, 100.0)
        );
        assert_eq!(outcome.client_busy, 0.5);
    }

    #[test]
    fn a_busy_client_with_waiting_sockets_makes_the_run_invalid() {
        let busy = judged(|record, _| record.drained.busy = vec![0.95]);
        assert!(busy.valid, "it kept up");
        let behind = judged(|record, _| {
            record.drained.busy = vec![0.95];
            record.drained.threads[0].polls = 100;
        });
        assert!(!behind.valid && behind.invalid[0].contains("bottleneck"));
    }

    #[test]
    fn a_late_publisher_makes_the_run_invalid_a_pushing_server_is_noted() {
        let late = judged(|record, _| record.lag.record_n(8_000_000, 10).unwrap());
        assert!(!late.valid && late.invalid[0].contains("late"));
        let pushed = judged(|record, _| record.pushed_back = 3);
        assert!(pushed.valid && pushed.notes[0].contains("3 publications waited"));
    }

    #[test]
    fn a_stream_is_compared_with_the_part_before_it() {
        let (mut record, mut account) = example();
        account.calm.record_n(495_000, 10).unwrap();
        record.calm = Mark { at: 0, ..record.started.clone() };
        record.started.cpu.run = 0.5;
        record.stopped.cpu.run = 2.0;
        let reading = Reading {
            passes: 1,
            items: 1_000_000,
            last: 1_000_000,
            seconds: 1.0,
            rss_peak: 3 << 20,
            ..Reading::default()
        };
        record.reading = Some(reading);
        let outcome = Outcome::new(&Scenario::Stream.plan(), "test", record, account);
        assert!(outcome.loss.is_empty(), "{:?}", outcome.loss);
        let stream = outcome.stream.unwrap();
        assert_eq!((stream.rss_growth, stream.items_per_s), (2 << 20, 1e6));
        assert!((stream.cpu_us_per_item - 1.0).abs() < 1e-9 && (stream.p99_ratio - 2.0).abs() < 0.01);
        let broken = judged_stream(|reading| reading.fault = Some("gone".into()));
        let short = judged_stream(|reading| reading.last = 7);
        assert!(!broken.loss.is_empty() && !short.loss.is_empty());
    }

    fn judged_stream(change: impl Fn(&mut Reading)) -> Outcome {
        let (mut record, account) = example();
        let mut reading = Reading { passes: 1, last: 1_000_000, ..Reading::default() };
        change(&mut reading);
        record.reading = Some(reading);
        Outcome::new(&Scenario::Stream.plan(), "test", record, account)
    }

    #[test]
    fn whatever_the_server_gets_wrong_is_a_loss() {
        let changes: [fn(&mut Tally); 7] = [
            |tally| tally.lost = 1,
            |tally| tally.duplicates = 1,
            |tally| tally.late = 1,
            |tally| tally.alien = 1,
            |tally| tally.damaged = 1,
            |tally| tally.broken = 1,
            |tally| tally.wrong = 1,
        ];
        for change in changes {
            let outcome = judged(|_, account| change(&mut account.tally));
            assert!(!outcome.valid && outcome.loss.len() == 1);
        }
        assert!(!judged(|_, account| account.closed = BTreeMap::from([("x".into(), 2)])).valid);
        assert!(!judged(|record, _| record.storms.push(f64::NAN)).valid);
    }
}
