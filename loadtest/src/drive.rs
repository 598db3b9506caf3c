//! The steps of one run: connect, settle, warm up, measure, drain, account. Its thread is client thread 0, and publishes.

use crate::document::Document;
use crate::feed::Feed;
use crate::marker::{self, Marker};
use crate::measure::{Account, Tally, histogram};
use crate::outcome::Outcome;
use crate::proc;
use crate::progress::Progress;
use crate::reader::{self, Reader, Task};
use crate::record::{Mark, Record, Sample};
use crate::scenario::{Content, Documents, Load, Pace, Plan, Upset};
use crate::schedule::{SECOND, Schedule};
use crate::shared::Shared;
use crate::target::Target;
use crate::verdict::judge;
use crate::worker::Worker;
use rustix::thread::{gettid, set_current_timer_slack};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;

const CONNECT_TIMEOUT: u64 = 60 * SECOND;
const DRAIN_TIMEOUT: u64 = 10 * SECOND;
/// How long the server may take to apply all documents, and a fast reader to have read them once.
const FILL_TIMEOUT: u64 = 300 * SECOND;
const SETTLE: u64 = SECOND / 2;
const WARM_UP: f64 = 0.5;
const SEED: u64 = 1;

/// The client side, as the command line sets it.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Client threads, at least 1.
    pub threads: usize,
    /// Thread `k` runs on core `pins[k % len]`; empty: anywhere.
    pub pins: Vec<usize>,
    /// Source addresses.
    pub sources: Vec<IpAddr>,
}

struct Drive<'a> {
    shared: Arc<Shared>,
    worker: Worker,
    others: Vec<JoinHandle<Result<Account, String>>>,
    tids: Vec<i32>,
    feed: Option<Feed>,
    document: Document,
    payload: String,
    record: Record,
    progress: Progress<'a>,
    pids: Vec<u32>,
    sample_every: u64,
    /// Completions given up after a stall.
    forgiven: u64,
}

/// Runs `plan` against `target`. The error is a sentence: the run did not take place.
pub fn run(plan: &Plan, target: &Target, setup: &Setup) -> Result<Outcome, String> {
    let shared =
        Arc::new(Shared::new(plan.clone(), target.wire.clone(), setup.sources.clone(), setup.threads));
    let (send, tids) = mpsc::channel();
    let mut others = Vec::new();
    for thread in 1..setup.threads {
        let (shared, send, setup) = (shared.clone(), send.clone(), setup.clone());
        let body = move || {
            if let Some(core) = setup.pins.get(thread % setup.pins.len().max(1)) {
                proc::pin(&[*core]);
            }
            // The main thread waits for this, and lives as long as we do.
            let _ = send.send(gettid().as_raw_nonzero().get());
            Ok(Worker::new(shared, thread)?.run())
        };
        others.push(
            std::thread::Builder::new().spawn(body).map_err(|e| format!("cannot start a thread: {e}"))?,
        );
    }
    if let Some(core) = setup.pins.first() {
        proc::pin(&[*core]);
    }
    // Wakes when asked to, not up to 50 us later. Where that is refused the schedule is less exact, and says so itself.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let mut all_tids = vec![gettid().as_raw_nonzero().get()];
    all_tids.extend(tids.iter().take(setup.threads - 1));
    let drive = Drive {
        worker: Worker::new(shared.clone(), 0)?,
        shared: shared.clone(),
        others,
        tids: all_tids,
        feed: None,
        document: Document::new(SEED),
        payload: String::new(),
        record: Record { lag: histogram(), ..Record::default() },
        progress: Progress::new(plan),
        pids: proc::tree(&target.pids),
        sample_every: ((plan.seconds / 200.0).max(0.1) * SECOND as f64) as u64,
        forgiven: 0,
    };
    let result = drive.run_steps(target);
    // After an error the other threads still run.
    shared.stop.store(true, Ordering::Release);
    result
}

