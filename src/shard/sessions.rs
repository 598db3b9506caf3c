//! Sessions: what a connection was subscribed to, kept for a while for the one that comes back for it.
//!
//! A session belongs to a user, and is taken up once. The shard that owns its name knows where it lives; a client that
//! comes back before its old connection is found dead ends that one.

use crate::base::id::{ConnId, ShardId};
use crate::flow::limits::PatchMode;
use crate::shard::desk::Desk;
use crate::shard::mail::Mail;
use crate::wire::key::Name;
use hashbrown::HashMap;
use std::sync::Arc;

/// What comes back with a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Rooms that it was in.
    pub rooms: Vec<Arc<str>>,
    /// Channels, and the last publication of each that was sent.
    pub channels: Vec<(Arc<str>, u64)>,
    /// Names of documents, and how their changes come.
    pub documents: Vec<(Name, PatchMode, u32)>,
}

/// What a connection says of a session to its owner.
#[derive(Debug)]
pub enum Telling {
    /// It has this one.
    Lives,
    /// It is gone; this is what it had.
    Ended(Box<Session>),
    /// It wants to take it up.
    Wanted,
}

#[derive(Debug)]
struct Known {
    user: Arc<str>,
    /// Where it lives.
    lives: Option<(ShardId, ConnId)>,
    /// What it has left, and until when it is kept (monotonic).
    left: Option<(Box<Session>, u64)>,
    /// Who waits for it.
    wanted: Option<(ShardId, ConnId)>,
}

/// All sessions of an owner.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<u64, Known>);

/// The name by which a session's owner is found.
pub fn name(session: u64) -> String {
    format!("$session/{session:x}")
}

impl Sessions {
    /// A connection tells something of a session.
    pub fn told(
        &mut self,
        desk: &mut Desk,
        from: ShardId,
        session: u64,
        user: Arc<str>,
        conn: ConnId,
        what: Telling,
    ) {
        let place = Some((from, conn));
        match what {
            Telling::Lives => {
                self.0.insert(session, Known { user, lives: place, left: None, wanted: None });
            }
            Telling::Ended(left) => {
                let Some(known) = self.0.get_mut(&session).filter(|known| known.lives == place) else {
                    return;
                };
                known.lives = None;
                match known.wanted {
                    Some((shard, conn)) => {
                        self.0.remove(&session);
                        desk.post(shard, Mail::Resumed(conn, Some(left)));
                    }
                    None => known.left = Some((left, desk.now.mono + desk.limits.hub.session_ttl)),
                }
            }
            Telling::Wanted => {
                let now = desk.now.mono;
                let known =
                    self.0.get_mut(&session).filter(|known| known.user == user && known.wanted.is_none());
                match known {
                    Some(Known { lives: Some((shard, old)), wanted, .. }) => {
                        *wanted = place;
                        desk.post(*shard, Mail::Yield(*old));
                    }
                    Some(Known { left: Some((_, until)), .. }) if *until > now => {
                        let known = self.0.remove(&session).expect("just seen");
                        let left = known.left.map(|(left, _)| left);
                        desk.post(from, Mail::Resumed(conn, left));
                    }
                    _ => desk.post(from, Mail::Resumed(conn, None)),
                }
            }
        }
    }

    /// Forgets what nobody came back for.
    pub fn tidy(&mut self, now: u64) {
        self.0.retain(|_, known| known.left.as_ref().is_none_or(|(_, until)| *until > now));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
