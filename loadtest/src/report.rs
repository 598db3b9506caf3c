//! The results as text and as JSON.

use crate::measure::Percentiles;
use crate::outcome::{Documents, Outcome, Slow, Streamed};
use crate::scenario::{Load, Transport};
use serde_json::json;
use std::fmt::Write;

/// Rows of a label and a text.
type Rows = Vec<(&'static str, String)>;

/// The results, row by row; what did not happen has no row.
pub fn rows(outcome: &Outcome) -> Rows {
    let mut rows = vec![("connects/s", format!("{:.0}", outcome.connects_per_s))];
    let server_seen = outcome.rss_connected > 0;
    if server_seen {
        rows.push(("memory per connection", format!("{:.0} B", outcome.rss_per_conn)));
    }
    if outcome.plan.load != Load::Nothing {
        rows.extend(load_rows(outcome));
    }
    if server_seen {
        let (idle, peak) = (mib(outcome.rss_connected), mib(outcome.rss_peak));
        rows.push(("server memory", format!("{idle} with idle connections, {peak} at the highest")));
        rows.push(("server CPU", server_cpu(outcome)));
    }
    rows.push(("client busy", format!("{:.0} %", outcome.client_busy * 100.0)));
    rows
}

fn load_rows(outcome: &Outcome) -> Rows {
    let mut rows = vec![
        ("published/s", format!("{:.0}", outcome.published_per_s)),
        (
            "deliveries/s",
            format!("{:.0}   ({} in {:.2} s)", outcome.delivered_per_s, outcome.delivered, outcome.span_s),
        ),
    ];
    let timed = [
        ("latency", &outcome.latency_us),
        ("to the last", &outcome.to_last_us),
        ("to state", &outcome.to_state_us),
        ("publisher late", &outcome.publish_lag_us),
    ];
    rows.extend(
        timed
            .iter()
            .filter(|(_, figures)| figures.count > 0)
            .map(|(label, figures)| (*label, times(figures))),
    );
    for (round, storm) in outcome.storms_s.iter().enumerate() {
        let took =
            storm.map_or("not all came back".into(), |s| format!("all had state again after {s:.3} s"));
        rows.push(("storm", format!("{}: {took}", round + 1)));
    }
    if outcome.replaced > 0 {
        rows.push(("connections replaced", outcome.replaced.to_string()));
    }
    let (lost, twice, late) = (outcome.lost, outcome.duplicates, outcome.out_of_order);
    rows.push(("lost", format!("{lost}   duplicates {twice}   out of order {late}")));
    rows.push(("bytes per delivery", format!("{:.0}", outcome.wire_bytes_per_delivery)));
    rows.push(("frames per read", format!("{:.1}", outcome.frames_per_read)));
    rows.extend(outcome.documents.iter().flat_map(document_rows));
    rows.extend(outcome.stream.iter().flat_map(stream_rows));
    rows.extend(outcome.slow.iter().flat_map(slow_rows));
    rows
}

fn document_rows(docs: &Documents) -> Rows {
    let mut rows = Rows::new();
    let (update, whole, percent) = (docs.update_bytes, docs.snapshot_bytes, docs.update_percent);
    rows.push(("update, snapshot", format!("{update:.0} B of {whole:.0} B ({percent:.2} %)")));
    if docs.right + docs.wrong > 0 {
        rows.push(("right documents", format!("{} of {}", docs.right, docs.right + docs.wrong)));
    }
    rows
}

fn stream_rows(stream: &Streamed) -> Rows {
    let mut rows = Rows::new();
    let (rate, mib_s) = (stream.items_per_s, stream.bytes_per_s / f64::from(1 << 20));
    rows.push(("stream", format!("{rate:.0} items/s, {mib_s:.0} MiB/s, {} whole responses", stream.passes)));
    rows.push(("first byte", format!("{:.1} ms at worst", stream.first_byte_us / 1e3)));
    rows.push(("latency without it", times(&stream.calm_us)));
    rows.push(("p99 with it", format!("{:.2} times that without", stream.p99_ratio)));
    rows.push(("memory for it", format!("{} more at the highest", mib(stream.rss_growth))));
    // The cost per item needs a whole response.
    if stream.passes > 0 {
        rows.push(("CPU per item", format!("{:.3} us", stream.cpu_us_per_item)));
    }
    rows
}

fn slow_rows(slow: &Slow) -> Rows {
    let mut rows = Rows::new();
    let closed: u64 = slow.closed.values().sum();
    let (conns, got, missed) = (slow.conns, slow.received, slow.missed);
    rows.push((
        "slow connections",
        format!("{conns}, {closed} of them closed; {got} received, {missed} missed"),
    ));
    rows.extend(slow.closed.iter().map(|(why, n)| ("  closed", format!("{n}: {why}"))));
    rows.push(("memory for them", format!("{} more at the highest", mib(slow.rss_growth))));
    rows
}

fn server_cpu(outcome: &Outcome) -> String {
    let share = outcome.server_cpu_share * 100.0;
    if outcome.plan.load == Load::Nothing {
        return format!("{share:.1} % of a core");
    }
    let (all, user) = (outcome.server_cpu_us_per_delivery, outcome.server_user_us_per_delivery);
    format!("{all:.3} us per delivery, {user:.3} of it in user space; {share:.0} % of a core")
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1u64 << 20) as f64)
}

