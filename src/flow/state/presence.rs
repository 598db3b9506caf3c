//! Who is there: one user over all its connections, and the users of one room.

use crate::base::id::{ConnId, ShardId};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// How a user shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There.
    Online,
    /// There, but not looking.
    Away,
    /// There, and not to be disturbed.
    Busy,
    /// Not there.
    Offline,
}

impl Status {
    /// All of them, with what they are called.
    pub const ALL: [(&str, Status); 4] = [
        ("online", Status::Online),
        ("away", Status::Away),
        ("busy", Status::Busy),
        ("offline", Status::Offline),
    ];

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL.iter().find(|(n, _)| *n == name).map(|(_, status)| *status)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        Status::ALL[self as usize].0
    }
}

/// What others see of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its status.
    pub status: Status,
    /// Its own words.
    pub custom: Option<Arc<str>>,
    /// Since when (wall clock).
    pub since: u64,
}

impl Shown {
    /// Somebody who is not there.
    pub fn offline(since: u64) -> Shown {
        Shown { status: Status::Offline, custom: None, since }
    }

    /// Whether it looks the same, whenever it began.
    pub fn looks_like(&self, other: &Shown) -> bool {
        (self.status, &self.custom) == (other.status, &other.custom)
    }
}

/// A connection of a user, anywhere.
pub type ConnAddress = (ShardId, ConnId);

/// Where a user stands with a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// How many attempts to become a member are under way.
    under_way: u32,
    /// Whether it is one, as the room has said last.
    member: bool,
    /// Whether everybody may read the room, as the room has said last.
    open: bool,
}

/// Who wants to know how a user shows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// The application, or a connection that has been let in before.
    Trusted,
    /// A user, and the rooms that it is a member of.
    User(Arc<str>, Arc<[Arc<str>]>),
    /// Somebody who is in no room.
    Stranger,
}

/// One user over all its connections, kept by the user's owner.
#[derive(Debug)]
pub struct User {
    lines: SmallVec<[ConnAddress; 2]>,
    /// What it has said of itself since it came.
    status: Status,
    custom: Option<Arc<str>>,
    /// Until when it is not missed (monotonic), while it has no connection.
    missed: u64,
    /// What others see.
    shown: Shown,
    rooms: HashMap<Arc<str>, Standing>,
}

impl User {
    /// A user without connections, that nobody has seen.
    pub fn new(wall: u64) -> User {
        User {
            lines: SmallVec::new(),
            status: Status::Online,
            custom: None,
            missed: 0,
            shown: Shown::offline(wall),
            rooms: HashMap::new(),
        }
    }

    /// Its connections.
    pub fn lines(&self) -> &[ConnAddress] {
        &self.lines
    }

    /// What others see.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The rooms that it is a member of.
    pub fn rooms(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rooms.iter().filter(|(_, standing)| standing.member).map(|(room, _)| room)
    }

    /// Whether somebody may know how the user `name` shows itself: whoever shares a room with it, or may read one.
    pub fn is_visible_to(&self, name: &str, viewer: &Viewer) -> bool {
        let is_member = |room: &str| self.rooms.get(room).is_some_and(|standing| standing.member);
        let in_the_open = || self.rooms.values().any(|standing| standing.member && standing.open);
        match viewer {
            Viewer::Trusted => true,
            Viewer::User(user, rooms) => {
                **user == *name || rooms.iter().any(|room| is_member(room)) || in_the_open()
            }
            Viewer::Stranger => in_the_open(),
        }
    }

    /// The room says whether everybody may read it. True if somebody may know less of the user now.
    pub fn set_open(&mut self, room: &str, open: bool) -> bool {
        let Some(standing) = self.rooms.get_mut(room) else { return false };
        std::mem::replace(&mut standing.open, open) && !open
    }

