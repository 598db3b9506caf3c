//! The naive model of rooms, presence and typing: in one place and without delay.

use crate::support::person::{Person, name};
use fanfare::flow::identity::Actor;
use fanfare::flow::state::permission::Role;
use fanfare::flow::state::presence::Status;
use fanfare::flow::state::room::{FOREVER, Refusal, Room, RoomEvent};
use fanfare::wire::hub::RoomProfile;
use fanfare::wire::json::MAX_DEPTH;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rooms that a user may be in, here.
pub const ROOMS_PER_USER: u32 = 3;

/// One room of the model.
pub struct RoomModel {
    pub room: Room,
    /// Everything that was said: event and data.
    pub said: Vec<(String, Value)>,
    /// Messages: id, author, text, whether there still.
    pub messages: Vec<(String, usize, Value, bool)>,
    pub typing: BTreeSet<String>,
}

/// The naive model, in one place and without delay.
#[derive(Default)]
pub struct Model {
    pub rooms: BTreeMap<String, RoomModel>,
    /// Which connection is in which room since how many things were said.
    pub joined: BTreeMap<(usize, String), usize>,
    /// What users say of themselves.
    pub status: BTreeMap<usize, Status>,
}

impl Model {
    pub fn memberships(&self, user: &str) -> usize {
        self.rooms.values().filter(|entry| entry.room.member(user).is_some()).count()
    }

    /// Whether a user may be in that room too.
    pub fn reserve(&self, user: &str, room: &str) -> Result<(), &'static str> {
        let is = self.rooms.get(room).is_some_and(|entry| entry.room.member(user).is_some());
        let full = self.memberships(user) >= ROOMS_PER_USER as usize;
        if !is && full { Err("room_limit_reached") } else { Ok(()) }
    }

    /// After something has happened to members: who is none is in no room and does not type.
    pub fn tidy(&mut self, people: &[Person]) {
        let rooms = &self.rooms;
        let is = |room: &str, user: &str| rooms.get(room).is_some_and(|p| p.room.member(user).is_some());
        self.joined.retain(|(person, room), _| is(room, &name(people[*person].user)));
        let joined = &self.joined;
        let is_in = |room: &String, user: &str| {
            joined.keys().any(|(person, own)| own == room && *name(people[*person].user) == *user)
        };
        for (room, entry) in &mut self.rooms {
            entry.typing.retain(|user| is_in(room, user));
        }
    }
}

/// What the model says to a frame: the code of a refusal, or nothing.
pub type Said = Result<(), &'static str>;

/// Who does something, where and to whom.
pub struct Step<'a> {
    pub rng: &'a mut Rng,
    pub model: &'a mut Model,
    pub room: String,
    /// The connection.
    pub at: usize,
    pub user: usize,
    pub me: Arc<str>,
    pub actor: Actor,
    pub whom: Arc<str>,
    pub now: u64,
    /// Whether a connection of the user is in the room.
    pub is_in: bool,
}

