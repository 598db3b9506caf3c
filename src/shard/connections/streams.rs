//! Streamed answers on the reader's shard: owners are asked, and chunks made, only while the reader takes them.

use crate::base::id::{ConnId, ShardId};
use crate::base::time::MS;
use crate::flow::conn::http::Http;
use crate::flow::conn::stream::{Stream, StreamStep};
use crate::flow::conn::{Conn, Phase, pending};
use crate::flow::request::stream::StreamRequest;
use crate::flow::state::scan::{Chunk, ScanId};
use crate::shard::connections::{Clients, Reason};
use crate::shard::context::Context;
use crate::shard::mail::to_owner::ToOwner;
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
    pub(in crate::shard) fn open_stream(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        head: Head,
        spec: StreamRequest,
    ) {
        if self.streams.open.len() >= ctx.limits.stream.streams {
            let detail = "as many streams as are allowed at once are under way ([stream] streams); try again";
            let response = Response::problem(503, "too_many_streams", detail).header("Retry-After", "1");
            return self.respond(ctx, id, &pending::dress(response, &head, &ctx.limits.clone()));
        }
        self.streams.count = self.streams.count.wrapping_add(1);
        let count = self.streams.count;
        let (select, batch) = (spec.select.clone(), spec.batch());
        let Some(http) = self.http(id) else { return };
        http.stream = Some(Box::new(Stream::new(count, head, spec, ctx.shards)));
        self.streams.open.push_back(id);
        let cut = ScanId { shard: ctx.id, conn: id, count };
        ctx.post_to_all(|| ToOwner::OpenScan { scan: cut, select: select.clone(), most: batch });
    }

    /// An owner's batch.
    pub(in crate::shard) fn part(&mut self, from: ShardId, cut: ScanId, part: Chunk) {
        let Some(stream) = self.http(cut.conn).and_then(|http| http.stream.as_mut()) else { return };
        if stream.count == cut.count {
            stream.take(from, part);
            self.streams.ready = true;
        }
    }

    /// Whether what is done for streams, here and as an owner, waits for a broadcast under way.
    pub(in crate::shard) fn streams_wait(&self, ctx: &Context) -> bool {
        self.fanout.is_broadcasting() && ctx.now.mono < self.streams.went + YIELD
    }

    /// Lets streams go on whose readers have taken everything: as many as fit in a turn, the others in the next ones.
    pub(in crate::shard) fn pump(&mut self, ctx: &mut Context) {
        (self.streams.ready, self.streams.went) = (false, ctx.now.mono);
        let mut spent = 0;
        for _ in 0..self.streams.open.len() {
            let Some(id) = self.streams.open.pop_front() else { return };
            self.streams.open.push_back(id);
            if self.fanout.queued(id.slot) == 0 {
                spent += self.pump_one(ctx, id);
            }
            if spent >= TURN {
                self.streams.ready = true;
                return;
            }
        }
    }

    /// Lets one stream go on; returns what its chunks have cost.
    fn pump_one(&mut self, ctx: &mut Context, id: ConnId) -> usize {
        let (mut sent, mut spent) = (0, 0);
        let limits = ctx.limits.clone();
        while let Some(stream) = self.http(id).and_then(|http| http.stream.as_mut()) {
            let cut = ScanId { shard: ctx.id, conn: id, count: stream.count };
            let (batch, ahead) = (stream.spec.batch(), stream.spec.settings.channel_buffer);
            let step = stream.poll(ctx.now, &limits);
            spent += std::mem::take(&mut stream.spent);
            match step {
                StreamStep::Ask(owner) => ctx.post(owner, ToOwner::NextChunk { scan: cut, most: batch }),
                StreamStep::Wait => break,
                StreamStep::Until(at) => {
                    self.streams.wake = Some(self.streams.wake.map_or(at, |soonest| soonest.min(at)));
                    break;
                }
                StreamStep::Send(frame) => {
                    sent += usize::from(!frame.is_empty());
                    self.insist(id, frame);
                    // one more than the chunks, for the head
                    if sent > ahead || spent >= TURN {
                        break;
                    }
                }
                StreamStep::Last(frame) => {
                    self.end_stream(ctx, id, |clients, _, _| clients.insist(id, frame))
                }
                StreamStep::Refuse(response) => self.end_stream(ctx, id, |clients, ctx, head| {
                    clients.respond(ctx, id, &pending::dress(response, head, &ctx.limits.clone()));
                }),
                StreamStep::Abort => self.finish(ctx, id, Reason::Aborted),
            }
        }
        spent
    }

    /// The stream is over and the connection goes on, behind the last bytes.
    fn end_stream(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        last: impl FnOnce(&mut Clients, &mut Context, &Head),
    ) {
        let Some(stream) = self.take_stream(ctx, id) else { return };
        last(self, ctx, &stream.head);
        // HTTP/1.0 knows the end of a body without a length by the end of the connection
        if !Response::new(200).streaming(&stream.head).closes() {
            return self.request_done(ctx, id);
        }
        self.finish(ctx, id, Reason::Gone);
    }

    /// Takes the stream off a connection, if there is one; the owners close its cuts.
    pub(in crate::shard) fn take_stream(&mut self, ctx: &mut Context, id: ConnId) -> Option<Box<Stream>> {
        let stream = self.http(id)?.stream.take()?;
        self.streams.open.retain(|open| *open != id);
        let cut = ScanId { shard: ctx.id, conn: id, count: stream.count };
        for owner in stream.open() {
            ctx.post(owner, ToOwner::CloseScan { scan: cut });
        }
        Some(stream)
    }

    pub(in crate::shard) fn http(&mut self, id: ConnId) -> Option<&mut Http> {
        match self.get(id) {
            Some(Conn { phase: Phase::Http(http), .. }) => Some(http),
            _ => None,
        }
    }
}
