//! What was published into a channel: a stretch of its offsets without a gap, bounded by count, bytes and age.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::flow::limits::channels::Retention;
use crate::wire::feed::Publish;
use crate::wire::hub::{Bound, Query};
use crate::wire::json::{Json, write_string};
use std::collections::VecDeque;
use std::sync::Arc;

/// One publication and what has become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// The owner's stamp, which rises from entry to entry: its id, and its time.
    pub stamp: Stamp,
    /// What was said; after an edit, what it says now.
    pub publish: Arc<Publish>,
    /// Whether it was edited.
    pub edited: bool,
    /// Whether it was deleted: it keeps its place, so that offsets have no gap, and is told to nobody.
    pub deleted: bool,
    /// Who reacted with what, in the order of the first.
    pub reactions: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

impl HistoryEntry {
    /// A new one.
    pub fn new(stamp: Stamp, publish: Arc<Publish>) -> HistoryEntry {
        HistoryEntry { stamp, publish, edited: false, deleted: false, reactions: Vec::new() }
    }

    /// Roughly what it takes.
    fn bytes(&self) -> usize {
        let reactions: usize = self
            .reactions
            .iter()
            .map(|(emoji, users)| emoji.len() + users.iter().map(|u| u.len()).sum::<usize>())
            .sum();
        size_of::<HistoryEntry>() + self.publish.bytes() + reactions
    }

    /// Whether a query means it; its place is looked at by the caller.
    fn matches(&self, query: &Query, search: Option<&str>) -> bool {
        let p = &self.publish;
        let same = |want: &Option<Arc<str>>, have: &Option<Arc<str>>| want.is_none() || want == have;
        // what the server says by itself is no message
        p.kind() != "system"
            && !self.deleted
            && same(&query.thread, &p.thread_id)
            && same(&query.user, &p.user_id)
            && search.is_none_or(|search| p.data.as_str().to_lowercase().contains(search))
    }
}

/// The past of one channel.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<HistoryEntry>,
    /// The offset of the first entry; of the next one, if there is none.
    first: Offset,
    bytes: usize,
}

impl History {
    /// An empty one, whose first publication will have the offset behind `last`.
    pub fn new(last: Offset) -> History {
        History { entries: VecDeque::new(), first: last.next(), bytes: 0 }
    }

    /// Takes the next publication and returns its offset; lets go what is beyond `keep`.
    pub fn push(&mut self, entry: HistoryEntry, keep: Retention) -> Offset {
        debug_assert!(self.entries.back().is_none_or(|last| last.stamp < entry.stamp));
        let now = entry.stamp.get();
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.trim(keep, now);
        self.last()
    }

