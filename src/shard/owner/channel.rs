//! One channel: the offset of its last publication, what is kept of its past, and where a reader stands in it.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::flow::encode::hub;
use crate::flow::filter;
use crate::flow::limits::Limits;
use crate::flow::limits::channels::Retention;
use crate::flow::limits::route::RouteId;
use crate::flow::request::position::Position;
use crate::flow::state::history::{History, HistoryEntry};
use crate::flow::state::tail::{ChannelTail, Tail};
use crate::shard::context::Context;
use crate::shard::owner::record::Publication;
use crate::wire::cursor::Cursor;
use crate::wire::feed::Publish;
use crate::wire::hub::write::Placed;
use crate::wire::hub::{EVERYONE, Query};
use crate::wire::json::Json;
use memchr::memmem;
use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Anybody may publish into it and hear it.
    Open,
    /// The messages of a room that anybody may hear.
    Room,
    /// The messages of a room that only its members may hear.
    PrivateRoom,
}

/// One channel.
#[derive(Debug)]
pub struct Channel {
    /// The offset of its last publication.
    offset: Offset,
    kind: ChannelKind,
    history: Option<Box<History>>,
    /// Where its latest publications stand in the tail.
    recent: ChannelTail,
    /// Rises when something of its past changes. What comes behind it does not.
    revision: u64,
    /// When there was last something to do with it (monotonic).
    touched: Cell<u64>,
    /// How much of its past is kept, once that was looked up.
    keep: Cell<Option<Retention>>,
}

/// Where a subscription to a channel begins.
pub struct Start<'a> {
    /// The offset of the last publication.
    pub offset: Offset,
    /// Whether publications are lost that the subscriber has not seen.
    pub gap: bool,
    /// Those that it has missed, oldest first.
    pub missed: Box<dyn Iterator<Item = Missed<'a>> + 'a>,
}

/// A publication that a subscriber has missed.
#[derive(Clone, Copy, Debug)]
pub struct Missed<'a> {
    /// How far it brings the subscriber.
    pub at: Offset,
    /// Its place in its channel.
    pub placed: Placed,
    /// What was published.
    pub publish: &'a Publish,
}

impl Channel {
    /// An open channel whose first publication comes behind `offset`.
    pub fn new(offset: Offset) -> Channel {
        let (history, recent, revision, touched, keep) = Default::default();
        Channel { offset, kind: ChannelKind::Open, history, recent, revision, touched, keep }
    }

    /// The offset of its last publication.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What it is.
    pub fn kind(&self) -> ChannelKind {
        self.kind
    }

    /// Rises when something of its past changes.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When there was last something to do with it (monotonic).
    pub fn touched(&self) -> u64 {
        self.touched.get()
    }

    /// There is something to do with it.
    pub fn touch(&self, now: u64) {
        self.touched.set(self.touched.get().max(now));
    }

    /// How much of its past is kept.
    pub fn keep(&self, limits: &Limits, name: &str) -> Retention {
        let keep = self.keep.get().unwrap_or_else(|| retention(limits, name, self.kind));
        self.keep.set(Some(keep));
        keep
    }

    /// Settings have changed: how much is kept is to be looked up again.
    pub fn limits_changed(&mut self) {
        self.keep.set(None);
    }

    /// What is kept of its past.
    pub fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// How much is to be kept, if more is kept at this moment.
    pub fn is_beyond(&self, ctx: &Context, name: &str) -> Option<Retention> {
        self.history.as_ref()?;
        let keep = self.keep(&ctx.limits, name);
        self.history.as_ref().is_some_and(|history| history.is_beyond(keep, ctx.now.wall)).then_some(keep)
    }

    fn placed(&self, sequence: Offset, entry: &HistoryEntry) -> Placed {
        Placed { room: self.kind != ChannelKind::Open, sequence, stamp: entry.stamp, told: true }
    }

    /// The offset behind which everything is kept, here or in the tail.
    fn first(&self, tail: &Tail) -> Offset {
        let starts = [self.history().map(History::start), self.recent.start(tail)];
        starts.into_iter().flatten().min().unwrap_or(self.offset)
    }

