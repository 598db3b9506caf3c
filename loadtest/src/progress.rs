//! A progress line on standard error, on a terminal only.

use crate::measure::Tally;
use crate::scenario::Plan;
use std::io::{IsTerminal, Write};

/// Seconds that a run takes beside its measured part.
const OVERHEAD: f64 = 2.0;
const WIDTH: usize = 30;

/// One run's line.
pub struct Progress<'a> {
    plan: &'a Plan,
    shown: bool,
}

impl<'a> Progress<'a> {
    /// Draws nothing yet.
    pub fn new(plan: &'a Plan) -> Progress<'a> {
        Progress { plan, shown: std::io::stderr().is_terminal() }
    }

    /// Draws the state `now` nanoseconds into the run.
    pub fn show(&self, now: u64, tally: Tally) {
        if !self.shown {
            return;
        }
        let share = (now as f64 / 1e9 / (self.plan.seconds + OVERHEAD)).min(1.0);
        let full = (share * WIDTH as f64) as usize;
        let (bar, rest) = ("#".repeat(full), "-".repeat(WIDTH - full));
        let (name, ready, delivered) = (self.plan.scenario.name(), tally.ready, tally.delivered);
        // A terminal that is gone must not end the measurement.
        let _ = write!(
            std::io::stderr(),
            "\r{name:9} [{bar}{rest}] {ready} connected, {delivered} delivered \x1b[K"
        );
    }

    /// Makes room for the results.
    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
