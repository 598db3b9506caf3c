//! Accounts for every message of one client thread: whose it is, whether it is in order, its latency, and whether all
//! subscribers have it.

use crate::document::Fold;
use crate::marker::{self, Scanner};
use crate::measure::Account;
use crate::scenario::Content;
use crate::sequence::{Arrival, Track};
use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Every 64th delivery is compared byte by byte behind its marker.
const SAMPLE: u64 = 64;

/// One subscription.
pub struct Subscriber {
    /// Its topic.
    pub topic: usize,
    /// Whether it is one of those that stop reading.
    pub slow: bool,
    /// Which publications it has received.
    pub track: Track,
    /// Its copy of the document, where the scenario checks it.
    pub fold: Option<Fold>,
    /// When it began to (re)join.
    pub since: u64,
}

/// The accounts of one thread.
pub struct Ledger {
    shared: Arc<Shared>,
    scanner: Scanner,
    padding: Option<String>,
    /// Healthy subscribers per topic.
    live: Vec<u32>,
    /// Per publication since `primed`: deliveries still to come here.
    left: Vec<u32>,
    /// Results so far.
    pub account: Account,
}

impl Ledger {
    /// Without a subscription.
    pub fn new(shared: Arc<Shared>) -> Ledger {
        let padding = match shared.plan.content {
            Content::Bytes(size) => Some(marker::padding(size)),
            Content::Document => None,
        };
        let live = vec![0; shared.plan.topics];
        Ledger {
            shared,
            scanner: Scanner::default(),
            padding,
            live,
            left: Vec::new(),
            account: Account::new(),
        }
    }

    /// Begins a subscription.
    pub fn handle_join(&mut self, who: &Subscriber) {
        self.account.tally.ready += 1;
        if self.shared.plan.is_steady() && !who.slow {
            self.live[who.topic] += 1;
            if self.live[who.topic] == 1 {
                self.shared.hold_topic(who.topic);
            }
        }
    }

