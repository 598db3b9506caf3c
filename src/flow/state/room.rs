//! One room: who is a member, in which role, and who may do what. Time is an argument, in nanoseconds of the wall clock.
//!
//! What somebody asks for is decided without a change: it comes to events or to a refusal. [`Room::apply`] takes an
//! event in, and is the only way in which a room changes.

use crate::flow::identity::Actor;
use crate::flow::state::permission::{Permission, Role};
use crate::wire::hub::RoomProfile;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// The end of what lasts for ever.
pub const FOREVER: u64 = u64::MAX;

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomMember {
    /// What it is.
    pub role: Role,
    /// Since when.
    pub joined: u64,
    /// Until when it may not send; 0: it may.
    pub muted: u64,
}

/// How a member goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Of its own will.
    Left,
    /// Taken out by a moderator, for that reason.
    Kicked(Option<Arc<str>>),
    /// Taken out and kept out, for that reason.
    Banned(Option<Arc<str>>),
}

/// What has happened in a room.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomEvent {
    /// Somebody became a member.
    Joined {
        /// Who.
        user: Arc<str>,
        /// As what.
        member: RoomMember,
    },
    /// A member went.
    Left {
        /// Who.
        user: Arc<str>,
        /// As what it was there.
        member: RoomMember,
        /// How it went.
        how: Left,
    },
    /// A member has another role.
    Role {
        /// Who.
        user: Arc<str>,
        /// The role.
        role: Role,
    },
    /// A member may not send.
    Muted {
        /// Who.
        user: Arc<str>,
        /// Until when; 0: it may again.
        until: u64,
    },
    /// A user, member or not, may not enter.
    Banned {
        /// Who.
        user: Arc<str>,
        /// Until when; not after `at`: it may again.
        until: u64,
        /// When that was decided: bans that have ended by then are forgotten.
        at: u64,
    },
    /// What is said about the room has changed.
    Updated {
        /// When.
        at: u64,
        /// What is said now; what is missing stays as it was.
        profile: Box<RoomProfile>,
    },
}

/// Why something was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such room, member or message.
    NotFound,
    /// There is a room of that name.
    AlreadyExists,
    /// There is no such role, or it is not the actor's to give.
    InvalidRole,
    /// The actor's role does not allow it.
    Forbidden,
    /// A private room that one was not brought into.
    AccessDenied,
    /// Not a member, or a guest.
    SendDenied,
    /// May not send until then.
    Muted(u64),
    /// May not enter until then.
    Banned(u64),
    /// The room has all the members that it may have, or the user all the rooms.
    Limit,
}

impl Refusal {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotFound => "not_found",
            Refusal::AlreadyExists => "already_exists",
            Refusal::InvalidRole => "invalid_role",
            Refusal::Forbidden => "forbidden",
            Refusal::AccessDenied => "room_access_denied",
            Refusal::SendDenied => "send_denied",
            Refusal::Muted(_) => "muted",
            Refusal::Banned(_) => "banned",
            Refusal::Limit => "room_limit_reached",
        }
    }

    /// When it may be tried again, if time alone helps (wall clock).
    pub fn until(self) -> Option<u64> {
        match self {
            Refusal::Muted(until) | Refusal::Banned(until) => Some(until).filter(|until| *until != FOREVER),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotFound => "there is nothing of that name",
            Refusal::AlreadyExists => "there is a room of that name",
            Refusal::InvalidRole => {
                "a role is one of guest, member, admin and owner, and not above the role of who gives it"
            }
            Refusal::Forbidden => "your role in the room does not allow that",
            Refusal::AccessDenied => "the room is not open to you",
            Refusal::SendDenied => "only members may send, and guests may not",
            Refusal::Muted(_) => "you are muted in this room",
            Refusal::Banned(_) => "you are banned from this room",
            Refusal::Limit => "the limit of rooms, or of the room's members, is reached",
        })
    }
}

