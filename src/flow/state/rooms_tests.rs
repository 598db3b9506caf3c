//! What must hold for rooms, presence and typing, against naive models.

use super::permission::{Permission, Role};
use super::presence::{News, Presence, Shown, Status, User};
use super::room::{FOREVER, Left, Refusal, Room, RoomEvent};
use super::typing::{MOST, Typing};
use crate::base::id::{ConnId, ShardId};
use crate::flow::identity::Actor;
use crate::wire::hub::RoomProfile;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn names(n: usize) -> Vec<Arc<str>> {
    (0..n).map(|i| format!("u{i}").into()).collect()
}

fn user(name: &str) -> Actor {
    Actor::User(name.into())
}

fn about(private: bool) -> RoomProfile {
    RoomProfile { private: Some(private), ..RoomProfile::default() }
}

/// Takes in what was decided.
fn done(room: &mut Room, decided: Result<Vec<RoomEvent>, Refusal>) -> Result<Vec<RoomEvent>, Refusal> {
    decided.iter().flatten().for_each(|event| room.apply(event));
    decided
}

/// Members, roles and mutes of a room, as its events tell them.
type Told = BTreeMap<Arc<str>, (Role, u64)>;

fn fold(told: &mut Told, events: &[RoomEvent]) {
    for event in events {
        match event {
            RoomEvent::Joined { user, member } => {
                assert!(told.insert(user.clone(), (member.role, member.muted)).is_none());
            }
            RoomEvent::Left { user, .. } => assert!(told.remove(user).is_some()),
            RoomEvent::Role { user, role } => told.get_mut(user).expect("a member").0 = *role,
            RoomEvent::Muted { user, until } => told.get_mut(user).expect("a member").1 = *until,
            RoomEvent::Banned { .. } | RoomEvent::Updated { .. } => {}
        }
    }
}

fn state(room: &Room) -> Told {
    room.members().into_iter().map(|(who, m)| (who.clone(), (m.role, m.muted))).collect()
}

/// Random operations by everyone upon everyone: events tell the whole truth, refusals change nothing, nobody acts
/// upon who stands as high (but owners), nobody rises above who lifted it, and there is an owner where one can be.
#[test]
fn a_room_obeys_its_roles_and_its_events_tell_everything() {
    let all = names(6);
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let mut room = Room::new(0, about(rng.bool()), Some(all[0].clone()));
        let (mut told, mut bans) = (state(&room), BTreeMap::new());
        for now in 1..200 {
            let (who, whom) = (rng.choice(&all).unwrap(), rng.choice(&all).unwrap());
            let actor = if rng.u8(0..10) == 0 { Actor::App } else { Actor::User(who.clone()) };
            let until = *rng.choice(&[0, now + 1, now + 20, FOREVER]).unwrap();
            let role = *rng.choice(&[Role::Guest, Role::Member, Role::Admin, Role::Owner]).unwrap();
            let before = state(&room);
            let rank = |who: &Arc<str>| before.get(who).map(|(role, _)| *role);
            let own = rank(who);
            let over = actor == Actor::App || own == Some(Role::Owner) || own > rank(whom);
            let moderates = actor == Actor::App || own >= Some(Role::Admin);
            let banned = |who| bans.get(who).is_some_and(|until| *until > now);
            let (result, allowed) = match rng.u8(0..6) {
                0 => {
                    let open = room.may_read(&Actor::User(who.clone()), now).is_ok();
                    assert_eq!(open, !banned(who) && (!room.is_private() || own.is_some()));
                    (room.join(who, now), open)
                }
                1 => (room.leave(who), own.is_some()),
                2 => {
                    let fine = match rank(whom) {
                        None => !banned(whom),
                        Some(old) => over || role == old,
                    };
                    let high = actor != Actor::App && Some(role) > own;
                    (room.put_member(&actor, now, whom, role), moderates && fine && !high)
                }
                3 => {
                    let own_will = actor.user() == Some(whom);
                    let fine = rank(whom).is_some() && (own_will || (moderates && over));
                    (room.kick(&actor, whom, None), fine)
                }
                4 => {
                    let fine = moderates && (over || rank(whom).is_none());
                    let _ = fine.then(|| bans.insert(whom.clone(), until));
                    (room.ban(&actor, now, whom, until, None), fine)
                }
                _ => (room.mute(&actor, whom, until), moderates && over && rank(whom).is_some()),
            };
            assert_eq!(
                result.is_ok(),
                allowed,
                "{seed} {now} {actor:?} {whom} {role:?}: {result:?} {before:?}"
            );
            assert_eq!(state(&room), before, "to decide changes nothing");
            fold(&mut told, &done(&mut room, result).unwrap_or_default());
            assert_eq!(told, state(&room), "seed {seed}");
            let owners = told.values().filter(|(role, _)| *role == Role::Owner).count();
            let able = told.values().any(|(role, _)| *role >= Role::Member);
            let had = before.values().any(|(role, _)| *role == Role::Owner);
            assert!(owners > 0 || !able || !had, "seed {seed}: {told:?}");
        }
    }
}

