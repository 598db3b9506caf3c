//! Native subscriptions to documents: one after the other, each a pool at every owner concerned.
//!
//! Subscriptions of one connection that mean the same keys become one, so that each change comes once. What the
//! connection had of them it keeps: it is told what changed since.

use crate::base::id::{ConnId, ShardId};
use crate::flow::conn::Stage;
use crate::flow::conn::hub::{Announced, DocumentSubscription, Syncing};
use crate::flow::encode::documents;
use crate::flow::encode::frame::Variant;
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::channels::Overflow;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::documents::{DocumentRequest, Versions};
use crate::flow::request::position::Position;
use crate::flow::route::owner::owner;
use crate::flow::route::subject::Subject;
use crate::shard::connections::Clients;
use crate::shard::context::Context;
use crate::wire::cursor::KeyPosition;
use crate::wire::hub::write::Object;
use crate::wire::key::Name;
use hashbrown::HashMap;
use std::sync::Arc;

/// What a new subscription brings together.
#[derive(Default)]
struct Merged {
    names: Vec<Name>,
    /// How the changes of the last of them came.
    manner: (PatchMode, u32),
    /// How far each owner's part had come.
    stamps: HashMap<ShardId, u64>,
}

impl Merged {
    /// One more name, of which the client has what its cursor says.
    fn resume(&mut self, name: &Name, far: KeyPosition, shards: u16) {
        let stamps = match far {
            KeyPosition::Version(stamp) => vec![(owner(name.as_str(), shards), stamp)],
            KeyPosition::Owners(stamps) => (0..).map(ShardId).zip(stamps).collect(),
        };
        for (shard, stamp) in stamps {
            let place = self.stamps.entry(shard).or_insert(stamp);
            *place = stamp.min(*place);
        }
        if !self.names.contains(name) {
            self.names.push(name.clone());
        }
    }
}

impl Clients {
    /// A connection asks something of documents.
    pub fn documents(&mut self, ctx: &mut Context, id: ConnId, request: DocumentRequest) {
        let Some(conn) = self.get(id) else { return };
        conn.hub.get_or_insert_default().waiting.push_back(request);
        self.next_documents(ctx, id);
    }

