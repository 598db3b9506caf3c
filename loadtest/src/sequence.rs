//! Loss, duplicates and order of one connection, found by the ranks of the publications that arrive.
//!
//! A publication's rank is its place within its topic: 0, 1, 2 without holes, as the publisher sent them.

/// What an arriving rank means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Arrival {
    /// The first message to a new subscriber: its starting point, not a delivery.
    First,
    /// Seen for the first time, in order or after a jump over what may still come.
    New,
    /// Seen for the first time, but after a later one.
    Late,
    /// Seen before.
    Duplicate,
}

/// The account of one subscription.
#[derive(Debug)]
pub struct Track {
    next: Option<u64>,
    /// Ranks jumped over, as ranges `from..to`.
    gaps: Vec<(u64, u64)>,
}

impl Track {
    /// A subscriber that must see every rank from 0 on.
    pub fn from_start() -> Track {
        Track { next: Some(0), gaps: Vec::new() }
    }

    /// A subscriber that joins while others publish: what it sees first is where it starts.
    pub fn joining() -> Track {
        Track { next: None, gaps: Vec::new() }
    }

    /// Accounts for one arrival.
    pub fn arrive(&mut self, rank: u64) -> Arrival {
        match self.next {
            None => {
                self.next = Some(rank + 1);
                Arrival::First
            }
            Some(next) if rank >= next => {
                if rank > next {
                    self.gaps.push((next, rank));
                }
                self.next = Some(rank + 1);
                Arrival::New
            }
            Some(_) => self.fill(rank),
        }
    }

    fn fill(&mut self, rank: u64) -> Arrival {
        let Some(at) = self.gaps.iter().position(|gap| (gap.0..gap.1).contains(&rank)) else {
            return Arrival::Duplicate;
        };
        let (from, to) = self.gaps.swap_remove(at);
        self.gaps.extend([(from, rank), (rank + 1, to)].into_iter().filter(|(from, to)| from < to));
        Arrival::Late
    }

    /// Ranks that were jumped over and never came.
    pub fn holes(&self) -> u64 {
        self.gaps.iter().map(|(from, to)| to - from).sum()
    }

    /// Holes, and what is missing at the end when `published` ranks were sent in all. A joining subscriber that has
    /// seen nothing misses everything from its start on, which is unknown: at least one if anything was published.
    pub fn missing(&self, published: u64) -> u64 {
        match self.next {
            Some(next) => self.holes() + published.saturating_sub(next),
            None => published.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_delivery_misses_nothing() {
        let mut track = Track::from_start();
        for rank in 0..10 {
            assert_eq!(track.arrive(rank), Arrival::New);
        }
        assert_eq!(track.missing(10), 0);
        assert_eq!(track.missing(12), 2);
    }

    #[test]
    fn jumps_late_arrivals_and_duplicates_are_told_apart() {
        let mut track = Track::from_start();
        let got: Vec<Arrival> = [0, 4, 2, 2, 1, 5, 5].map(|rank| track.arrive(rank)).to_vec();
        use Arrival::{Duplicate, Late, New};
        assert_eq!(got, [New, New, Late, Duplicate, Late, New, Duplicate]);
        assert_eq!((track.holes(), track.missing(6)), (1, 1));
    }

    #[test]
    fn a_joiner_starts_at_what_it_sees_first() {
        let mut track = Track::joining();
        assert_eq!(track.missing(5), 1);
        assert_eq!(track.arrive(7), Arrival::First);
        assert_eq!(track.arrive(8), Arrival::New);
        assert_eq!(track.arrive(6), Arrival::Duplicate);
        assert_eq!(track.missing(10), 1);
    }

    #[test]
    fn every_shuffle_without_loss_ends_with_no_hole() {
        // A fixed linear congruence visits 0..97 in a scattered order.
        let mut track = Track::from_start();
        for i in 0..97u64 {
            assert_ne!(track.arrive(i * 31 % 97), Arrival::Duplicate);
        }
        assert_eq!(track.missing(97), 0);
    }
}