#[test]
fn roles_may_what_the_table_says() {
    use Permission::{Invite, Join, Moderate, Send};
    for (name, join, send, invite, moderate) in [
        ("guest", true, false, false, false),
        ("member", true, true, false, false),
        ("admin", true, true, true, true),
        ("owner", true, true, true, true),
    ] {
        let role = Role::from_name(name).expect("a role");
        assert_eq!(role.name(), name);
        let may = [Join, Send, Invite, Moderate].map(|permission| role.may(permission));
        assert_eq!(may, [join, send, invite, moderate], "{name}");
    }
    assert_eq!(Role::from_name("king"), None);
}

#[test]
fn every_refusal_names_its_reason() {
    let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
    let mut room = Room::new(5, RoomProfile { max_members: Some(2), ..about(true) }, Some(ann.clone()));
    assert_eq!(room.join(&bob, 6), Err(Refusal::AccessDenied));
    assert_eq!(room.may_read(&Actor::Nobody, 6), Err(Refusal::AccessDenied));
    assert_eq!(room.may_send(&user("bob"), 6), Err(Refusal::SendDenied));
    assert_eq!(room.kick(&user("ann"), &bob, None), Err(Refusal::NotFound));
    let events = room.put_member(&user("ann"), 6, &bob, Role::Guest);
    done(&mut room, events).unwrap();
    assert_eq!(room.may_send(&user("bob"), 6), Err(Refusal::SendDenied));
    assert_eq!(room.put_member(&user("ann"), 6, &"cat".into(), Role::Member), Err(Refusal::Limit));
    assert_eq!(room.put_member(&user("bob"), 6, &"cat".into(), Role::Member), Err(Refusal::Forbidden));
    let events = room.put_member(&user("ann"), 6, &bob, Role::Admin);
    done(&mut room, events).unwrap();
    assert_eq!(room.put_member(&user("bob"), 6, &"c".into(), Role::Owner), Err(Refusal::InvalidRole));
    let events = room.mute(&user("ann"), &bob, 9);
    done(&mut room, events).unwrap();
    assert_eq!(room.may_send(&user("bob"), 8), Err(Refusal::Muted(9)));
    assert_eq!((room.may_send(&user("bob"), 9), Refusal::Muted(9).until()), (Ok(()), Some(9)));
    assert_eq!(room.may_change(&user("bob"), Some("ann"), 9), Err(Refusal::Forbidden));
    assert_eq!(room.may_change(&user("bob"), Some("bob"), 9), Ok(()));
    assert_eq!(room.may_change(&user("ann"), Some("bob"), 9), Ok(()));
    assert_eq!(room.may_delete(&user("bob")), Err(Refusal::Forbidden));
    let events = room.ban(&user("ann"), 9, &bob, FOREVER, None);
    assert!(matches!(
        &done(&mut room, events).unwrap()[..],
        [RoomEvent::Banned { .. }, RoomEvent::Left { user, member, how: Left::Banned(None) }]
            if *user == bob && member.muted == 9
    ));
    assert_eq!(room.join(&bob, 10), Err(Refusal::Banned(FOREVER)));
    assert_eq!(Refusal::Banned(FOREVER).until(), None);
    let events = room.leave(&ann);
    assert!(matches!(
        &done(&mut room, events).unwrap()[..],
        [RoomEvent::Left { user, how: Left::Left, .. }] if *user == ann
    ));
    assert!(room.is_empty());
}

/// A user is there while a connection is, and for the grace after the last one; what it says of itself ends with it.
#[test]
fn a_user_is_there_as_long_as_a_connection_is_and_a_little_longer() {
    const GRACE: u64 = 30;
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let line = |n: u32| (ShardId(0), ConnId { slot: n, generation: 0 });
        let (mut user, mut seen) = (User::new(0), Status::Offline);
        let (mut open, mut gone_at, mut said) = (BTreeSet::new(), 0, (Status::Online, None));
        for now in (0..3000).step_by(10) {
            match rng.u8(0..5) {
                0 => {
                    let n = rng.u32(0..4);
                    user.connect(line(n));
                    open.insert(n);
                }
                1 | 2 => {
                    let n = rng.u32(0..4);
                    let was = open.remove(&n);
                    let due = user.disconnect(line(n), now, GRACE);
                    gone_at = if was { now + GRACE } else { gone_at };
                    assert_eq!(due, (was && open.is_empty()).then_some(now + GRACE));
                }
                3 if !open.is_empty() => {
                    said = (rng.choice(Status::ALL).unwrap().1, rng.bool().then(|| "x".into()));
                    user.set(said.0, said.1.clone());
                }
                _ => {}
            }
            let there = !open.is_empty() || now < gone_at;
            said = if there { said } else { (Status::Online, None) };
            let want = if there { said.0 } else { Status::Offline };
            let told = user.look(now, now).cloned();
            seen = told.map_or(seen, |shown| shown.status);
            assert_eq!((seen, user.look(now, now)), (want, None), "seed {seed} at {now}");
            assert_eq!(user.is_idle(), !there || (open.is_empty() && want == Status::Offline));
        }
    }
}

