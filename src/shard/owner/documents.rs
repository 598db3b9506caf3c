//! The documents of an owner: what a write makes of them, decided before anything changes.

use crate::base::stamp::Stamp;
use crate::flow::encode::ooo;
use crate::flow::fanout::reach::Reach;
use crate::flow::filter::select::Select;
use crate::flow::request::position::Position;
use crate::flow::request::write::{MergeRule, Refused};
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
    pub fn merge(
        &self,
        ctx: &mut Context,
        key: Key,
        part: &Json,
        rule: MergeRule,
    ) -> Result<Record, Refused> {
        let value = merged(self.value(&key), &key, part, rule)?;
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

    /// The value of a document.
    pub fn value(&self, key: &Key) -> Option<Json> {
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

/// What a merge makes of a value.
///
/// # Errors
/// There is no document, or the merge does not fit it.
pub fn merged(old: Option<Json>, key: &Key, part: &Json, rule: MergeRule) -> Result<Json, Refused> {
    let old = old.ok_or_else(|| Refused::NotFound(key.clone()))?;
    merge(&old, part, rule).map_err(|why| Refused::Merge(why.to_string()))
}

/// What a patch makes of a value.
///
/// # Errors
/// There is no document, or the patch does not fit it.
pub fn patched(old: Option<Json>, key: &Key, patch: &Json) -> Result<Json, Refused> {
    let old = old.ok_or_else(|| Refused::NotFound(key.clone()))?;
    apply(&old, patch).map_err(|why| Refused::Patch(why.to_string()))
}