    /// Lets go what is beyond `keep` at `now`, nanoseconds since 1970.
    pub fn trim(&mut self, keep: Retention, now: u64) {
        while let Some(oldest) = self.entries.front().filter(|_| self.is_beyond(keep, now)) {
            self.bytes -= oldest.bytes();
            self.entries.pop_front();
            self.first = self.first.next();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Whether there is something beyond `keep` at `now`.
    pub fn is_beyond(&self, keep: Retention, now: u64) -> bool {
        let old = |oldest: &HistoryEntry| oldest.stamp.get().saturating_add(keep.age) < now;
        self.entries.len() > keep.count
            || self.bytes > keep.bytes && !self.is_empty()
            || self.entries.front().is_some_and(old)
    }

    /// All that is kept, oldest first, deleted ones included.
    pub fn entries(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.entries.iter()
    }

    /// The offset of the last publication there was.
    pub fn last(&self) -> Offset {
        Offset::new(self.first.get() + self.entries.len() as u64 - 1)
    }

    /// The offset behind which everything is kept.
    pub fn start(&self) -> Offset {
        Offset::new(self.first.get() - 1)
    }

    /// How many are kept, deleted ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything behind `offset`, oldest first, with its offset. `None` if some of it is gone, or `offset` lies ahead.
    pub fn since(&self, offset: Offset) -> Option<impl Iterator<Item = (Offset, &HistoryEntry)>> {
        if offset > self.last() || offset.next() < self.first {
            return None;
        }
        let from = (offset.next().get() - self.first.get()) as usize;
        let there = self.entries.range(from..).zip((offset.next().get()..).map(Offset::new));
        Some(there.filter(|(entry, _)| !entry.deleted).map(|(entry, offset)| (offset, entry)))
    }

    /// What a query means, newest first, with its offset.
    pub fn query<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = (Offset, &'a HistoryEntry)> {
        let search = query.search.as_ref().map(|search| {
            let mut text = Vec::new();
            write_string(search, &mut text);
            let text = String::from_utf8_lossy(&text).to_lowercase();
            text[1..text.len() - 1].to_owned()
        });
        let place = |offset: Offset, entry: &HistoryEntry, bound: Bound| match bound {
            Bound::Sequence(at) => offset.get().cmp(&at),
            Bound::Time(at) => entry.stamp.get().cmp(&at),
        };
        let range = move |offset, entry: &HistoryEntry| {
            query.before.is_none_or(|before| place(offset, entry, before).is_le())
                && query.after.is_none_or(|after| place(offset, entry, after).is_ge())
        };
        let last = self.last();
        let newest =
            self.entries.iter().rev().zip(0..).map(move |(entry, n)| (entry, Offset::new(last.get() - n)));
        newest
            .filter(move |(entry, offset)| range(*offset, entry) && entry.matches(query, search.as_deref()))
            .map(|(entry, offset)| (offset, entry))
            .take(query.limit)
    }

    /// The newest publication that is there, and its offset.
    pub fn newest(&self) -> Option<(Offset, &HistoryEntry)> {
        let at = self.entries.iter().rposition(|entry| !entry.deleted)?;
        Some((Offset::new(self.first.get() + at as u64), &self.entries[at]))
    }

    /// The publication with that id, and its offset.
    pub fn find(&self, id: Stamp) -> Option<(Offset, &HistoryEntry)> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.stamp).ok()?;
        Some((Offset::new(self.first.get() + at as u64), &self.entries[at]))
            .filter(|(_, entry)| !entry.deleted)
    }

    /// Whether a user reacts to a publication with this.
    pub fn has_reacted(&self, id: Stamp, emoji: &str, user: &str) -> bool {
        let reactions = self.find(id).into_iter().flat_map(|(_, entry)| &entry.reactions);
        reactions.filter(|(own, _)| **own == *emoji).any(|(_, users)| users.iter().any(|own| **own == *user))
    }

    /// Changes the publication with that id; false if there is none.
    fn change(&mut self, id: Stamp, change: impl FnOnce(&mut HistoryEntry) -> bool) -> bool {
        let Ok(at) = self.entries.binary_search_by_key(&id, |entry| entry.stamp) else { return false };
        let entry = &mut self.entries[at];
        if entry.deleted {
            return false;
        }
        let before = entry.bytes();
        let changed = change(entry);
        self.bytes = self.bytes + entry.bytes() - before;
        changed
    }

    /// Gives a publication other data; false if there is none of that id.
    pub fn edit(&mut self, id: Stamp, data: Json) -> bool {
        self.change(id, |entry| {
            Arc::make_mut(&mut entry.publish).data = data;
            entry.edited = true;
            true
        })
    }

    /// Deletes a publication; false if there is none of that id.
    pub fn delete(&mut self, id: Stamp) -> bool {
        self.change(id, |entry| {
            entry.deleted = true;
            Arc::make_mut(&mut entry.publish).data = Json::null();
            entry.reactions = Vec::new();
            true
        })
    }

