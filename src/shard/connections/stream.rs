//! A streamed answer on the reader's shard: owners are asked, and chunks made, only while the reader takes them.

use crate::base::id::ShardId;
use crate::flow::conn::stream::{Stream, StreamStep};
use crate::flow::request::stream::StreamRequest;
use crate::flow::state::scan::{Chunk, ScanId};
use crate::shard::connections::stream_queue::TURN;
use crate::shard::connections::view::View;
use crate::shard::mail::to_owner::ToOwner;
use crate::wire::http::{Head, Response};

/// How a stream ends.
#[derive(Debug)]
pub enum StreamEnd {
    /// With the last bytes, which are sent.
    Done,
    /// With this response instead of a stream.
    Refused(Response<'static>),
    /// Not at all: the client must see that something is missing.
    Aborted,
}

/// A stream under way.
#[derive(Debug)]
pub struct StreamSession(Stream);

impl StreamSession {
    /// Every owner opens a scan and gives its first chunk.
    pub fn open(view: &mut View<'_>, head: Head, request: StreamRequest) -> StreamSession {
        let count = view.shared.streams.open(view.id);
        let (select, most) = (request.select.clone(), request.batch());
        let stream = StreamSession(Stream::new(count, head, request, view.ctx.shards));
        let scan = stream.scan(view);
        view.ctx.post_to_all(|| ToOwner::OpenScan { scan, select: select.clone(), most });
        stream
    }

    fn scan(&self, view: &View<'_>) -> ScanId {
        ScanId { shard: view.ctx.id, conn: view.id, count: self.0.count }
    }

    /// The head of its request.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// How many documents wait here to be sent.
    pub fn held(&self) -> usize {
        self.0.held()
    }

    /// An owner's chunk, of the scan of that number.
    pub fn take(&mut self, view: &mut View<'_>, from: ShardId, count: u32, chunk: Chunk) {
        if self.0.count == count {
            self.0.take(from, chunk);
            view.shared.streams.wake();
        }
    }

    /// Sends what there is and the reader may take; adds to `spent` what its chunks have cost. Says how the stream ends,
    /// if it does.
    pub fn go_on(&mut self, view: &mut View<'_>, spent: &mut usize) -> Option<StreamEnd> {
        let mut sent = 0;
        let (most, ahead) = (self.0.spec.batch(), self.0.spec.settings.channel_buffer);
        loop {
            let step = self.0.poll(view.ctx.now);
            *spent += std::mem::take(&mut self.0.spent);
            match step {
                StreamStep::Ask(owner) => {
                    let scan = self.scan(view);
                    view.ctx.post(owner, ToOwner::NextChunk { scan, most });
                }
                StreamStep::Wait => return None,
                StreamStep::Until(at) => {
                    view.shared.streams.wake_at(at);
                    return None;
                }
                StreamStep::Send(frame) => {
                    sent += usize::from(!frame.is_empty());
                    view.force_send(frame);
                    // one more than the chunks, for the head
                    if sent > ahead || *spent >= TURN {
                        return None;
                    }
                }
                StreamStep::Last(frame) => {
                    view.force_send(frame);
                    return Some(StreamEnd::Done);
                }
                StreamStep::Refuse(response) => return Some(StreamEnd::Refused(response)),
                StreamStep::Abort => return Some(StreamEnd::Aborted),
            }
        }
    }

    /// The stream is over: owners close its scans.
    pub fn close(&self, view: &mut View<'_>) {
        view.shared.streams.close(view.id);
        let scan = self.scan(view);
        for owner in self.0.open() {
            view.ctx.post(owner, ToOwner::CloseScan { scan });
        }
    }
}
