//! What must hold for rooms, presence and typing.

use crate::support::person::{Known, Person, name, text};
use crate::support::room_model::{Model, ROOMS_PER_USER, Step, check};
use fanfare::base::id::ShardId;
use fanfare::base::time::{MS, SEC};
use fanfare::flow::identity::Actor;
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::hub::HubLimits;
use fanfare::shard::Shard;
use fanfare::shard::inspect::Inspection;
use fastrand::Rng;
use serde_json::json;
use simulator::SHARDS;
use simulator::world::{Peer, World};
use std::collections::BTreeSet;

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

/// Random operations of five users over several connections each, one after the other: every answer is the model's,
/// and whoever is in a room knows what the model knows, at any number of shards.
#[test]
fn rooms_presence_and_typing_agree_with_a_naive_model() {
    for shards in SHARDS {
        for seed in 0..12 {
            println!("{shards} shards seed {seed}");
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
                    world.disconnect(people[at].client.peer);
                    gone.insert(at);
                    model.joined.retain(|(own, _), _| *own != at);
                    if rng.bool() {
                        let user = people[at].user;
                        people.push(Person::open(&mut world, user));
                    }
                    pass(&mut world, &mut people, 0);
                    model.tidy(&people);
                } else {
                    step_of(&mut world, &mut rng, &mut model, &mut people, at, step + 1);
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
                    model.rooms.values_mut().for_each(|entry| entry.typing.clear());
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
) {
    // mostly about a room that it is in, of few
    let joined = model.joined.keys().filter(|(own, _)| *own == at).map(|(_, room)| room.clone());
    let own = rng.choice(joined.collect::<Vec<_>>()).filter(|_| rng.u8(0..3) > 0);
    let room = own.unwrap_or_else(|| (*rng.choice(&["a", "b/1", "c", "d"]).unwrap()).to_owned());
    let (user, whom) = (people[at].user, name(rng.usize(0..5)));
    let (me, actor, now) = (name(user), Actor::User(name(user)), world.now.wall);
    let is_in = model.joined.keys().any(|(person, own)| *own == room && people[*person].user == user);
    let (mut frame, expected) = Step { rng, model, room, at, user, me, actor, whom, now, is_in }.random();
    let kind = text(&frame["type"]);
    let room = text(&frame["room_id"]);
    if kind == "join" && expected.is_ok() && !people[at].rooms.contains_key(&room) {
        people[at].rooms.insert(room.clone(), Known::default());
    }
    if kind == "leave" {
        people[at].rooms.remove(&room);
    }
    frame["request_id"] = request.into();
    people[at].client.send(world, &frame);
    model.tidy(people);
    pass(world, people, 0);
    let answer =
        people[at].answers.remove(&request).unwrap_or_else(|| panic!("{request}: no answer to {frame}"));
    let code = answer["data"]["code"].as_str().filter(|_| answer["type"] == "error");
    assert_eq!(code.map_or(Ok(()), Err), expected, "{request}: {frame} {answer}");
    if expected.is_err() {
        return;
    }
    match &*kind {
        "message" => {
            assert_eq!(answer["user_id"], *name(people[at].user), "{request}");
            let entry = model.rooms.get_mut(&room).expect("it was sent");
            entry.messages.last_mut().expect("it was sent").0 = text(&answer["message_id"]);
            // what was said carries the same number for everybody
            let known = &people[at].rooms[&room];
            assert_eq!(answer["sequence"].as_u64(), Some(known.last), "{request}: {answer}");
        }
        "join" => {
            let members = answer["members"].as_array().expect("a list");
            let own: BTreeSet<String> = members.iter().map(|member| text(&member["user_id"])).collect();
            let entry = &model.rooms[&room];
            assert_eq!(answer["member_count"], entry.room.len() as u64, "{request}");
            people[at].rooms.get_mut(&room).expect("it came in").members = own;
        }
        _ => {}
    }
}

/// Everybody does everything at once, and then is quiet: whatever the order was, all know the same of a room, and the
/// owners of users and of rooms agree on who is a member, who is in which room, and who is there.
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
                        world.disconnect(people[at].client.peer);
                        people[at] = Person::open(&mut world, user);
                        continue;
                    }
                };
                if frame["type"] == "leave" {
                    people[at].rooms.remove(room);
                }
                people[at].client.send(&mut world, &frame);
                world.run(rng.usize(0..6));
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
    let (mut rooms, mut users) = (Vec::new(), Vec::new());
    for Inspection { rooms: own, users: theirs, .. } in world.shards.iter().map(Shard::inspect) {
        rooms.extend(own);
        users.extend(theirs);
    }
    for room in rooms {
        let name = &*room.name;
        let members: BTreeSet<&str> = room.members.iter().map(|user| &**user).collect();
        let believing = users.iter().filter(|user| user.rooms.contains(&room.name));
        assert_eq!(members, believing.map(|user| &*user.name).collect(), "{why} {name}: the users' owners");
        let online = |member: &&str| users.iter().any(|user| *user.name == **member && user.online);
        let truth: BTreeSet<String> = members.into_iter().filter(online).map(str::to_owned).collect();
        for person in people {
            let peer = person.client.peer;
            let is_in = room.connections.contains(&(ShardId(peer.shard as u16), peer.conn));
            let Some(known) = person.rooms.get(name) else { continue };
            match &known.presence {
                Some(Ok(map)) if is_in => {
                    assert_eq!(map.keys().cloned().collect::<BTreeSet<_>>(), truth, "{why} {name}");
                }
                Some(Err(count)) if is_in => assert_eq!(*count, truth.len() as u64, "{why} {name}"),
                known => assert!(!is_in, "{why} {name}: {known:?}"),
            }
            assert!(!is_in || known.typing.is_empty(), "{why} {name}");
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
    first.client.send(&mut world, &json!({"type": "room.create", "room_id": "r"}));
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
        people[n].client.send(&mut world, &json!({"type": "join", "room_id": "r"}));
        if n % 100 == 99 {
            let until = began + (n as u64 + 1) * SEC / MANY as u64;
            world.now.mono = world.now.mono.max(until);
            world.run(40);
        }
        if n % 1000 == 999 {
            let peer = |person: &Person| person.client.peer;
            people.iter().zip(&mut got).for_each(|(person, got)| *got += waiting(&world, peer(person)));
            people.iter_mut().for_each(|person| person.read(&mut world));
        }
    }
    assert!(world.now.mono - began < 2 * SEC, "{} ms", (world.now.mono - began) / MS);
    for ns in [0, 150 * MS, 150 * MS] {
        world.now.mono += ns;
        world.now.wall += ns;
        world.settle(|_| {});
        people.iter().zip(&mut got).for_each(|(person, got)| *got += waiting(&world, person.client.peer));
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
fn waiting(world: &World, peer: Peer) -> usize {
    world.sockets[peer.shard][peer.slot].wire.len()
}