impl Drive<'_> {
    fn run_steps(mut self, target: &Target) -> Result<Outcome, String> {
        let plan = self.shared.plan.clone();
        if plan.load != Load::Nothing {
            let feed = Feed::open(&target.feed)?;
            self.worker.watch(feed.as_fd())?;
            self.feed = Some(feed);
            if self.shared.wire.opens_with_state() {
                self.publish_round()?;
                self.wait(SETTLE)?;
            }
        }
        let streamed = match plan.upset {
            Upset::Stream(documents) => Some((documents, self.fill(documents)?)),
            _ => None,
        };
        self.shared.primed.store(self.shared.published.load(Ordering::Relaxed), Ordering::Relaxed);
        self.record.before = self.mark();
        self.connect()?;
        self.record.connected = self.mark();
        self.wait(SETTLE)?;
        self.pids = proc::tree(&target.pids);
        self.record.settled = self.mark();
        self.shared.hold.store(matches!(plan.upset, Upset::Slow(_)), Ordering::Relaxed);
        self.publish_for(WARM_UP, false)?;
        match streamed {
            Some((documents, task)) => self.measure_stream(documents, task)?,
            None => self.measure()?,
        }
        self.record.stopped = self.mark();
        self.drain()?;
        self.record.drained = self.mark();
        if matches!(plan.upset, Upset::Slow(_)) {
            self.shared.hold.store(false, Ordering::Relaxed);
            self.wait_for_silence()?;
        }
        if !plan.is_steady() && plan.load != Load::Nothing {
            // Shows what the last subscribers miss: so far nothing had to reach them.
            self.wait(SETTLE)?;
            self.publish_round()?;
            self.wait_for_silence()?;
        }
        self.finish(target)
    }

    fn measure(&mut self) -> Result<(), String> {
        self.shared.measured_from.store(self.shared.published.load(Ordering::Relaxed), Ordering::Relaxed);
        self.record.started = self.mark();
        self.publish_for(self.shared.plan.seconds, true)
    }

    /// Half of it without the stream, for comparison, half with it.
    fn measure_stream(&mut self, documents: Documents, task: Task) -> Result<(), String> {
        self.shared.calm_from.store(self.shared.published.load(Ordering::Relaxed), Ordering::Relaxed);
        self.record.calm = self.mark();
        self.publish_for(self.shared.plan.seconds, false)?;
        let reader = Reader::start(task)?;
        self.measure()?;
        let end = self.shared.now() + FILL_TIMEOUT;
        while documents.pace == Pace::Fast && !reader.has_one() && self.shared.now() < end {
            self.publish_for(1.0, true)?;
        }
        self.record.reading = Some(reader.stop()?);
        Ok(())
    }

    /// Feeds the documents and waits until the server has them all; how they are read.
    fn fill(&mut self, documents: Documents) -> Result<Task, String> {
        let Documents { count, size, pace } = documents;
        let value = "x".repeat(size.saturating_sub(2));
        for i in 0..count {
            let feed = self.feed.as_mut().ok_or("there is no publisher")?;
            feed.push_line(&format!("{{\"op\":\"set\",\"key\":\"loadtest/{i:08}\",\"data\":\"{value}\"}}"))?;
            while !self.feed.as_ref().is_none_or(Feed::has_room) {
                self.step(self.shared.now() + SECOND / 1000)?;
            }
        }
        let wire = &self.shared.wire;
        let (addr, host) = (wire.addr, wire.host.clone());
        let task = Task { addr, host, path: "/_/stream/loadtest/*".into(), pace, pids: self.pids.clone() };
        let end = self.shared.now() + FILL_TIMEOUT;
        while reader::total(&task)? != Some(count as u64) {
            if self.shared.now() > end {
                return Err(format!("the server does not have all {count} documents"));
            }
            self.wait(SECOND / 10)?;
        }
        self.record.samples.clear();
        Ok(task)
    }

    fn finish(mut self, target: &Target) -> Result<Outcome, String> {
        self.progress.clear();
        if let Some(feed) = self.feed {
            self.record.refused = feed.refused;
            self.record.refusal = feed.reason;
        }
        if let Ok(document) = serde_json::from_str(&self.payload) {
            self.shared.document.set(document).map_err(|_| "a run has one end")?;
        }
        self.shared.stop.store(true, Ordering::Release);
        let mut account = self.worker.finish();
        for thread in self.others {
            account.absorb(thread.join().map_err(|_| "a client thread panicked")??);
        }
        Ok(judge(&self.shared.plan, &target.name, self.record, account))
    }

    /// One round of everything: send, receive, sample.
    fn step(&mut self, until: u64) -> Result<(), String> {
        if let Some(feed) = &mut self.feed {
            feed.flush()?;
        }
        if self.worker.turn(until)
            && let Some(feed) = &mut self.feed
        {
            feed.handle_readable(&mut self.worker.buffer)?;
        }
        let now = self.shared.now();
        if self.record.samples.last().is_none_or(|last| now >= last.at + self.sample_every) {
            let tally = self.shared.tally();
            let delivered = tally.delivered + tally.slow_delivered;
            self.record.samples.push(Sample { at: now, delivered, rss: proc::rss(&self.pids) });
            self.progress.show(now, tally);
        }
        Ok(())
    }

    fn wait(&mut self, nanoseconds: u64) -> Result<(), String> {
        let end = self.shared.now() + nanoseconds;
        while self.shared.now() < end {
            self.step(end.min(self.shared.now() + self.sample_every))?;
        }
        Ok(())
    }

    /// Runs until `done`, but no longer than `limit`; true when done.
    fn wait_until(&mut self, limit: u64, done: impl Fn(&Shared, Tally) -> bool) -> Result<bool, String> {
        let end = self.shared.now() + limit;
        while self.shared.now() < end {
            if done(&self.shared, self.shared.tally()) {
                return Ok(true);
            }
            self.step(self.shared.now() + SECOND / 1000)?;
        }
        Ok(false)
    }

    /// Runs until nothing has arrived for half a second.
    fn wait_for_silence(&mut self) -> Result<(), String> {
        let end = self.shared.now() + DRAIN_TIMEOUT;
        let mut before = u64::MAX;
        while self.shared.now() < end && before != self.shared.tally().bytes {
            before = self.shared.tally().bytes;
            self.wait(SECOND / 2)?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), String> {
        let conns = self.shared.plan.conns as u64;
        self.shared.go.store(true, Ordering::Relaxed);
        self.wait_until(CONNECT_TIMEOUT, |_, tally| tally.ready + tally.gone >= conns)?;
        let tally = self.shared.tally();
        if tally.ready == conns {
            return Ok(());
        }
        Err(format!(
            "only {} of {conns} connections came up, {} failed{}",
            tally.ready,
            tally.gone,
            self.worker.why()
        ))
    }

    fn mark(&self) -> Mark {
        Mark {
            at: self.shared.now(),
            cpu: proc::cpu(&self.pids),
            rss: proc::rss(&self.pids),
            machine: proc::machine(),
            published: self.shared.published.load(Ordering::Relaxed),
            completed: self.shared.completed.load(Ordering::Relaxed),
            threads: self.shared.tallies(),
            busy: self.tids.iter().map(|tid| proc::own_thread_cpu(*tid)).collect(),
        }
    }

    fn publish(&mut self, sent: u64) {
        let Some(feed) = &mut self.feed else { return };
        let seq = self.shared.open_publication();
        let marker = Marker { seq, sent };
        self.payload = match self.shared.plan.content {
            Content::Bytes(size) => marker::value(marker, size),
            Content::Document => self.document.advance(marker),
        };
        feed.push(seq as usize % self.shared.plan.topics, &self.payload);
    }

    /// One publication to each topic.
    fn publish_round(&mut self) -> Result<(), String> {
        for _ in 0..self.shared.plan.topics {
            while !self.feed.as_ref().is_none_or(Feed::has_room) {
                self.step(self.shared.now() + SECOND / 1000)?;
            }
            self.publish(self.shared.now());
        }
        self.step(self.shared.now())
    }

    fn publish_for(&mut self, seconds: f64, measured: bool) -> Result<(), String> {
        let end = self.shared.now() + (seconds * SECOND as f64) as u64;
        match self.shared.plan.load {
            Load::Nothing => {}
            Load::Paced(rate) => self.publish_paced(rate, seconds, measured)?,
            Load::Saturate(window) => self.publish_windowed(window as u64, end)?,
        }
        let rest = end.saturating_sub(self.shared.now());
        self.wait(rest)
    }

    fn publish_paced(&mut self, rate: f64, seconds: f64, measured: bool) -> Result<(), String> {
        let start = self.shared.now();
        let end = start + (seconds * SECOND as f64) as u64;
        let mut schedule = Schedule::new(start, rate, seconds);
        let mut pushed_back = false;
        while let Some(due) = schedule.due() {
            let now = self.shared.now();
            if measured {
                self.upset(start, now, end);
            }
            let room = self.feed.as_ref().is_some_and(Feed::has_room);
            if due <= now && room {
                if measured && pushed_back {
                    self.record.pushed_back += 1;
                } else if measured {
                    self.record.lag.saturating_record(now - due);
                }
                schedule.advance();
                self.publish(due);
                continue;
            }
            // What comes after a publication that had to wait is late for the same reason, until we have caught up.
            pushed_back = due <= now && (pushed_back || !room);
            if now > end + 2 * SECOND {
                self.record.unsent = true;
                break;
            }
            let next = if due <= now { now + SECOND / 20_000 } else { due };
            self.step(next.min(now + self.sample_every))?;
        }
        self.shared.churning.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn publish_windowed(&mut self, window: u64, end: u64) -> Result<(), String> {
        let (mut moved_at, mut before) = (self.shared.now(), 0);
        loop {
            let now = self.shared.now();
            if now >= end {
                return Ok(());
            }
            let completed = self.shared.completed.load(Ordering::Relaxed);
            if completed != before {
                (before, moved_at) = (completed, now);
            } else if now > moved_at + SECOND {
                // Lost messages fill the window: the loss is counted, the run goes on.
                self.forgiven = self.shared.published.load(Ordering::Relaxed) - completed;
                self.record.stalls += 1;
                moved_at = now;
            }
            let done = completed + self.forgiven;
            while self.shared.published.load(Ordering::Relaxed) < done + window
                && self.feed.as_ref().is_some_and(Feed::has_room)
            {
                self.publish(self.shared.now());
            }
            self.step(end.min(now + SECOND / 200))?;
        }
    }

    /// Lets due storms and churn begin; both end before the publisher does.
    fn upset(&mut self, start: u64, now: u64, end: u64) {
        match self.shared.plan.upset {
            Upset::Calm | Upset::Slow(_) | Upset::Stream(_) => {}
            Upset::Churn(_) => {
                let on = now < end - (end - start) / 5;
                self.shared.churning.store(on, Ordering::Relaxed);
            }
            Upset::Storm(rounds) => {
                let begun = self.record.storms.len() as u64;
                let all = self.shared.tally().stated >= self.record.stated_due;
                if let Some(storm) = self.record.storms.last_mut()
                    && storm.is_nan()
                    && all
                {
                    *storm = (now - self.shared.storm_at.load(Ordering::Relaxed)) as f64 / 1e9;
                }
                let due = start + (end - start) * begun / u64::from(rounds);
                if begun < u64::from(rounds)
                    && now >= due
                    && self.record.storms.last().is_none_or(|s| !s.is_nan())
                {
                    self.record.storms.push(f64::NAN);
                    self.record.stated_due = self.shared.tally().stated + self.shared.plan.conns as u64;
                    self.shared.storm_at.store(now, Ordering::Relaxed);
                    self.shared.storms.fetch_add(1, Ordering::Release);
                }
            }
        }
    }

    /// Runs until everything published has arrived and every connection is back.
    fn drain(&mut self) -> Result<(), String> {
        let steady = self.shared.plan.is_steady();
        let conns = self.shared.plan.conns as u64;
        self.wait_until(DRAIN_TIMEOUT, |shared, tally| {
            let done = shared.completed.load(Ordering::Relaxed) >= shared.published.load(Ordering::Relaxed);
            if steady { done } else { tally.ready + tally.gone >= conns }
        })?;
        Ok(())
    }
}
