//! One pool, many members, sockets that take everything.

use super::Work;
use fanfare::base::offset::Offset;
use fanfare::flow::encode::frame::{Dialect, Frame, Variant};
use fanfare::flow::fanout::Fanout;
use fanfare::flow::fanout::pool::PoolMember;
use fanfare::flow::fanout::reach::Reach;
use fanfare::flow::fanout::send_queue::Budget;
use fanfare::flow::fanout::sockets::{Due, Short, Slices, Sockets};
use fanfare::flow::route::subject::Subject;

/// Frames in a busy turn.
pub const MANY: usize = 32;

/// Counts what it is given.
#[derive(Debug, Default)]
pub struct Null {
    /// Bytes so far.
    pub bytes: usize,
    /// Sends so far.
    pub sends: usize,
}

impl Sockets for Null {
    fn send(&mut self, batch: &[Due<'_>], _: &mut Vec<Short>) {
        self.sends += batch.len();
        for due in batch {
            self.bytes += match due.bytes {
                Slices::One(run) => run.len(),
                Slices::Many(runs) => runs.iter().map(|run| run.len()).sum(),
            };
        }
    }
}

pub fn one_frame(members: usize) -> Work {
    fan_out(members, 1)
}

pub fn many_frames(members: usize) -> Work {
    fan_out(members, MANY)
}

fn fan_out(members: usize, frames: usize) -> Work {
    let mut fanout = Fanout::new(Budget { bytes: 64 << 10, frames: 256 });
    let pool = fanout.pools.enter(&Subject::Channel("news".into()), Variant::plain(Dialect::Hub), 0);
    for slot in 0..members as u32 {
        fanout.open(slot);
        fanout.join(pool, PoolMember { slot, sub: 0 }, Reach::default());
    }
    let frame = Frame::from(&[b'x'; 128][..]);
    let (mut sockets, mut outcomes) = (Null::default(), Vec::new());
    Box::new(move || {
        for _ in 0..frames {
            fanout.deliver(pool, frame.clone(), Reach::offset(Offset::new(1)));
        }
        while fanout.flush(&mut sockets, &mut outcomes) {}
        assert_eq!(std::mem::take(&mut sockets.sends), members);
        sockets.bytes
    })
}
