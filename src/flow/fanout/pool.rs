//! The connections of one shard that share one subscription, and the frames that are due to them.

use crate::base::slab::{Id, Slab};
use crate::flow::encode::frame::{Frame, Variant};
use crate::flow::limits::Overflow;
use crate::wire::key::{Key, Pattern};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// The name of a pool. It travels to owners and back, so that a frame finds its pool without a look-up.
pub type PoolId = Id;

/// What the subscribers of a pool want.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One document.
    Key(Key),
    /// The list of a pattern.
    List(Pattern),
    /// The publications of a channel.
    Channel(Arc<str>),
    /// The time of day, once a second.
    Clock,
}

impl Subject {
    /// The name whose owner has the state; `None` if every shard has it.
    pub fn name(&self) -> Option<&str> {
        match self {
            Subject::Key(key) => Some(key.as_str()),
            Subject::List(pattern) => Some(pattern.as_str()),
            Subject::Channel(name) => Some(name),
            Subject::Clock => None,
        }
    }
}

/// A connection's place in a pool, kept on both sides so that leaving costs the same however many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
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
    /// What happens to a member that is full to its budget.
    pub overflow: Overflow,
    /// Those that have the state and follow it.
    pub members: Vec<Member>,
    /// How many more are on their way in (or behind, and to come back).
    pub waiting: u32,
    /// What is due to every member; joined to one run when the next plan is made.
    pub frames: SmallVec<[Frame; 1]>,
    /// Members that came behind the first `.1` of `frames`, by slot.
    pub newcomers: Vec<(u32, u32)>,
}

impl Pool {
    /// Whether nobody is left.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.waiting == 0
    }
}

/// All pools of a shard.
#[derive(Debug, Default)]
pub struct Pools {
    slab: Slab<Pool>,
    index: HashMap<(Subject, Variant), PoolId>,
}

impl Pools {
    /// The pool of a subject in a variant, made if need be.
    pub fn enter(&mut self, subject: &Subject, variant: Variant, overflow: Overflow) -> PoolId {
        if let Some(id) = self.find(subject, variant) {
            return id;
        }
        let (members, frames, newcomers) = Default::default();
        let pool =
            Pool { subject: subject.clone(), variant, overflow, members, waiting: 0, frames, newcomers };
        let id = self.slab.insert(pool);
        self.index.insert((subject.clone(), variant), id);
        id
    }

    /// The pool of that subject and variant, if there is one.
    pub fn find(&self, subject: &Subject, variant: Variant) -> Option<PoolId> {
        self.index.get(&(subject.clone(), variant)).copied()
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
        self.index.remove(&(pool.subject.clone(), pool.variant));
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