    /// Everything in the history behind an offset; `None` if some of it is gone.
    fn in_history<'a>(&'a self, seen: Offset) -> Option<impl Iterator<Item = Missed<'a>> + use<'a>> {
        let past = self.history()?.since(seen)?;
        Some(past.map(|(at, entry)| Missed { at, placed: self.placed(at, entry), publish: &entry.publish }))
    }

    fn in_tail<'a>(
        &'a self,
        tail: &'a Tail,
        seen: Offset,
    ) -> Option<impl Iterator<Item = Missed<'a>> + use<'a>> {
        let past = self.recent.since(tail, seen)?;
        Some(past.map(|(placed, publish)| Missed { at: placed.sequence, placed, publish }))
    }

    /// Where somebody begins who says what it has seen: what it has missed comes from the history.
    pub fn start(&self, epoch: &str, has: &Position) -> Start<'_> {
        let nothing = Start { offset: self.offset, gap: false, missed: Box::new(std::iter::empty()) };
        let Position::Offset(known, seen) = has else { return nothing };
        if **known != *epoch {
            return Start { gap: true, ..nothing };
        }
        if *seen == self.offset {
            return nothing;
        }
        match self.in_history(*seen) {
            Some(missed) => Start { missed: Box::new(missed), ..nothing },
            None => Start { gap: true, ..nothing },
        }
    }

    /// Where a reader goes on that is late: what it has missed comes from the history, or else from the tail. What is in
    /// neither any more is left out.
    pub fn go_on<'a>(&'a self, tail: &'a Tail, seen: Offset) -> Start<'a> {
        let kept = seen.max(self.first(tail));
        let missed: Box<dyn Iterator<Item = Missed<'a>> + 'a> = match self.in_history(kept) {
            Some(missed) => Box::new(missed),
            None => Box::new(self.in_tail(tail, kept).into_iter().flatten()),
        };
        Start { offset: self.offset, gap: kept > seen, missed }
    }

    /// What a query means, newest first.
    pub fn query<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = (Placed, &'a HistoryEntry)> {
        let found = self.history.iter().flat_map(|history| history.query(query));
        found.map(|(n, entry)| (self.placed(n, entry), entry))
    }

    /// Who has written a message; `None` if there is no such message.
    pub fn author(&self, message: Stamp) -> Option<Option<Arc<str>>> {
        let (_, entry) = self.history()?.find(message)?;
        // what the server says by itself is nobody's to change
        (entry.publish.kind() != "system").then(|| entry.publish.user_id.clone())
    }

    /// A reader's position as an offset, where it says it otherwise. What is unknown means that it has nothing; then the
    /// answer's second part is true.
    pub fn resolve(
        &self,
        ctx: &Context,
        name: &str,
        has: &Position,
        id_field: Option<&str>,
    ) -> (Position, bool) {
        let epoch = || Box::from(&*ctx.epoch);
        let (first, last) = match self.history() {
            Some(history) => (history.start(), history.last()),
            None => (self.offset, self.offset),
        };
        match has {
            Position::First => (Position::Offset(epoch(), first), false),
            Position::Named(said) => {
                let cursor = Cursor::decode(said).ok();
                let ours = cursor.filter(|c| c.epoch.as_deref().is_none_or(|e| *e == *ctx.epoch));
                let offset = match ours.and_then(|cursor| cursor.channels.get(name).copied()) {
                    Some(offset) => Some(offset).filter(|offset| (first..=last).contains(offset)),
                    None => id_field.and_then(|field| self.named(field, said)),
                };
                (Position::Offset(epoch(), offset.unwrap_or(first)), offset.is_none())
            }
            Position::Offset(epoch, offset) if *offset < first => {
                (Position::Offset(epoch.clone(), first), true)
            }
            other => (other.clone(), false),
        }
    }

    /// The offset of the last publication with this text in a field.
    fn named(&self, field: &str, name: &str) -> Option<Offset> {
        let history = self.history()?;
        // a name of plain characters stands in the data as it is; the others are read
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let finder = plain.then(|| memmem::Finder::new(name.as_bytes()));
        let all = history.since(history.start())?;
        let is = |data| filter::field(data, field).is_some_and(|found| *found == *name);
        let found = all.filter(|(_, entry)| {
            let data = &entry.publish.data;
            finder.as_ref().is_none_or(|finder| finder.find(data.as_bytes()).is_some()) && is(data)
        });
        found.last().map(|(offset, _)| offset)
    }

    /// What the readers of a route call the last publication; `None` if there never was one.
    pub fn last_name(&self, ctx: &Context, name: &Arc<str>, route: RouteId) -> Option<Box<str>> {
        let newest = self.history().and_then(History::newest);
        let newest =
            newest.map(|(offset, entry)| hub::name(&entry.publish, offset, route, &ctx.limits, &ctx.epoch));
        let place = || (self.offset > Offset::ZERO).then(|| hub::place(name, self.offset, &ctx.epoch));
        newest.or_else(place).map(String::into_boxed_str)
    }

    /// Takes in a publication.
    pub fn append(&mut self, tail: &mut Tail, publication: &Publication) {
        let Publication { placed, keep, publish } = publication;
        self.offset = placed.sequence;
        let open = self.kind != ChannelKind::PrivateRoom && *publish.channel != *EVERYONE;
        let place = tail.push(publish.clone(), *placed, open);
        self.recent.push(tail, place);
        if keep.count > 0 {
            let history = self
                .history
                .get_or_insert_with(|| Box::new(History::new(Offset::new(placed.sequence.get() - 1))));
            history.push(HistoryEntry::new(placed.stamp, publish.clone()), *keep);
        } else {
            // a history has no gap
            self.history = None;
        }
    }

    /// Lets go what is beyond `keep` at a moment.
    pub fn trim(&mut self, keep: Retention, at: u64) {
        self.revision += 1;
        if let Some(history) = &mut self.history {
            history.trim(keep, at);
        }
    }

    /// Gives a message other data.
    pub fn edit(&mut self, tail: &mut Tail, message: Stamp, data: &Json) {
        self.revision += 1;
        let Some(history) = &mut self.history else { return };
        history.edit(message, data.clone());
        if let Some((offset, entry)) = history.find(message) {
            self.recent.replace(tail, offset, Some(entry.publish.clone()));
        }
    }

    /// Deletes a message.
    pub fn erase(&mut self, tail: &mut Tail, message: Stamp) {
        self.revision += 1;
        let Some(history) = &mut self.history else { return };
        if let Some((offset, _)) = history.find(message) {
            self.recent.replace(tail, offset, None);
        }
        history.delete(message);
    }

    /// Adds a reaction to a message, or takes it away.
    pub fn react(&mut self, message: Stamp, emoji: &Arc<str>, user: &Arc<str>, added: bool) {
        self.revision += 1;
        if let Some(history) = &mut self.history {
            history.react(message, emoji, user, added);
        }
    }

    /// It is something else from now on. The past of a room ends with the room.
    pub fn set_kind(&mut self, kind: ChannelKind) {
        (self.kind, self.keep) = (kind, Cell::default());
        self.revision += 1;
        if kind == ChannelKind::Open {
            (self.history, self.recent) = Default::default();
        }
    }

    /// Forgets where publications stood in the tail that are gone from it.
    pub fn prune(&mut self, tail: &Tail) {
        self.recent.prune(tail);
    }

    /// Everything that records have made of it, as text. The tail is left out: what it holds is a matter of time.
    pub fn dump(&self, out: &mut Vec<u8>) {
        writeln!(out, "{:?} at {}", self.kind, self.offset).expect("a Vec takes all");
        let Some(history) = &self.history else { return };
        writeln!(out, "history to {}", history.last()).expect("a Vec takes all");
        for entry in history.entries() {
            writeln!(out, "{entry:?}").expect("a Vec takes all");
        }
    }
}

/// How much is kept of the past of a channel of this kind.
pub fn retention(limits: &Limits, name: &str, kind: ChannelKind) -> Retention {
    let usual = if kind == ChannelKind::Open { Retention::NOTHING } else { Retention::ROOM };
    limits.retention(name, usual)
}
