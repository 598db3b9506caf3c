//! The tail of a shard: the latest publications of all its channels, each kept once, for readers that are late.

use crate::base::offset::Offset;
use crate::flow::limits::channels::TailLimits;
use crate::wire::feed::Publish;
use crate::wire::hub::write::Placed;
use std::collections::VecDeque;
use std::sync::Arc;

/// One publication.
#[derive(Debug)]
pub struct TailEntry {
    /// What was published; `None` if it is deleted since.
    publish: Option<Arc<Publish>>,
    /// Its place in its channel.
    placed: Placed,
    /// Whether those get it who get every channel.
    open: bool,
    /// When (monotonic, to a second).
    at: u64,
}

impl TailEntry {
    fn bytes(&self) -> usize {
        size_of::<TailEntry>() + self.publish.as_ref().map_or(0, |publish| publish.bytes())
    }

    fn shown(&self) -> Option<(Placed, &Publish)> {
        Some((self.placed, self.publish.as_deref()?))
    }
}

/// The latest publications, oldest first. Each has a place in the tail, which rises by one.
#[derive(Debug, Default)]
pub struct Tail {
    entries: VecDeque<TailEntry>,
    /// How many there were before the first that is kept.
    gone: u64,
    bytes: usize,
    limits: TailLimits,
    now: u64,
}

impl Tail {
    /// So much is kept from now on.
    pub fn set_limits(&mut self, limits: TailLimits) {
        self.limits = limits;
        self.trim();
    }

    /// A moment has come: what is too old goes.
    pub fn tick(&mut self, now: u64) {
        self.now = now;
        self.trim();
    }

    /// The place of the last publication; 0 before the first.
    pub fn last(&self) -> Offset {
        Offset::new(self.gone + self.entries.len() as u64)
    }

    /// The place behind which everything is kept.
    pub fn start(&self) -> Offset {
        Offset::new(self.gone)
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in a publication; returns its place. `open`: whether those get it who get every channel.
    pub fn push(&mut self, publish: Arc<Publish>, placed: Placed, open: bool) -> Offset {
        let entry = TailEntry { publish: Some(publish), placed, open, at: self.now };
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        let place = self.last();
        self.trim();
        place
    }

    fn get(&self, place: Offset) -> Option<&TailEntry> {
        self.entries.get(place.get().checked_sub(self.gone + 1)? as usize)
    }

    /// What those get who get every channel, behind a place, oldest first, each with its place. `None` if some of it is
    /// gone.
    pub fn since(&self, place: Offset) -> Option<impl Iterator<Item = (Offset, Placed, &Publish)>> {
        let from = place.get().checked_sub(self.gone)? as usize;
        let places = (place.next().get()..).map(Offset::new);
        let kept = places.zip(self.entries.iter().skip(from)).filter(|(_, entry)| entry.open);
        Some(kept.filter_map(|(at, entry)| entry.shown().map(|(placed, publish)| (at, placed, publish))))
    }

    fn replace(&mut self, place: Offset, publish: Option<Arc<Publish>>) {
        let Some(entry) = self.entries.get_mut((place.get() - self.gone - 1) as usize) else { return };
        self.bytes -= entry.bytes();
        entry.publish = publish;
        self.bytes += entry.bytes();
    }

    fn trim(&mut self) {
        let TailLimits { bytes, age } = self.limits;
        while let Some(first) = self.entries.front()
            && (self.bytes > bytes || first.at.saturating_add(age) < self.now)
        {
            self.bytes -= first.bytes();
            self.entries.pop_front();
            self.gone += 1;
        }
    }
}

/// Where the latest publications of one channel stand in the tail: one after the other, up to its last one.
#[derive(Debug, Default)]
pub struct ChannelTail(VecDeque<Offset>);

impl ChannelTail {
    /// The channel's next publication stands at that place.
    pub fn push(&mut self, tail: &Tail, place: Offset) {
        self.prune(tail);
        self.0.push_back(place);
    }

    /// Forgets places that are gone.
    pub fn prune(&mut self, tail: &Tail) {
        while self.0.front().is_some_and(|place| *place <= tail.start()) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    /// The offset behind which everything is kept, if anything is.
    pub fn start(&self, tail: &Tail) -> Option<Offset> {
        let first = self.kept(tail).next()?;
        Some(Offset::new(first.placed.sequence.get() - 1))
    }

    /// The channel's publications behind an offset, oldest first. `None` if some of them are gone.
    pub fn since<'a>(
        &'a self,
        tail: &'a Tail,
        offset: Offset,
    ) -> Option<impl Iterator<Item = (Placed, &'a Publish)>> {
        let first = self.start(tail)?;
        let from = offset.get().checked_sub(first.get())? as usize;
        Some(self.kept(tail).skip(from).filter_map(TailEntry::shown))
    }

    /// A publication says something else, or is deleted.
    pub fn replace(&self, tail: &mut Tail, offset: Offset, publish: Option<Arc<Publish>>) {
        let place = self.start(tail).and_then(|first| {
            let from = offset.get().checked_sub(first.get() + 1)? as usize;
            self.0.range(self.gone(tail)..).nth(from).copied()
        });
        if let Some(place) = place {
            tail.replace(place, publish);
        }
    }

