//! Sessions: what a connection was subscribed to, kept for a while for the one that comes back for it.
//!
//! A session belongs to a user, and is taken up once. The shard that owns its name knows where it lives; a client that
//! comes back before its old connection is found dead ends that one.

use crate::base::id::{ConnId, ShardId};
use crate::shard::context::Context;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::user::Session;
use crate::shard::mail::user::SessionUpdate;
use hashbrown::HashMap;
use std::sync::Arc;

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
        ctx: &mut Context,
        from: ShardId,
        session: u64,
        user: Arc<str>,
        conn: ConnId,
        what: SessionUpdate,
    ) {
        let place = Some((from, conn));
        match what {
            SessionUpdate::Begins => {
                self.0.insert(session, Known { user, lives: place, left: None, wanted: None });
            }
            SessionUpdate::Ends(left) => {
                let Some(known) = self.0.get_mut(&session).filter(|known| known.lives == place) else {
                    return;
                };
                known.lives = None;
                match known.wanted {
                    Some((shard, conn)) => {
                        self.0.remove(&session);
                        ctx.post(shard, ToConnections::Resumed { conn, session: Some(left) });
                    }
                    None => known.left = Some((left, ctx.now.mono + ctx.limits.hub.session_ttl)),
                }
            }
            SessionUpdate::Wanted => {
                let now = ctx.now.mono;
                let known =
                    self.0.get_mut(&session).filter(|known| known.user == user && known.wanted.is_none());
                match known {
                    Some(Known { lives: Some((shard, old)), wanted, .. }) => {
                        *wanted = place;
                        ctx.post(*shard, ToConnections::SessionTaken { conn: *old });
                    }
                    Some(Known { left: Some((_, until)), .. }) if *until > now => {
                        let known = self.0.remove(&session).expect("just seen");
                        let left = known.left.map(|(left, _)| left);
                        ctx.post(from, ToConnections::Resumed { conn, session: left });
                    }
                    _ => ctx.post(from, ToConnections::Resumed { conn, session: None }),
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
