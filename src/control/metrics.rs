//! The counters of all shards as Prometheus text.

use std::fmt::Write;

use crate::shard::stats::{Kind, METRICS, Stats};

/// The page for `/metrics`. `shards`: what each has counted, `None` for one that does not answer.
pub fn page(shards: &[Option<Box<Stats>>]) -> String {
    let mut page = MetricsPage(String::new());
    page.begin("fanfare_build_info", "The running version.", Kind::Gauge);
    page.line("fanfare_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    page.begin("fanfare_shard_up", "Whether the shard has answered this scrape.", Kind::Gauge);
    for (shard, stats) in shards.iter().enumerate() {
        page.line("fanfare_shard_up", &format!("shard=\"{shard}\""), stats.is_some().into());
    }
    for metric in METRICS {
        page.begin(metric.name, metric.help, metric.kind);
        for (shard, stats) in shards.iter().enumerate() {
            let Some(stats) = stats else { continue };
            for (value, label) in (metric.read)(stats).iter().zip(metric.values) {
                let label = match metric.label {
                    "" => String::new(),
                    name => format!(",{name}=\"{label}\""),
                };
                page.line(metric.name, &format!("shard=\"{shard}\"{label}"), *value);
            }
        }
    }
    page.0
}

struct MetricsPage(String);

impl MetricsPage {
    fn begin(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes all");
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        writeln!(self.0, "{name}{{{labels}}} {value}").expect("a String takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::shard::stats::{METRICS, Stats};

    fn stats() -> Option<Box<Stats>> {
        Some(Box::new(Stats { ended: [1, 2, 3, 4, 5, 6, 7, 8, 9], pools: 8, ..Stats::default() }))
    }

    #[test]
    fn every_value_stands_at_its_name() {
        let text = page(&[stats(), stats()]);
        for line in [
            "# TYPE fanfare_connections_ended_total counter",
            "fanfare_connections_ended_total{shard=\"0\",reason=\"gone\"} 1",
            "fanfare_connections_ended_total{shard=\"1\",reason=\"stopping\"} 7",
            "fanfare_connections_accepted_total{shard=\"0\",door=\"feed\"} 0",
            "# TYPE fanfare_pools gauge",
            "fanfare_pools{shard=\"1\"} 8",
            "fanfare_shard_up{shard=\"1\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let series: usize = METRICS.iter().map(|metric| metric.values.len()).sum();
        assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count(), 1 + 2 * (1 + series));
    }

    #[test]
    fn a_shard_that_does_not_answer_is_down_and_has_no_other_series() {
        let text = page(&[stats(), None]);
        let second: Vec<&str> = text.lines().filter(|line| line.contains("shard=\"1\"")).collect();
        assert_eq!(second, ["fanfare_shard_up{shard=\"1\"} 0"]);
    }

    /// The counters of shards have rows there, which another test compares.
    #[test]
    fn the_manual_names_every_metric() {
        let manual = include_str!("../../docs/src/metrics.md");
        let text = page(&[]);
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
            assert!(manual.contains(&format!("`{name}`")), "{name} is not in the manual");
        }
    }
}
