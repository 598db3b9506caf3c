//! Counters and histograms.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// What one client thread has counted since the run began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Connections that are subscribed now.
    pub ready: u64,
    /// Connections that failed or were closed by the server.
    pub gone: u64,
    /// Connections that we closed in order to open them again.
    pub replaced: u64,
    /// Joining subscribers that have received their starting point.
    pub stated: u64,
    /// Publications received, each once per healthy connection.
    pub delivered: u64,
    /// The same for connections that stopped reading.
    pub slow_delivered: u64,
    /// Not received by connections that stopped reading.
    pub slow_missed: u64,
    /// Not received at all.
    pub lost: u64,
    /// Received again.
    pub duplicates: u64,
    /// Received after a later one.
    pub late: u64,
    /// Markers that were never published, or not on this topic.
    pub alien: u64,
    /// Payloads that are not what was sent (every 64th is compared).
    pub damaged: u64,
    /// Messages that do not apply to the subscriber's copy.
    pub broken: u64,
    /// Subscribers whose copy is not the publisher's document at the end.
    pub wrong: u64,
    /// Subscribers whose copy is the publisher's document at the end.
    pub right: u64,
    /// Messages without a marker.
    pub other: u64,
    /// Deliveries that came as a snapshot of the ooo dialect.
    pub snapshots: u64,
    /// Bytes of messages that were deliveries.
    pub message_bytes: u64,
    /// Bytes of all starting points.
    pub state_bytes: u64,
    /// Bytes read from sockets.
    pub bytes: u64,
    /// Reads from sockets.
    pub reads: u64,
    /// WebSocket frames.
    pub frames: u64,
    /// Polls that found something.
    pub polls: u64,
    /// Sockets they found.
    pub events: u64,
    /// Nanoseconds spent waiting in a spin: CPU time, but not work.
    pub spun: u64,
}

/// Expands to one operation on each counter, so that a new counter cannot be forgotten in a sum.
macro_rules! each {
    ($a:ident $op:tt $b:ident: $($field:ident)*) => { Tally { $($field: $a.$field $op $b.$field,)* } };
}

impl Tally {
    /// The sum.
    pub fn plus(self, b: Tally) -> Tally {
        each!(self + b: ready gone replaced stated delivered slow_delivered slow_missed lost duplicates late alien damaged broken wrong
            right other snapshots message_bytes state_bytes bytes reads frames polls events spun)
    }
}

/// A latency histogram: 1 ns to 120 s with three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("the bounds are right")
}

/// A histogram in figures, microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Values recorded.
    pub count: u64,
    /// Half are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
    /// Points `(share, microseconds)` for a plot.
    pub curve: Vec<(f64, f64)>,
}

impl Percentiles {
    /// Reads the figures off.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |share: f64| histogram.value_at_quantile(share) as f64 / 1e3;
        // Evenly spaced in the number of nines: 0, 0.2 .. 4.8 nines.
        let shares = (0..25).map(|step| 1.0 - 10f64.powf(-0.2 * f64::from(step)));
        let curve =
            if histogram.is_empty() { vec![] } else { shares.map(|share| (share, at(share))).collect() };
        let max = histogram.max() as f64 / 1e3;
        Percentiles {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max,
            curve,
        }
    }
}

/// What one thread knows at the end.
pub struct Account {
    /// Counters.
    pub tally: Tally,
    /// From the intended send time to each receiver.
    pub latency: Histogram<u64>,
    /// The same before the stream began (`stream`).
    pub calm: Histogram<u64>,
    /// From the intended send time to the last receiver.
    pub to_last: Histogram<u64>,
    /// From drop (or connect) until a joining subscriber has its state.
    pub to_state: Histogram<u64>,
    /// Why healthy connections ended.
    pub closed: BTreeMap<String, u64>,
    /// Why slow connections ended.
    pub slow_closed: BTreeMap<String, u64>,
    /// The first message that did not apply.
    pub fault: Option<String>,
}

impl Account {
    /// Nothing yet.
    pub fn new() -> Account {
        Account {
            tally: Tally::default(),
            latency: histogram(),
            calm: histogram(),
            to_last: histogram(),
            to_state: histogram(),
            closed: BTreeMap::new(),
            slow_closed: BTreeMap::new(),
            fault: None,
        }
    }

    /// Takes another thread's account in.
    pub fn absorb(&mut self, other: Account) {
        self.tally = self.tally.plus(other.tally);
        let pairs = [
            (&mut self.latency, &other.latency),
            (&mut self.calm, &other.calm),
            (&mut self.to_last, &other.to_last),
            (&mut self.to_state, &other.to_state),
        ];
        for (mine, its) in pairs {
            mine.add(its).expect("all histograms have the same bounds");
        }
        for (reason, n) in other.closed {
            *self.closed.entry(reason).or_default() += n;
        }
        for (reason, n) in other.slow_closed {
            *self.slow_closed.entry(reason).or_default() += n;
        }
        self.fault = self.fault.take().or(other.fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_the_histograms_precision() {
        let mut histogram = histogram();
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000).unwrap());
        let figures = Percentiles::of(&histogram);
        for (got, want) in
            [(figures.p50, 500e3), (figures.p90, 900e3), (figures.p99, 990e3), (figures.max, 1e6)]
        {
            assert!((got / want - 1.0).abs() < 0.002, "{got} for {want}");
        }
        assert!(figures.curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn accounts_of_threads_add_up() {
        let mut sum = Account::new();
        for thread in 1..=3 {
            let mut account = Account::new();
            account.tally.delivered = thread;
            account.latency.record(thread * 1000).unwrap();
            account.closed.insert("gone".into(), thread);
            sum.absorb(account);
        }
        assert_eq!((sum.tally.delivered, sum.latency.len(), sum.closed["gone"]), (6, 3, 6));
    }
}
