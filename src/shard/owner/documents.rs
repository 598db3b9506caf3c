//! The documents of an owner: what a write makes of them, decided before anything changes.

use crate::base::stamp::Stamp;
use crate::flow::encode::ooo;
use crate::flow::fanout::reach::Reach;
use crate::flow::filter::select::Select;
use crate::flow::request::position::Position;
use crate::flow::request::write::{Refused, Write};
use crate::flow::route::subject::Subject;
use crate::flow::state::apply::apply;
use crate::flow::state::item::Item;
use crate::flow::state::merge::merge;
use crate::flow::state::scan::{Chunk, ScanId};
use crate::flow::state::store::Store;
use crate::shard::context::Context;
use crate::shard::mail::subscription::{Join, Joined};
use crate::shard::owner::record::{Deletion, Record};
use crate::shard::owner::watch::Watch;
use crate::wire::json::Json;
use crate::wire::key::{Key, Pattern};
use hashbrown::HashMap;
use std::io::Write as _;
use std::sync::Arc;

/// All documents of an owner.
#[derive(Debug, Default)]
pub struct Documents {
    store: Store,
    /// The version of everything that never was.
    born: Stamp,
}

impl Documents {
    /// None yet; the scans that read them may keep `scan_bytes`.
    pub fn new(born: Stamp, scan_bytes: usize) -> Documents {
        Documents { born, store: Store::new(scan_bytes) }
    }

    /// What is stored.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// So many bytes may be kept for scans from now on.
    pub fn set_scan_budget(&mut self, bytes: usize) {
        self.store.set_scan_budget(bytes);
    }

    /// A stream reads documents from here on as they are at `stamp`.
    pub fn open_scan(&mut self, scan: ScanId, select: Arc<Select>, stamp: Stamp) {
        self.store.open_scan(scan, select, stamp);
    }

    /// The next batch of a scan, and what it has cost.
    pub fn next_chunk(&mut self, scan: ScanId, most: usize) -> Option<(Chunk, usize)> {
        self.store.next_chunk(scan, most)
    }

    /// A stream reads no more.
    pub fn close_scan(&mut self, scan: ScanId) {
        self.store.close_scan(scan);
    }

    /// The documents that match, in the order of keys.
    pub fn matching(&self, pattern: &Pattern) -> Vec<Arc<Item>> {
        self.store.matching(pattern).cloned().collect()
    }

    /// The version at which a key stands, with a document or without.
    pub fn version(&self, key: &Key) -> Stamp {
        let item = self.store.get(key.as_str()).map(|item| item.version());
        item.or(self.store.deleted_at(key.as_str())).unwrap_or(self.born)
    }

    /// What a subscriber of a key is told first: the document, unless it has that version.
    pub fn joined(&self, ctx: &mut Context, watch: &mut Watch, join: &Join) -> Joined {
        let joined = join.joined(Reach::stamp(ctx.stamps.last()));
        let Subject::Key(key) = &join.subject else { return joined };
        let version = self.version(key);
        if matches!(join.has, Position::Version(has) if has == version) {
            return joined;
        }
        let item = self.store.get(key.as_str()).map(|item| &**item);
        let state =
            watch.state(&mut ctx.encoder, join.variant, |encoder| Some(ooo::item(encoder, version, item)));
        Joined { state, ..joined }
    }

    /// A document gets this value, as was asked for at `asked`; 0: just now.
    pub fn put(&self, ctx: &mut Context, key: Key, value: Json, asked: Stamp) -> Record {
        ctx.stamps.observe(asked);
        let version = ctx.stamp();
        let item = match self.store.get(key.as_str()) {
            Some(old) => Item::new(key, old.created, version, value),
            None if asked == Stamp::ZERO => Item::first(key, version, version, value),
            None => Item::first(key, asked, version, value),
        };
        Record::DocumentPut { item: Arc::new(item) }
    }

    /// A value is merged into a document.
    ///
    /// # Errors
    /// There is no document, or the merge does not fit it.
    pub fn merge(&self, ctx: &mut Context, key: Key, part: &Json) -> Result<Record, Refused> {
        let value = merged(self.value(&key), &key, part)?;
        Ok(self.put(ctx, key, value, Stamp::ZERO))
    }

    /// A document is patched.
    ///
    /// # Errors
    /// There is no document, or the patch does not fit it.
    pub fn patch(&self, ctx: &mut Context, key: Key, patch: &Json) -> Result<Record, Refused> {
        let value = patched(self.value(&key), &key, patch)?;
        Ok(self.put(ctx, key, value, Stamp::ZERO))
    }

    /// A document is deleted.
    ///
    /// # Errors
    /// There is none.
    pub fn delete(&self, ctx: &mut Context, key: &Key, cause: Deletion) -> Result<Record, Refused> {
        if self.store.get(key.as_str()).is_none() {
            return Err(Refused::NotFound(key.clone()));
        }
        Ok(Record::DocumentDeleted { key: key.clone(), version: ctx.stamp(), cause })
    }

    /// A limited list has pushed a document out: it is deleted, if it still is at this version.
    pub fn evict(&self, ctx: &mut Context, key: &Key, version: Stamp) -> Option<Record> {
        self.store.get(key.as_str()).filter(|item| item.version() == version)?;
        self.delete(ctx, key, Deletion::Limit).ok()
    }