/// One room.
#[derive(Clone, Debug)]
pub struct Room {
    profile: RoomProfile,
    created: u64,
    updated: u64,
    members: HashMap<Arc<str>, RoomMember>,
    /// Who may not enter, until when.
    bans: HashMap<Arc<str>, u64>,
}

impl Room {
    /// A new room, with the user who makes it as its owner.
    pub fn new(at: u64, profile: RoomProfile, owner: Option<Arc<str>>) -> Room {
        let owner = owner.map(|user| (user, RoomMember { role: Role::Owner, joined: at, muted: 0 }));
        let members = owner.into_iter().collect();
        Room { profile, created: at, updated: at, members, bans: HashMap::new() }
    }

    /// Takes in what has happened.
    pub fn apply(&mut self, event: &RoomEvent) {
        match event {
            RoomEvent::Joined { user, member } => drop(self.members.insert(user.clone(), *member)),
            RoomEvent::Left { user, .. } => drop(self.members.remove(user)),
            RoomEvent::Role { user, role } => {
                if let Some(member) = self.members.get_mut(user) {
                    member.role = *role;
                }
            }
            RoomEvent::Muted { user, until } => {
                if let Some(member) = self.members.get_mut(user) {
                    member.muted = *until;
                }
            }
            RoomEvent::Banned { user, until, at } => {
                self.bans.insert(user.clone(), *until);
                self.bans.retain(|_, until| *until > *at);
            }
            RoomEvent::Updated { at, profile } => {
                let RoomProfile { name, description, private, max_members, metadata } = (**profile).clone();
                let own = &mut self.profile;
                own.name = name.or(own.name.take());
                own.description = description.or(own.description.take());
                own.private = private.or(own.private);
                own.max_members = max_members.or(own.max_members);
                own.metadata = metadata.or(own.metadata.take());
                self.updated = *at;
            }
        }
    }

    /// What is said about it.
    pub fn profile(&self) -> &RoomProfile {
        &self.profile
    }

    /// Whether only those may enter who were brought in.
    pub fn is_private(&self) -> bool {
        self.profile.private == Some(true)
    }

