//! Native subscriptions to documents: one after the other, each a pool at every owner concerned.
//!
//! Subscriptions of one connection that mean the same keys become one, so that each change comes once. What the
//! connection had of them it keeps: it is told what changed since.

use crate::base::id::ShardId;
use crate::base::stamp::Stamp;
use crate::flow::encode::documents;
use crate::flow::encode::frame::Variant;
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::documents::PatchMode;
use crate::flow::request::documents::{DocumentRequest, Versions};
use crate::flow::request::position::Position;
use crate::flow::route::owner::owner;
use crate::flow::route::subject::Subject;
use crate::shard::connections::view::View;
use crate::shard::context::Context;
use crate::wire::cursor::KeyPosition;
use crate::wire::hub::write::Object;
use crate::wire::key::Name;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many names of documents one connection may be subscribed to.
pub const MAX_NAMES: usize = 1000;

/// How changes come, and at most how often a second (0: as they come).
type Manner = (PatchMode, u32);

/// A name whose state is complete is announced, for the `request_id` that asked for it.
type Announced = (Name, Option<Box<str>>);

/// One subscription to documents: a pool at each owner.
#[derive(Debug)]
struct DocumentSubscription {
    /// What it is about, in order.
    names: Arc<[Name]>,
    manner: Manner,
    pools: Vec<PoolId>,
}

/// A subscription whose state is on its way.
#[derive(Debug)]
struct Syncing {
    /// What is to be announced when it is complete.
    announce: Option<Announced>,
    /// The owners' parts that are missing, and what the client had of them.
    missing: Vec<(PoolId, Position)>,
    /// Keys whose state was sent.
    count: u32,
}

/// What a new subscription brings together.
#[derive(Default)]
struct Merged {
    names: Vec<Name>,
    /// How the changes of the last of them came.
    manner: Manner,
    /// How far each owner's part had come.
    stamps: HashMap<ShardId, Stamp>,
}

impl Merged {
    /// An owner's part had come at most to that stamp.
    fn limit(&mut self, owner: ShardId, stamp: Stamp) {
        let known = self.stamps.entry(owner).or_insert(stamp);
        *known = stamp.min(*known);
    }

    /// One more name, of which the client has what its cursor says.
    fn resume(&mut self, name: &Name, position: KeyPosition, shards: u16) {
        match position {
            KeyPosition::Version(stamp) => self.limit(owner(name.as_str(), shards), stamp),
            KeyPosition::Owners(stamps) => {
                (0..).map(ShardId).zip(stamps).for_each(|(owner, stamp)| self.limit(owner, stamp));
            }
        }
        if !self.names.contains(name) {
            self.names.push(name.clone());
        }
    }
}

/// The documents that a connection is subscribed to, and what it has asked of them.
#[derive(Debug, Default)]
pub struct DocumentSubscriptions {
    /// No two mean the same key: those that would are one.
    list: Vec<DocumentSubscription>,
    /// The one that is being brought up to date.
    syncing: Option<Syncing>,
    /// What it has asked meanwhile; done one after the other.
    waiting: VecDeque<DocumentRequest>,
}

impl DocumentSubscriptions {
    /// How many keys and patterns it is subscribed to, or has asked for.
    pub fn count(&self) -> usize {
        self.list.iter().map(|documents| documents.names.len()).sum::<usize>() + self.waiting.len()
    }

    /// The names that it is subscribed to, and how their changes come.
    pub fn names(&self) -> impl Iterator<Item = (Name, PatchMode, u32)> {
        self.list.iter().flat_map(|documents| {
            let (patch, max_hz) = documents.manner;
            documents.names.iter().map(move |name| (name.clone(), patch, max_hz))
        })
    }

    /// Whether a state is on its way.
    pub fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// The connection asks something of documents.
    pub fn request(&mut self, view: &mut View<'_>, request: DocumentRequest) {
        self.waiting.push_back(request);
        self.next(view);
    }