    /// A connection of this user. One that is known stays single.
    pub fn connect(&mut self, line: ConnAddress) {
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// A connection is gone. If it was the last one, returns until when the user is not missed (monotonic).
    pub fn disconnect(&mut self, line: ConnAddress, now: u64, grace: u64) -> Option<u64> {
        let at = self.lines.iter().position(|l| *l == line)?;
        self.lines.swap_remove(at);
        self.missed = now + grace;
        self.lines.is_empty().then_some(self.missed)
    }

    /// The user says how it is; that holds until it goes.
    pub fn set(&mut self, status: Status, custom: Option<Arc<str>>) {
        (self.status, self.custom) = (status, custom);
    }

    /// What others are to see from now on, if that is something new.
    pub fn look(&mut self, now: u64, wall: u64) -> Option<&Shown> {
        let gone = self.lines.is_empty() && self.missed <= now;
        if gone {
            self.set(Status::Online, None);
        }
        let next = match self.status {
            Status::Offline => Shown::offline(wall),
            _ if gone => Shown::offline(wall),
            status => Shown { status, custom: self.custom.clone(), since: wall },
        };
        if next.looks_like(&self.shown) {
            return None;
        }
        self.shown = next;
        Some(&self.shown)
    }

    /// The user is about to become a member of a room, which it may be in `most` of; those it is in do not count.
    /// Every reservation is settled by the room, or given back.
    pub fn reserve(&mut self, room: &Arc<str>, most: usize) -> bool {
        if !self.rooms.contains_key(room) && self.rooms.len() >= most {
            return false;
        }
        self.rooms.entry(room.clone()).or_default().under_way += 1;
        true
    }

    /// A reservation has come to its end, if this is the answer to one; `member` is what the room says, if it has
    /// said something.
    pub fn settle(&mut self, room: &str, reserved: bool, member: Option<bool>) {
        let Some(standing) = self.rooms.get_mut(room) else {
            if member == Some(true) {
                self.rooms.insert(room.into(), Standing { member: true, ..Standing::default() });
            }
            return;
        };
        standing.under_way -= u32::from(reserved);
        standing.member = member.unwrap_or(standing.member);
        standing.open &= standing.member;
        if *standing == Standing::default() {
            self.rooms.remove(room);
        }
    }

    /// Whether nothing about it needs to be kept.
    pub fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.rooms.is_empty() && self.shown.status == Status::Offline
    }
}

/// What a room's members are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These show themselves otherwise now, in the order of their names.
    Users(Vec<(Arc<str>, Shown)>),
    /// How many are there: too many to name them.
    Count(usize),
    /// Everyone who is there, named again after a time of counting.
    Whole,
}

/// Who is there of a room. What members know is what the last tick said: a newcomer gets that, and the next tick tells
/// all of them alike what has changed since.
#[derive(Debug, Default)]
pub struct Presence {
    /// Those who are not offline, as told.
    told: HashMap<Arc<str>, Shown>,
    /// What is different now.
    fresh: HashMap<Arc<str>, Shown>,
    /// Whether only the number is told.
    counting: bool,
    /// The number as told.
    count: usize,
}

impl Presence {
    /// A user of the room shows itself so. True if there is something to tell.
    pub fn set(&mut self, user: &Arc<str>, shown: Shown) -> bool {
        let same = match self.told.get(user) {
            Some(told) => told.looks_like(&shown),
            None => shown.status == Status::Offline,
        };
        if same {
            self.fresh.remove(user);
        } else {
            self.fresh.insert(user.clone(), shown);
        }
        !same
    }

    /// Whether a user of the room is there, told or still to be told.
    pub fn knows(&self, user: &str) -> bool {
        match self.fresh.get(user) {
            Some(shown) => shown.status != Status::Offline,
            None => self.told.contains_key(user),
        }
    }

    /// What is to be told, if anything; above `most` users only how many there are. (It goes back to names once a
    /// tenth fewer are there.)
    pub fn tick(&mut self, most: usize) -> Option<News> {
        let mut changes: Vec<(Arc<str>, Shown)> = self.fresh.drain().collect();
        for (user, shown) in &changes {
            match shown.status {
                Status::Offline => self.told.remove(user),
                _ => self.told.insert(user.clone(), shown.clone()),
            };
        }
        let (there, was) = (self.told.len(), self.counting);
        self.counting = there > if was { most - most / 10 } else { most };
        let before = std::mem::replace(&mut self.count, there);
        if self.counting {
            return (!was || before != there).then_some(News::Count(there));
        }
        if was {
            return Some(News::Whole);
        }
        changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        (!changes.is_empty()).then_some(News::Users(changes))
    }

    /// Whether only the number is told.
    pub fn is_counting(&self) -> bool {
        self.counting
    }

    /// How many are there, as told.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Those who are there as told, in the order of their names; nobody where only the number is told.
    pub fn there(&self) -> Vec<(&Arc<str>, &Shown)> {
        if self.counting {
            return Vec::new();
        }
        let mut all: Vec<_> = self.told.iter().collect();
        all.sort_unstable_by_key(|(user, _)| *user);
        all
    }
}
