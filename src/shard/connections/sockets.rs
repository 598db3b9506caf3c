//! WebSocket messages from clients.

use crate::base::id::ConnId;
use crate::flow::conn::{Conn, Phase};
use crate::flow::encode::frame::Dialect;
use crate::shard::connections::{Clients, PIPELINE, Reason};
use crate::shard::context::Context;
use crate::shard::io::Action;
use crate::wire::ws::{self, Violation, WsEvent};

impl Clients {
    pub(super) fn messages(&mut self, ctx: &mut Context, id: ConnId, bytes: &[u8]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut input = bytes;
        while let Some(Conn { phase: Phase::Socket(decoder, dialect), hub, paused, .. }) = self.get(id) {
            if let Some(held) = hub.as_mut().and_then(|hub| hub.held.as_mut()) {
                // it waits for an answer, which nothing that it says may overtake
                held.extend_from_slice(input);
                if held.len() > PIPELINE && !std::mem::replace(paused, true) {
                    self.actions.push_back(Action::Pause(id));
                }
                break;
            }
            let dialect = *dialect;
            match decoder.poll(&mut input, &mut scratch) {
                Ok(None) => break,
                Ok(Some(WsEvent::Ping(payload))) => {
                    self.send(id, ws::encode(ws::Opcode::Pong, payload).into())
                }
                Ok(Some(WsEvent::Pong(_))) => {}
                Ok(Some(WsEvent::Message { kind, data, compressed: true })) => {
                    ctx.stats.inflated += 1;
                    let mut inflater = std::mem::take(&mut self.inflater);
                    match inflater.message(kind, data, ctx.limits.max_message) {
                        Ok(data) => self.message(ctx, id, dialect, data),
                        Err(violation) => self.violated(ctx, id, violation),
                    }
                    self.inflater = inflater;
                }
                Ok(Some(WsEvent::Message { data, .. })) => self.message(ctx, id, dialect, data),
                Ok(Some(WsEvent::Close { code, .. })) => self.close(ctx, id, code, "", Reason::Gone),
                Err(violation) => self.violated(ctx, id, violation),
            }
        }
        if scratch.capacity() > PIPELINE {
            scratch = Vec::new();
        }
        self.scratch = scratch;
    }

    fn violated(&mut self, ctx: &mut Context, id: ConnId, violation: Violation) {
        self.close(ctx, id, Some(violation.code()), &violation.to_string(), Reason::Violation);
    }

    fn message(&mut self, ctx: &mut Context, id: ConnId, dialect: Dialect, data: &[u8]) {
        ctx.stats.received += 1;
        match dialect {
            Dialect::Ooo | Dialect::Sse | Dialect::Change(_) => {}
            Dialect::Hub => self.hub_message(ctx, id, data),
        }
    }
}