fn times(figures: &Percentiles) -> String {
    let ms = |us: f64| format!("{:.3}", us / 1e3);
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
        ms(figures.p50),
        ms(figures.p90),
        ms(figures.p99),
        ms(figures.p999),
        ms(figures.max)
    )
}

/// One line that says what was run.
pub fn title(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let load = match plan.load {
        Load::Nothing => "nothing published".to_owned(),
        Load::Paced(rate) => format!("{rate} publications/s"),
        Load::Saturate(window) => format!("{window} publications in flight"),
    };
    let over = if plan.transport == Transport::Sse { " over SSE" } else { "" };
    let topics = if plan.topics == 1 { "1 topic".to_owned() } else { format!("{} topics", plan.topics) };
    format!(
        "{}: {} connections, {topics}, {load}, {:?} dialect{over}",
        plan.scenario.name(),
        plan.conns,
        plan.dialect
    )
}

/// Verdict lines: loss, reasons of invalidity, notes.
pub fn remarks(outcome: &Outcome) -> Vec<String> {
    let loss = outcome.loss.iter().map(|text| format!("LOSS: {text}"));
    let invalid = outcome.invalid.iter().map(|text| format!("INVALID: {text}"));
    let notes = outcome.notes.iter().map(|text| format!("note: {text}"));
    loss.chain(invalid).chain(notes).collect()
}

/// The results for a terminal.
pub fn text(outcome: &Outcome) -> String {
    let mut out = format!("{}\n", title(outcome));
    for (label, value) in rows(outcome) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {label:22}{value}");
    }
    for remark in remarks(outcome) {
        let _ = writeln!(out, "  {remark}");
    }
    out
}

/// The results of all runs as one JSON object.
pub fn json(outcomes: &[Outcome]) -> String {
    let valid = outcomes.iter().all(|outcome| outcome.valid);
    json!({ "loadtest": env!("CARGO_PKG_VERSION"), "valid": valid, "runs": outcomes }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::scenario::Scenario;
    use crate::verdict::judge;
    use crate::verdict::tests::example;
    use serde_json::Value;

    #[test]
    fn text_and_json_show_the_figures_and_the_verdict() {
        let (record, mut account) = example();
        account.tally.lost = 3;
        let outcome = judge(&Scenario::Fanout.plan(), "srv", record, account);
        let text = text(&outcome);
        for part in
            ["fanout: 1000 connections", "deliveries/s", "p99 0.990", "LOSS: 3 publications were lost"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json: Value = serde_json::from_str(&json(&[outcome])).unwrap();
        assert_eq!((json["valid"].as_bool(), json["runs"][0]["lost"].as_u64()), (Some(false), Some(3)));
    }
}
