//! The lanes from the control side to the shards: one for each, bounded, and each request brings the place for its answer.
//!
//! Nobody waits in a thread: a full lane refuses, and a shard takes requests between two turns and answers at once.

use crate::base::id::ShardId;
use crate::runtime::notifier::Notifier;
use crate::shard::control::{ControlReply, ControlRequest};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Requests that a lane holds, and that a shard takes in one turn.
const DEPTH: usize = 4;

/// A request, and where its answer goes.
struct PendingRequest {
    request: ControlRequest,
    reply: oneshot::Sender<ControlReply>,
}

/// Why a shard was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// It has not got to its earlier requests yet.
    #[error("the shard's lane is full")]
    LaneFull,
    /// It has ended.
    #[error("the shard has left")]
    Left,
}

/// The control side's end of the lanes.
pub struct ControlHandle {
    lanes: Vec<(Sender<PendingRequest>, Arc<Notifier>)>,
}

/// The shards' ends of the lanes, and what wakes the shards.
pub struct ControlLanes {
    pub(super) lanes: Vec<ControlLane>,
    pub(super) notifiers: Arc<[Arc<Notifier>]>,
}

/// One shard's end of its lane.
pub(super) struct ControlLane(Receiver<PendingRequest>);

/// Lanes to so many shards, which need not run yet.
///
/// # Errors
/// The system gives no eventfd.
pub fn control_lanes(shards: usize) -> io::Result<(ControlHandle, ControlLanes)> {
    let notifiers: Arc<[Arc<Notifier>]> =
        (0..shards).map(|_| Notifier::new().map(Arc::new)).collect::<io::Result<_>>()?;
    let (senders, receivers): (Vec<_>, Vec<_>) = notifiers.iter().map(|_| bounded(DEPTH)).unzip();
    let handle = ControlHandle { lanes: senders.into_iter().zip(notifiers.iter().cloned()).collect() };
    Ok((handle, ControlLanes { lanes: receivers.into_iter().map(ControlLane).collect(), notifiers }))
}

impl ControlHandle {
    /// All shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.lanes.len() as u16).map(ShardId)
    }

    /// Asks a shard, and wakes it if it sleeps. The answer comes on the receiver, which is to be watched with a deadline:
    /// none comes from a shard that has ended meanwhile.
    ///
    /// # Errors
    /// The request was not taken.
    pub fn ask(
        &self,
        shard: ShardId,
        request: ControlRequest,
    ) -> Result<oneshot::Receiver<ControlReply>, NotAsked> {
        let (lane, notifier) = &self.lanes[shard.index()];
        let (reply, answer) = oneshot::channel();
        lane.try_send(PendingRequest { request, reply }).map_err(|refused| match refused {
            TrySendError::Full(_) => NotAsked::LaneFull,
            TrySendError::Disconnected(_) => NotAsked::Left,
        })?;
        notifier.notify();
        Ok(answer)
    }
}

impl ControlLane {
    /// Whether there is a request.
    pub(super) fn has_requests(&self) -> bool {
        !self.0.is_empty()
    }

    /// Answers what has come, but no more than the lane holds: a busy requester cannot starve the sockets.
    pub(super) fn answer(&self, mut handle: impl FnMut(ControlRequest) -> ControlReply) {
        for PendingRequest { request, reply } in self.0.try_iter().take(DEPTH) {
            // Whoever asked may not want to know any more.
            let _ = reply.send(handle(request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> (ControlHandle, ControlLane) {
        let (handle, mut lanes) = control_lanes(1).unwrap();
        (handle, lanes.lanes.remove(0))
    }

    fn answer(_: ControlRequest) -> ControlReply {
        ControlReply::LimitsReplaced
    }

    #[test]
    fn a_full_lane_refuses_until_the_shard_has_taken_a_request() {
        let (handle, lane) = one();
        let ask = || handle.ask(ShardId(0), ControlRequest::Stats);
        let answers: Vec<_> = (0..DEPTH).map(|_| ask().unwrap()).collect();
        assert_eq!(ask().unwrap_err(), NotAsked::LaneFull);
        assert!(lane.has_requests());
        lane.answer(answer);
        assert!(!lane.has_requests());
        for mut answer in answers {
            assert!(matches!(answer.try_recv(), Ok(ControlReply::LimitsReplaced)));
        }
        assert!(ask().is_ok());
    }

    #[test]
    fn a_turn_ends_though_requests_keep_coming() {
        let (handle, lane) = one();
        let ask = || handle.ask(ShardId(0), ControlRequest::Stats).map(drop);
        ask().unwrap();
        let mut answered = 0;
        lane.answer(|request| {
            answered += 1;
            ask().unwrap();
            answer(request)
        });
        assert_eq!(answered, DEPTH);
    }

    #[test]
    fn a_requester_that_has_left_is_passed_over_and_a_shard_that_has_left_is_named() {
        let (handle, lane) = one();
        drop(handle.ask(ShardId(0), ControlRequest::Stats).unwrap());
        let mut patient = handle.ask(ShardId(0), ControlRequest::Stats).unwrap();
        lane.answer(answer);
        assert!(patient.try_recv().is_ok());
        drop(lane);
        assert_eq!(handle.ask(ShardId(0), ControlRequest::Stats).unwrap_err(), NotAsked::Left);
    }
}
