//! Mail to another core and back, over the kind of lane that shards use; both ends spin, as busy shards do.

use super::Work;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use fanfare::base::offset::Offset;
use fanfare::base::slab::Id;
use fanfare::flow::encode::frame::Frame;
use fanfare::flow::fanout::reach::Reach;
use fanfare::shard::mail::Mail;
use fanfare::shard::mail::subscription::Mark;
use fanfare::shard::mail::to_connections::ToConnections;
use std::hint::spin_loop;
use std::thread;

const MARK: Mark = Mark { key: None, at: Reach::offset(Offset::new(1)) };

/// Batches that fit a lane, as in `runtime/mailbox.rs`.
const DEPTH: usize = 64;

/// Looks this often before it lets others run, who may have the core that the other end needs.
const LOOKS: usize = 10_000;

fn receive(lane: &Receiver<Vec<Mail>>) -> Option<Vec<Mail>> {
    for look in 1_usize.. {
        match lane.try_recv() {
            Ok(batch) => return Some(batch),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) if look.is_multiple_of(LOOKS) => thread::yield_now(),
            Err(TryRecvError::Empty) => spin_loop(),
        }
    }
    None
}

pub fn hop(messages: usize) -> Work {
    let (there, inbox): (Sender<Vec<Mail>>, _) = bounded(DEPTH);
    let (back, answers) = bounded(DEPTH);
    thread::spawn(move || {
        while let Some(batch) = receive(&inbox) {
            if back.send(batch).is_err() {
                return;
            }
        }
    });
    let frame = Frame::from(&[b'x'; 128][..]);
    let pool = Id { index: 0, generation: 0 };
    let mut batch: Vec<Mail> = (0..messages)
        .map(|_| Mail::from(ToConnections::Frame { pool, frame: frame.clone(), mark: MARK.clone() }))
        .collect();
    Box::new(move || {
        there.send(std::mem::take(&mut batch)).expect("the other end lives");
        batch = receive(&answers).expect("the other end lives");
        batch.len()
    })
}
