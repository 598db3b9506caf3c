//! The figures of a run, computed from what it recorded.

use crate::measure::{Account, Percentiles, Tally};
use crate::reader::Reading;
use crate::record::{Mark, Record, Sample};
use crate::scenario::{Dialect, Load, Plan, Upset};
use serde::Serialize;
use std::collections::BTreeMap;

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

/// What happened to the connections that stopped reading.
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

/// What a reader streamed, and what that cost.
#[derive(Debug, Serialize)]
pub struct Streamed {
    /// Responses read to their end.
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

/// `a / b`; 0 if there is nothing to divide by.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

impl Outcome {
    /// Computes the figures of a run; `verdict` judges it.
    pub fn new(plan: &Plan, server: &str, record: &Record, account: &Account) -> Outcome {
        let paced = !matches!(plan.load, Load::Saturate(_));
        // A saturated server always has some in flight; a paced one is measured until all have arrived.
        let (a, b) = (&record.started, if paced { &record.drained } else { &record.stopped });
        let (first, last, total) = (a.tally(), b.tally(), account.tally);
        let span = (b.at - a.at) as f64 / 1e9;
        let received = |tally: Tally| (tally.delivered + tally.slow_delivered) as f64;
        let deliveries = received(last) - received(first);
        let published = b.published - a.published;
        let rss_peak = rss_peak(record);
        let connect_s = (record.connected.at - record.before.at) as f64 / 1e9;
        let (busy, ready) = client_load(a, b, span);
        Outcome {
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
            slow: matches!(plan.upset, Upset::Slow(_)).then(|| slow(plan, record, account)),
            stream: record.reading.as_ref().map(|reading| streamed(reading, record, account)),
            closed: account.closed.clone(),
            samples: record.samples.clone(),
        }
    }
}

fn slow(plan: &Plan, record: &Record, account: &Account) -> Slow {
    Slow {
        conns: (0..plan.conns).filter(|&index| plan.is_slow(index)).count() as u64,
        closed: account.slow_closed.clone(),
        received: account.tally.slow_delivered,
        missed: account.tally.slow_missed,
        rss_growth: rss_peak(record).saturating_sub(record.settled.rss),
    }
}

fn rss_peak(record: &Record) -> u64 {
    record.samples.iter().map(|sample| sample.rss).max().unwrap_or(0)
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