impl Step<'_> {
    pub fn about_room(&self, kind: &str) -> Value {
        json!({"type": kind, "room_id": self.room})
    }

    pub fn about_member(&self, kind: &str) -> Value {
        json!({"type": kind, "room_id": self.room, "user_id": *self.whom})
    }

    /// One random frame, and what the model says to it.
    pub fn random(&mut self) -> (Value, Said) {
        match self.rng.u8(0..20) {
            0..=3 => (self.about_room("join"), self.join()),
            4 => {
                if let Some(entry) = self.model.rooms.get_mut(&self.room) {
                    // whoever is no member has nothing to leave
                    let left = entry.room.leave(&self.me);
                    let _ = apply(&mut entry.room, left);
                }
                (self.about_room("leave"), Ok(()))
            }
            5..=7 => self.message(),
            8 | 9 => self.typing(),
            10 | 11 => {
                let (word, status) = *self.rng.choice(&Status::ALL).unwrap();
                self.model.status.insert(self.user, status);
                (json!({"type": "presence", "data": word}), Ok(()))
            }
            12 => self.create(),
            13 => self.role(),
            14 => self.put_out(),
            15 => self.change(),
            _ => self.revise(),
        }
    }

    pub fn join(&mut self) -> Said {
        let here = (self.at, self.room.clone());
        if self.model.joined.contains_key(&here) {
            return Ok(());
        }
        self.model.reserve(&self.me, &self.room)?;
        let entry = self.model.rooms.get_mut(&self.room).ok_or("room_access_denied")?;
        let joined = entry.room.join(&self.me, self.now);
        apply(&mut entry.room, joined)?;
        self.model.joined.insert(here, entry.said.len());
        Ok(())
    }

    pub fn message(&mut self) -> (Value, Said) {
        let data = if self.rng.u8(0..8) == 0 { deepest() } else { json!({"n": self.rng.u32(..)}) };
        let frame = json!({"type": "message", "room_id": self.room, "data": data, "user_id": "mallory"});
        let is_in = self.model.joined.contains_key(&(self.at, self.room.clone()));
        let Some(entry) = self.model.rooms.get_mut(&self.room).filter(|_| is_in) else {
            return (frame, Err("send_denied"));
        };
        let may = entry.room.may_send(&self.actor, self.now).map_err(Refusal::code);
        let result = may.map(|()| {
            entry.said.push((String::new(), data.clone()));
            entry.messages.push((String::new(), self.user, data, true));
            entry.typing.remove(&*self.me);
        });
        (frame, result)
    }

    pub fn typing(&mut self) -> (Value, Said) {
        let on = self.rng.bool();
        let frame = json!({"type": "typing", "room_id": self.room, "data": on});
        let is_in = self.is_in;
        let Some(entry) = self.model.rooms.get_mut(&self.room) else {
            return (frame, Err("room_access_denied"));
        };
        let may = entry.room.may_send(&self.actor, self.now).map_err(Refusal::code);
        let may = may.and(if is_in { Ok(()) } else { Err("send_denied") });
        if may.is_ok() && on {
            entry.typing.insert(self.me.to_string());
        } else if may.is_ok() {
            entry.typing.remove(&*self.me);
        }
        (frame, may)
    }

    pub fn create(&mut self) -> (Value, Said) {
        let private = self.rng.u8(0..5) == 0;
        let about = RoomProfile { private: Some(private), ..RoomProfile::default() };
        let frame = json!({"type": "room.create", "room_id": self.room, "private": private});
        if let Err(code) = self.model.reserve(&self.me, &self.room) {
            return (frame, Err(code));
        }
        if self.model.rooms.contains_key(&self.room) {
            return (frame, Err("already_exists"));
        }
        let room = Room::new(self.now, about, self.actor.user().cloned());
        let (said, messages, typing) = Default::default();
        self.model.rooms.insert(self.room.clone(), RoomModel { room, said, messages, typing });
        (frame, Ok(()))
    }

    pub fn role(&mut self) -> (Value, Said) {
        let word = *self.rng.choice(&["guest", "member", "admin", "owner", "king"]).unwrap();
        let frame = json!({"type": "room.role", "room_id": self.room, "user_id": *self.whom, "role": word});
        let mut give = || {
            self.model.reserve(&self.whom, &self.room)?;
            let entry = self.model.rooms.get_mut(&self.room).ok_or("not_found")?;
            let role = Role::from_name(word).ok_or("invalid_role")?;
            let given = entry.room.put_member(&self.actor, self.now, &self.whom, role);
            apply(&mut entry.room, given)
        };
        let said = give();
        (frame, said)
    }

    pub fn put_out(&mut self) -> (Value, Said) {
        let kinds = ["room.kick", "room.ban", "room.unban", "room.mute", "room.unmute"];
        let kind = *self.rng.choice(&kinds).unwrap();
        let frame = self.about_member(kind);
        let Some(entry) = self.model.rooms.get_mut(&self.room) else { return (frame, Err("not_found")) };
        let (room, actor, whom, now) = (&mut entry.room, &self.actor, &self.whom, self.now);
        let result = match kind {
            "room.kick" => room.kick(actor, whom, None),
            "room.ban" => room.ban(actor, now, whom, FOREVER, None),
            "room.unban" => room.ban(actor, now, whom, 0, None),
            "room.mute" => room.mute(actor, whom, FOREVER),
            _ => room.mute(actor, whom, 0),
        };
        if result.is_ok() && kind.ends_with("mute") {
            entry.typing.remove(&**whom);
        }
        let result = apply(room, result);
        (frame, result)
    }

    pub fn change(&mut self) -> (Value, Said) {
        let deletes = self.rng.u8(0..5) == 0;
        let private = self.rng.u8(0..5) == 0;
        let mut frame = self.about_room(if deletes { "room.delete" } else { "room.update" });
        if !deletes {
            frame["private"] = private.into();
        }
        let Some(entry) = self.model.rooms.get_mut(&self.room) else { return (frame, Err("not_found")) };
        let result = match deletes {
            true => entry.room.may_delete(&self.actor).map_err(Refusal::code),
            false => {
                let about = RoomProfile { private: Some(private), ..RoomProfile::default() };
                let updated = entry.room.update(&self.actor, self.now, Box::new(about));
                apply(&mut entry.room, updated)
            }
        };
        if deletes && result.is_ok() {
            self.model.rooms.remove(&self.room);
        }
        (frame, result)
    }

    /// Edits or deletes a message, or reads about the room where there is none.
    pub fn revise(&mut self) -> (Value, Said) {
        let edits = self.rng.bool();
        let get = self.about_room("room.get");
        let Some(entry) = self.model.rooms.get_mut(&self.room) else { return (get, Err("not_found")) };
        let reads = entry.room.may_read(&self.actor, self.now);
        if entry.messages.is_empty() {
            return (get, reads.map_err(Refusal::code));
        }
        let chosen = self.rng.usize(0..entry.messages.len());
        let (id, author, data, live) = &mut entry.messages[chosen];
        let may = reads.and_then(|()| match live {
            false => Err(Refusal::NotFound),
            true => entry.room.may_change(&self.actor, Some(&name(*author)), self.now),
        });
        let kind = if edits { "message.edit" } else { "message.delete" };
        let new = if self.rng.bool() { deepest() } else { json!("new") };
        let frame = json!({"type": kind, "room_id": self.room, "message_id": id, "data": new});
        let result = may.map_err(Refusal::code).map(|()| {
            let told = match edits {
                true => json!({"message_id": id, "new_content": new}),
                false => json!({"message_id": id}),
            };
            *data = new;
            *live = edits;
            let event = if edits { "message.edited" } else { "message.deleted" };
            entry.said.push((event.to_owned(), told));
        });
        (frame, result)
    }
}

