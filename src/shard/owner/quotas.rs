//! What users hold over all their connections, wherever these are: bounded by the shard that owns the user.

use crate::flow::state::presence::ConnAddress;
use crate::shard::context::Context;
use crate::shard::mail::to_connections::ToConnections;
use crate::shard::mail::user::QuotaChange;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// What the connections of one user hold: channels.
type Held = HashMap<ConnAddress, HashSet<Arc<str>>>;

/// What all users of an owner hold.
#[derive(Debug, Default)]
pub struct Quotas {
    users: HashMap<Arc<str>, Held>,
}

impl Quotas {
    /// A connection takes something or gives it back. What is too much it is told to give up. False if the connection
    /// itself is, or has been.
    pub fn change(
        &mut self,
        ctx: &mut Context,
        user: &Arc<str>,
        address: ConnAddress,
        change: QuotaChange,
    ) -> bool {
        let limits = ctx.limits.hub;
        let (shard, conn) = address;
        let held = match &change {
            QuotaChange::Connect => self.users.entry(user.clone()).or_default(),
            _ => match self.users.get_mut(user) {
                Some(held) if held.contains_key(&address) => held,
                // it was too much itself
                _ => return false,
            },
        };
        match change {
            QuotaChange::Connect if held.len() >= limits.connections_per_user as usize => {
                ctx.post(shard, ToConnections::QuotaExceeded { conn, channel: None });
                return false;
            }
            QuotaChange::Connect => drop(held.insert(address, HashSet::new())),
            QuotaChange::Subscribe(channel) => {
                let distinct: HashSet<&Arc<str>> = held.values().flatten().collect();
                let full =
                    distinct.len() >= limits.channels_per_user as usize && !distinct.contains(&channel);
                drop(distinct);
                if full {
                    ctx.post(shard, ToConnections::QuotaExceeded { conn, channel: Some(channel) });
                } else if let Some(own) = held.get_mut(&address) {
                    own.insert(channel);
                }
            }
            QuotaChange::Unsubscribe(channel) => {
                if let Some(own) = held.get_mut(&address) {
                    own.remove(&channel);
                }
            }
            QuotaChange::Disconnect => {
                held.remove(&address);
                if held.is_empty() {
                    self.users.remove(user);
                }
            }
        }
        true
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.users.len()
    }
}
