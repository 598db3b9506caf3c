//! Who asks, what it may do, and until when. Made once, when a connection or a request comes in; every check of access
//! asks here.

use crate::flow::limits::Access;
use crate::wire::http::Head;
use crate::wire::hub::is_user;
use crate::wire::url;
use std::sync::Arc;
use thiserror::Error;

/// The end of what lasts for ever, in nanoseconds of the wall clock.
pub const FOREVER: u64 = u64::MAX;

/// Who a connection or a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: Option<Arc<str>>,
    access: Access,
    /// Until when it may do that (wall clock).
    until: u64,
}

/// An identity at the moment at which it asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    identity: &'a Identity,
    now: u64,
}

/// Something that the identity may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{} is not allowed here without a token; the operator can allow it with --anonymous {}", self.doing(), self.access())]
pub struct Denied {
    needs: Access,
}

/// `?user=` is not the name of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a user's name has 1 to 256 bytes without control characters")]
pub struct BadUser;

/// Whose rules of a room count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The application: whoever may write and names no user. It may do everything.
    App,
    /// A user.
    User(Arc<str>),
    /// Somebody who may only read.
    Nobody,
}

impl Identity {
    /// Somebody without a name, who may do what the door allows.
    pub fn anonymous(access: Access) -> Arc<Identity> {
        Arc::new(Identity { user: None, access, until: FOREVER })
    }

    /// Who sends this request, over a door that gives `anonymous` to everybody. A name is believed only where anybody
    /// may write, because nobody can prove one yet.
    ///
    /// # Errors
    /// The name is none, wherever it would be believed.
    pub fn read(head: &Head, anonymous: &Arc<Identity>) -> Result<Arc<Identity>, BadUser> {
        if anonymous.access < Access::Write {
            return Ok(anonymous.clone());
        }
        let query = head.query.as_deref().unwrap_or_default();
        let Some(pair) = query.split('&').find(|pair| pair.starts_with("user=")) else {
            return Ok(anonymous.clone());
        };
        match url::query(pair).next() {
            Some(Ok((_, user))) if user.is_empty() => Ok(anonymous.clone()),
            Some(Ok((_, user))) if is_user(&user) => {
                let Identity { access, until, .. } = **anonymous;
                Ok(Arc::new(Identity { user: Some(Arc::from(&*user)), access, until }))
            }
            _ => Err(BadUser),
        }
    }

    /// The same until a moment (wall clock).
    #[cfg(test)]
    pub fn until(self: &Arc<Identity>, until: u64) -> Identity {
        Identity { until, ..(**self).clone() }
    }

    /// Its name, if it has one.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// It asks at `now` (wall clock).
    pub fn at(&self, now: u64) -> Caller<'_> {
        Caller { identity: self, now }
    }
}

impl<'a> Caller<'a> {
    /// Its name, if it has one.
    pub fn user(self) -> Option<&'a Arc<str>> {
        self.identity.user()
    }

    /// Whether it may read or write.
    ///
    /// # Errors
    /// It may not.
    pub fn may(self, needs: Access) -> Result<(), Denied> {
        if self.access() < needs { Err(Denied { needs }) } else { Ok(()) }
    }

    /// Who it is to rooms as one who only listens: its user, or nobody. The application hears no private room for having
    /// the right to write.
    pub fn listener(self) -> Actor {
        match self.actor() {
            Actor::App => Actor::Nobody,
            actor => actor,
        }
    }

    /// Who it is to rooms.
    pub fn actor(self) -> Actor {
        match self.identity.user() {
            _ if self.access() == Access::None => Actor::Nobody,
            Some(user) => Actor::User(user.clone()),
            None if self.access() == Access::Write => Actor::App,
            None => Actor::Nobody,
        }
    }

    fn access(self) -> Access {
        if self.now < self.identity.until { self.identity.access } else { Access::None }
    }
}

impl Denied {
    /// What the operator can give.
    pub fn access(self) -> &'static str {
        if self.needs == Access::Write { "write" } else { "read" }
    }

    fn doing(self) -> &'static str {
        if self.needs == Access::Write { "writing" } else { "reading" }
    }
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

#[cfg(test)]
mod tests {
    use super::{Actor, BadUser, FOREVER, Identity};
    use crate::flow::limits::Access;
    use crate::wire::http::{MAX_HEAD, parse_head};
    use std::sync::Arc;

    fn read(query: &str, access: Access) -> Result<Arc<Identity>, BadUser> {
        let text = format!("GET /a{query} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (head, _) = parse_head(text.as_bytes(), MAX_HEAD).expect("a head").expect("a whole one");
        Identity::read(&head, &Identity::anonymous(access))
    }

    #[test]
    fn a_name_is_believed_where_anybody_may_write_and_a_wrong_one_is_refused() {
        let user = |query: &str, access| read(query, access).map(|who| who.at(0).actor());
        assert_eq!(user("?user=ann", Access::Write), Ok(Actor::User("ann".into())));
        for query in ["", "?user=", "?users=ann"] {
            assert_eq!(user(query, Access::Write), Ok(Actor::App), "{query}");
        }
        let long = format!("?user={}", "x".repeat(257));
        for query in ["?user=a%0Ab", "?user=%00", "?a=b&user=%80", &long] {
            assert_eq!(user(query, Access::Write), Err(BadUser), "{query}");
        }
        assert_eq!(user("?user=ann", Access::Read), Ok(Actor::Nobody));
        assert_eq!(user("?user=%00", Access::Read), Ok(Actor::Nobody));
    }

    #[test]
    fn an_identity_may_do_what_it_has_until_its_end() {
        let ann = read("?user=ann", Access::Write).expect("a name").until(10);
        assert_eq!((ann.at(9).may(Access::Write), ann.at(9).actor()), (Ok(()), Actor::User("ann".into())));
        let denied = ann.at(10).may(Access::Read).expect_err("it has ended");
        assert!(denied.to_string().ends_with("--anonymous read"), "{denied}");
        assert_eq!((ann.at(9).listener(), ann.at(10).listener()), (Actor::User("ann".into()), Actor::Nobody));
        assert_eq!(ann.at(10).actor(), Actor::Nobody);
        assert_eq!(Identity::anonymous(Access::Write).at(0).listener(), Actor::Nobody);
        let reader = Identity::anonymous(Access::Read);
        assert_eq!(reader.until, FOREVER);
        assert!(reader.at(1).may(Access::Read).is_ok() && reader.at(1).may(Access::Write).is_err());
    }
}