/// Takes in what was decided.
fn apply(room: &mut Room, decided: Result<Vec<RoomEvent>, Refusal>) -> Said {
    decided.map_err(Refusal::code)?.iter().for_each(|event| room.apply(event));
    Ok(())
}

/// A value that nests as deep as the door takes: whatever the server wraps around it is deeper.
pub fn deepest() -> Value {
    (0..MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]))
}

/// Compares what every connection in a room was told with the model.
pub fn check(model: &Model, people: &[Person], gone: &BTreeSet<usize>, typing: bool, list: usize, why: &str) {
    for (at, person) in people.iter().enumerate().filter(|(at, _)| !gone.contains(at)) {
        let joined: Vec<&String> =
            model.joined.keys().filter(|(own, _)| *own == at).map(|(_, room)| room).collect();
        assert_eq!(person.rooms.keys().collect::<Vec<_>>(), joined, "{why}");
        for (room, known) in &person.rooms {
            let entry = &model.rooms[room];
            let since = model.joined[&(at, room.clone())];
            assert_eq!(known.said, entry.said[since..], "{why} {at} in {room}");
            let connected = |user: &str| {
                people.iter().enumerate().any(|(at, p)| !gone.contains(&at) && *name(p.user) == *user)
            };
            let status = |user: &str| {
                let user: usize = user[1..].parse().expect("a number");
                model.status.get(&user).copied().unwrap_or(Status::Online)
            };
            let members: Vec<String> =
                entry.room.members().iter().map(|(user, _)| user.to_string()).collect();
            let online = members.iter().filter(|user| connected(user) && status(user) != Status::Offline);
            let truth: BTreeMap<String, String> =
                online.map(|user| (user.clone(), status(user).name().to_owned())).collect();
            match known.presence.as_ref().expect("one comes with entering") {
                Ok(map) => assert_eq!(*map, truth, "{why} {at} in {room}"),
                Err(count) => {
                    assert!(*count == truth.len() as u64 && truth.len() + 1 >= list, "{why} {at} {room}")
                }
            }
            if list > 100 {
                assert_eq!(known.members, members.into_iter().collect(), "{why} {at} in {room}");
            }
            let typers = if typing { entry.typing.clone() } else { BTreeSet::new() };
            assert_eq!(known.typing, typers, "{why} {at} in {room}");
        }
    }
}
