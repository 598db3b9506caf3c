//! How many readers the routes of this owner have, which their settings bound.

use crate::flow::limits::route::RouteId;
use crate::shard::context::Context;
use hashbrown::HashMap;
use std::sync::Arc;

/// The readers of routes, all together (no user) and by user.
#[derive(Debug, Default)]
pub struct RouteReaders {
    counts: HashMap<(RouteId, Option<Arc<str>>), usize>,
}

impl RouteReaders {
    /// One more reader of a route, if there is room.
    pub fn enter(&mut self, ctx: &Context, id: RouteId, user: Option<&Arc<str>>) -> bool {
        let Some(route) = ctx.limits.route(id) else { return false };
        let count = |of: Option<&Arc<str>>| self.counts.get(&(id, of.cloned())).copied().unwrap_or(0);
        if count(None) >= route.streams || user.is_some() && count(user) >= route.streams_per_user {
            return false;
        }
        for of in [None].into_iter().chain(user.map(Some)) {
            *self.counts.entry((id, of.cloned())).or_default() += 1;
        }
        true
    }

    /// One less.
    pub fn exit(&mut self, id: RouteId, user: Option<Arc<str>>) {
        for of in [None].into_iter().chain(user.map(Some)) {
            let name = (id, of);
            let count = self.counts.get_mut(&name).expect("only who has entered exits");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&name);
            }
        }
    }
}
