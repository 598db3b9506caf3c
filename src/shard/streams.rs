//! Streamed answers on the reader's shard: owners are asked, and chunks made, only while the reader takes them.

use crate::base::id::{ConnId, ShardId};
use crate::base::time::MS;
use crate::flow::conn::Conn;
use crate::flow::conn::Phase;
use crate::flow::conn::http::Http;
use crate::flow::conn::rest;
use crate::flow::conn::spec::Spec;
use crate::flow::conn::stream::{Step, Stream};
use crate::flow::state::cut::{CutId, Part};
use crate::shard::clients::{Clients, Reason};
use crate::shard::desk::Desk;
use crate::shard::mail::Mail;
use crate::wire::http::{Head, Response};
use std::collections::VecDeque;

/// What the chunks of one turn may cost, all streams together, in bytes copied: a small part of a millisecond.
const TURN: usize = 512 << 10;
/// How long streams wait, at most, for broadcasts that are under way.
const YIELD: u64 = 5 * MS;

/// The streams of a shard.
#[derive(Debug)]
pub struct Streams {
    /// In the order in which they go on.
    open: VecDeque<ConnId>,
    count: u32,
    /// There is something to do that nobody has looked at yet.
    ready: bool,
    /// When they last went on.
    went: u64,
    /// When a paced stream goes on, if that has not been said yet.
    wake: Option<u64>,
    /// The soonest moment for which a timer is set.
    timer: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { open: VecDeque::new(), count: 0, ready: false, went: 0, wake: None, timer: u64::MAX }
    }
}

impl Streams {
    /// When paced streams want to be looked at, if no timer is set for it yet.
    pub fn deadline(&mut self) -> Option<u64> {
        let at = self.wake.take().filter(|at| *at < self.timer)?;
        self.timer = at;
        Some(at)
    }

    /// The timer has come.
    pub fn timer_came(&mut self) {
        self.timer = u64::MAX;
        self.ready = true;
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether there is something to be done at once.
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}

impl Clients {
    /// A request for a stream: every owner opens a cut and gives its first batch.
    pub(super) fn open_stream(&mut self, desk: &mut Desk, id: ConnId, head: Head, spec: Spec) {
        if self.streams.open.len() >= desk.limits.stream.streams {
            let detail = "as many streams as are allowed at once are under way ([stream] streams); try again";
            let response = Response::problem(503, "too_many_streams", detail).header("Retry-After", "1");
            return self.respond(desk, id, &rest::dress(response, &head, &desk.limits.clone()));
        }
        self.streams.count = self.streams.count.wrapping_add(1);
        let count = self.streams.count;
        let (select, batch) = (spec.select.clone(), spec.batch());
        let Some(http) = self.http(id) else { return };
        http.stream = Some(Box::new(Stream::new(count, head, spec, desk.shards)));
        self.streams.open.push_back(id);
        let cut = CutId { shard: desk.id, conn: id, count };
        desk.post_to_all(|| Mail::Open(cut, select.clone(), batch));
    }

    /// An owner's batch.
    pub(super) fn part(&mut self, from: ShardId, cut: CutId, part: Part) {
        let Some(stream) = self.http(cut.conn).and_then(|http| http.stream.as_mut()) else { return };
        if stream.count == cut.count {
            stream.take(from, part);
            self.streams.ready = true;
        }
    }

    /// Whether what is done for streams, here and as an owner, waits for a broadcast under way.
    pub(super) fn streams_wait(&self, desk: &Desk) -> bool {
        self.fanout.is_broadcasting() && desk.now.mono < self.streams.went + YIELD
    }

    /// Lets streams go on whose readers have taken everything: as many as fit in a turn, the others in the next ones.
    pub(super) fn pump(&mut self, desk: &mut Desk) {
        (self.streams.ready, self.streams.went) = (false, desk.now.mono);
        let mut spent = 0;
        for _ in 0..self.streams.open.len() {
            let Some(id) = self.streams.open.pop_front() else { return };
            self.streams.open.push_back(id);
            if self.fanout.queued(id.slot) == 0 {
                spent += self.pump_one(desk, id);
            }
            if spent >= TURN {
                self.streams.ready = true;
                return;
            }
        }
    }

    /// Lets one stream go on; returns what its chunks have cost.
    fn pump_one(&mut self, desk: &mut Desk, id: ConnId) -> usize {
        let (mut sent, mut spent) = (0, 0);
        let limits = desk.limits.clone();
        while let Some(stream) = self.http(id).and_then(|http| http.stream.as_mut()) {
            let cut = CutId { shard: desk.id, conn: id, count: stream.count };
            let (batch, ahead) = (stream.spec.batch(), stream.spec.settings.channel_buffer);
            let step = stream.poll(desk.now, &limits);
            spent += std::mem::take(&mut stream.spent);
            match step {
                Step::Ask(owner) => desk.post(owner, Mail::More(cut, batch)),
                Step::Wait => break,
                Step::Until(at) => {
                    self.streams.wake = Some(self.streams.wake.map_or(at, |soonest| soonest.min(at)));
                    break;
                }
                Step::Send(frame) => {
                    sent += usize::from(!frame.is_empty());
                    self.insist(id, frame);
                    // one more than the chunks, for the head
                    if sent > ahead || spent >= TURN {
                        break;
                    }
                }
                Step::Last(frame) => self.end_stream(desk, id, |clients, _, _| clients.insist(id, frame)),
                Step::Refuse(response) => self.end_stream(desk, id, |clients, desk, head| {
                    clients.respond(desk, id, &rest::dress(response, head, &desk.limits.clone()));
                }),
                Step::Abort => self.finish(desk, id, Reason::Aborted),
            }
        }
        spent
    }

    /// The stream is over and the connection goes on, behind the last bytes.
    fn end_stream(&mut self, desk: &mut Desk, id: ConnId, last: impl FnOnce(&mut Clients, &mut Desk, &Head)) {
        let Some(stream) = self.take_stream(desk, id) else { return };
        last(self, desk, &stream.head);
        // HTTP/1.0 knows the end of a body without a length by the end of the connection
        if !Response::new(200).streaming(&stream.head).closes() {
            return self.request_done(desk, id);
        }
        self.finish(desk, id, Reason::Gone);
    }

    /// Takes the stream off a connection, if there is one; the owners close its cuts.
    pub(super) fn take_stream(&mut self, desk: &mut Desk, id: ConnId) -> Option<Box<Stream>> {
        let stream = self.http(id)?.stream.take()?;
        self.streams.open.retain(|open| *open != id);
        let cut = CutId { shard: desk.id, conn: id, count: stream.count };
        for owner in stream.open() {
            desk.post(owner, Mail::Shut(cut));
        }
        Some(stream)
    }

    pub(super) fn http(&mut self, id: ConnId) -> Option<&mut Http> {
        match self.get(id) {
            Some(Conn { phase: Phase::Http(http), .. }) => Some(http),
            _ => None,
        }
    }
}
