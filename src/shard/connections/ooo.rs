//! The ooo dialect: one document, list or the clock, by the path of the WebSocket. The client says nothing.

use crate::base::stamp::Stamp;
use crate::flow::encode::frame::Dialect;
use crate::flow::request::handshake::Handshake;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::view::View;
use crate::shard::connections::websocket::Socket;
use crate::shard::mail::subscription::Joined;
use crate::wire::key::Name;

/// A subscriber of the ooo dialect.
#[derive(Debug)]
pub struct OooSession(Socket);

impl OooSession {
    /// A subscriber of that name, or of the clock, which has this version.
    pub fn open(
        view: &mut View<'_>,
        handshake: Handshake,
        name: Option<Name>,
        has: Option<Stamp>,
    ) -> OooSession {
        let ping_interval = view.ctx.limits.ping_interval;
        let socket = Socket::open(view, handshake, Dialect::Ooo, ping_interval);
        view.subscribe(&Subject::of(name, view.ctx.id), has.map_or(Position::Nothing, Position::Version));
        OooSession(socket)
    }

    /// Bytes from the client, whose messages mean nothing.
    pub fn bytes(&mut self, view: &mut View<'_>, mut bytes: &[u8]) {
        self.0.read(view, &mut bytes, |_, _| true);
    }

    /// The state of the subject.
    pub fn joined(&mut self, view: &mut View<'_>, joined: Joined) {
        view.follow(joined.pool, joined.state, joined.at);
    }

    /// A ping is due.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        let (interval, timeout) = (view.ctx.limits.ping_interval, view.ctx.limits.pong_timeout);
        self.0.ping(view, interval, timeout);
    }

    /// The last frame.
    pub fn send_close(&mut self, view: &mut View<'_>, code: Option<u16>, why: &str) {
        self.0.close(view, code, why);
    }
}
