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

#[cfg(test)]
mod tests {
    use super::RouteReaders;
    use crate::base::id::ShardId;
    use crate::flow::limits::Limits;
    use crate::flow::limits::route::{Profile, Route, RouteId};
    use crate::shard::context::Context;
    use crate::wire::template::PathTemplate;
    use fastrand::Rng;
    use std::sync::Arc;

    fn route(path: &str) -> Route {
        let path = PathTemplate::parse(path).unwrap();
        Route {
            id: RouteId::of(&path, None),
            path,
            profile: Profile::Cella,
            channel: None,
            filter: None,
            id_field: None,
            keepalive: 1,
            streams: 5,
            streams_per_user: 2,
        }
    }

    #[test]
    fn no_route_and_no_user_has_more_readers_than_settings_allow_wherever_the_route_stands() {
        let (mut rng, mut readers) = (Rng::with_seed(1), RouteReaders::default());
        let mut routes = vec![route("/a"), route("/b")];
        let ids = [routes[0].id, routes[1].id];
        let users: [Option<Arc<str>>; 3] = [None, Some("ann".into()), Some("bob".into())];
        let mut open: Vec<(RouteId, Option<Arc<str>>)> = Vec::new();
        let mut refused = 0;
        for _ in 0..2000 {
            rng.shuffle(&mut routes);
            let limits = Arc::new(Limits { routes: routes.clone(), ..Limits::default() });
            let ctx = Context::new(ShardId(0), 1, limits, "e".into());
            if rng.bool() && !open.is_empty() {
                let (id, user) = open.swap_remove(rng.usize(0..open.len()));
                readers.exit(id, user);
                continue;
            }
            let (id, user) = (ids[rng.usize(0..2)], users[rng.usize(0..3)].clone());
            let all = open.iter().filter(|(own, _)| *own == id).count();
            let own = open.iter().filter(|own| **own == (id, user.clone())).count();
            let room = all < 5 && (user.is_none() || own < 2);
            assert_eq!(readers.enter(&ctx, id, user.as_ref()), room);
            if room { open.push((id, user)) } else { refused += 1 }
        }
        assert!(refused > 50, "{refused}");
        let none = Context::new(ShardId(0), 1, Arc::new(Limits::default()), "e".into());
        assert!(!readers.enter(&none, ids[0], None), "the route is gone");
    }
}
