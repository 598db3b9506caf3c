//! The front door of an owner: a write waits here while a batch is undecided or too much is under way.

use crate::base::id::ShardId;
use crate::base::stamp::Stamp;
use crate::shard::context::Context;
use crate::shard::mail::question::Question;
use crate::shard::owner::draft::Settled;
use crate::wire::key::Key;
use std::collections::VecDeque;

/// An owner's part of the batch under way, and what has to wait for the decision.
#[derive(Debug, Default)]
pub struct FrontDoor {
    part: Option<Settled>,
    questions: VecDeque<(ShardId, Question)>,
    evictions: Vec<Eviction>,
}

/// A document that a limited list has pushed out, at this version.
#[derive(Debug)]
pub struct Eviction {
    /// Which.
    pub key: Key,
    /// The version that the list saw.
    pub version: Stamp,
}

impl FrontDoor {
    /// Whether a question has to wait. A write waits while a batch is undecided, and while what earlier writes have set off
    /// is not sent: whoever asks has only so many questions open, so it waits too.
    pub fn holds(&self, ctx: &Context, question: &Question) -> bool {
        let writes = match question {
            Question::Write { .. } | Question::Batch { .. } => true,
            Question::Room { ask, .. } => ask.want.is_write(),
            Question::Read { .. } | Question::History { .. } | Question::User { .. } => false,
        };
        writes && (!self.questions.is_empty() || self.is_closed(ctx))
    }

    /// A question waits.
    pub fn hold(&mut self, from: ShardId, question: Question) {
        self.questions.push_back((from, question));
    }

    fn is_closed(&self, ctx: &Context) -> bool {
        self.part.is_some() || ctx.is_behind()
    }

    /// The next question that has waited, if it need not wait any longer.
    pub fn next(&mut self, ctx: &Context) -> Option<(ShardId, Question)> {
        // mostly nobody waits
        if self.questions.is_empty() || self.is_closed(ctx) { None } else { self.questions.pop_front() }
    }

    /// Returns the eviction if it can be done now. Keeps it while a batch is undecided: nothing may vanish between the check
    /// of a batch and its decision.
    pub fn admit_eviction(&mut self, eviction: Eviction) -> Option<Eviction> {
        if self.part.is_none() {
            return Some(eviction);
        }
        self.evictions.push(eviction);
        None
    }

    /// This owner's part of a batch has been checked: writes wait for the decision.
    pub fn close(&mut self, part: Settled) {
        self.part = Some(part);
    }

    /// The decision has come: the part that was checked, and the evictions that have waited for it.
    pub fn open(&mut self) -> (Settled, Vec<Eviction>) {
        (self.part.take().unwrap_or_default(), std::mem::take(&mut self.evictions))
    }
}

#[cfg(test)]
mod tests {
    use super::{Eviction, FrontDoor};
    use crate::base::id::{ConnId, ShardId};
    use crate::base::stamp::Stamp;
    use crate::flow::identity::Actor;
    use crate::flow::request::rooms::RoomAsk;
    use crate::flow::request::write::Write;
    use crate::shard::context::Context;
    use crate::shard::mail::question::{Origin, Question, Read, Ticket, WriteOrigin, WriteTicket};
    use crate::shard::owner::draft::Settled;
    use crate::wire::hub::RoomCommand;
    use crate::wire::key::Key;

    #[test]
    fn writes_and_evictions_wait_for_the_decision_in_their_order_and_reads_do_not() {
        let ctx = Context::new(ShardId(0), 1, Default::default(), "e".into());
        let mut front = FrontDoor::default();
        let key = |n: u8| Key::parse(&format!("a/{n}")).unwrap();
        let conn = ConnId { slot: 1, generation: 1 };
        let write = |n| Question::Write {
            write: Write::Del(key(n)),
            ticket: WriteTicket { conn, origin: WriteOrigin::Request },
        };
        assert!(!front.holds(&ctx, &write(0)));
        front.close(Settled { writes: vec![Write::Del(key(9))], ..Settled::default() });
        for n in [1, 2] {
            assert!(front.holds(&ctx, &write(n)));
            front.hold(ShardId(0), write(n));
        }
        assert!(!front.holds(&ctx, &Question::Read { conn, read: Read::Keys }));
        assert!(front.admit_eviction(Eviction { key: key(3), version: Stamp::new(7) }).is_none());
        assert!(front.next(&ctx).is_none());
        let (part, evictions) = front.open();
        assert_eq!((part.writes.len(), evictions.len()), (1, 1));
        // whoever comes now stands behind those who have waited
        assert!(front.holds(&ctx, &write(4)));
        front.hold(ShardId(0), write(4));
        for n in [1, 2, 4] {
            let next = front.next(&ctx);
            assert!(
                matches!(&next, Some((_, Question::Write { write: Write::Del(own), .. })) if *own == key(n)),
                "{next:?}"
            );
        }
        assert!(front.next(&ctx).is_none() && !front.holds(&ctx, &write(5)));
    }

    #[test]
    fn changes_of_rooms_wait_as_well_and_questions_about_them_do_not() {
        let ctx = Context::new(ShardId(0), 1, Default::default(), "e".into());
        let mut front = FrontDoor::default();
        front.close(Settled::default());
        for (want, waits) in [
            (RoomCommand::Delete, true),
            (RoomCommand::Erase(Stamp::new(1)), true),
            (RoomCommand::Leave, true),
            (RoomCommand::Members, false),
            (RoomCommand::Typing(true), false),
        ] {
            let ask = Box::new(RoomAsk { room: "r".into(), actor: Actor::App, want, reserved: None });
            let conn = ConnId { slot: 1, generation: 1 };
            let question = Question::Room { ask, ticket: Ticket { conn, origin: Origin::Request } };
            assert_eq!(front.holds(&ctx, &question), waits, "{question:?}");
        }
    }
}
