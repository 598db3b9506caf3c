//! On whose behalf something is asked.

use std::sync::Arc;

/// Who wants something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The application: whoever may write and names no user. It may do everything.
    App,
    /// A user.
    User(Arc<str>),
    /// Somebody who may only read.
    Nobody,
}

impl Actor {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&Arc<str>> {
        match self {
            Actor::User(user) => Some(user),
            Actor::App | Actor::Nobody => None,
        }
    }
}