/// Reservations race with joins, kicks and refusals, as the mail between two owners lets them: in the end the user
/// has exactly the memberships that the rooms say, and never more than it may have by joining.
#[test]
fn memberships_are_what_the_rooms_say() {
    let rooms = names(5);
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let mut user = User::new(0);
        let mut truth: BTreeSet<Arc<str>> = BTreeSet::new();
        // to the rooms in any order, from each room in its own
        let (mut asks, mut answers) = (Vec::new(), Vec::<(Arc<str>, bool, Option<bool>)>::new());
        for step in 0..300 {
            let room = rng.choice(&rooms).unwrap().clone();
            match rng.u8(0..5) {
                0 if step < 250 => asks.extend(user.reserve(&room, 3).then_some(room)),
                1 if !asks.is_empty() => {
                    let room: Arc<str> = asks.swap_remove(rng.usize(0..asks.len()));
                    if rng.bool() {
                        truth.insert(room.clone());
                    }
                    answers.push((room.clone(), true, Some(truth.contains(&room))));
                }
                2 if truth.remove(&room) => answers.push((room, false, Some(false))),
                3 if !asks.is_empty() => {
                    let room = asks.swap_remove(rng.usize(0..asks.len()));
                    user.settle(&room, true, None);
                }
                _ if !answers.is_empty() => {
                    let (room, reserved, member) = answers.remove(0);
                    user.settle(&room, reserved, member);
                }
                _ => {}
            }
            assert!(truth.len() <= 3, "seed {seed}");
        }
        asks.drain(..).for_each(|room| user.settle(&room, true, None));
        answers.drain(..).for_each(|(room, reserved, member)| user.settle(&room, reserved, member));
        assert_eq!(user.rooms().cloned().collect::<BTreeSet<_>>(), truth, "seed {seed}");
    }
}

/// Whoever takes the state at any moment and the news since then knows what is true at the last tick; a tick costs
/// what has changed, and nothing where nothing has.
#[test]
fn presence_folds_to_the_truth_whenever_one_comes() {
    let all = names(30);
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let (most, mut view) = (rng.usize(5..30), Presence::default());
        let mut truth: BTreeMap<Arc<str>, Status> = BTreeMap::new();
        // what members know: names, or a number
        let mut known: Vec<Result<BTreeMap<Arc<str>, Status>, usize>> = Vec::new();
        let whole = |view: &Presence| match view.is_counting() {
            true => Err(view.count()),
            false => Ok(view.there().into_iter().map(|(u, s)| (u.clone(), s.status)).collect()),
        };
        for tick in 0..60 {
            let before = truth.clone();
            for _ in 0..rng.usize(0..8) {
                let status = rng.choice(Status::ALL).unwrap().1;
                let who = rng.choice(&all).unwrap();
                view.set(who, Shown { status, custom: None, since: tick });
                match status {
                    Status::Offline => truth.remove(who),
                    status => truth.insert(who.clone(), status),
                };
                if rng.u8(0..5) == 0 {
                    known.push(whole(&view));
                }
            }
            let news = view.tick(most);
            assert!(truth != before || news.is_none(), "seed {seed}: {news:?} about nothing");
            for member in &mut known {
                match (&news, &mut *member) {
                    (None, _) => {}
                    (Some(News::Count(n)), member) => *member = Err(*n),
                    (Some(News::Whole), member) => *member = whole(&view),
                    (Some(News::Users(changes)), Err(n)) => panic!("{n} with {changes:?}"),
                    (Some(News::Users(changes)), Ok(map)) => {
                        assert!(changes.len() <= 8);
                        for (who, shown) in changes {
                            match shown.status {
                                Status::Offline => map.remove(who),
                                status => map.insert(who.clone(), status),
                            };
                        }
                    }
                }
                match member {
                    Ok(map) => assert!(map.len() <= most && *map == truth, "seed {seed} at {tick}"),
                    Err(n) => assert!(*n > most - most / 10 && *n == truth.len(), "seed {seed} at {tick}"),
                }
            }
        }
    }
}

/// Against a list of deadlines: what members are told is who was writing at the last tick, and never more than ten.
#[test]
fn typing_folds_to_the_truth_and_is_bounded() {
    let all = names(14);
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let (mut typing, mut told) = (Typing::default(), BTreeSet::new());
        let mut truth: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for now in 0..400 {
            let who = rng.choice(&all).unwrap();
            if rng.u8(0..4) > 0 {
                let fits = truth.contains_key(who) || truth.len() < MOST;
                assert_eq!(typing.start(who, now + 12), fits);
                if fits {
                    truth.insert(who.clone(), now + 12);
                }
            } else {
                typing.stop(who);
                truth.remove(who);
            }
            if now % 5 == 0 {
                truth.retain(|_, until| *until > now);
                for (who, on) in typing.tick(now) {
                    assert!(if on { told.insert(who) } else { told.remove(&who) });
                }
                assert!(told.iter().eq(truth.keys()), "seed {seed} at {now}: {told:?} {truth:?}");
                assert_eq!(typing.told().len(), told.len());
            }
        }
        assert!(typing.tick(500).iter().all(|(_, on)| !on) && typing.is_idle());
    }
}