    fn next(&mut self, view: &mut View<'_>) {
        while self.syncing.is_none() {
            match self.waiting.pop_front() {
                Some(DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request }) => {
                    let mut merged = self.take(view, |names| names.iter().any(|n| n.meets(&name)));
                    if let Some(position) = far {
                        merged.resume(&name, position, view.ctx.shards);
                    }
                    merged.manner = (patch, max_hz);
                    self.follow(view, merged, Some(((name, request), versions)));
                }
                Some(DocumentRequest::Unsubscribe(name, request)) => {
                    let mut rest = self.take(view, |names| names.contains(&name));
                    rest.names.retain(|other| *other != name);
                    let (request, key) = (request.as_deref(), name.as_str());
                    view.send_text(|out| Object::reply("unsubscribed", request, out).text("key", key).end());
                    if !rest.names.is_empty() {
                        self.follow(view, rest, None);
                    }
                }
                None => return,
            }
        }
    }

    /// Ends the subscriptions that `which` picks by their names; says what they were.
    fn take(&mut self, view: &mut View<'_>, which: impl Fn(&[Name]) -> bool) -> Merged {
        let mut merged = Merged::default();
        for taken in self.list.extract_if(.., |documents| which(&documents.names)) {
            merged.names.extend(taken.names.iter().cloned());
            merged.manner = taken.manner;
            for pool in taken.pools {
                if let Some(Subject::Part(_, owner)) = view.subject(pool) {
                    merged.limit(*owner, view.position(pool).unwrap_or_default().as_stamp());
                }
                view.unsubscribe(pool);
            }
        }
        merged
    }

    /// Subscribes to names: to those that it had, and one more.
    fn follow(&mut self, view: &mut View<'_>, merged: Merged, new: Option<(Announced, Versions)>) {
        let Merged { mut names, manner: (patch, max_hz), stamps } = merged;
        let (announce, versions) = new.unzip();
        let fresh = announce.iter().map(|(name, _)| name).find(|name| !names.contains(name)).cloned();
        names.extend(fresh.clone());
        names.sort_unstable();
        let names: Arc<[Name]> = names.into();
        let versions = Arc::new(versions.unwrap_or_default());
        // a reader that takes only so much gets whole documents: the patches between would be lost
        let patch = if max_hz > 0 { PatchMode::Never } else { patch };
        let (mut pools, mut missing) = (Vec::new(), Vec::new());
        for shard in owners(&names, view.ctx) {
            let stamp = stamps.get(&shard).copied().unwrap_or_default();
            let has = if stamp == Stamp::ZERO && versions.is_empty() {
                Position::Nothing
            } else {
                Position::Since { stamp, fresh: fresh.clone(), versions: versions.clone() }
            };
            let subject = Subject::Part(names.clone(), shard);
            let Some(variant) = view.variant(&subject) else { return };
            let variant = Variant { patch, ..variant };
            let all = &mut view.shared.subscriptions.fanout.pools;
            let pool = all.enter(&subject, variant, max_hz);
            pools.push(pool);
            missing.push((pool, has));
        }
        self.list.push(DocumentSubscription { names, manner: (patch, max_hz), pools });
        self.syncing = Some(Syncing { announce, missing: missing.clone(), count: 0 });
        for (pool, has) in missing {
            view.subscribe_to_pool(pool, has);
        }
    }

    /// Everything that the connection has asked of documents begins anew.
    pub fn restart(&mut self, view: &mut View<'_>) {
        let anew = |(name, patch, max_hz)| {
            let (versions, far, request) = Default::default();
            DocumentRequest::Subscribe { name, patch, max_hz, versions, far, request }
        };
        let anew: Vec<DocumentRequest> = self.names().map(anew).collect();
        self.take(view, |_| true);
        self.syncing = None;
        for request in anew.into_iter().rev() {
            self.waiting.push_front(request);
        }
        for request in &mut self.waiting {
            if let DocumentRequest::Subscribe { far, .. } = request {
                *far = None;
            }
        }
        self.next(view);
    }

    /// What the connection had when it asked for a state that has not come yet.
    pub fn missing(&self, pool: PoolId) -> Option<Position> {
        let missing = &self.syncing.as_ref()?.missing;
        missing.iter().find(|(missing, _)| *missing == pool).map(|(_, has)| has.clone())
    }

    /// One part's state is sent: `count` keys of it.
    pub fn joined(&mut self, view: &mut View<'_>, pool: PoolId, count: u32) {
        let Some(syncing) = &mut self.syncing else { return };
        let before = syncing.missing.len();
        syncing.missing.retain(|(missing, _)| *missing != pool);
        if syncing.missing.len() < before {
            syncing.count += count;
        }
        if !syncing.missing.is_empty() {
            return;
        }
        let (announce, count) = (syncing.announce.take(), syncing.count);
        self.syncing = None;
        if let Some(((name, request), dialect)) = announce.zip(view.dialect()) {
            let encoder = &mut view.ctx.encoder;
            let synced = documents::synced(encoder, dialect, name.as_str(), request.as_deref(), count);
            view.force_send(synced);
        }
        self.next(view);
    }
}

/// The owners of what the names mean.
fn owners(names: &[Name], ctx: &Context) -> Vec<ShardId> {
    match names {
        [Name::Key(key)] => vec![owner(key.as_str(), ctx.shards)],
        _ => ctx.all().collect(),
    }
}
