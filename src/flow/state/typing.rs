//! Who is writing in one room. What has not been said again for a while is over; only a few are told of.

use std::sync::Arc;

/// How many of a room may be writing at once.
pub const MOST: usize = 10;

/// Who is writing.
#[derive(Debug, Default)]
pub struct Typing {
    /// Who, and until when unless it is said again (monotonic).
    now: Vec<(Arc<str>, u64)>,
    /// Who, as told.
    told: Vec<Arc<str>>,
}

impl Typing {
    /// A user writes, until `until` unless it says so again. False if too many are writing: it is not told of.
    pub fn start(&mut self, user: &Arc<str>, until: u64) -> bool {
        let known = self.now.iter().position(|(who, _)| who == user);
        match known {
            Some(at) => self.now[at].1 = until,
            None if self.now.len() >= MOST => return false,
            None => self.now.push((user.clone(), until)),
        }
        true
    }

    /// A user writes no more.
    pub fn stop(&mut self, user: &str) {
        self.now.retain(|(who, _)| **who != *user);
    }

    /// What is different from what was told last: who has begun, and who has ended.
    pub fn tick(&mut self, now: u64) -> Vec<(Arc<str>, bool)> {
        self.now.retain(|(_, until)| *until > now);
        let ended = self.told.iter().filter(|user| !self.now.iter().any(|(who, _)| who == *user));
        let begun = self.now.iter().map(|(who, _)| who).filter(|who| !self.told.contains(who));
        let mut changes: Vec<_> =
            ended.map(|user| (user.clone(), false)).chain(begun.map(|who| (who.clone(), true))).collect();
        changes.sort_unstable();
        self.told = self.now.iter().map(|(who, _)| who.clone()).collect();
        changes
    }

    /// Who is writing, as told.
    pub fn told(&self) -> &[Arc<str>] {
        &self.told
    }

    /// Whether nobody is writing and everyone knows.
    pub fn is_idle(&self) -> bool {
        self.now.is_empty() && self.told.is_empty()
    }
}
