//! The WebSocket under a protocol: messages out of bytes, control frames, signs of life.

use crate::flow::encode::frame::{Dialect, Variant};
use crate::flow::request::handshake::Handshake;
use crate::shard::connections::view::View;
use crate::shard::end_reason::EndReason;
use crate::wire::ws::{self, Compression, Decoder, Violation, WsEvent};

/// The longest payload whose buffer is worth keeping.
const KEEP: usize = 64 << 10;

/// A WebSocket.
#[derive(Debug)]
pub struct Socket(Decoder);

impl Socket {
    /// The connection is a WebSocket from here on, and is pinged for the first time after `ping_interval`.
    pub fn open(view: &mut View<'_>, handshake: Handshake, dialect: Dialect, ping_interval: u64) -> Socket {
        let deflate = handshake.compression == Compression::Deflate;
        let decoder = Decoder::new(view.ctx.limits.max_message, handshake.compression);
        view.try_send(handshake.bytes);
        view.record.variant = Some(Variant { deflate, ..Variant::plain(dialect) });
        view.due_in(Some(ping_interval));
        Socket(decoder)
    }

    /// Hands over the messages in `input`, which is moved past them, as long as `message` says to go on.
    pub fn read(
        &mut self,
        view: &mut View<'_>,
        input: &mut &[u8],
        mut message: impl FnMut(&mut View<'_>, &[u8]) -> bool,
    ) {
        let mut scratch = std::mem::take(&mut view.shared.scratch);
        let mut goes_on = true;
        self.0.set_max_message(view.ctx.limits.max_message);
        while goes_on && !view.is_ending() {
            match self.0.poll(input, &mut scratch) {
                Ok(None) => break,
                Ok(Some(WsEvent::Ping(payload))) => view.try_send(ws::encode(ws::Opcode::Pong, payload)),
                Ok(Some(WsEvent::Pong(_))) => {}
                Ok(Some(WsEvent::Message { kind, data, compressed: true })) => {
                    view.ctx.stats.inflated += 1;
                    let mut inflater = std::mem::take(&mut view.shared.inflater);
                    match inflater.message(kind, data, view.ctx.limits.max_message) {
                        Ok(data) => {
                            view.ctx.stats.received += 1;
                            goes_on = message(view, data);
                        }
                        Err(violation) => violated(view, violation),
                    }
                    view.shared.inflater = inflater;
                }
                Ok(Some(WsEvent::Message { data, .. })) => {
                    view.ctx.stats.received += 1;
                    goes_on = message(view, data);
                }
                Ok(Some(WsEvent::Close { code, .. })) => view.close(code, "", EndReason::Gone),
                Err(violation) => violated(view, violation),
            }
        }
        if scratch.capacity() <= KEEP {
            view.shared.scratch = scratch;
        }
    }

    /// Pings a peer that has given a sign of life within `timeout`, and again after `interval`; false if it has not,
    /// and is given up.
    pub fn ping(&self, view: &mut View<'_>, interval: u64, timeout: u64) -> bool {
        if view.record.last_heard + timeout <= view.ctx.now.mono {
            view.abort(EndReason::PingTimeout);
            return false;
        }
        view.due_in(Some(interval));
        view.try_send(ws::encode(ws::Opcode::Ping, b""));
        true
    }

    /// The last frame.
    pub fn close(&self, view: &mut View<'_>, code: Option<u16>, why: &str) {
        view.try_send(ws::encode_close(code, why));
    }
}

fn violated(view: &mut View<'_>, violation: Violation) {
    view.close(Some(violation.code()), violation.to_string(), EndReason::Violation);
}
