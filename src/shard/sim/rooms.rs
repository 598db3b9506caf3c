//! What must hold for rooms, presence and typing.

use super::World;
use super::client::Listener;
use crate::base::time::{MS, SEC};
use crate::flow::identity::Actor;
use crate::flow::limits::Limits;
use crate::flow::limits::hub::HubLimits;
use crate::flow::state::presence::Status;
use crate::flow::state::room::{FOREVER, Refusal, Role, Room};
use crate::wire::hub::RoomProfile;
use crate::wire::json::MAX_DEPTH;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SHARDS: [u16; 4] = [1, 2, 3, 8];
/// Rooms that a user may be in, here.
const ROOMS_PER_USER: u32 = 3;

fn limits(presence_list: usize) -> Limits {
    let hub = HubLimits {
        rooms_per_user: ROOMS_PER_USER,
        connections_per_user: 3,
        presence_list,
        burst: 1_000_000,
        ..HubLimits::default()
    };
    Limits { hub, ..Limits::default() }
}

/// Lets time pass, until everything that it brings is done.
fn pass(world: &mut World, people: &mut [Person], ns: u64) {
    world.now.mono += ns;
    world.now.wall += ns;
    world.settle(|world| people.iter_mut().for_each(|person| person.read(world)));
}

/// Who is there of a room, as far as a client was told: names, or a number.
type View = Result<BTreeMap<String, String>, u64>;

/// What a client in a room knows of it.
#[derive(Debug, Default)]
struct Known {
    /// What was said since it came, in order.
    said: Vec<(String, Value)>,
    last: u64,
    presence: Option<View>,
    typing: BTreeSet<String>,
    members: BTreeSet<String>,
}

/// A user's connection, and what it has been told.
struct Person {
    listener: Listener,
    user: usize,
    rooms: BTreeMap<String, Known>,
    answers: BTreeMap<u64, Value>,
}

fn name(user: usize) -> Arc<str> {
    format!("u{user}").into()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Person {
    fn open(world: &mut World, user: usize) -> Person {
        let listener = Listener::open(world, &format!("user={}", name(user)), 1 << 20);
        Person { listener, user, rooms: BTreeMap::new(), answers: BTreeMap::new() }
    }

    fn read(&mut self, world: &mut World) {
        self.listener.read(world);
        for frame in std::mem::take(&mut self.listener.got) {
            self.fold(frame);
        }
    }

    fn fold(&mut self, frame: Value) {
        if let Some(request) = frame["request_id"].as_u64() {
            self.answers.insert(request, frame);
            return;
        }
        let (kind, event, user) = (text(&frame["type"]), text(&frame["event"]), text(&frame["user_id"]));
        let room = text(&frame["room_id"]);
        if ["kicked", "banned", "left", "room.deleted"].contains(&&*event) {
            self.rooms.remove(&room);
            return;
        }
        if kind == "presence_sync" {
            self.rooms.entry(room.clone()).or_default();
        }
        let Some(known) = self.rooms.get_mut(&room) else { return };
        match &*kind {
            "presence_sync" => {
                let online = frame["counts"]["online"].as_u64().expect("a number");
                let named = frame["presences"].as_array().expect("a list");
                let map = named.iter().map(|p| (text(&p["user_id"]), text(&p["status"]))).collect();
                // what follows begins anew, and names those who type
                known.typing.clear();
                known.presence = Some(if named.len() as u64 == online { Ok(map) } else { Err(online) });
            }
            "presence" => {
                let Some(Ok(map)) = &mut known.presence else { panic!("{frame} to one that counts") };
                match text(&frame["status"]) {
                    status if status == "offline" => map.remove(&user),
                    status => map.insert(user, status),
                };
            }
            "typing" if frame["data"] == true => assert!(known.typing.insert(user), "{frame}"),
            "typing" => {
                known.typing.remove(&user);
            }
            "member_join" => {
                known.members.insert(user);
            }
            "member_leave" => {
                known.members.remove(&user);
            }
            "message" | "system" if frame["sequence"].is_u64() => {
                let sequence = frame["sequence"].as_u64().expect("a number");
                assert!(known.last == 0 || sequence == known.last + 1, "{frame} behind {}", known.last);
                known.last = sequence;
                known.said.push((event, frame["data"].clone()));
            }
            "system" | "error" => {}
            other => panic!("{other}: {frame}"),
        }
    }
}

/// One room of the model.
struct Place {
    room: Room,
    /// Everything that was said: event and data.
    said: Vec<(String, Value)>,
    /// Messages: id, author, text, whether there still.
    messages: Vec<(String, usize, Value, bool)>,
    typing: BTreeSet<String>,
}

/// The naive model, in one place and without delay.
#[derive(Default)]
struct Model {
    rooms: BTreeMap<String, Place>,
    /// Which connection is in which room since how many things were said.
    seats: BTreeMap<(usize, String), usize>,
    /// What users say of themselves.
    status: BTreeMap<usize, Status>,
}

impl Model {
    fn memberships(&self, user: &str) -> usize {
        self.rooms.values().filter(|place| place.room.member(user).is_some()).count()
    }

    /// Whether a user may be in that room too.
    fn reserve(&self, user: &str, room: &str) -> Result<(), &'static str> {
        let is = self.rooms.get(room).is_some_and(|place| place.room.member(user).is_some());
        let full = self.memberships(user) >= ROOMS_PER_USER as usize;
        if !is && full { Err("room_limit_reached") } else { Ok(()) }
    }

    /// After something has happened to members: who is none sits nowhere and does not type.
    fn tidy(&mut self, people: &[Person]) {
        let rooms = &self.rooms;
        let is = |room: &str, user: &str| rooms.get(room).is_some_and(|p| p.room.member(user).is_some());
        self.seats.retain(|(person, room), _| is(room, &name(people[*person].user)));
        let seats = &self.seats;
        let sits = |room: &String, user: &str| {
            seats.keys().any(|(person, own)| own == room && *name(people[*person].user) == *user)
        };
        for (room, place) in &mut self.rooms {
            place.typing.retain(|user| sits(room, user));
        }
    }
}