    /// When it was made, and when it was last changed.
    pub fn times(&self) -> (u64, u64) {
        (self.created, self.updated)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A member.
    pub fn member(&self, user: &str) -> Option<&RoomMember> {
        self.members.get(user)
    }

    /// All members, those first who came first.
    pub fn members(&self) -> Vec<(&Arc<str>, &RoomMember)> {
        let mut all: Vec<_> = self.members.iter().collect();
        all.sort_unstable_by_key(|(user, member)| (member.joined, *user));
        all
    }

    /// Who may not enter and until when, in the order of their names; what has ended since may still be among it.
    pub fn bans(&self) -> Vec<(&Arc<str>, u64)> {
        let mut all: Vec<_> = self.bans.iter().map(|(user, until)| (user, *until)).collect();
        all.sort_unstable();
        all
    }

    /// Whether somebody may do that here, as a member or as the application.
    pub fn may(&self, actor: &Actor, permission: Permission) -> bool {
        match actor {
            Actor::App => true,
            Actor::User(user) => self.members.get(user).is_some_and(|member| member.role.may(permission)),
            Actor::Nobody => false,
        }
    }

    /// Whether somebody may get what is said here and read what was said.
    ///
    /// # Errors
    /// `Banned`, `AccessDenied`.
    pub fn may_read(&self, actor: &Actor, now: u64) -> Result<(), Refusal> {
        if let Some(user) = actor.user() {
            self.not_banned(user, now)?;
        }
        let open = !self.is_private() || self.may(actor, Permission::Join);
        if open { Ok(()) } else { Err(Refusal::AccessDenied) }
    }

    /// Whether somebody may send.
    ///
    /// # Errors
    /// `SendDenied`, `Muted`, `Banned`.
    pub fn may_send(&self, actor: &Actor, now: u64) -> Result<(), Refusal> {
        if let Some(user) = actor.user() {
            self.not_banned(user, now)?;
        }
        if !self.may(actor, Permission::Send) {
            return Err(Refusal::SendDenied);
        }
        match actor.user().and_then(|user| self.members.get(user)) {
            Some(member) if member.muted > now => Err(Refusal::Muted(member.muted)),
            _ => Ok(()),
        }
    }

    /// Whether somebody may change or delete what `author` has said: the author itself, or a moderator who does not
    /// stand below it.
    ///
    /// # Errors
    /// `Forbidden`, and what [`Room::may_send`] says.
    pub fn may_change(&self, actor: &Actor, author: Option<&str>, now: u64) -> Result<(), Refusal> {
        if actor.user().is_some_and(|user| Some(&**user) == author) {
            return self.may_send(actor, now);
        }
        let standing = author.and_then(|author| self.members.get(author)).map(|member| member.role);
        if standing > self.rank(actor, Permission::Moderate)? { Err(Refusal::Forbidden) } else { Ok(()) }
    }

    /// Somebody changes what is said about the room.
    ///
    /// # Errors
    /// `Forbidden` for those who do not moderate.
    pub fn update(
        &self,
        actor: &Actor,
        now: u64,
        profile: Box<RoomProfile>,
    ) -> Result<Vec<RoomEvent>, Refusal> {
        self.rank(actor, Permission::Moderate)?;
        Ok(vec![RoomEvent::Updated { at: now, profile }])
    }

    /// Whether somebody may delete the room.
    ///
    /// # Errors
    /// `Forbidden` for all but owners.
    pub fn may_delete(&self, actor: &Actor) -> Result<(), Refusal> {
        let role = self.rank(actor, Permission::Moderate)?;
        if role.is_none_or(|role| role == Role::Owner) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// A user enters. A member may enter again and keeps its role.
    ///
    /// # Errors
    /// `Banned`, `AccessDenied` (private, not brought in), `Limit` (the room is full).
    pub fn join(&self, user: &Arc<str>, now: u64) -> Result<Vec<RoomEvent>, Refusal> {
        self.not_banned(user, now)?;
        if self.members.contains_key(user) {
            return Ok(Vec::new());
        }
        if self.is_private() {
            return Err(Refusal::AccessDenied);
        }
        self.add(user, Role::Member, now)
    }

    /// A user goes for good. Where the last owner goes, the highest of those who are longest there takes its place.
    ///
    /// # Errors
    /// `NotFound`: it is no member.
    pub fn leave(&self, user: &Arc<str>) -> Result<Vec<RoomEvent>, Refusal> {
        self.take_out(user, Left::Left)
    }

    /// Brings a user in, or gives a member another role. Nobody gives a role above its own or changes who stands as
    /// high as itself; owners are equals.
    ///
    /// # Errors
    /// `Forbidden`, `InvalidRole`, `Banned` (the ban is to be lifted first), `Limit`.
    pub fn put_member(
        &self,
        actor: &Actor,
        now: u64,
        user: &Arc<str>,
        wanted: Role,
    ) -> Result<Vec<RoomEvent>, Refusal> {
        let needed = if self.members.contains_key(user) { Permission::Moderate } else { Permission::Invite };
        let own = self.rank(actor, needed)?;
        if own.is_some_and(|own| wanted > own) {
            return Err(Refusal::InvalidRole);
        }
        let Some(member) = self.members.get(user) else {
            self.not_banned(user, now)?;
            return self.add(user, wanted, now);
        };
        if wanted == member.role {
            return Ok(Vec::new());
        }
        self.outranks(own, user)?;
        let heir = self.heir(user, Some(RoomMember { role: wanted, ..*member }));
        let events = [RoomEvent::Role { user: user.clone(), role: wanted }].into_iter().chain(heir);
        Ok(events.collect())
    }

    /// Takes a member out; whoever takes itself out leaves.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub fn kick(
        &self,
        actor: &Actor,
        user: &Arc<str>,
        reason: Option<Arc<str>>,
    ) -> Result<Vec<RoomEvent>, Refusal> {
        if actor.user() == Some(user) {
            return self.leave(user);
        }
        let own = self.rank(actor, Permission::Moderate)?;
        self.outranks(own, user)?;
        self.take_out(user, Left::Kicked(reason))
    }

    /// Keeps a user out until then, member or not.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn ban(
        &self,
        actor: &Actor,
        now: u64,
        user: &Arc<str>,
        until: u64,
        reason: Option<Arc<str>>,
    ) -> Result<Vec<RoomEvent>, Refusal> {
        let own = self.rank(actor, Permission::Moderate)?;
        self.outranks(own, user)?;
        let mut events = vec![RoomEvent::Banned { user: user.clone(), until, at: now }];
        if until > now && self.members.contains_key(user) {
            events.extend(self.take_out(user, Left::Banned(reason))?);
        }
        Ok(events)
    }

