//! What users hold over all their connections, wherever these are: bounded by the shard that owns the user.

use crate::base::id::{ConnId, ShardId};
use crate::shard::context::Context;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::user::QuotaChange;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

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
        ctx: &mut Context,
        from: ShardId,
        user: &Arc<str>,
        conn: ConnId,
        what: QuotaChange,
    ) -> bool {
        let limits = ctx.limits.hub;
        let place = (from, conn);
        let held = match &what {
            QuotaChange::Connect => self.0.entry(user.clone()).or_default(),
            _ => match self.0.get_mut(user) {
                Some(held) if held.contains_key(&place) => held,
                // it was too much itself
                _ => return false,
            },
        };
        match what {
            QuotaChange::Connect if held.len() >= limits.connections_per_user as usize => {
                ctx.post(from, ToConnections::QuotaExceeded { conn, channel: None });
                return false;
            }
            QuotaChange::Connect => drop(held.insert(place, HashSet::new())),
            QuotaChange::Subscribe(channel) => {
                let distinct: HashSet<&Arc<str>> = held.values().flatten().collect();
                let full =
                    distinct.len() >= limits.channels_per_user as usize && !distinct.contains(&channel);
                drop(distinct);
                if full {
                    ctx.post(from, ToConnections::QuotaExceeded { conn, channel: Some(channel) });
                } else if let Some(own) = held.get_mut(&place) {
                    own.insert(channel);
                }
            }
            QuotaChange::Unsubscribe(channel) => {
                if let Some(own) = held.get_mut(&place) {
                    own.remove(&channel);
                }
            }
            QuotaChange::Disconnect => {
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
