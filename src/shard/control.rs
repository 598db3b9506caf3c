//! What the control side asks of a shard, and what it is answered: one answer for each request, at once.

use crate::flow::limits::Limits;
use crate::shard::stats::Stats;
use std::sync::Arc;

/// What the control side asks of one shard.
#[derive(Clone, Debug)]
pub enum ControlRequest {
    /// What it has counted, and what there is.
    Stats,
    /// These limits hold from now on. They differ in nothing that needs a restart ([`Limits::restart_needed`]).
    ReplaceLimits(Arc<Limits>),
}

/// What a shard answers.
#[derive(Clone, Debug)]
pub enum ControlReply {
    /// To [`ControlRequest::Stats`].
    Stats(Box<Stats>),
    /// To [`ControlRequest::ReplaceLimits`]: done.
    LimitsReplaced,
}

// a request and its answer are moved between threads, so what is large travels behind a pointer
const _: () = assert!(size_of::<ControlRequest>() <= 16 && size_of::<ControlReply>() <= 16);