    /// Lets a member not send until then; 0 lifts it.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub fn mute(&self, actor: &Actor, user: &Arc<str>, until: u64) -> Result<Vec<RoomEvent>, Refusal> {
        let own = self.rank(actor, Permission::Moderate)?;
        self.outranks(own, user)?;
        self.members.get(user).ok_or(Refusal::NotFound)?;
        Ok(vec![RoomEvent::Muted { user: user.clone(), until }])
    }

    fn not_banned(&self, user: &str, now: u64) -> Result<(), Refusal> {
        match self.bans.get(user) {
            Some(until) if *until > now => Err(Refusal::Banned(*until)),
            _ => Ok(()),
        }
    }

    /// The role in which somebody may do that; `None` for the application, which stands above all.
    fn rank(&self, actor: &Actor, permission: Permission) -> Result<Option<Role>, Refusal> {
        match actor {
            Actor::App => Ok(None),
            _ if !self.may(actor, permission) => Err(Refusal::Forbidden),
            _ => Ok(actor.user().and_then(|user| self.members.get(user)).map(|member| member.role)),
        }
    }

    /// Whether `own` may act upon a user: all may act upon those who are no members, owners upon everyone.
    fn outranks(&self, own: Option<Role>, user: &str) -> Result<(), Refusal> {
        match (own, self.members.get(user)) {
            (None | Some(Role::Owner), _) | (_, None) => Ok(()),
            (Some(own), Some(member)) if own > member.role => Ok(()),
            _ => Err(Refusal::Forbidden),
        }
    }

    fn add(&self, user: &Arc<str>, role: Role, now: u64) -> Result<Vec<RoomEvent>, Refusal> {
        let most = self.profile.max_members.filter(|most| *most > 0);
        if most.is_some_and(|most| self.members.len() as u64 >= most) {
            return Err(Refusal::Limit);
        }
        let member = RoomMember { role, joined: now, muted: 0 };
        Ok(vec![RoomEvent::Joined { user: user.clone(), member }])
    }

    fn take_out(&self, user: &Arc<str>, how: Left) -> Result<Vec<RoomEvent>, Refusal> {
        let member = *self.members.get(user).ok_or(Refusal::NotFound)?;
        let heir = if member.role == Role::Owner { self.heir(user, None) } else { None };
        let events = [RoomEvent::Left { user: user.clone(), member, how }].into_iter().chain(heir);
        Ok(events.collect())
    }

    /// A room that has lost its last owner gets another one, if somebody is there who may send: who that is, once
    /// `changed` is what is said of it, or gone.
    fn heir(&self, changed: &Arc<str>, after: Option<RoomMember>) -> Option<RoomEvent> {
        let others = self.members.iter().filter(|(user, _)| *user != changed);
        let mut all = others.chain(after.as_ref().map(|member| (changed, member)));
        if all.clone().any(|(_, member)| member.role == Role::Owner) {
            return None;
        }
        let able = all.by_ref().filter(|(_, member)| member.role.may(Permission::Send));
        let heir = able.max_by_key(|(user, member)| (member.role, Reverse((member.joined, *user))));
        heir.map(|(user, _)| RoomEvent::Role { user: user.clone(), role: Role::Owner })
    }
}
