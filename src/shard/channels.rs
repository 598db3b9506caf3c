//! The channels of an owner: the number of the last publication, and what is kept of the past.

use crate::base::time::SEC;
use crate::flow::feed::Done;
use crate::flow::limits::Keep;
use crate::flow::state::history::{Entry, History};
use crate::shard::desk::Desk;
use crate::wire::feed::Publish;
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
    keep: Keep,
    history: Option<Box<History>>,
    /// Whether it is a room.
    room: bool,
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
    fn placed(&self, sequence: u64, entry: &Entry) -> Placed {
        Placed { room: self.room, sequence, stamp: entry.stamp, told: true }
    }

    /// The next publication takes its place. It is kept by `remember`.
    pub fn place(&mut self, desk: &mut Desk, publish: &Publish) -> Placed {
        self.offset += 1;
        self.touched = desk.now.mono;
        desk.stats.published += 1;
        let told = self.keep.count > 0 || publish.client;
        let stamp = if told { desk.stamp() } else { 0 };
        Placed { room: self.room, sequence: self.offset, stamp, told }
    }

    /// Keeps a publication that has just taken its place, where that is wanted.
    pub fn remember(&mut self, placed: Placed, publish: Box<Publish>) {
        if self.keep.count > 0 {
            let history = self.history.get_or_insert_with(|| Box::new(History::new(placed.sequence - 1)));
            history.push(Entry::new(placed.stamp, publish), self.keep);
        }
    }

    /// What was published into it, as far as it is kept at this moment.
    pub fn history(&mut self, desk: &Desk) -> Option<&mut History> {
        let history = self.history.as_deref_mut()?;
        history.trim(self.keep, desk.now.wall);
        Some(history)
    }

    /// Where somebody begins who has seen everything up to `seen` in this life of the server, if it says.
    pub fn start(&mut self, desk: &Desk, seen: Option<Option<u64>>) -> Start<'_> {
        self.touched = desk.now.mono;
        let offset = self.offset;
        let nothing = Start { offset, gap: false, missed: Vec::new() };
        match seen {
            None => nothing,
            Some(Some(seen)) if seen == offset => nothing,
            Some(seen) => {
                self.history(desk);
                let past = seen.zip(self.history.as_ref()).and_then(|(seen, history)| history.since(seen));
                match past {
                    None => Start { gap: true, ..nothing },
                    Some(past) => {
                        let place = |(sequence, entry): (u64, &'_ Entry)| self.placed(sequence, entry);
                        let missed = past.map(|(n, entry)| (place((n, entry)), &*entry.publish)).collect();
                        Start { missed, ..nothing }
                    }
                }
            }
        }
    }
}

impl Channels {
    /// The channel of that name, made if need be.
    pub fn open(&mut self, desk: &Desk, name: &Arc<str>) -> &mut Channel {
        let (floor, idle) = (self.floor, &mut self.idle);
        self.map.entry(name.clone()).or_insert_with(|| {
            idle.push_back((desk.now.mono + IDLE, name.clone()));
            let keep = desk.limits.keep(name, Keep::NOTHING);
            Channel { offset: floor, touched: desk.now.mono, keep, history: None, room: false }
        })
    }

    /// The channel of that name, if there is one.
    pub fn get(&mut self, name: &str) -> Option<&mut Channel> {
        self.map.get_mut(name)
    }

    /// The channel becomes a room, or ends to be one; its past is kept as is usual for what it is now.
    pub fn set_room(&mut self, desk: &Desk, name: &Arc<str>, room: bool) {
        let keep = desk.limits.keep(name, if room { Keep::ROOM } else { Keep::NOTHING });
        let channel = self.open(desk, name);
        (channel.room, channel.keep) = (room, keep);
        if !room {
            channel.history = None;
        }
    }

    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Publications that are kept, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        let each = self.map.values().filter_map(|channel| channel.history.as_ref());
        each.fold((0, 0), |(count, bytes), history| (count + history.len(), bytes + history.bytes()))
    }

    /// Forgets channels that have been idle for long. `watched`: whether somebody is subscribed.
    pub fn tidy(&mut self, desk: &Desk, watched: impl Fn(&Arc<str>) -> bool) {
        let now = desk.now.mono;
        while self.idle.front().is_some_and(|(due, _)| *due <= now) {
            let (_, name) = self.idle.pop_front().expect("just seen");
            let channel = self.map.get_mut(&name).expect("each is listed once");
            let empty = channel.history(desk).is_none_or(|history| history.is_empty());
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

/// What the answer to a publication says.
pub fn done(publish: &Publish, placed: Placed) -> Done {
    Done::Channel(publish.channel.clone(), placed.sequence)
}
