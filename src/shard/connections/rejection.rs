//! Why something that a client asked for is not done.

use crate::base::time::MS;
use crate::flow::state::room::Refusal;
use crate::wire::hub::FrameFault;
use std::borrow::Cow;

/// Why a frame is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One of forge's codes, or of ours.
    pub code: &'static str,
    /// Why, for people.
    pub message: Cow<'static, str>,
    /// After so many milliseconds it may be said again.
    pub retry_after_ms: Option<u64>,
}

impl Rejection {
    /// With no hope that time helps.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { code, message: message.into(), retry_after_ms: None }
    }

    /// Something that may be said again in so many milliseconds.
    pub fn for_now(message: &'static str, retry_after_ms: u64) -> Rejection {
        Rejection { retry_after_ms: Some(retry_after_ms), ..Rejection::new("rate_limited", message) }
    }

    /// A room's owner, or a user's, does not allow it. `now`: nanoseconds since 1970.
    pub fn refused(refusal: Refusal, now: u64) -> Rejection {
        let left = refusal.until().map(|until| until.saturating_sub(now).div_ceil(MS));
        Rejection { retry_after_ms: left, ..Rejection::new(refusal.code(), refusal.to_string()) }
    }

    /// More channels than `[hub] channels_per_user`.
    pub fn too_many_channels() -> Rejection {
        Rejection::new("channel_limit_reached", "you are subscribed to as many channels as you may be")
    }

    /// A room that somebody may not hear.
    pub fn closed_channel() -> Rejection {
        Rejection::new("channel_access_denied", "this channel is a room that is not open to you")
    }
}

impl From<FrameFault> for Rejection {
    fn from(fault: FrameFault) -> Rejection {
        Rejection::new(fault.code(), fault.to_string())
    }
}