    fn next_documents(&mut self, ctx: &mut Context, id: ConnId) {
        while let Some(hub) = self.hub(id).filter(|hub| hub.syncing.is_none()) {
            match hub.waiting.pop_front() {
                Some(DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request }) => {
                    let mut merged =
                        self.take_documents(ctx, id, |names| names.iter().any(|n| n.meets(&name)));
                    if let Some(far) = far {
                        merged.resume(&name, far, ctx.shards);
                    }
                    let new = Some(((name, request), versions));
                    self.follow_documents(ctx, id, merged, new, patch, max_hz);
                }
                Some(DocumentRequest::Unsubscribe(name, request)) => {
                    let mut rest = self.take_documents(ctx, id, |names| names.contains(&name));
                    rest.names.retain(|other| *other != name);
                    self.unfollowed(ctx, id, &name, request);
                    if !rest.names.is_empty() {
                        let (patch, max_hz) = rest.manner;
                        self.follow_documents(ctx, id, rest, None, patch, max_hz);
                    }
                }
                None => return,
            }
        }
    }

    /// A subscription has ended: whoever asked is told.
    fn unfollowed(&mut self, ctx: &mut Context, id: ConnId, name: &Name, request: Option<Box<str>>) {
        let request = request.as_deref();
        let name = name.as_str();
        self.say(ctx, id, |out| Object::reply("unsubscribed", request, out).text("key", name).end());
    }

    /// Ends the subscriptions that `which` picks by their names; says what they were.
    fn take_documents(&mut self, ctx: &mut Context, id: ConnId, which: impl Fn(&[Name]) -> bool) -> Merged {
        let mut merged = Merged::default();
        let Some(hub) = self.hub(id) else { return merged };
        let taken: Vec<DocumentSubscription> =
            hub.documents.extract_if(.., |documents| which(&documents.names)).collect();
        for DocumentSubscription { names, manner, pools } in taken {
            merged.names.extend(names.iter().cloned());
            merged.manner = manner;
            for pool in pools {
                let stamp = self.position(id, pool);
                if let Some(Subject::Part(_, owner)) = self.fanout.pools.get(pool).map(|pool| &pool.subject) {
                    let place = merged.stamps.entry(*owner).or_insert(stamp);
                    *place = stamp.min(*place);
                }
                self.unsubscribe(ctx, id, pool);
            }
        }
        merged
    }

    /// How far a connection has come in a pool.
    fn position(&mut self, id: ConnId, pool: PoolId) -> u64 {
        let sub = self.get(id).and_then(|conn| conn.subs.iter().find(|sub| sub.pool == pool));
        match sub.map(|sub| (sub.stage, sub.since)) {
            Some((Stage::Member(_), _)) => self.fanout.position(pool, id.slot),
            Some((Stage::Waiting(_) | Stage::Behind, since)) => since,
            None => 0,
        }
    }

    /// Subscribes to names: to those that it had, and one more.
    fn follow_documents(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        merged: Merged,
        new: Option<(Announced, Versions)>,
        patch: PatchMode,
        max_hz: u32,
    ) {
        let Merged { mut names, stamps, .. } = merged;
        let (announce, versions) = new.unzip();
        let fresh = announce.iter().map(|(name, _)| name).find(|name| !names.contains(name)).cloned();
        names.extend(fresh.clone());
        names.sort_unstable();
        let names: Arc<[Name]> = names.into();
        let versions = Arc::new(versions.unwrap_or_default());
        // a reader that takes only so much gets whole documents: the patches between would be lost
        let patch = if max_hz > 0 { PatchMode::Never } else { patch };
        let (mut pools, mut missing) = (Vec::new(), Vec::new());
        for shard in owners(&names, ctx) {
            let stamp = stamps.get(&shard).copied().unwrap_or(0);
            let has = match stamp {
                0 if versions.is_empty() => Position::Nothing,
                stamp => Position::Since { stamp, fresh: fresh.clone(), versions: versions.clone() },
            };
            let subject = Subject::Part(names.clone(), shard);
            let Some(variant) = self.variant(id, &subject) else { return };
            let variant = Variant { patch, ..variant };
            let pool = self.fanout.pools.enter(&subject, variant, max_hz, Overflow::Conflate);
            pools.push(pool);
            missing.push((pool, has));
        }
        let Some(hub) = self.hub(id) else { return };
        hub.documents.push(DocumentSubscription { names, manner: (patch, max_hz), pools });
        hub.syncing = Some(Syncing { announce, missing: missing.clone(), count: 0 });
        for (pool, has) in missing {
            self.enter(ctx, id, pool, has);
        }
    }

    /// Everything that the connection has asked of documents begins anew.
    pub(super) fn restart_documents(&mut self, ctx: &mut Context, id: ConnId) {
        let anew = |(name, patch, max_hz)| {
            let (versions, far, request) = Default::default();
            DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request }
        };
        let anew: Vec<DocumentRequest> =
            self.hub(id).into_iter().flat_map(|hub| hub.wishes().map(anew)).collect();
        self.take_documents(ctx, id, |_| true);
        let Some(hub) = self.hub(id) else { return };
        hub.syncing = None;
        for request in anew.into_iter().rev() {
            hub.waiting.push_front(request);
        }
        for request in &mut hub.waiting {
            if let DocumentRequest::Subscribe { far, .. } = request {
                *far = None;
            }
        }
        self.next_documents(ctx, id);
    }

    /// What the connection had when it asked for a state that has not come yet.
    pub(super) fn missing(&mut self, id: ConnId, pool: PoolId) -> Option<Position> {
        let missing = &self.hub(id)?.syncing.as_ref()?.missing;
        missing.iter().find(|(missing, _)| *missing == pool).map(|(_, has)| has.clone())
    }

    /// One part's state is sent: `count` keys of it.
    pub(super) fn documents_joined(&mut self, ctx: &mut Context, id: ConnId, pool: PoolId, count: u32) {
        let Some(hub) = self.hub(id) else { return };
        let Some(syncing) = &mut hub.syncing else { return };
        let before = syncing.missing.len();
        syncing.missing.retain(|(missing, _)| *missing != pool);
        if syncing.missing.len() < before {
            syncing.count += count;
        }
        if !syncing.missing.is_empty() {
            return;
        }
        let done = hub.syncing.take().expect("just seen");
        let dialect = self.dialect(id);
        if let Some(((name, request), dialect)) = done.announce.zip(dialect) {
            let request = request.as_deref();
            let synced = documents::synced(&mut ctx.encoder, dialect, name.as_str(), request, done.count);
            self.insist(id, synced);
        }
        self.next_documents(ctx, id);
    }
}

/// The owners of what the names mean.
fn owners(names: &[Name], ctx: &Context) -> Vec<ShardId> {
    match names {
        [Name::Key(key)] => vec![owner(key.as_str(), ctx.shards)],
        _ => ctx.all().collect(),
    }
}
