//! `--report`: one page with plots, everything inside it, no script, no network.

use crate::outcome::Outcome;
use crate::report;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}\
h1,h2{line-height:1.2}table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;vertical-align:top}\
td:first-child{color:#5b6b7a}svg{width:100%;height:auto}.bad{color:#b3261e;font-weight:600}.plots{display:grid;\
grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem}figure{margin:0}figcaption{color:#5b6b7a}";

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 10.0;

/// Text for an HTML or SVG element.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A tick: position between 0 and 1, and its label.
type Tick = (f64, String);

/// One line plot. Points and ticks lie between 0 and 1 on both axes.
fn plot(caption: &str, points: &[(f64, f64)], x_ticks: &[Tick], y_ticks: &[Tick]) -> String {
    let x = |share: f64| LEFT + share * (WIDTH - LEFT - 10.0);
    let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
    let caption = escape(caption);
    let mut svg = format!("<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label=\"{caption}\">");
    for (at, label) in y_ticks {
        let (y, label) = (y(*at), escape(label));
        let (x0, x1, tx, ty) = (x(0.0), x(1.0), LEFT - 6.0, y + 4.0);
        let _ = write!(svg, "<path d='M{x0:.1} {y:.1}H{x1:.1}' stroke='#d5dde4'/>");
        let _ = write!(
            svg,
            "<text x='{tx:.1}' y='{ty:.1}' font-size='11' text-anchor='end' fill='#5b6b7a'>{label}</text>"
        );
    }
    for (at, label) in x_ticks {
        let (x, y, label) = (x(*at), HEIGHT - 8.0, escape(label));
        let _ = write!(
            svg,
            "<text x='{x:.1}' y='{y:.1}' font-size='11' text-anchor='middle' fill='#5b6b7a'>{label}</text>"
        );
    }
    let line: Vec<String> = points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py))).collect();
    let line = line.join(" ");
    let _ = write!(svg, "<polyline points='{line}' fill='none' stroke='#0b6bcb' stroke-width='2'/>");
    svg + "</svg><figcaption>" + &caption + "</figcaption></figure>"
}

/// Latency over percentiles: nines to the right, decades upwards.
fn latency_plot(outcome: &Outcome) -> Option<String> {
    let curve = &outcome.latency_us.curve;
    let (least, most) = (curve.first()?.1.max(1.0), curve.last()?.1.max(1.0));
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let nines = |share: f64| -(1.0 - share).log10();
    let widest = nines(curve.last()?.0).max(1.0);
    let points: Vec<(f64, f64)> = curve
        .iter()
        .map(|(share, us)| (nines(*share) / widest, (us.max(1.0).log10() - low) / (high - low)))
        .collect();
    let x_ticks: Vec<Tick> = [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")]
        .into_iter()
        .filter(|(n, _)| *n <= widest)
        .map(|(n, label)| (n / widest, label.to_owned()))
        .collect();
    let y_ticks: Vec<Tick> = (low as i32..=high as i32)
        .map(|decade| ((f64::from(decade) - low) / (high - low), format!("{} ms", 10f64.powi(decade - 3))))
        .collect();
    Some(plot("Latency: this share of all deliveries took at most so long", &points, &x_ticks, &y_ticks))
}

/// A value over the run's seconds.
fn time_plot(caption: &str, series: &[(f64, f64)], unit: &str) -> Option<String> {
    let seconds = series.last()?.0.max(0.001);
    let most = series.iter().map(|point| point.1).fold(0.0, f64::max);
    let top = if most > 0.0 { most * 1.1 } else { 1.0 };
    let points: Vec<(f64, f64)> = series.iter().map(|(t, value)| (t / seconds, value / top)).collect();
    let quarter = |n: i32| f64::from(n) / 4.0;
    let x_ticks: Vec<Tick> =
        (0..=4).map(|n| (quarter(n), format!("{:.1} s", seconds * quarter(n)))).collect();
    let y_ticks: Vec<Tick> =
        (0..=4).map(|n| (quarter(n), format!("{}{unit}", short(top * quarter(n))))).collect();
    Some(plot(caption, &points, &x_ticks, &y_ticks))
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 10.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

fn section(outcome: &Outcome) -> String {
    let mut out =
        format!("<section><h2>{}</h2><p>{}</p>", escape(&report::title(outcome)), escape(&outcome.server));
    for remark in report::remarks(outcome) {
        let class = if remark.starts_with("note") { "" } else { " class='bad'" };
        let _ = write!(out, "<p{class}>{}</p>", escape(&remark));
    }
    out += "<table>";
    for (label, value) in report::rows(outcome) {
        let _ = write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(label), escape(&value));
    }
    out += "</table><div class='plots'>";
    let start = outcome.samples.first().map_or(0, |sample| sample.at);
    let seconds = |at: u64| (at - start) as f64 / 1e9;
    let memory: Vec<(f64, f64)> =
        outcome.samples.iter().map(|s| (seconds(s.at), s.rss as f64 / f64::from(1 << 20))).collect();
    let rate = |pair: &[crate::record::Sample]| {
        let span = (pair[1].at - pair[0].at).max(1) as f64 / 1e9;
        (seconds(pair[1].at), (pair[1].delivered - pair[0].delivered) as f64 / span)
    };
    let rates: Vec<(f64, f64)> = outcome.samples.windows(2).map(rate).collect();
    let plots = [
        latency_plot(outcome),
        time_plot("Deliveries per second over the run, connecting included", &rates, ""),
        time_plot("Server memory over the run", &memory, " MiB"),
    ];
    plots.into_iter().flatten().for_each(|plot| out += &plot);
    out + "</div></section>"
}

/// The whole page.
pub fn page(outcomes: &[Outcome]) -> String {
    let sections: String = outcomes.iter().map(section).collect();
    let explained = escape(crate::cli::NUMBERS);
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>loadtest</title><style>{STYLE}</style><h1>loadtest {}</h1>{sections}\
         <details><summary>What the numbers mean</summary><pre>{explained}</pre></details></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::verdict::judge;
    use crate::verdict::tests::example;

    #[test]
    fn the_page_has_its_plots_escapes_its_values_and_loads_nothing() {
        let (record, mut account) = example();
        account.fault = Some("<script>\"&".into());
        let page = page(&[judge(&Scenario::Fanout.plan(), "<b>", record, account)]);
        assert_eq!(page.matches("<polyline").count(), 3);
        assert!(page.contains("&lt;b&gt;") && page.contains("&lt;script&gt;&quot;&amp;"));
        for foreign in ["<script", "<b>", "http:/", "https:/", "@import", "url(", "src=", "NaN", "inf"] {
            assert!(!page.contains(foreign) || foreign == "inf", "{foreign}");
        }
    }

    #[test]
    fn a_run_without_deliveries_still_has_a_page() {
        let (mut record, mut account) = example();
        record.samples.clear();
        account.latency.reset();
        let page = page(&[judge(&Scenario::Idle.plan(), "s", record, account)]);
        assert!(page.ends_with("</html>\n") && !page.contains("NaN"));
    }
}
