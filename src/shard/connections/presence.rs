//! The users whose presence one connection watches, and what it has asked of them at once.

use crate::flow::encode::rooms as encode;
use crate::flow::identity::Actor;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::{Shown, Viewer};
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::view::View;
use crate::shard::mail::question::{Question, UserQuestion};
use crate::shard::mail::to_owner::ToOwner;
use crate::wire::hub::ReplyTo;
use std::sync::Arc;

/// How many users' presence one connection may watch.
const MAX_WATCHED: usize = 1000;

/// Users whose presence is asked for at once, and the answers so far.
#[derive(Debug)]
struct PresenceQuery {
    /// Tells it from others of the connection.
    number: u32,
    /// How many answers are missing.
    left: usize,
    /// Users that are to be watched once it is known that they may be.
    wanted: Vec<Arc<str>>,
    /// The frame that asked.
    reply_to: ReplyTo,
    /// The answers.
    shown: Vec<(Arc<str>, Shown)>,
}

/// What a connection has asked of the presence of users. It is subscribed only to those of whom it may know.
#[derive(Debug, Default)]
pub struct PresenceQueries {
    open: Vec<PresenceQuery>,
    count: u32,
}

impl PresenceQueries {
    /// A connection wants to hear of the presence of users: how they are now, at once, and every change. Whoever it may
    /// not know of is offline, as those are whom nobody knows.
    ///
    /// # Errors
    /// Those are too many.
    pub fn watch(
        &mut self,
        view: &mut View<'_>,
        users: Vec<Arc<str>>,
        reply_to: ReplyTo,
    ) -> Result<(), Rejection> {
        let asked: usize = self.open.iter().map(|query| query.left).sum();
        if watched(view).len() + asked + users.len() > MAX_WATCHED {
            return Err(Rejection::new("channel_limit_reached", "a connection may watch 1000 users"));
        }
        let number = self.next();
        let (left, wanted) = (users.len(), users.clone());
        self.open.push(PresenceQuery { number, left, wanted, reply_to, shown: Vec::new() });
        ask(view, users, number);
        self.reply(view, number);
        Ok(())
    }

    /// A connection may know less than before: those of whom it may not know any more are watched no more.
    pub fn ask_again(&mut self, view: &mut View<'_>, users: Vec<Arc<str>>) {
        if !users.is_empty() {
            ask(view, users, self.next());
        }
    }

    /// A connection does not want to hear of these users any more; of nobody, if none is named.
    pub fn unwatch(&mut self, view: &mut View<'_>, users: Vec<Arc<str>>) {
        let all = users.is_empty();
        for query in &mut self.open {
            query.wanted.retain(|user| !all && !users.contains(user));
        }
        for user in if all { watched(view) } else { users } {
            view.unsubscribe_from(&Subject::User(user));
        }
    }

    /// How one of the users is, if the connection may know.
    pub fn shown(&mut self, view: &mut View<'_>, number: u32, (user, shown): (Arc<str>, Option<Shown>)) {
        if shown.is_none() {
            view.unsubscribe_from(&Subject::User(user.clone()));
        }
        let Some(query) = self.open.iter_mut().find(|query| query.number == number) else { return };
        let wanted = query.wanted.iter().position(|wanted| *wanted == user);
        let wanted = wanted.map(|at| query.wanted.swap_remove(at));
        if wanted.is_some() && shown.is_some() {
            view.subscribe(&Subject::User(user.clone()), Position::Nothing);
            // behind it on the same lane: what has changed since is on its way
            return ask_owner(view, user, number, Viewer::Trusted);
        }
        query.left -= 1;
        let shown = shown.unwrap_or_else(|| Shown::offline(view.ctx.now.wall));
        query.shown.push((user, shown));
        self.reply(view, number);
    }

    fn next(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        self.count
    }

    /// Replies to a query whose answers are all there.
    fn reply(&mut self, view: &mut View<'_>, number: u32) {
        let complete = |query: &PresenceQuery| query.number == number && query.left == 0;
        let Some(at) = self.open.iter().position(complete) else { return };
        let PresenceQuery { reply_to, shown, .. } = self.open.swap_remove(at);
        view.send_text(|out| {
            let shown = shown.iter().map(|(user, shown)| (&**user, shown));
            encode::presences(reply_to.request.as_deref(), shown, out);
        });
    }
}

/// Asks how users are. Of a user's connection its own owner is asked first, which knows the rooms that it is in.
fn ask(view: &mut View<'_>, users: Vec<Arc<str>>, number: u32) {
    let viewer = match view.actor() {
        Actor::User(user) => {
            let question = UserQuestion::Watch { users, conn: view.id, query: number };
            view.ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
            return;
        }
        Actor::App => Viewer::Trusted,
        Actor::Nobody => Viewer::Stranger,
    };
    for user in users {
        ask_owner(view, user, number, viewer.clone());
    }
}

fn ask_owner(view: &mut View<'_>, user: Arc<str>, number: u32, viewer: Viewer) {
    let question = UserQuestion::Presence { conn: view.id, query: number, viewer };
    view.ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
}

/// The users that a connection watches.
pub fn watched(view: &View<'_>) -> Vec<Arc<str>> {
    let subjects = view.subscriptions().subjects(view.id.slot);
    let users = subjects.filter_map(|(subject, _)| match subject {
        Subject::User(user) => Some(user.clone()),
        _ => None,
    });
    users.collect()
}