    /// Adds a user's reaction to a publication (true) or takes it away; false if that changes nothing.
    pub fn react(&mut self, id: Stamp, emoji: &Arc<str>, user: &Arc<str>, add: bool) -> bool {
        self.change(id, |entry| {
            let at = entry.reactions.iter().position(|(own, _)| own == emoji);
            match (at, add) {
                (None, false) => return false,
                (None, true) => entry.reactions.push((emoji.clone(), vec![user.clone()])),
                (Some(at), _) => {
                    let users = &mut entry.reactions[at].1;
                    let place = users.iter().position(|own| own == user);
                    match (place, add) {
                        (None, true) => users.push(user.clone()),
                        (Some(place), false) => {
                            users.remove(place);
                        }
                        _ => return false,
                    }
                    if users.is_empty() {
                        entry.reactions.remove(at);
                    }
                }
            }
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{History, HistoryEntry, Retention};
    use crate::base::offset::Offset;
    use crate::base::stamp::Stamp;
    use crate::wire::feed::Publish;
    use crate::wire::hub::{Bound, Query};
    use crate::wire::json::Json;
    use fastrand::Rng;
    use std::sync::Arc;

    fn publish(rng: &mut Rng) -> Arc<Publish> {
        let word = |rng: &mut Rng| rng.bool().then(|| Arc::from(rng.choice(["u", "v", "w"]).unwrap()));
        let text: String = (0..rng.usize(0..9)).map(|_| rng.choice(["a", "B", "\"", "é"]).unwrap()).collect();
        let kind = if rng.u8(0..9) == 0 { "system" } else { "message" };
        let (user_id, thread_id) = (word(rng), word(rng));
        Arc::new(Publish { user_id, thread_id, ..Publish::new("c", kind, Json::string(&text)) })
    }

    fn bound(rng: &mut Rng, most: u64) -> Option<Bound> {
        match rng.u8(0..3) {
            0 => None,
            1 => Some(Bound::Sequence(rng.u64(0..most))),
            _ => Some(Bound::Time(rng.u64(0..most * 10))),
        }
    }

    /// The naive model: every publication there ever was, by offset from 1.
    type Model = Vec<HistoryEntry>;

    /// What of the model is still kept: the longest end of it that fits all three bounds.
    fn kept(model: &Model, keep: Retention, now: u64) -> usize {
        (0..=model.len())
            .find(|from| {
                let rest = &model[*from..];
                rest.len() <= keep.count
                    && rest.iter().map(HistoryEntry::bytes).sum::<usize>() <= keep.bytes
                    && rest.iter().all(|e| e.stamp.get() + keep.age >= now)
            })
            .unwrap_or(model.len())
    }

    #[test]
    fn agrees_with_a_naive_model_through_random_operations() {
        for seed in 0..60 {
            let mut rng = Rng::with_seed(seed);
            let keep =
                Retention { count: rng.usize(1..40), bytes: rng.usize(500..9000), age: rng.u64(5..400) };
            let (mut history, mut model, mut now) = (History::new(Offset::ZERO), Model::new(), 1);
            let mut first = 0;
            for _ in 0..200 {
                now += rng.u64(1..10);
                match rng.u8(0..8) {
                    0..=3 => {
                        let entry = HistoryEntry::new(Stamp::new(now), publish(&mut rng));
                        model.push(entry.clone());
                        assert_eq!(history.push(entry, keep).get(), model.len() as u64);
                    }
                    4 => history.trim(keep, now),
                    n => {
                        let Some(at) = (!model.is_empty()).then(|| rng.usize(0..model.len())) else {
                            continue;
                        };
                        let (there, entry) = (at >= first && !model[at].deleted, &mut model[at]);
                        let (user, emoji) = (Arc::from(rng.choice(["u", "v"]).unwrap()), Arc::from("+"));
                        if n == 5 && there {
                            Arc::make_mut(&mut entry.publish).data = Json::string("new");
                            entry.edited = true;
                        }
                        if n == 6 && there {
                            entry.deleted = true;
                        }
                        let id = entry.stamp;
                        match n {
                            5 => assert_eq!(history.edit(id, Json::string("new")), there),
                            6 => assert_eq!(history.delete(id), there),
                            _ => assert!(there || !history.react(id, &emoji, &user, rng.bool())),
                        }
                    }
                }
                // a trim happens with each push, and here, so that the model may compare at any moment
                history.trim(keep, now);
                for (entry, own) in model.iter_mut().zip(1..) {
                    // reactions and deletions change what an entry takes; their own test is below
                    if let Some((_, now)) = history.find(entry.stamp) {
                        entry.reactions = now.reactions.clone();
                    }
                    if entry.deleted {
                        Arc::make_mut(&mut entry.publish).data = Json::null();
                    }
                    assert!(own > 0);
                }
                first = first.max(kept(&model, keep, now));
                check(&mut rng, &history, &model, first);
            }
        }
    }

    fn check(rng: &mut Rng, history: &History, model: &Model, first: usize) {
        assert_eq!((history.len(), history.last().get()), (model.len() - first, model.len() as u64));
        assert_eq!(history.bytes(), model[first..].iter().map(HistoryEntry::bytes).sum::<usize>());
        let offset = Offset::new(rng.u64(0..model.len() as u64 + 3));
        let live = |(at, entry): &(usize, &HistoryEntry)| *at >= first && !entry.deleted;
        let all =
            || model.iter().enumerate().filter(live).map(|(at, entry)| (Offset::new(at as u64 + 1), entry));
        let want: Vec<_> = all().filter(|(own, _)| *own > offset).collect();
        let reaches = offset.get() >= first as u64 && offset.get() <= model.len() as u64;
        assert_eq!(history.since(offset).map(Iterator::collect), reaches.then_some(want), "since {offset}");
        let most = model.len() as u64 + 2;
        let word = |rng: &mut Rng| rng.bool().then(|| Arc::from(rng.choice(["u", "v", "w"]).unwrap()));
        let query = Query {
            limit: rng.usize(0..20),
            before: bound(rng, most),
            after: bound(rng, most),
            thread: word(rng),
            user: word(rng),
            search: rng.choice([None, Some("AB"), Some("é"), Some("\"")]).unwrap().map(Arc::from),
        };
        let fits = |own: u64, entry: &HistoryEntry, bound: Option<Bound>, least: bool| match bound {
            None => true,
            Some(Bound::Sequence(at)) => {
                if least {
                    own >= at
                } else {
                    own <= at
                }
            }
            Some(Bound::Time(at)) => {
                if least {
                    entry.stamp.get() >= at
                } else {
                    entry.stamp.get() <= at
                }
            }
        };
        let mut want: Vec<_> = all()
            .filter(|(own, e)| {
                fits(own.get(), e, query.before, false) && fits(own.get(), e, query.after, true)
            })
            .filter(|(_, e)| e.publish.kind() == "message")
            .filter(|(_, e)| query.user.is_none() || query.user == e.publish.user_id)
            .filter(|(_, e)| query.thread.is_none() || query.thread == e.publish.thread_id)
            .filter(|(_, e)| {
                let said: String = serde_json::from_str(e.publish.data.as_str()).unwrap_or_default();
                query.search.as_ref().is_none_or(|s| said.to_lowercase().contains(&s.to_lowercase()))
            })
            .collect();
        want.reverse();
        want.truncate(query.limit);
        assert_eq!(history.query(&query).collect::<Vec<_>>(), want, "{query:?}");
    }

    #[test]
    fn an_offset_that_lies_ahead_has_no_past() {
        let history = History::new(Offset::ZERO);
        assert!(history.since(Offset::new(u64::MAX)).is_none() && history.since(Offset::new(1)).is_none());
    }

    #[test]
    fn a_user_reacts_once_with_each_emoji() {
        let keep = Retention { count: 9, bytes: 9999, age: 9 };
        let (mut history, id) = (History::new(Offset::new(41)), Stamp::new(7));
        assert_eq!(
            history.push(HistoryEntry::new(id, publish(&mut Rng::with_seed(1))), keep),
            Offset::new(42)
        );
        let [up, down, u, v] = ["+", "-", "u", "v"].map(Arc::from);
        for (emoji, user, add, changes) in [
            (&up, &u, true, true),
            (&up, &u, true, false),
            (&up, &v, true, true),
            (&down, &u, false, false),
            (&down, &u, true, true),
            (&up, &u, false, true),
            (&up, &v, false, true),
            (&up, &v, false, false),
        ] {
            assert_eq!(history.react(id, emoji, user, add), changes);
        }
        assert_eq!(history.find(id).unwrap().1.reactions, [(down, vec![u])]);
        assert!(history.delete(id) && !history.delete(id) && history.find(id).is_none());
        assert_eq!(
            (history.since(Offset::new(41)).unwrap().count(), history.since(Offset::new(40)).is_none()),
            (0, true)
        );
    }
}