    /// How many of the places are gone.
    fn gone(&self, tail: &Tail) -> usize {
        self.0.partition_point(|place| *place <= tail.start())
    }

    fn kept<'a>(&'a self, tail: &'a Tail) -> impl Iterator<Item = &'a TailEntry> {
        self.0.range(self.gone(tail)..).filter_map(|place| tail.get(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::{ChannelTail, Tail, TailLimits};
    use crate::base::offset::Offset;
    use crate::base::stamp::Stamp;
    use crate::wire::feed::Publish;
    use crate::wire::hub::write::Placed;
    use crate::wire::json::Json;
    use fastrand::Rng;
    use std::sync::Arc;

    fn publish(channel: &str, n: u64) -> (Arc<Publish>, Placed) {
        let placed = Placed { room: false, sequence: Offset::new(n), stamp: Stamp::ZERO, told: false };
        (Arc::new(Publish::new(channel, "message", Json::string(&"x".repeat(n as usize % 90)))), placed)
    }

    #[test]
    fn it_holds_the_latest_within_its_bytes_and_its_age_and_each_channel_finds_its_own() {
        for seed in 0..50 {
            let (mut rng, mut tail) = (Rng::with_seed(seed), Tail::default());
            let limits = TailLimits { bytes: rng.usize(500..9000), age: rng.u64(3..30) };
            tail.set_limits(limits);
            let (mut now, mut all) = (0, Vec::new());
            let mut channels = [ChannelTail::default(), ChannelTail::default()];
            let mut last = [0, 0];
            for _ in 0..300 {
                if rng.u8(0..5) == 0 {
                    now += rng.u64(0..4);
                    tail.tick(now);
                }
                let which = rng.usize(0..2);
                last[which] += 1;
                let (one, placed) = publish(["a", "b"][which], last[which]);
                let (open, bytes) = (rng.bool(), size_of::<super::TailEntry>() + one.bytes());
                let place = tail.push(one, placed, open);
                channels[which].push(&tail, place);
                all.push((now, bytes, which, last[which], open));
                let kept = |from: &usize| {
                    let rest = &all[*from..];
                    let bytes: usize = rest.iter().map(|entry| entry.1).sum();
                    bytes <= limits.bytes && rest.iter().all(|entry| entry.0 + limits.age >= now)
                };
                let gone = (0..=all.len()).find(kept).expect("nothing always fits");
                assert_eq!((tail.start().get(), tail.last().get()), (gone as u64, all.len() as u64));
                assert!(tail.bytes() <= limits.bytes);
                let seen = rng.usize(0..all.len() + 1);
                let want = all[seen..].iter().zip(seen + 1..).filter(|(entry, _)| entry.4);
                let want = (seen >= gone).then(|| want.map(|(_, place)| place as u64).collect::<Vec<_>>());
                let got = tail.since(Offset::new(seen as u64));
                assert_eq!(got.map(|got| got.map(|(place, ..)| place.get()).collect()), want, "seed {seed}");
                for (which, channel) in channels.iter().enumerate() {
                    let own = all[gone..].iter().filter(|entry| entry.2 == which).map(|entry| entry.3);
                    let own: Vec<u64> = own.collect();
                    let start = own.first().map(|first| first - 1);
                    assert_eq!(channel.start(&tail).map(Offset::get), start);
                    let seen = rng.u64(0..last[which] + 1);
                    let want = start.filter(|start| *start <= seen);
                    let want = want.map(|_| own.into_iter().filter(|n| *n > seen).collect::<Vec<_>>());
                    let got = channel.since(&tail, Offset::new(seen));
                    let got = got.map(|got| got.map(|(placed, _)| placed.sequence.get()).collect());
                    assert_eq!(got, want, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn what_is_deleted_is_not_given_out_and_what_is_edited_is_given_as_it_is_now() {
        let (mut tail, mut channel) = (Tail::default(), ChannelTail::default());
        tail.set_limits(TailLimits { bytes: 9999, age: 9 });
        for n in 1..=4 {
            let (one, placed) = publish("a", n);
            let place = tail.push(one, placed, true);
            channel.push(&tail, place);
        }
        let before = tail.bytes();
        channel.replace(&mut tail, Offset::new(2), None);
        channel.replace(
            &mut tail,
            Offset::new(3),
            Some(Arc::new(Publish::new("a", "message", Json::null()))),
        );
        let of = |placed: Placed, publish: &Publish| (placed.sequence.get(), publish.data.as_str().len());
        let got: Vec<_> =
            channel.since(&tail, Offset::ZERO).expect("all").map(|(p, one)| of(p, one)).collect();
        assert_eq!(got, [(1, 3), (3, 4), (4, 6)]);
        let got: Vec<_> = tail.since(Offset::ZERO).expect("all").map(|(_, p, one)| of(p, one)).collect();
        assert_eq!((got.len(), tail.bytes() < before), (3, true));
    }
}
