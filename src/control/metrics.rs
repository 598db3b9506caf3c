//! The counters of all shards as Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shard::stats::{Kind, METRICS};

/// The page for `/metrics`. `snapshots`: the values of each shard, in the order of `METRICS`.
pub fn page(snapshots: &[impl AsRef<[AtomicU64]>]) -> String {
    let mut out = format!(
        "# HELP fanfare_build_info The running version.\n# TYPE fanfare_build_info gauge\n\
         fanfare_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut first = 0;
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let name = metric.name;
        writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help).expect("a String takes all");
        for (shard, snapshot) in snapshots.iter().enumerate() {
            for (value, label) in snapshot.as_ref()[first..].iter().zip(metric.values) {
                let value = value.load(Ordering::Relaxed);
                let label = match metric.label {
                    "" => String::new(),
                    name => format!(",{name}=\"{label}\""),
                };
                writeln!(out, "{name}{{shard=\"{shard}\"{label}}} {value}").expect("a String takes all");
            }
        }
        first += metric.values.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::shard::stats::Stats;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_value_stands_at_its_name() {
        let stats = Stats { ended: [1, 2, 3, 4, 5, 6, 7, 8, 9], pools: 8, ..Stats::default() };
        let snapshot: Vec<AtomicU64> = stats.values().map(AtomicU64::new).collect();
        let text = page(&[&snapshot[..], &snapshot[..]]);
        for line in [
            "# TYPE fanfare_connections_ended_total counter",
            "fanfare_connections_ended_total{shard=\"0\",reason=\"gone\"} 1",
            "fanfare_connections_ended_total{shard=\"1\",reason=\"stopping\"} 7",
            "fanfare_connections_accepted_total{shard=\"0\",door=\"feed\"} 0",
            "# TYPE fanfare_pools gauge",
            "fanfare_pools{shard=\"1\"} 8",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count(), 1 + 2 * Stats::VALUES);
    }
}
