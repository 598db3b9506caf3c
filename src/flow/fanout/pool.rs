//! The connections of one shard that share one subscription, and the frames that are due to them.

use crate::base::slab::{Id, Slab};
use crate::base::time::SEC;
use crate::flow::encode::frame::{Frame, Variant};
use crate::flow::fanout::reach::Reach;
use crate::flow::route::subject::Subject;
use crate::wire::key::Key;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// The name of a pool. It travels to owners and back, so that a frame finds its pool without a look-up.
pub type PoolId = Id;

/// A connection's place in a pool, kept on both sides so that leaving costs the same however many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolMember {
    /// The connection's slot.
    pub slot: u32,
    /// Which of the connection's subscriptions this is.
    pub sub: u32,
}

/// Connections with the same subject and variant.
#[derive(Debug)]
pub struct Pool {
    /// What they want.
    pub subject: Subject,
    /// Their language.
    pub variant: Variant,
    /// At most so many deliveries a second; 0: as they come.
    pub max_hz: u32,
    /// Those that have the state and follow it.
    pub members: Vec<PoolMember>,
    /// How many more are on their way in (or behind, and to come back).
    pub waiting: u32,
    /// How far its frames have come: up to the last one.
    pub at: Reach,
    /// How far they had come before the first of `frames`.
    pub before: Reach,
    /// How far they had come before those of the plan under way, if it has any.
    pub planned: Option<Reach>,
    /// Frames that are held back, if the pool takes only so many a second.
    pub paced: Option<Box<Paced>>,
    /// What is due to every member; joined to one run when the next plan is made.
    pub frames: SmallVec<[Frame; 1]>,
    /// Members that came when some of `frames` were there already.
    pub newcomers: Vec<Newcomer>,
}

/// A member that does not get all of a pool's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its slot.
    pub slot: u32,
    /// How many of the frames it does not get.
    pub skips: u32,
    /// How far it has come without them.
    pub at: Reach,
}

/// The pace of a pool, and what waits for its next moment.
#[derive(Debug)]
pub struct Paced {
    /// Nanoseconds between two deliveries.
    pub period: u64,
    /// When the next one may go.
    pub due: u64,
    /// The newest frame of each key, and how far it brings the pool.
    pub held: HashMap<Key, (Reach, Frame)>,
    /// How far the pool had come before the first of them.
    pub before: Reach,
}

impl Pool {
    /// How far a member has surely come; `due`: whether the plan under way has something for it still.
    pub fn position(&self, slot: u32, due: bool) -> Reach {
        if let Some(planned) = self.planned.filter(|_| due) {
            return planned;
        }
        if let Some(newcomer) = self.newcomers.iter().find(|newcomer| newcomer.slot == slot) {
            return newcomer.at;
        }
        match &self.paced {
            _ if !self.frames.is_empty() => self.before,
            Some(paced) if !paced.held.is_empty() => paced.before,
            _ => self.at,
        }
    }

    /// How many connections are subscribed, those included that do not follow yet.
    pub fn subscribers(&self) -> usize {
        self.members.len() + self.waiting as usize
    }

    /// Whether nobody is left.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.waiting == 0
    }
}

/// All pools of a shard.
#[derive(Debug, Default)]
pub struct Pools {
    slab: Slab<Pool>,
    index: HashMap<(Subject, Variant, u32), PoolId>,
}

impl Pools {
    /// The pool of a subject in a variant, made if need be. `max_hz`: at most so many deliveries a second, 0: as they
    /// come.
    pub fn enter(&mut self, subject: &Subject, variant: Variant, max_hz: u32) -> PoolId {
        let name = (subject.clone(), variant, max_hz);
        if let Some(id) = self.index.get(&name) {
            return *id;
        }
        let paced = (max_hz > 0).then(|| {
            let (period, held) = (SEC / u64::from(max_hz), HashMap::new());
            Box::new(Paced { period, due: 0, held, before: Reach::default() })
        });
        let (members, frames, newcomers) = Default::default();
        let subject = subject.clone();
        let (waiting, at, before, planned) = (0, Reach::default(), Reach::default(), None);
        let pool = Pool {
            subject,
            variant,
            max_hz,
            members,
            waiting,
            at,
            before,
            planned,
            paced,
            frames,
            newcomers,
        };
        let id = self.slab.insert(pool);
        self.index.insert(name, id);
        id
    }

    /// The pool of that subject and variant that takes things as they come, if there is one.
    pub fn find(&self, subject: &Subject, variant: Variant) -> Option<PoolId> {
        self.index.get(&(subject.clone(), variant, 0)).copied()
    }

    /// The pool of that name.
    pub fn get(&self, id: PoolId) -> Option<&Pool> {
        self.slab.get(id)
    }

    /// The pool of that name.
    pub fn get_mut(&mut self, id: PoolId) -> Option<&mut Pool> {
        self.slab.get_mut(id)
    }

    /// Drops an idle pool.
    pub fn remove(&mut self, id: PoolId) -> Option<Pool> {
        let pool = self.slab.remove(id)?;
        debug_assert!(pool.is_idle());
        self.index.remove(&(pool.subject.clone(), pool.variant, pool.max_hz));
        Some(pool)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All pools.
    pub fn iter(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.slab.iter()
    }
}