/// What the model says to a frame: the code of a refusal, or nothing.
type Said = Result<(), &'static str>;

/// Who does something, where and to whom.
struct Turn<'a> {
    rng: &'a mut Rng,
    model: &'a mut Model,
    room: String,
    /// The connection.
    at: usize,
    user: usize,
    me: Arc<str>,
    actor: Actor,
    whom: Arc<str>,
    now: u64,
    /// Whether a connection of the user is in the room.
    sits: bool,
}

impl Turn<'_> {
    fn about_room(&self, kind: &str) -> Value {
        json!({"type": kind, "room_id": self.room})
    }

    fn about_member(&self, kind: &str) -> Value {
        json!({"type": kind, "room_id": self.room, "user_id": *self.whom})
    }

    /// One random frame, and what the model says to it.
    fn random(&mut self) -> (Value, Said) {
        match self.rng.u8(0..20) {
            0..=3 => (self.about_room("join"), self.join()),
            4 => {
                if let Some(place) = self.model.rooms.get_mut(&self.room) {
                    // whoever is no member has nothing to leave
                    let _ = place.room.leave(&self.me);
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

    fn join(&mut self) -> Said {
        let seat = (self.at, self.room.clone());
        if self.model.seats.contains_key(&seat) {
            return Ok(());
        }
        self.model.reserve(&self.me, &self.room)?;
        let place = self.model.rooms.get_mut(&self.room).ok_or("room_access_denied")?;
        place.room.join(&self.me, self.now).map_err(Refusal::code)?;
        self.model.seats.insert(seat, place.said.len());
        Ok(())
    }

    fn message(&mut self) -> (Value, Said) {
        let data = if self.rng.u8(0..8) == 0 { deepest() } else { json!({"n": self.rng.u32(..)}) };
        let frame = json!({"type": "message", "room_id": self.room, "data": data, "user_id": "mallory"});
        let seated = self.model.seats.contains_key(&(self.at, self.room.clone()));
        let Some(place) = self.model.rooms.get_mut(&self.room).filter(|_| seated) else {
            return (frame, Err("send_denied"));
        };
        let may = place.room.may_send(&self.actor, self.now).map_err(Refusal::code);
        let result = may.map(|()| {
            place.said.push((String::new(), data.clone()));
            place.messages.push((String::new(), self.user, data, true));
            place.typing.remove(&*self.me);
        });
        (frame, result)
    }

    fn typing(&mut self) -> (Value, Said) {
        let on = self.rng.bool();
        let frame = json!({"type": "typing", "room_id": self.room, "data": on});
        let sits = self.sits;
        let Some(place) = self.model.rooms.get_mut(&self.room) else {
            return (frame, Err("room_access_denied"));
        };
        let may = place.room.may_send(&self.actor, self.now).map_err(Refusal::code);
        let may = may.and(if sits { Ok(()) } else { Err("send_denied") });
        if may.is_ok() && on {
            place.typing.insert(self.me.to_string());
        } else if may.is_ok() {
            place.typing.remove(&*self.me);
        }
        (frame, may)
    }

    fn create(&mut self) -> (Value, Said) {
        let private = self.rng.u8(0..5) == 0;
        let about = RoomProfile { private: Some(private), ..RoomProfile::default() };
        let frame = json!({"type": "room.create", "room_id": self.room, "private": private});
        if let Err(code) = self.model.reserve(&self.me, &self.room) {
            return (frame, Err(code));
        }
        if self.model.rooms.contains_key(&self.room) {
            return (frame, Err("already_exists"));
        }
        let room = Room::new(&self.actor, self.now, about).expect("a user may");
        let (said, messages, typing) = Default::default();
        self.model.rooms.insert(self.room.clone(), Place { room, said, messages, typing });
        (frame, Ok(()))
    }

    fn role(&mut self) -> (Value, Said) {
        let word = *self.rng.choice(&["guest", "member", "admin", "owner", "king"]).unwrap();
        let frame = json!({"type": "room.role", "room_id": self.room, "user_id": *self.whom, "role": word});
        let mut give = || {
            self.model.reserve(&self.whom, &self.room)?;
            let place = self.model.rooms.get_mut(&self.room).ok_or("not_found")?;
            let role = Role::from_name(word).ok_or("invalid_role")?;
            let given = place.room.put_member(&self.actor, self.now, &self.whom, role);
            given.map(|_| ()).map_err(Refusal::code)
        };
        let said = give();
        (frame, said)
    }

    fn put_out(&mut self) -> (Value, Said) {
        let kinds = ["room.kick", "room.ban", "room.unban", "room.mute", "room.unmute"];
        let kind = *self.rng.choice(&kinds).unwrap();
        let frame = self.about_member(kind);
        let Some(place) = self.model.rooms.get_mut(&self.room) else { return (frame, Err("not_found")) };
        let (room, actor, whom, now) = (&mut place.room, &self.actor, &self.whom, self.now);
        let result = match kind {
            "room.kick" => room.kick(actor, whom),
            "room.ban" => room.ban(actor, now, whom, FOREVER),
            "room.unban" => room.ban(actor, now, whom, 0),
            "room.mute" => room.mute(actor, whom, FOREVER),
            _ => room.mute(actor, whom, 0),
        };
        if result.is_ok() && kind.ends_with("mute") {
            place.typing.remove(&**whom);
        }
        (frame, result.map(|_| ()).map_err(Refusal::code))
    }

    fn change(&mut self) -> (Value, Said) {
        let deletes = self.rng.u8(0..5) == 0;
        let private = self.rng.u8(0..5) == 0;
        let mut frame = self.about_room(if deletes { "room.delete" } else { "room.update" });
        if !deletes {
            frame["private"] = private.into();
        }
        let Some(place) = self.model.rooms.get_mut(&self.room) else { return (frame, Err("not_found")) };
        let result = match deletes {
            true => place.room.may_delete(&self.actor),
            false => {
                let about = RoomProfile { private: Some(private), ..RoomProfile::default() };
                place.room.update(&self.actor, self.now, about).map(|_| ())
            }
        };
        if deletes && result.is_ok() {
            self.model.rooms.remove(&self.room);
        }
        (frame, result.map_err(Refusal::code))
    }

    /// Edits or deletes a message, or reads about the room where there is none.
    fn revise(&mut self) -> (Value, Said) {
        let edits = self.rng.bool();
        let get = self.about_room("room.get");
        let Some(place) = self.model.rooms.get_mut(&self.room) else { return (get, Err("not_found")) };
        let reads = place.room.may_read(&self.actor, self.now);
        if place.messages.is_empty() {
            return (get, reads.map_err(Refusal::code));
        }
        let chosen = self.rng.usize(0..place.messages.len());
        let (id, author, data, live) = &mut place.messages[chosen];
        let may = reads.and_then(|()| match live {
            false => Err(Refusal::NotFound),
            true => place.room.may_change(&self.actor, Some(&name(*author)), self.now),
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
            place.said.push((event.to_owned(), told));
        });
        (frame, result)
    }
}

/// A value that nests as deep as the door takes: whatever the server wraps around it is deeper.
fn deepest() -> Value {
    (0..MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]))
}

/// Compares what every connection in a room was told with the model.
fn check(model: &Model, people: &[Person], gone: &BTreeSet<usize>, typing: bool, list: usize, why: &str) {
    for (at, person) in people.iter().enumerate().filter(|(at, _)| !gone.contains(at)) {
        let seats: Vec<&String> =
            model.seats.keys().filter(|(own, _)| *own == at).map(|(_, room)| room).collect();
        assert_eq!(person.rooms.keys().collect::<Vec<_>>(), seats, "{why}");
        for (room, known) in &person.rooms {
            let place = &model.rooms[room];
            let since = model.seats[&(at, room.clone())];
            assert_eq!(known.said, place.said[since..], "{why} {at} in {room}");
            let connected = |user: &str| {
                people.iter().enumerate().any(|(at, p)| !gone.contains(&at) && *name(p.user) == *user)
            };
            let status = |user: &str| {
                let user: usize = user[1..].parse().expect("a number");
                model.status.get(&user).copied().unwrap_or(Status::Online)
            };
            let members: Vec<String> =
                place.room.members().iter().map(|(user, _)| user.to_string()).collect();
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
            let typers = if typing { place.typing.clone() } else { BTreeSet::new() };
            assert_eq!(known.typing, typers, "{why} {at} in {room}");
        }
    }
}

/// Random operations of five users over several connections each, one after the other: every answer is the model's,
/// and whoever is in a room knows what the model knows, at any number of shards.
#[test]
fn rooms_presence_and_typing_agree_with_a_naive_model() {
    for shards in SHARDS {
        for seed in 0..12 {
            let list = if seed % 3 == 0 { 2 } else { 500 };
            let mut world = World::new(seed, shards, limits(list));
            let mut rng = Rng::with_seed(seed);
            let mut people: Vec<Person> = (0..8).map(|i| Person::open(&mut world, i % 5)).collect();
            let (mut model, mut gone) = (Model::default(), BTreeSet::new());
            pass(&mut world, &mut people, 5 * SEC);
            let (mut quiet, mut missed) = (world.now.mono, 0);
            for step in 0..160u64 {
                let at = rng.usize(0..people.len());
                let why = format!("{shards} shards seed {seed} step {step}");
                if gone.contains(&at) {
                    continue;
                }
                if rng.u8(0..20) == 0 && gone.len() < 4 {
                    // a connection goes; sometimes another one of its user comes
                    world.hang_up(people[at].listener.line);
                    gone.insert(at);
                    model.seats.retain(|(own, _), _| *own != at);
                    if rng.bool() {
                        let user = people[at].user;
                        people.push(Person::open(&mut world, user));
                    }
                    pass(&mut world, &mut people, 0);
                    model.tidy(&people);
                } else {
                    step_of(&mut world, &mut rng, &mut model, &mut people, at, step + 1, &why);
                }
                if world.now.mono - quiet < 2 * SEC {
                    pass(&mut world, &mut people, 150 * MS);
                    pass(&mut world, &mut people, 150 * MS);
                    if gone.len() == missed {
                        // whoever typed types still
                        check(&model, &people, &gone, true, list, &why);
                    }
                }
                if rng.u8(0..8) == 0 || world.now.mono - quiet >= 2 * SEC {
                    // everybody who is gone is missed, and nobody types any more
                    for ns in [5 * SEC, 150 * MS, 150 * MS] {
                        pass(&mut world, &mut people, ns);
                    }
                    (quiet, missed) = (world.now.mono, gone.len());
                    let there = |user: &usize| {
                        people.iter().enumerate().any(|(at, p)| p.user == *user && !gone.contains(&at))
                    };
                    model.status.retain(|user, _| there(user));
                    model.rooms.values_mut().for_each(|place| place.typing.clear());
                    check(&model, &people, &gone, false, list, &why);
                }
            }
            let memberships: usize = (0..5).map(|user| model.memberships(&name(user))).sum();
            assert!(memberships > 0 || model.rooms.is_empty(), "the model itself is alive");
        }
    }
}

/// One frame of one connection, its answer, and what it leads to.
fn step_of(
    world: &mut World,
    rng: &mut Rng,
    model: &mut Model,
    people: &mut [Person],
    at: usize,
    request: u64,
    why: &str,
) {
    // mostly about a room that it is in, of few
    let seats = model.seats.keys().filter(|(own, _)| *own == at).map(|(_, room)| room.clone());
    let own = rng.choice(seats.collect::<Vec<_>>()).filter(|_| rng.u8(0..3) > 0);
    let room = own.unwrap_or_else(|| (*rng.choice(&["a", "b/1", "c", "d"]).unwrap()).to_owned());
    let (user, whom) = (people[at].user, name(rng.usize(0..5)));
    let (me, actor, now) = (name(user), Actor::User(name(user)), world.now.wall);
    let sits = model.seats.keys().any(|(person, own)| *own == room && people[*person].user == user);
    let (mut frame, expected) = Turn { rng, model, room, at, user, me, actor, whom, now, sits }.random();
    let kind = text(&frame["type"]);
    let room = text(&frame["room_id"]);
    if kind == "join" && expected.is_ok() && !people[at].rooms.contains_key(&room) {
        people[at].rooms.insert(room.clone(), Known::default());
    }
    if kind == "leave" {
        people[at].rooms.remove(&room);
    }
    frame["request_id"] = request.into();
    people[at].listener.send(world, &frame);
    model.tidy(people);
    pass(world, people, 0);
    let answer = people[at].answers.remove(&request).unwrap_or_else(|| panic!("{why}: no answer to {frame}"));
    let code = answer["data"]["code"].as_str().filter(|_| answer["type"] == "error");
    assert_eq!(code.map_or(Ok(()), Err), expected, "{why}: {frame} {answer}");
    if expected.is_err() {
        return;
    }
    match &*kind {
        "message" => {
            assert_eq!(answer["user_id"], *name(people[at].user), "{why}");
            let place = model.rooms.get_mut(&room).expect("it was sent");
            place.messages.last_mut().expect("it was sent").0 = text(&answer["message_id"]);
            // what was said carries the same number for everybody
            let known = &people[at].rooms[&room];
            assert_eq!(answer["sequence"].as_u64(), Some(known.last), "{why}: {answer}");
        }
        "join" => {
            let members = answer["members"].as_array().expect("a list");
            let own: BTreeSet<String> = members.iter().map(|member| text(&member["user_id"])).collect();
            let place = &model.rooms[&room];
            assert_eq!(answer["member_count"], place.room.len() as u64, "{why}");
            people[at].rooms.get_mut(&room).expect("it came in").members = own;
        }
        _ => {}
    }
}

/// Everybody does everything at once, and then is quiet: whatever the order was, all know the same of a room, and the
/// owners of users and of rooms agree on who is a member, who sits where, and who is there.
#[test]
fn after_a_tumult_everybody_knows_the_same() {
    for shards in SHARDS {
        for seed in 0..12 {
            let mut world = World::new(seed, shards, limits(if seed % 3 == 0 { 2 } else { 500 }));
            let mut rng = Rng::with_seed(seed);
            let mut people: Vec<Person> = (0..10).map(|i| Person::open(&mut world, i % 5)).collect();
            pass(&mut world, &mut people, 0);
            for n in 0..300u64 {
                let at = rng.usize(0..people.len());
                let room = *rng.choice(&["a", "b", "c", "d"]).unwrap();
                let user = name(rng.usize(0..5));
                let frame = match rng.u8(0..12) {
                    0 => json!({"type": "room.create", "room_id": room, "private": rng.u8(0..6) == 0}),
                    1..=3 => json!({"type": "join", "room_id": room}),
                    4 => json!({"type": "leave", "room_id": room}),
                    5 | 6 => json!({"type": "message", "room_id": room, "data": n}),
                    7 => json!({"type": "typing", "room_id": room, "data": true}),
                    8 => {
                        json!({"type": "presence", "data": rng.choice(["away", "busy", "offline"]).unwrap()})
                    }
                    9 => json!({"type": "room.kick", "room_id": room, "user_id": *user}),
                    10 => json!({"type": "room.role", "room_id": room, "user_id": *user, "role": "admin"}),
                    _ if n % 5 == 0 => json!({"type": "room.delete", "room_id": room}),
                    _ => {
                        let user = people[at].user;
                        world.hang_up(people[at].listener.line);
                        people[at] = Person::open(&mut world, user);
                        continue;
                    }
                };
                if frame["type"] == "leave" {
                    people[at].rooms.remove(room);
                }
                people[at].listener.send(&mut world, &frame);
                world.work(rng.usize(0..6));
                people[at].read(&mut world);
            }
            for ns in [0, 5 * SEC, 150 * MS, 150 * MS] {
                pass(&mut world, &mut people, ns);
            }
            agree(&world, &people, &format!("{shards} shards seed {seed}"));
        }
    }
}

/// What the owners know of each other, and what the clients know.
fn agree(world: &World, people: &[Person], why: &str) {
    let users: Vec<_> = world.shards.iter().flat_map(|shard| shard.users.iter()).collect();
    for (room, place) in world.shards.iter().flat_map(|shard| shard.rooms.iter()) {
        let members: BTreeSet<&Arc<str>> = place.room.members().into_iter().map(|(user, _)| user).collect();
        let seats = users.iter().filter(|(_, user)| user.rooms().any(|own| own == room));
        assert_eq!(members, seats.map(|(user, _)| *user).collect(), "{why} {room}: the users' owners");
        let shown = |user: &&Arc<str>| {
            let known = users.iter().find(|(own, _)| own == user);
            known.is_some_and(|(_, user)| user.shown().status != Status::Offline)
        };
        let truth: BTreeSet<String> =
            members.iter().filter(|user| shown(user)).map(|u| u.to_string()).collect();
        for person in people {
            let sits = place.lines().any(|(_, line)| {
                line.1 == person.listener.line.conn && line.0.index() == person.listener.line.shard
            });
            let Some(known) = person.rooms.get(&**room) else { continue };
            match &known.presence {
                Some(Ok(map)) if sits => {
                    assert_eq!(map.keys().cloned().collect::<BTreeSet<_>>(), truth, "{why} {room}");
                }
                Some(Err(count)) if sits => assert_eq!(*count, truth.len() as u64, "{why} {room}"),
                known => assert!(!sits, "{why} {room}: {known:?}"),
            }
            assert!(!sits || known.typing.is_empty(), "{why} {room}");
        }
    }
}

/// Ten thousand join one room within a second: what each is sent stays bounded, those who come when there are many
/// get numbers only, and everybody ends with the right one.
#[test]
fn ten_thousand_join_a_room_within_a_second() {
    const MANY: usize = 10_000;
    let mut world = World::new(7, 4, limits(500));
    let mut first = Person::open(&mut world, 0);
    first.listener.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
    pass(&mut world, std::slice::from_mut(&mut first), 0);
    let began = world.now.mono;
    let mut people: Vec<Person> = Vec::with_capacity(MANY);
    people.push(first);
    let mut got = vec![0; MANY];
    for n in 0..MANY {
        if n > 0 {
            people.push(Person::open(&mut world, n));
        }
        people[n].rooms.insert("r".into(), Known::default());
        people[n].listener.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        if n % 100 == 99 {
            let until = began + (n as u64 + 1) * SEC / MANY as u64;
            world.now.mono = world.now.mono.max(until);
            world.work(40);
        }
        if n % 1000 == 999 {
            let line = |person: &Person| person.listener.line;
            people.iter().zip(&mut got).for_each(|(person, got)| *got += waiting(&world, line(person)));
            people.iter_mut().for_each(|person| person.read(&mut world));
        }
    }
    assert!(world.now.mono - began < 2 * SEC, "{} ms", (world.now.mono - began) / MS);
    for ns in [0, 150 * MS, 150 * MS] {
        world.now.mono += ns;
        world.now.wall += ns;
        world.settle(|_| {});
        people.iter().zip(&mut got).for_each(|(person, got)| *got += waiting(&world, person.listener.line));
        people.iter_mut().for_each(|person| person.read(&mut world));
    }
    for (person, got) in people.iter().zip(&got) {
        let known = &person.rooms["r"];
        assert_eq!(known.presence, Some(Err(MANY as u64)));
        assert!(*got < 256 << 10, "{got} bytes to one member");
    }
    // of those who came late, none was sent more than a tick's number at a time
    assert!(got[2000..].iter().all(|got| *got < 8 << 10), "{:?}", got[2000..].iter().max());
}

/// Bytes that a client has been sent and has not read.
fn waiting(world: &World, line: super::Line) -> usize {
    world.sockets[line.shard][line.slot].wire.len()
}
