//! Sessions: what a connection was subscribed to, kept for a while for the one that comes back for it.
//!
//! A session belongs to a user, and is taken up once. The shard that owns its name knows where it lives; a client that
//! comes back before its old connection is found dead ends that one.

use crate::base::stamp::Stamp;
use crate::flow::state::presence::ConnAddress;
use crate::shard::context::Context;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::user::{Session, SessionUpdate};
use hashbrown::HashMap;
use std::sync::Arc;

#[derive(Debug)]
struct Known {
    user: Arc<str>,
    /// Where it lives.
    lives: Option<ConnAddress>,
    /// What it has left, and until when it is kept (monotonic).
    left: Option<(Box<Session>, u64)>,
    /// Who waits for it.
    wanted: Option<ConnAddress>,
}

/// All sessions of an owner.
#[derive(Debug, Default)]
pub struct Sessions {
    known: HashMap<Stamp, Known>,
}

impl Sessions {
    /// A connection tells something of a session.
    pub fn update(
        &mut self,
        ctx: &mut Context,
        session: Stamp,
        user: Arc<str>,
        (shard, conn): ConnAddress,
        update: SessionUpdate,
    ) {
        let address = Some((shard, conn));
        match update {
            SessionUpdate::Begins => {
                self.known.insert(session, Known { user, lives: address, left: None, wanted: None });
            }
            SessionUpdate::Ends(left) => {
                let Some(known) = self.known.get_mut(&session).filter(|known| known.lives == address) else {
                    return;
                };
                known.lives = None;
                match known.wanted {
                    Some((shard, conn)) => {
                        self.known.remove(&session);
                        ctx.post(shard, ToConnections::Resumed { conn, session: Some(left) });
                    }
                    None => known.left = Some((left, ctx.now.mono + ctx.limits.hub.session_ttl)),
                }
            }
            SessionUpdate::Wanted => {
                let now = ctx.now.mono;
                let known =
                    self.known.get_mut(&session).filter(|known| known.user == user && known.wanted.is_none());
                match known {
                    Some(Known { lives: Some((home, old)), wanted, .. }) => {
                        *wanted = address;
                        ctx.post(*home, ToConnections::SessionTaken { conn: *old });
                    }
                    Some(Known { left: Some((_, until)), .. }) if *until > now => {
                        let left = self.known.remove(&session).and_then(|known| known.left);
                        let left = left.map(|(left, _)| left);
                        ctx.post(shard, ToConnections::Resumed { conn, session: left });
                    }
                    _ => ctx.post(shard, ToConnections::Resumed { conn, session: None }),
                }
            }
        }
    }

    /// Forgets what nobody came back for.
    pub fn tidy(&mut self, now: u64) {
        self.known.retain(|_, known| known.left.as_ref().is_none_or(|(_, until)| *until > now));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }
}
