//! The channels of an owner: the number of the last publication, and what is kept of the past.

use crate::base::time::SEC;
use crate::flow::conn::listing::Row;
use crate::flow::limits::channels::Retention;
use crate::flow::request::position::Position;
use crate::flow::state::history::{History, HistoryEntry};
use crate::shard::connections::EVERYONE;
use crate::shard::context::Context;
use crate::wire::feed::Publish;
use crate::wire::hub::Query;
use crate::wire::hub::write::Placed;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// For how long a channel is remembered that nobody is subscribed to and that has no history.
const IDLE: u64 = 60 * SEC;

/// One channel.
#[derive(Debug)]
pub struct Channel {
    /// The number of its last publication.
    offset: u64,
    /// When there was last something to do with it (monotonic).
    touched: u64,
    keep: Retention,
    history: Option<Box<History>>,
    /// Whether it is a room.
    room: bool,
    /// Whether only the room's members may hear it.
    private: bool,
    /// Rises with everything that changes what is replayed of it.
    revision: u64,
}

/// All channels of an owner.
#[derive(Debug, Default)]
pub struct Channels {
    map: HashMap<Arc<str>, Channel>,
    /// The highest number in a channel that is forgotten: every other begins behind it, so that the numbers of a name
    /// never go back.
    floor: u64,
    /// Every channel once, with the moment at which it may be forgotten, if nothing has come between.
    idle: VecDeque<(u64, Arc<str>)>,
}

/// Where a subscription to a channel begins.
#[derive(Debug)]
pub struct Start<'a> {
    /// The number of the last publication.
    pub offset: u64,
    /// Whether publications are lost that the subscriber has not seen.
    pub gap: bool,
    /// Those that it has missed, with their places.
    pub missed: Vec<(Placed, &'a Publish)>,
}

impl Channel {
    /// The number of its last publication.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn placed(&self, sequence: u64, entry: &HistoryEntry) -> Placed {
        Placed { room: self.room, sequence, stamp: entry.stamp, told: true }
    }

    /// The next publication takes its place. It is kept by `remember`.
    pub fn place(&mut self, ctx: &mut Context, publish: &Publish) -> Placed {
        self.offset += 1;
        self.revision += 1;
        self.touched = ctx.now.mono;
        ctx.stats.published += 1;
        let told = self.keep.count > 0 || publish.client;
        let stamp = if told { ctx.stamp() } else { 0 };
        Placed { room: self.room, sequence: self.offset, stamp, told }
    }

    /// Keeps a publication that has just taken its place, where that is wanted.
    pub fn remember(&mut self, placed: Placed, publish: Box<Publish>) {
        if self.keep.count > 0 {
            let history = self.history.get_or_insert_with(|| Box::new(History::new(placed.sequence - 1)));
            history.push(HistoryEntry::new(placed.stamp, publish), self.keep);
        }
    }

    /// What was published into it, as far as it is kept at this moment; it may be changed.
    pub fn history(&mut self, ctx: &Context) -> Option<&mut History> {
        self.revision += 1;
        self.trim(ctx);
        self.history.as_deref_mut()
    }

    /// Lets go what is too old by now.
    fn trim(&mut self, ctx: &Context) {
        if let Some(history) = &mut self.history {
            history.trim(self.keep, ctx.now.wall);
        }
    }

    /// Rises with everything that changes what is replayed of it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Where somebody begins who says what it has seen.
    pub fn start(&mut self, ctx: &Context, has: &Position) -> Start<'_> {
        self.touched = ctx.now.mono;
        let nothing = Start { offset: self.offset, gap: false, missed: Vec::new() };
        let Position::Offset(epoch, seen) = has else { return nothing };
        if **epoch != *ctx.epoch {
            return Start { gap: true, ..nothing };
        }
        if *seen == self.offset {
            return nothing;
        }
        self.trim(ctx);
        match self.history.as_ref().and_then(|history| history.since(*seen)) {
            Some(past) => Start {
                missed: past.map(|(n, entry)| (self.placed(n, entry), &*entry.publish)).collect(),
                ..nothing
            },
            None => Start { gap: true, ..nothing },
        }
    }

    /// What a query means, newest first.
    pub fn query<'a>(
        &'a mut self,
        ctx: &Context,
        query: &'a Query,
    ) -> impl Iterator<Item = (Placed, &'a HistoryEntry)> {
        self.trim(ctx);
        let found = self.history.iter().flat_map(|history| history.query(query));
        found.map(|(n, entry)| (self.placed(n, entry), entry))
    }

    /// Whether only a room's members may hear it.
    pub fn is_private(&self) -> bool {
        self.private
    }
}

impl Channels {
    /// The channel of that name, made if need be.
    pub fn open(&mut self, ctx: &Context, name: &Arc<str>) -> &mut Channel {
        let (floor, idle) = (self.floor, &mut self.idle);
        self.map.entry_ref(name).or_insert_with(|| {
            idle.push_back((ctx.now.mono + IDLE, name.clone()));
            let keep = ctx.limits.retention(name, Retention::NOTHING);
            Channel {
                offset: floor,
                touched: ctx.now.mono,
                keep,
                history: None,
                room: false,
                private: false,
                revision: 0,
            }
        })
    }

    /// The channel of that name, if there is one.
    pub fn get(&mut self, name: &str) -> Option<&mut Channel> {
        self.map.get_mut(name)
    }

    /// The channel becomes a room, or ends to be one; its past is kept as is usual for what it is now.
    pub fn set_room(&mut self, ctx: &Context, name: &Arc<str>, room: bool, private: bool) {
        let keep = ctx.limits.retention(name, if room { Retention::ROOM } else { Retention::NOTHING });
        let channel = self.open(ctx, name);
        channel.revision += 1;
        (channel.room, channel.private, channel.keep) = (room, private, keep);
        if !room {
            channel.history = None;
        }
    }

    /// The channels that anybody may know of. Everybody's is none that one would choose.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let open = self.map.iter().filter(|(name, channel)| !channel.private && ***name != *EVERYONE);
        open.map(|(name, channel)| Row { name: name.clone(), offset: Some(channel.offset), subscribers: 0 })
    }

    /// How many channels there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Forgets channels that have been idle for long. `watched`: whether somebody is subscribed.
    pub fn tidy(&mut self, ctx: &Context, watched: impl Fn(&Arc<str>) -> bool) {
        let now = ctx.now.mono;
        while self.idle.front().is_some_and(|(due, _)| *due <= now) {
            let (_, name) = self.idle.pop_front().expect("just seen");
            let channel = self.map.get_mut(&name).expect("each is listed once");
            channel.trim(ctx);
            let empty = channel.history.as_ref().is_none_or(|history| history.is_empty());
            let due = if channel.room || !empty || watched(&name) { now } else { channel.touched } + IDLE;
            if due > now {
                self.idle.push_back((due, name));
                continue;
            }
            self.floor = self.floor.max(channel.offset);
            self.map.remove(&name);
        }
    }
}
