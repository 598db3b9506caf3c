//! Complaints that would fill the log: one of a kind is told at a time, with the number of those before it.

use crate::base::time::SEC;

/// Between two that are told.
const APART: u64 = 10 * SEC;

/// How often something was wrong since it was last told.
#[derive(Clone, Debug, Default)]
pub struct Complaints {
    untold: u64,
    next: u64,
}

impl Complaints {
    /// Something is wrong at `now` (nanoseconds, monotonic). If that is to be told: how often it was not, before.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        if now < self.next {
            self.untold += 1;
            return None;
        }
        self.next = now + APART;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::{APART, Complaints};

    #[test]
    fn a_complaint_is_told_at_once_and_then_seldom_with_the_number_of_those_before() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.due(5), Some(0));
        assert!((6..9).all(|now| complaints.due(now).is_none()));
        assert_eq!(complaints.due(5 + APART), Some(3));
        assert_eq!(complaints.due(6 + APART), None);
    }
}
