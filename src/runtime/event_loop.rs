//! The event loop of one shard. A turn takes what arrived, lets the shard change its state, flushes, acts, posts the
//! mail, and sleeps if nothing is left.

use crate::base::id::ConnId;
use crate::base::time::{MS, Now};
use crate::runtime::clock::now;
use crate::runtime::control_lane::ControlLane;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::notifier::Notifier;
use crate::runtime::ring::{Ring, SocketEvents};
use crate::runtime::stopper::Stopper;
use crate::shard::Shard;
use crate::shard::io::Door;
use crate::shard::mail::Mail;
use std::sync::Arc;

/// Batches taken from one lane in one turn, so that a busy neighbour does not hold up the sockets.
const LANE_SHARE: usize = 16;
/// How soon to try again when a lane is full. Rare enough for a timer.
const LANE_RETRY: u64 = MS;
/// How often glommio's other tasks get the thread. Not each time: that costs more than a microsecond.
const YIELD_EVERY: u64 = 10 * MS;
/// Flush slices that a stopping shard still gets.
const LAST_SLICES: usize = 1024;

/// One shard with everything that moves its bytes.
pub(super) struct EventLoop {
    pub(super) shard: Shard,
    pub(super) ring: Ring,
    pub(super) mailbox: Mailbox<Mail>,
    pub(super) control: ControlLane,
    pub(super) notifier: Arc<Notifier>,
    pub(super) stopper: Stopper,
}

/// Hands what the sockets did to the shard.
struct Inbound<'a> {
    shard: &'a mut Shard,
    now: Now,
}

impl SocketEvents for Inbound<'_> {
    fn open(&mut self, slot: u32, door: Door) -> ConnId {
        self.shard.handle_open(self.now, slot, door)
    }
    fn refused(&mut self) {
        self.shard.handle_refused();
    }
    fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.shard.handle_bytes(self.now, conn, bytes);
    }
    fn eof(&mut self, conn: ConnId) {
        self.shard.handle_eof(self.now, conn);
    }
    fn broken(&mut self, conn: ConnId) {
        self.shard.handle_broken(self.now, conn);
    }
    fn writable(&mut self, conn: ConnId) {
        self.shard.handle_writable(self.now, conn);
    }
}

impl EventLoop {
    /// Runs turns until the server stops. glommio placed the thread and runs this task; the thread sleeps in the ring
    /// itself, which costs half of what glommio's own sleep does, and now and then lets glommio's other tasks run.
    pub(super) async fn run(mut self) {
        let mut yielded = 0;
        while !self.stopper.is_stopping() {
            let now = now();
            if self.turn(now) {
                self.ring.poll();
                continue;
            }
            if now.mono - yielded > YIELD_EVERY {
                yielded = now.mono;
                glommio::executor().yield_now().await;
            }
            self.sleep();
        }
        self.leave();
    }

    /// One pass; true if the shard has more to flush at once.
    fn turn(&mut self, now: Now) -> bool {
        self.control.answer(|request| self.shard.handle_control(now, request));
        self.take_mail(now);
        self.ring.drain(now.mono, &mut Inbound { shard: &mut self.shard, now });
        if self.shard.poll_deadline().is_some_and(|at| at <= now.mono) {
            self.shard.handle_time(now);
        }
        let more = self.shard.poll_flush(now, &mut self.ring);
        while let Some(action) = self.shard.poll_action() {
            self.ring.apply(action);
        }
        self.post_mail();
        more
    }

    fn take_mail(&mut self, now: Now) {
        for from in self.mailbox.others() {
            for _ in 0..LANE_SHARE {
                let Some(mail) = self.mailbox.receive(from) else { break };
                self.shard.handle_mail(now, from, mail);
            }
        }
    }

    fn post_mail(&mut self) {
        for to in self.mailbox.others() {
            // Mail for a full lane stays with the shard, in order.
            if self.mailbox.room(to)
                && let Some(mail) = self.shard.poll_mail(to)
            {
                self.mailbox.send(to, mail);
            }
        }
    }

    fn sleep(&mut self) {
        self.notifier.announce_sleep();
        if self.mailbox.has_mail() || self.control.has_requests() || self.stopper.is_stopping() {
            self.ring.poll();
        } else {
            let deadline = [self.shard.poll_deadline(), self.ring.deadline()].into_iter().flatten().min();
            let mut timeout = deadline.map(|at| at.saturating_sub(now().mono));
            if self.mailbox.others().any(|to| !self.mailbox.room(to)) {
                timeout = Some(timeout.unwrap_or(LANE_RETRY).min(LANE_RETRY));
            }
            self.ring.wait(timeout);
        }
        self.notifier.awake();
    }

    /// The last turn: no new connections, and what can still be sent without waiting is sent.
    fn leave(&mut self) {
        self.ring.close_listeners();
        self.shard.handle_stop(now());
        for _ in 0..LAST_SLICES {
            if !self.turn(now()) {
                break;
            }
        }
        self.ring.poll();
    }
}
