//! Places for connections: one bound for the whole process, which its shards share, and some that only the feed may take.

use crate::shard::io::Door;
use std::sync::atomic::{AtomicU32, Ordering};

/// Connections of the feed that clients cannot keep out, however many there are.
pub const FEEDS: u32 = 64;

/// The places that are free.
#[derive(Debug)]
pub(super) struct Places {
    clients: AtomicU32,
    feeds: AtomicU32,
}

/// Which of the places a connection has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// One that is for anybody.
    #[default]
    Common,
    /// One that is kept for the feed.
    Feed,
}

impl Places {
    /// Places for so many clients, and [`FEEDS`] for the feed.
    pub(super) fn new(clients: u32) -> Places {
        Places { clients: clients.into(), feeds: FEEDS.into() }
    }

    /// A place for a connection that came in at `door`, if one is free.
    pub(super) fn take(&self, door: Door) -> Option<PlaceKind> {
        let wanted: &[PlaceKind] = match door {
            Door::Clients(_) => &[PlaceKind::Common],
            Door::Feed => &[PlaceKind::Feed, PlaceKind::Common],
        };
        let free = |place: &&PlaceKind| {
            let one_less = |free: u32| free.checked_sub(1);
            self.of(**place).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
        };
        wanted.iter().find(free).copied()
    }

    /// A place is free again.
    pub(super) fn give_back(&self, place: PlaceKind) {
        self.of(place).fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, place: PlaceKind) -> &AtomicU32 {
        match place {
            PlaceKind::Common => &self.clients,
            PlaceKind::Feed => &self.feeds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FEEDS, PlaceKind, Places};
    use crate::shard::io::Door;

    #[test]
    fn clients_leave_places_for_the_feed_and_the_feed_may_take_theirs_too() {
        let places = Places::new(2);
        let client = || places.take(Door::Clients(0));
        assert_eq!([client(), client(), client()], [Some(PlaceKind::Common), Some(PlaceKind::Common), None]);
        assert!((0..FEEDS).all(|_| places.take(Door::Feed) == Some(PlaceKind::Feed)));
        assert_eq!(places.take(Door::Feed), None);
        places.give_back(PlaceKind::Common);
        assert_eq!(places.take(Door::Feed), Some(PlaceKind::Common));
        places.give_back(PlaceKind::Feed);
        assert_eq!((client(), places.take(Door::Feed)), (None, Some(PlaceKind::Feed)));
    }
}
