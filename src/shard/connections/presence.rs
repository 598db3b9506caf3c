//! The users whose presence one connection watches, and what it has asked of them at once.

use crate::flow::encode::rooms as encode;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::flow::state::presence::Shown;
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
    /// The frame that asked.
    reply_to: ReplyTo,
    /// The answers.
    shown: Vec<(Arc<str>, Shown)>,
}

/// What a connection has asked of the presence of users.
#[derive(Debug, Default)]
pub struct PresenceQueries {
    open: Vec<PresenceQuery>,
    count: u32,
}

impl PresenceQueries {
    /// A connection wants to hear of the presence of users: how they are now, at once, and every change.
    ///
    /// # Errors
    /// Those are too many.
    pub fn watch(
        &mut self,
        view: &mut View<'_>,
        users: Vec<Arc<str>>,
        reply_to: ReplyTo,
    ) -> Result<(), Rejection> {
        if watched(view).len() + users.len() > MAX_WATCHED {
            return Err(Rejection::new("channel_limit_reached", "a connection may watch 1000 users"));
        }
        let number = self.count;
        self.count = self.count.wrapping_add(1);
        self.open.push(PresenceQuery { number, left: users.len(), reply_to, shown: Vec::new() });
        for user in users {
            view.subscribe(&Subject::User(user.clone()), Position::Nothing);
            // behind it on the same lane: what has changed since is on its way
            let question = UserQuestion::Presence { conn: view.id, query: number };
            view.ctx.post_to_user(&user.clone(), ToOwner::Ask(Question::User { user, question }));
        }
        self.reply(view, number);
        Ok(())
    }

    /// A connection does not want to hear of these users any more; of nobody, if none is named.
    pub fn unwatch(&mut self, view: &mut View<'_>, users: Vec<Arc<str>>) {
        let subjects = match users.is_empty() {
            true => watched(view),
            false => users.into_iter().map(Subject::User).collect(),
        };
        subjects.iter().for_each(|subject| view.unsubscribe_from(subject));
    }

    /// How one of the users is.
    pub fn shown(&mut self, view: &mut View<'_>, number: u32, shown: (Arc<str>, Shown)) {
        let Some(query) = self.open.iter_mut().find(|query| query.number == number) else { return };
        query.left -= 1;
        query.shown.push(shown);
        self.reply(view, number);
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

/// The users that a connection watches.
fn watched(view: &View<'_>) -> Vec<Subject> {
    let subjects = view.subscriptions().subjects(view.id.slot).map(|(subject, _)| subject);
    subjects.filter(|subject| matches!(subject, Subject::User(_))).cloned().collect()
}
