//! What users hold over all their connections, wherever these are: bounded by the shard that owns the user.

use crate::base::id::{ConnId, ShardId};
use crate::shard::desk::Desk;
use crate::shard::mail::Mail;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// Something that a connection of a user takes or gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The connection itself.
    Connection,
    /// A subscription to a channel.
    Channel(Arc<str>),
    /// No more of that.
    Release(Arc<str>),
    /// The connection is gone, and all that it held.
    Gone,
}

/// What the connections of one user hold: channels.
type Held = HashMap<(ShardId, ConnId), HashSet<Arc<str>>>;

/// All users of an owner.
#[derive(Debug, Default)]
pub struct Quotas(HashMap<Arc<str>, Held>);

impl Quotas {
    /// A connection takes something or gives it back. What is too much it is told to give up. False if the connection
    /// itself is, or has been.
    pub fn hold(
        &mut self,
        desk: &mut Desk,
        from: ShardId,
        user: &Arc<str>,
        conn: ConnId,
        what: Holding,
    ) -> bool {
        let limits = desk.limits.hub;
        let place = (from, conn);
        let held = match &what {
            Holding::Connection => self.0.entry(user.clone()).or_default(),
            _ => match self.0.get_mut(user) {
                Some(held) if held.contains_key(&place) => held,
                // it was too much itself
                _ => return false,
            },
        };
        match what {
            Holding::Connection if held.len() >= limits.connections_per_user as usize => {
                desk.post(from, Mail::Over(conn, None));
                return false;
            }
            Holding::Connection => drop(held.insert(place, HashSet::new())),
            Holding::Channel(channel) => {
                let distinct: HashSet<&Arc<str>> = held.values().flatten().collect();
                let full =
                    distinct.len() >= limits.channels_per_user as usize && !distinct.contains(&channel);
                drop(distinct);
                if full {
                    desk.post(from, Mail::Over(conn, Some(channel)));
                } else if let Some(own) = held.get_mut(&place) {
                    own.insert(channel);
                }
            }
            Holding::Release(channel) => {
                if let Some(own) = held.get_mut(&place) {
                    own.remove(&channel);
                }
            }
            Holding::Gone => {
                held.remove(&place);
                if held.is_empty() {
                    self.0.remove(user);
                }
            }
        }
        true
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
