//! The rounds: pings, and connections that are given up.

use crate::base::time::{MS, SEC};
use crate::flow::conn::Phase;
use crate::flow::encode::frame::Dialect;
use crate::shard::Shard;
use crate::shard::connections::Reason;
use crate::shard::timers::{ConnectionTimer, Timer};
use crate::wire::http::Response;
use crate::wire::hub::{Class, write};
use crate::wire::ws;

impl Shard {
    /// How often every connection is looked at: well within the shortest time that matters to one.
    pub(in crate::shard) fn rounds_every(&self) -> u64 {
        let l = &self.ctx.limits;
        let pings = [l.ping_interval, l.hub.ping_interval, l.sse.keepalive, l.pong_timeout];
        let pings = pings.into_iter().min().expect("there are some");
        let shortest = pings.min(l.handshake_timeout).min(l.write_timeout);
        (shortest / 4).clamp(10 * MS, SEC)
    }

    pub(in crate::shard) fn timer(&mut self, timer: Timer) {
        let now = self.ctx.now.mono;
        match timer {
            Timer::Owner(timer) => self.owner.timer(&mut self.ctx, timer),
            Timer::Connections(ConnectionTimer::Streams) => self.clients.streams.timer_came(),
            Timer::Connections(ConnectionTimer::Pace) => {
                self.pacing = u64::MAX;
                self.clients.pace(now);
                self.ctx.backlog = self.clients.fanout.backlog();
            }
            Timer::Connections(ConnectionTimer::Rounds) => {
                for slot in 0..self.clients.conns.bound() {
                    self.look_after(slot);
                }
                self.ctx.timers.push(now + self.rounds_every(), Timer::Connections(ConnectionTimer::Rounds));
            }
        }
    }

    fn look_after(&mut self, slot: u32) {
        let now = self.ctx.now.mono;
        let limits = self.ctx.limits.clone();
        let id = self.clients.id(slot);
        let Some(conn) = self.clients.conns.at_mut(slot) else { return };
        if conn.stuck != 0 && conn.stuck + limits.write_timeout <= now {
            return self.clients.drop_conn(&mut self.ctx, id, Reason::WriteTimeout);
        }
        if conn.due > now || conn.stuck != 0 {
            // a full socket is `write_timeout`'s affair: as long as it takes bytes, its peer is there
            return;
        }
        match &conn.phase {
            Phase::Feed(_) => {}
            Phase::Closing => self.clients.drop_conn(&mut self.ctx, id, Reason::Gone),
            Phase::Http(http) if http.is_idle() => {
                self.clients.drop_conn(&mut self.ctx, id, Reason::RequestTimeout)
            }
            Phase::Http(_) => {
                let response = Response::text(408, "the request did not come in time").closing();
                self.clients.send(id, response.encode().into());
                self.clients.finish(&mut self.ctx, id, Reason::RequestTimeout);
            }
            Phase::Events(_) => self.clients.keep_alive(&self.ctx, id),
            Phase::Socket(_, dialect) => {
                let (interval, timeout) = match dialect {
                    Dialect::Ooo | Dialect::Sse | Dialect::Change(_) => {
                        (limits.ping_interval, limits.pong_timeout)
                    }
                    Dialect::Hub => (limits.hub.ping_interval, limits.hub.pong_timeout()),
                };
                if conn.heard + timeout <= now {
                    return self.clients.drop_conn(&mut self.ctx, id, Reason::PingTimeout);
                }
                conn.due = now + interval;
                self.clients.send(id, ws::encode(ws::Opcode::Ping, b"").into());
                if self.clients.class(id) == Class::Forge {
                    let stamp = self.ctx.stamp();
                    self.clients.say(&mut self.ctx, id, |out| write::ping(stamp, out));
                }
            }
        }
    }
}
