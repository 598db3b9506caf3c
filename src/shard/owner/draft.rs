//! A batch before it is done: checked as a whole, and settled into one change for each key, so that nobody sees a state
//! between two of its writes.

use crate::base::stamp::Stamp;
use crate::flow::request::write::{Refused, SweepId, Write};
use crate::shard::owner::documents::{Documents, merged, patched};
use crate::wire::json::Json;
use crate::wire::key::{Key, Pattern};
use hashbrown::{HashMap, HashSet};

/// What a batch comes to.
#[derive(Debug, Default)]
pub struct Settled {
    /// Its publications, and one write for each key: the value that the key ends with, or a deletion.
    pub writes: Vec<Write>,
    /// Its glob deletes, to be done behind the writes.
    pub sweeps: Vec<(Pattern, SweepId)>,
    /// The keys that have a document in the end: no glob delete takes them.
    pub kept: HashSet<Key>,
}

/// What a key is after some writes of a batch.
struct Drafted {
    value: Option<Json>,
    /// Which write of the batch brought it into being, or deleted it, or was the first to change it.
    place: usize,
    /// When that was asked for; 0: the owner says.
    asked: Stamp,
    /// Whether it is gone by a glob delete.
    swept: bool,
}

/// What documents would be after some writes of a batch.
struct Draft<'a> {
    documents: &'a Documents,
    changed: HashMap<Key, Drafted>,
    settled: Settled,
    /// The publications, each with its place in the batch.
    published: Vec<(usize, Write)>,
}

impl Settled {
    /// What writes come to, one after the other.
    ///
    /// # Errors
    /// The first one that could not be done, with its place.
    pub fn new(documents: &Documents, writes: Vec<Write>) -> Result<Settled, Refused> {
        let (changed, settled, published) = Default::default();
        let mut draft = Draft { documents, changed, settled, published };
        for (place, write) in writes.into_iter().enumerate() {
            draft.take(place, write).map_err(|why| Refused::Batch(place, Box::new(why)))?;
        }
        Ok(draft.settle())
    }
}

