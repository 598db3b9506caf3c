//! The open-loop schedule: when each publication is due, whether or not the server keeps up.
//!
//! Latency counts from the due time, so a server (or publisher) that stalls is charged for all that waited behind it.

/// Nanoseconds per second.
pub const SECOND: u64 = 1_000_000_000;

/// `total` publications at a steady rate from `start` on.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: u64,
    rate: f64,
    total: u64,
    sent: u64,
}

impl Schedule {
    /// `rate` publications per second for `seconds`, the first one at `start` (nanoseconds).
    pub fn new(start: u64, rate: f64, seconds: f64) -> Schedule {
        Schedule { start, rate, total: (rate * seconds).round() as u64, sent: 0 }
    }

    /// When the next publication is due; `None` after the last one.
    pub fn due(&self) -> Option<u64> {
        // From the start each time: adding steps would add up their rounding.
        let offset = (self.sent as f64 * SECOND as f64 / self.rate) as u64;
        (self.sent < self.total).then_some(self.start + offset)
    }

    /// The due publication has been handed over.
    pub fn advance(&mut self) {
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rate: f64, seconds: f64) -> Vec<u64> {
        let mut schedule = Schedule::new(1000, rate, seconds);
        std::iter::from_fn(|| {
            let due = schedule.due()?;
            schedule.advance();
            Some(due)
        })
        .collect()
    }

    #[test]
    fn due_times_are_evenly_spaced_and_do_not_drift() {
        assert_eq!(all(4.0, 1.0), [1000, 250_001_000, 500_001_000, 750_001_000]);
        let thirds = all(3.0, 1000.0);
        assert_eq!(thirds.len(), 3000);
        assert_eq!(thirds[2997], 1000 + 999 * SECOND);
    }

    #[test]
    fn a_late_publisher_still_gets_the_intended_times() {
        let mut schedule = Schedule::new(0, 10.0, 1.0);
        schedule.advance();
        // However late we ask, the second is due at 100 ms.
        assert_eq!(schedule.due(), Some(SECOND / 10));
    }

    #[test]
    fn nothing_is_due_at_no_seconds() {
        assert_eq!(Schedule::new(0, 20.0, 0.0).due(), None);
    }
}
