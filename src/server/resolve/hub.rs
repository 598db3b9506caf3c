//! Resolves `[hub]`.

use crate::flow::limits::channels::TailLimits;
use crate::flow::limits::hub::HubLimits;
use crate::server::config::sections::HubSettings;
use crate::server::error::ServerError;
use crate::server::resolve::units::{size, span};

/// The hub's limits.
///
/// # Errors
/// A setting makes no sense; the message names it.
pub fn hub(written: &HubSettings) -> Result<HubLimits, ServerError> {
    let some = |name: &str, number: u32| match number {
        0 => Err(ServerError::wrong(format!("[hub] {name}"), "must be more than 0")),
        number => Ok(number),
    };
    let number = |name: &str, number: u64| some(name, u32::try_from(number).unwrap_or(u32::MAX));
    Ok(HubLimits {
        implicit_channels: written.implicit_channels.0,
        ping_interval: span("[hub] ping_interval", written.ping_interval)?,
        max_message: size("[hub] max_message", written.max_message)?,
        queue_frames: number("queue_frames", written.queue_frames)? as usize,
        tail: TailLimits {
            bytes: size("[hub] tail_bytes", written.tail_bytes)?,
            age: span("[hub] tail_age", written.tail_age)?,
        },
        rate: some("rate", written.rate)?,
        burst: some("burst", written.burst)?,
        connections_per_user: some("connections_per_user", written.connections_per_user)?,
        rooms_per_user: some("rooms_per_user", written.rooms_per_user)?,
        channels_per_user: some("channels_per_user", written.channels_per_user)?,
        auto_create_rooms: written.auto_create_rooms,
        typing_timeout: span("[hub] typing_timeout", written.typing_timeout)?,
        presence_grace: span("[hub] presence_grace", written.presence_grace)?,
        presence_list: number("presence_list", written.presence_list)? as usize,
        session_ttl: match written.session_ttl.0.is_zero() {
            true => 0,
            false => span("[hub] session_ttl", written.session_ttl)?,
        },
    })
}
