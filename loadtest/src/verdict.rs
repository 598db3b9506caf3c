//! The verdict on a run: what the server got wrong, whether the numbers can be trusted, and what is worth a note.

use crate::measure::Account;
use crate::outcome::Outcome;
use crate::record::Record;
use crate::scenario::{Load, Pace, Plan, Upset};

/// A client thread this busy cannot be trusted with latencies ...
const BUSY: f64 = 0.9;
/// ... if so many sockets wait for it at each poll.
const BEHIND: f64 = 32.0;
/// A publisher later than this (99th percentile, microseconds) did not offer the load that was asked for.
const LATE: f64 = 5000.0;
/// Cores that other processes may use before it is worth a note.
const OTHERS: f64 = 0.1;

/// The figures of a run with the verdict on them.
pub fn judge(plan: &Plan, server: &str, record: Record, account: Account) -> Outcome {
    let mut outcome = Outcome::new(plan, server, &record, &account);
    find_loss(&mut outcome, &record, &account);
    find_invalid(&mut outcome, &record);
    note_machine(&mut outcome, &record);
    outcome.valid = outcome.loss.is_empty() && outcome.invalid.is_empty();
    outcome
}

/// What the server got wrong.
fn find_loss(outcome: &mut Outcome, record: &Record, account: &Account) {
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
    outcome.loss = counted.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    judge_stream(outcome, record);
    let reasons = account.fault.iter().chain(&record.refusal);
    outcome.loss.extend(reasons.map(|why| format!("the first reason: {why}")));
    if outcome.storms_s.contains(&None) {
        outcome.loss.push("not every connection came back with its state".into());
    }
}

fn judge_stream(outcome: &mut Outcome, record: &Record) {
    let (Some(reading), Upset::Stream(documents)) = (&record.reading, outcome.plan.upset) else { return };
    outcome.loss.extend(reading.fault.clone());
    if reading.passes > 0 && reading.last != documents.count as u64 {
        outcome.loss.push(format!("a stream had {} of {} documents", reading.last, documents.count));
    }
    if documents.pace == Pace::Fast && reading.passes == 0 {
        outcome.invalid.push("no stream was read to its end".into());
    }
}

/// Whether the client, the publisher or the load distort the numbers.
fn find_invalid(outcome: &mut Outcome, record: &Record) {
    if outcome.plan.load != Load::Nothing && outcome.delivered == 0 {
        outcome.invalid.push("nothing was delivered in the measured time".into());
    }
    if outcome.client_busy > BUSY && outcome.ready_per_poll > BEHIND {
        outcome.invalid.push(format!(
            "the client was the bottleneck: a client thread was {:.0} % busy with {:.0} sockets waiting at each poll \
             (more --threads, fewer --conns)",
            outcome.client_busy * 100.0,
            outcome.ready_per_poll
        ));
    } else if outcome.client_busy > BUSY {
        outcome.notes.push("a client thread was busy all the time, but kept up".into());
    }
    let lag = outcome.publish_lag_us.p99;
    if lag > LATE {
        outcome.invalid.push(format!("our publisher was late by {:.1} ms (p99)", lag / 1e3));
    }
    if record.unsent {
        outcome.invalid.push("the server did not take the publications at this rate".into());
    }
    if record.pushed_back > 0 {
        let waited = record.pushed_back;
        outcome.notes.push(format!("{waited} publications waited for the server to take them"));
    }
}

/// What else the machine did meanwhile.
fn note_machine(outcome: &mut Outcome, record: &Record) {
    let (a, b) = (&record.started, &record.drained);
    let stolen = b.machine.stolen - a.machine.stolen;
    if stolen > 0.02 * outcome.span_s {
        outcome.notes.push(format!("the host took {:.0} ms of CPU time away", stolen * 1e3));
    }
    if a.rss == 0 {
        outcome.notes.push("no server process to watch (--server-pid): CPU and memory are missing".into());
    } else {
        let ours = b.cpu.run - a.cpu.run + b.busy.iter().sum::<f64>() - a.busy.iter().sum::<f64>();
        let others = (b.machine.busy - a.machine.busy - ours) / (b.at - a.at).max(1) as f64 * 1e9;
        if others > OTHERS {
            outcome.notes.push(format!("other processes used {:.0} % of a core meanwhile", others * 100.0));
        }
    }
    if cfg!(debug_assertions) {
        outcome.notes.push("a debug build of loadtest: use --release for numbers".into());
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::measure::Tally;
    use crate::reader::Reading;
    use crate::record::{Mark, Sample};
    use crate::scenario::Scenario;
    use std::collections::BTreeMap;

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
        judge(&Scenario::Fanout.plan(), "test", record, account)
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
        let outcome = judge(&Scenario::Stream.plan(), "test", record, account);
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
        judge(&Scenario::Stream.plan(), "test", record, account)
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