    /// Whether all writes could be done, one after the other.
    ///
    /// # Errors
    /// The first one that could not, with its place.
    pub fn check(&self, writes: &[Write]) -> Result<(), Refused> {
        let mut draft = Draft { documents: self, changed: HashMap::new() };
        for (at, write) in writes.iter().enumerate() {
            draft.check(write).map_err(|why| Refused::Batch(at, Box::new(why)))?;
        }
        Ok(())
    }

    fn value(&self, key: &Key) -> Option<Json> {
        self.store.get(key.as_str()).map(|item| item.value.clone())
    }

    /// Takes in a document; what was there before.
    pub fn apply_put(&mut self, item: &Arc<Item>) -> Option<Arc<Item>> {
        self.store.put(item.clone())
    }

    /// Takes a document out; what was there before.
    pub fn apply_deletion(&mut self, key: &Key, version: Stamp) -> Option<Arc<Item>> {
        self.store.remove(key, version)
    }

    /// Everything that records have made, as text.
    pub fn dump(&self, out: &mut Vec<u8>) {
        for key in self.store.keys() {
            self.store.get(key.as_str()).expect("each key has its document").write(out);
            out.push(b'\n');
        }
        writeln!(out, "horizon {}", self.store.horizon()).expect("a Vec takes all");
        for (key, last, deleted) in self.store.deleted_since(Stamp::ZERO) {
            writeln!(out, "deleted {} {last} {deleted}", key.as_str()).expect("a Vec takes all");
        }
    }
}

/// What documents would be after some writes of a batch.
struct Draft<'a> {
    documents: &'a Documents,
    changed: HashMap<Key, Option<Json>>,
}

impl Draft<'_> {
    fn value(&self, key: &Key) -> Option<Json> {
        self.changed.get(key).cloned().unwrap_or_else(|| self.documents.value(key))
    }

    fn check(&mut self, write: &Write) -> Result<(), Refused> {
        let (key, value) = match write {
            Write::Publish(..) => return Ok(()),
            Write::Sweep(pattern, _) => {
                let stored = self.documents.store.matching(pattern).map(|item| item.key.clone());
                let drafted = self.changed.keys().filter(|key| pattern.matches(key.as_str())).cloned();
                let gone: Vec<Key> = stored.chain(drafted).collect();
                self.changed.extend(gone.into_iter().map(|key| (key, None)));
                return Ok(());
            }
            Write::Set(key, value, _) => (key, Some(value.clone())),
            Write::Merge(key, part) => (key, Some(merged(self.value(key), key, part)?)),
            Write::Patch(key, patch) => (key, Some(patched(self.value(key), key, patch)?)),
            Write::Del(key) if self.value(key).is_none() => return Err(Refused::NotFound(key.clone())),
            Write::Del(key) => (key, None),
        };
        self.changed.insert(key.clone(), value);
        Ok(())
    }
}

fn merged(old: Option<Json>, key: &Key, part: &Json) -> Result<Json, Refused> {
    let old = old.ok_or_else(|| Refused::NotFound(key.clone()))?;
    merge(&old, part).map_err(|why| Refused::Merge(why.to_string()))
}

fn patched(old: Option<Json>, key: &Key, patch: &Json) -> Result<Json, Refused> {
    let old = old.ok_or_else(|| Refused::NotFound(key.clone()))?;
    apply(&old, patch).map_err(|why| Refused::Patch(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Documents, Record, Refused};
    use crate::base::id::ShardId;
    use crate::base::stamp::Stamp;
    use crate::flow::request::write::{SweepId, Write};
    use crate::shard::context::Context;
    use crate::shard::owner::record::Deletion;
    use crate::wire::json::Json;
    use crate::wire::key::{Key, Name};
    use fastrand::Rng;

    fn random(rng: &mut Rng) -> Write {
        let json = |text: &str| Json::parse(text.as_bytes()).unwrap();
        let key = Key::parse(&format!("a/{}", rng.u8(0..4))).unwrap();
        let Ok(Name::Pattern(all)) = Name::parse("a/*") else { panic!("a pattern") };
        match rng.u8(0..8) {
            0..3 => Write::Set(key, json(if rng.bool() { r#"{"n":1}"# } else { "[]" }), Stamp::ZERO),
            3 => Write::Merge(key, json(r#"{"m":2}"#)),
            4 => Write::Patch(key, json(r#"[{"op":"replace","path":"/n","value":3}]"#)),
            5 => Write::Sweep(all, SweepId { shard: ShardId(0), count: 1 }),
            _ => Write::Del(key),
        }
    }

    /// Decides and applies one write.
    fn write(documents: &mut Documents, ctx: &mut Context, write: Write) -> Result<(), Refused> {
        let record = match write {
            Write::Set(key, value, asked) => documents.put(ctx, key, value, asked),
            Write::Merge(key, part) => documents.merge(ctx, key, &part)?,
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
            let checked = documents.check(&batch);
            let done = batch.into_iter().enumerate().try_for_each(|(at, one)| {
                write(&mut documents, &mut ctx, one).map_err(|why| Refused::Batch(at, Box::new(why)))
            });
            assert_eq!(checked, done, "seed {seed}");
            passed += u32::from(done.is_ok());
        }
        assert!((200..1800).contains(&passed), "{passed} batches pass");
    }
}