    /// Accounts for one message that arrived at `now`.
    pub fn handle_message(&mut self, who: &mut Subscriber, message: &[u8], now: u64) {
        let tally = &mut self.account.tally;
        if let Some(fold) = &mut who.fold
            && let Err(fault) = fold.handle(message)
        {
            tally.broken += 1;
            self.account.fault.get_or_insert(fault);
        }
        let Some((marker, end)) = self.scanner.find(message) else {
            tally.other += 1;
            return;
        };
        let topics = self.shared.plan.topics as u64;
        if marker.seq >= self.shared.published.load(Ordering::Acquire)
            || marker.seq % topics != who.topic as u64
        {
            tally.alien += 1;
            return;
        }
        match who.track.arrive(marker.seq / topics) {
            Arrival::First => {
                tally.stated += 1;
                tally.state_bytes += message.len() as u64;
                self.account.to_state.saturating_record(now.saturating_sub(who.since));
                return;
            }
            Arrival::Duplicate => {
                tally.duplicates += 1;
                return;
            }
            Arrival::Late => tally.late += 1,
            Arrival::New => {}
        }
        if who.slow {
            tally.slow_delivered += 1;
            return;
        }
        tally.delivered += 1;
        tally.message_bytes += message.len() as u64;
        tally.snapshots += u64::from(message.starts_with(br#"{"snapshot":true"#));
        if let Some(padding) = &self.padding
            && tally.delivered.is_multiple_of(SAMPLE)
            && !message[end..].starts_with(padding.as_bytes())
        {
            tally.damaged += 1;
        }
        let waited = now.saturating_sub(marker.sent);
        let measured = marker.seq >= self.shared.measured_from.load(Ordering::Relaxed);
        if measured {
            self.account.latency.saturating_record(waited);
        } else if marker.seq >= self.shared.calm_from.load(Ordering::Relaxed) {
            self.account.calm.saturating_record(waited);
        }
        if self.is_complete(marker.seq) && measured {
            self.account.to_last.saturating_record(waited);
        }
    }

    /// One delivery of `seq` less to come; true when it was the last of all threads.
    fn is_complete(&mut self, seq: u64) -> bool {
        let Some(index) = seq.checked_sub(self.shared.primed.load(Ordering::Relaxed)) else { return false };
        if !self.shared.plan.is_steady() {
            return false;
        }
        let (first, topics) = (seq - index, self.shared.plan.topics as u64);
        while self.left.len() as u64 <= index {
            let topic = (first + self.left.len() as u64) % topics;
            self.left.push(self.live[topic as usize]);
        }
        let left = &mut self.left[index as usize];
        *left = left.saturating_sub(1);
        *left == 0 && self.shared.close_publication(seq)
    }

    /// A connection ended that should have stayed.
    pub fn handle_end(&mut self, who: &Subscriber, was_ready: bool, why: String) {
        let tally = &mut self.account.tally;
        tally.ready -= u64::from(was_ready);
        tally.gone += 1;
        if was_ready && self.shared.plan.is_steady() && !who.slow {
            self.live[who.topic] -= 1;
        }
        let closed = if who.slow { &mut self.account.slow_closed } else { &mut self.account.closed };
        *closed.entry(why).or_default() += 1;
    }

    /// We end a subscription in order to begin a new one: what was jumped over cannot come any more.
    pub fn handle_replace(&mut self, who: &Subscriber, was_ready: bool) {
        self.account.tally.ready -= u64::from(was_ready);
        self.account.tally.replaced += 1;
        self.account.tally.lost += who.track.holes();
    }

    /// Closes the account of a subscription when the run is over.
    pub fn handle_finish(&mut self, who: &mut Subscriber) {
        let missing = who.track.missing(self.shared.published_on(who.topic));
        let tally = &mut self.account.tally;
        *(if who.slow { &mut tally.slow_missed } else { &mut tally.lost }) += missing;
        if let (Some(fold), Some(document)) = (&mut who.fold, self.shared.document.get()) {
            let right = fold.is(document);
            self.account.tally.right += u64::from(right);
            self.account.tally.wrong += u64::from(!right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Marker;
    use crate::scenario::{Dialect, Scenario, Transport};
    use crate::wire::Wire;

    fn books(conns: usize) -> (Arc<Shared>, Ledger, Vec<Subscriber>) {
        let plan = crate::scenario::Plan { conns, ..Scenario::Fanout.plan() };
        let wire = Wire::new(Dialect::Hub, Transport::Ws, "127.0.0.1:1".parse().unwrap(), "h", None);
        let shared = Arc::new(Shared::new(plan, wire, vec![], 1));
        shared.measured_from.store(0, Ordering::Relaxed);
        let mut ledger = Ledger::new(shared.clone());
        let new = |_| Subscriber { topic: 0, slow: false, track: Track::from_start(), fold: None, since: 0 };
        let subscribers: Vec<Subscriber> = (0..conns).map(new).collect();
        subscribers.iter().for_each(|who| ledger.handle_join(who));
        (shared, ledger, subscribers)
    }

    #[test]
    fn a_publication_is_complete_when_the_last_subscriber_has_it() {
        let (shared, mut ledger, mut subscribers) = books(3);
        for _ in 0..2 {
            shared.open_publication();
        }
        let message = |seq| marker::value(Marker { seq, sent: 100 }, 128);
        for (n, who) in subscribers.iter_mut().enumerate() {
            ledger.handle_message(who, message(0).as_bytes(), 1100 + n as u64 * 1000);
            assert_eq!(shared.completed.load(Ordering::Relaxed), u64::from(n == 2));
        }
        assert_eq!((ledger.account.latency.len(), ledger.account.to_last.len()), (3, 1));
        subscribers.iter_mut().for_each(|who| ledger.handle_finish(who));
        assert_eq!((ledger.account.tally.delivered, ledger.account.tally.lost), (3, 3));
    }

    #[test]
    fn foreign_repeated_and_markerless_messages_are_no_deliveries() {
        let (shared, mut ledger, mut subscribers) = books(1);
        shared.open_publication();
        let first = marker::value(Marker { seq: 0, sent: 0 }, 128);
        let never = marker::value(Marker { seq: 1, sent: 0 }, 128);
        for message in [&first, &first, &never, &"{}".to_owned()] {
            ledger.handle_message(&mut subscribers[0], message.as_bytes(), 5);
        }
        let tally = ledger.account.tally;
        assert_eq!((tally.delivered, tally.duplicates, tally.alien, tally.other), (1, 1, 1, 1));
    }

    #[test]
    fn a_damaged_payload_is_noticed() {
        let (shared, mut ledger, mut subscribers) = books(1);
        for seq in 0..SAMPLE {
            shared.open_publication();
            let text = marker::value(Marker { seq, sent: 0 }, 128).replace("abc", "abx").replace("ah", "ax");
            ledger.handle_message(&mut subscribers[0], text.as_bytes(), 5);
        }
        assert_eq!(ledger.account.tally.damaged, 1);
    }
}
