//! The lanes between shards: one bounded queue for each ordered pair, one queue operation per turn and destination.

use crate::base::id::ShardId;
use crate::runtime::notifier::Notifier;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;

/// How many batches a lane holds. A batch is what one turn of one shard has for one other.
const DEPTH: usize = 64;

/// One shard's end of all lanes, in and out. Each lane is first in, first out.
///
/// A full lane refuses nothing: the sender looks for [`Mailbox::room`] first, and while there is none the mail waits, in
/// order, with the shard that wrote it. So lanes are bounded, nothing is lost, and no shard ever waits for another.
pub(super) struct Mailbox<M> {
    me: ShardId,
    inbound: Vec<Receiver<Vec<M>>>,
    outbound: Vec<Sender<Vec<M>>>,
    notifiers: Vec<Arc<Notifier>>,
}

/// The lanes between as many shards as there are notifiers; the ends come in the order of the shards.
pub(super) fn mesh<M>(notifiers: &[Arc<Notifier>]) -> Vec<Mailbox<M>> {
    let mut mailboxes: Vec<Mailbox<M>> = (0..notifiers.len())
        .map(|i| Mailbox {
            me: ShardId(i as u16),
            inbound: Vec::new(),
            outbound: Vec::new(),
            notifiers: notifiers.to_vec(),
        })
        .collect();
    for from in 0..mailboxes.len() {
        for to in 0..mailboxes.len() {
            let (sender, receiver) = bounded(if from == to { 0 } else { DEPTH });
            mailboxes[from].outbound.push(sender);
            mailboxes[to].inbound.push(receiver);
        }
    }
    mailboxes
}

impl<M> Mailbox<M> {
    /// The other shards.
    pub(super) fn others(&self) -> impl Iterator<Item = ShardId> + use<M> {
        let me = self.me;
        (0..self.notifiers.len() as u16).map(ShardId).filter(move |&shard| shard != me)
    }

    /// Whether `to`'s lane takes a batch.
    pub(super) fn room(&self, to: ShardId) -> bool {
        !self.outbound[to.index()].is_full()
    }

    /// Sends a batch on a lane that has [`room`](Mailbox::room), and wakes the receiver if it sleeps. A shard that has left
    /// gets no mail: the server is stopping.
    pub(super) fn send(&self, to: ShardId, mail: Vec<M>) {
        debug_assert!(self.room(to), "mail for a full lane stays with its shard");
        if self.outbound[to.index()].try_send(mail).is_ok() {
            self.notifiers[to.index()].notify();
        }
    }

    /// The next batch from `from`.
    pub(super) fn receive(&self, from: ShardId) -> Option<Vec<M>> {
        self.inbound[from.index()].try_recv().ok()
    }

    /// Whether any lane has a batch for us.
    pub(super) fn has_mail(&self) -> bool {
        self.inbound.iter().any(|lane| !lane.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifiers(n: usize) -> Vec<Arc<Notifier>> {
        (0..n).map(|_| Arc::new(Notifier::new().unwrap())).collect()
    }

    #[test]
    fn mail_keeps_its_order_and_is_never_lost_under_pressure() {
        let total = 100_000u32;
        let mut mailboxes = mesh::<u32>(&notifiers(2));
        let receiver = mailboxes.pop().unwrap();
        let sender = mailboxes.pop().unwrap();
        let writer = std::thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(7);
            let (mut waiting, mut next, mut met_full) = (Vec::new(), 0, false);
            while next < total || !waiting.is_empty() {
                let until = (next + rng.u32(1..5)).min(total);
                waiting.extend(next..until);
                next = until;
                if sender.room(ShardId(1)) {
                    sender.send(ShardId(1), std::mem::take(&mut waiting));
                } else {
                    met_full = true;
                }
            }
            met_full
        });
        let mut expected = 0;
        while expected < total {
            let Some(batch) = receiver.receive(ShardId(0)) else { continue };
            for mail in batch {
                assert_eq!(mail, expected);
                expected += 1;
            }
            if expected < 1000 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        assert!(writer.join().unwrap(), "the lane was never full, so this test showed nothing");
    }

    #[test]
    fn lanes_do_not_mix() {
        let mailboxes = mesh::<(u16, u16)>(&notifiers(3));
        for from in &mailboxes {
            for to in from.others() {
                from.send(to, vec![(from.me.0, to.0)]);
            }
        }
        for to in &mailboxes {
            assert!(to.has_mail());
            for from in to.others() {
                assert_eq!(to.receive(from), Some(vec![(from.0, to.me.0)]));
            }
            assert!(!to.has_mail());
        }
    }
}