impl Draft<'_> {
    fn value(&self, key: &Key) -> Option<Json> {
        self.changed.get(key).map_or_else(|| self.documents.value(key), |drafted| drafted.value.clone())
    }

    fn take(&mut self, place: usize, write: Write) -> Result<(), Refused> {
        match write {
            Write::Publish(..) => self.published.push((place, write)),
            Write::Sweep(pattern, sweep) => self.sweep(place, pattern, sweep),
            Write::Set(key, value, asked) => self.put(place, key, value, asked),
            Write::Merge(key, part, rule) => {
                let value = merged(self.value(&key), &key, &part, rule)?;
                self.put(place, key, value, Stamp::ZERO);
            }
            Write::Patch(key, patch) => {
                let value = patched(self.value(&key), &key, &patch)?;
                self.put(place, key, value, Stamp::ZERO);
            }
            Write::Del(key) => {
                if self.value(&key).is_none() {
                    return Err(Refused::NotFound(key));
                }
                let gone = Drafted { value: None, place, asked: Stamp::ZERO, swept: false };
                self.changed.insert(key, gone);
            }
        }
        Ok(())
    }

    fn put(&mut self, place: usize, key: Key, value: Json, asked: Stamp) {
        match self.changed.get_mut(&key) {
            Some(drafted) if drafted.value.is_some() => drafted.value = Some(value),
            _ => drop(self.changed.insert(key, Drafted { value: Some(value), place, asked, swept: false })),
        }
    }

    fn sweep(&mut self, place: usize, pattern: Pattern, sweep: SweepId) {
        let stored = self.documents.store().matching(&pattern).map(|item| item.key.clone());
        let drafted = self.changed.iter().filter(|(_, drafted)| drafted.value.is_some());
        let drafted = drafted.map(|(key, _)| key).filter(|key| pattern.matches(key.as_str())).cloned();
        let mut gone: Vec<Key> = stored.chain(drafted).collect();
        // what a write of the batch has deleted before is gone by that write
        gone.retain(|key| self.changed.get(key).is_none_or(|drafted| drafted.value.is_some()));
        for key in gone {
            self.changed.insert(key, Drafted { value: None, place, asked: Stamp::ZERO, swept: true });
        }
        self.settled.sweeps.push((pattern, sweep));
    }

    fn settle(self) -> Settled {
        let Draft { documents, changed, mut settled, published: mut placed } = self;
        for (key, Drafted { value, place, asked, swept }) in changed {
            match value {
                Some(value) => {
                    settled.kept.insert(key.clone());
                    placed.push((place, Write::Set(key, value, asked)));
                }
                None if !swept && documents.value(&key).is_some() => placed.push((place, Write::Del(key))),
                None => {}
            }
        }
        placed.sort_unstable_by_key(|(place, _)| *place);
        settled.writes = placed.into_iter().map(|(_, write)| write).collect();
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::Settled;
    use crate::base::id::ShardId;
    use crate::base::stamp::Stamp;
    use crate::flow::request::write::{MergeRule, Refused, SweepId, Write};
    use crate::shard::context::Context;
    use crate::shard::owner::documents::Documents;
    use crate::shard::owner::record::{Deletion, Record};
    use crate::wire::json::Json;
    use crate::wire::key::{Key, Name};
    use fastrand::Rng;
    use std::collections::{BTreeMap, BTreeSet};

    fn random(rng: &mut Rng) -> Write {
        let json = |text: &str| Json::parse(text.as_bytes()).unwrap();
        let key = Key::parse(&format!("a/{}", rng.u8(0..4))).unwrap();
        let Ok(Name::Pattern(all)) = Name::parse("a/*") else { panic!("a pattern") };
        match rng.u8(0..8) {
            0..3 => Write::Set(key, json(if rng.bool() { r#"{"n":1}"# } else { "[]" }), Stamp::ZERO),
            3 => Write::Merge(key, json(r#"{"m":2}"#), MergeRule::Ooo),
            4 => Write::Patch(key, json(r#"[{"op":"replace","path":"/n","value":3}]"#)),
            5 => Write::Sweep(all, SweepId { shard: ShardId(0), count: 1 }),
            _ => Write::Del(key),
        }
    }

    /// Decides and applies one write.
    fn write(documents: &mut Documents, ctx: &mut Context, write: Write) -> Result<(), Refused> {
        let record = match write {
            Write::Set(key, value, asked) => documents.put(ctx, key, value, asked),
            Write::Merge(key, part, rule) => documents.merge(ctx, key, &part, rule)?,
            Write::Patch(key, patch) => documents.patch(ctx, key, &patch)?,
            Write::Del(key) => documents.delete(ctx, &key, Deletion::Write)?,
            Write::Sweep(pattern, _) => {
                for item in documents.matching(&pattern) {
                    documents.apply_deletion(&item.key, ctx.stamp());
                }
                return Ok(());
            }
            Write::Publish(..) => return Ok(()),
        };
        match record {
            Record::DocumentPut { item } => documents.apply_put(&item),
            Record::DocumentDeleted { key, version, .. } => documents.apply_deletion(&key, version),
            other => panic!("{other:?}"),
        };
        Ok(())
    }

    /// The documents as a settled batch leaves them: each key is written once at most.
    fn ends(documents: &Documents, settled: Settled) -> BTreeMap<Key, Option<Json>> {
        let keys = documents.store().keys();
        let mut end: BTreeMap<_, _> = keys.map(|key| (key.clone(), documents.value(key))).collect();
        let mut written = BTreeSet::new();
        for write in settled.writes {
            assert!(written.insert(write.name().map(str::to_owned)), "{write:?} is the second of its key");
            match write {
                Write::Set(key, value, _) => drop(end.insert(key, Some(value))),
                Write::Del(key) => assert!(end.remove(&key).is_some(), "there is no {key:?}"),
                other => panic!("{other:?}"),
            }
        }
        for (pattern, _) in settled.sweeps {
            end.retain(|key, _| settled.kept.contains(key) || !pattern.matches(key.as_str()));
        }
        end
    }

    #[test]
    fn a_batch_passes_the_check_exactly_if_its_writes_can_be_done_one_after_the_other() {
        let mut passed = 0;
        for seed in 0..2000 {
            let (mut rng, mut documents) = (Rng::with_seed(seed), Documents::default());
            let mut ctx = Context::new(ShardId(0), 1, Default::default(), "e".into());
            for _ in 0..rng.u8(0..5) {
                let _ = write(&mut documents, &mut ctx, random(&mut rng));
            }
            let batch: Vec<Write> = (0..rng.usize(1..5)).map(|_| random(&mut rng)).collect();
            let settled = Settled::new(&documents, batch.clone());
            let checked = settled.as_ref().map(|_| ()).map_err(Clone::clone);
            let end = settled.ok().map(|settled| ends(&documents, settled));
            let done = batch.into_iter().enumerate().try_for_each(|(at, one)| {
                write(&mut documents, &mut ctx, one).map_err(|why| Refused::Batch(at, Box::new(why)))
            });
            assert_eq!(checked, done, "seed {seed}");
            if let Some(end) = end {
                let values = documents.store().keys().map(|key| (key.clone(), documents.value(key)));
                assert_eq!(end, values.collect(), "seed {seed}");
            }
            passed += u32::from(done.is_ok());
        }
        assert!((200..1800).contains(&passed), "{passed} batches pass");
    }
}
