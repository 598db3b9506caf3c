//! What a connection speaks at the moment.

use crate::shard::connections::feed::FeedSession;
use crate::shard::connections::http::{HttpSession, ProtocolChange};
use crate::shard::connections::subscriber::Subscriber;
use crate::shard::connections::view::View;
use crate::shard::end_reason::EndReason;

/// What a connection speaks.
#[derive(Debug)]
pub enum Protocol {
    /// Requests.
    Http(Box<HttpSession>),
    /// The feed.
    Feed(Box<FeedSession>),
    /// A dialect with subscriptions.
    Subscriber(Subscriber),
    /// Nothing any more: the last bytes are on their way, then it closes.
    Closing,
}

impl Protocol {
    /// Bytes from the peer.
    pub fn bytes(&mut self, view: &mut View<'_>, bytes: &[u8]) {
        match self {
            Protocol::Http(http) => {
                let upgrade = http.bytes(view, bytes);
                self.upgrade(view, upgrade);
            }
            Protocol::Feed(feed) => feed.bytes(view, bytes),
            Protocol::Subscriber(subscriber) => subscriber.bytes(view, bytes),
            Protocol::Closing => {}
        }
    }

    /// Lets a connection that speaks HTTP do something, and go over to another protocol by it.
    pub fn with_http(
        &mut self,
        view: &mut View<'_>,
        act: impl FnOnce(&mut HttpSession, &mut View<'_>) -> Option<ProtocolChange>,
    ) {
        if let Protocol::Http(http) = self {
            let upgrade = act(http, view);
            self.upgrade(view, upgrade);
        }
    }

    fn upgrade(&mut self, view: &mut View<'_>, upgrade: Option<ProtocolChange>) {
        if let Some(ProtocolChange { subscriber, rest }) = upgrade {
            *self = Protocol::Subscriber(subscriber);
            // what made HTTP stop reading does not concern the new protocol
            view.resume_reading();
            self.bytes(view, &rest);
        }
    }

    /// The peer says nothing more: what it has asked for is answered, then the connection ends.
    pub fn eof(&mut self, view: &mut View<'_>) {
        match self {
            Protocol::Http(_) => self.with_http(view, HttpSession::go_on),
            Protocol::Feed(feed) => feed.eof(view),
            Protocol::Closing if view.queued() > 0 => {}
            Protocol::Closing | Protocol::Subscriber(_) => view.abort(EndReason::Gone),
        }
    }

    /// It is time to look after the connection: nothing has come when it should have, or a sign of life is due.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        match self {
            Protocol::Http(http) => http.overdue(view),
            Protocol::Feed(_) => {}
            Protocol::Subscriber(subscriber) => subscriber.overdue(view),
            Protocol::Closing => view.abort(EndReason::Gone),
        }
    }

    /// Other limits hold from now on.
    pub fn limits_changed(&mut self, view: &mut View<'_>) {
        match self {
            Protocol::Http(_) if view.record.due < u64::MAX => {
                view.due_within(view.ctx.limits.handshake_timeout)
            }
            Protocol::Subscriber(subscriber) => subscriber.limits_changed(view),
            Protocol::Http(_) | Protocol::Feed(_) | Protocol::Closing => {}
        }
    }

    /// Its socket has taken everything: what fell behind meanwhile is asked for again.
    pub fn drained(&mut self, view: &mut View<'_>) {
        if let Protocol::Subscriber(subscriber) = self {
            view.catch_up(|pool| subscriber.missing(pool));
        }
    }

    /// The server stops.
    pub fn stop(&mut self, view: &mut View<'_>) {
        match self {
            Protocol::Http(_) | Protocol::Feed(_) => view.finish(EndReason::Stopping),
            Protocol::Subscriber(subscriber) => subscriber.stop(view),
            Protocol::Closing => {}
        }
    }

    /// The last bytes, which say why.
    pub fn send_close(&mut self, view: &mut View<'_>, code: Option<u16>, why: &str, reason: EndReason) {
        if let Protocol::Subscriber(subscriber) = self {
            subscriber.send_close(view, code, why, reason);
        }
    }

    /// The connection ends: what others hold for it they are to give up. False if it had ended before.
    pub fn end(&mut self, view: &mut View<'_>) -> bool {
        match self {
            Protocol::Http(http) => http.ended(view),
            Protocol::Feed(_) => {}
            Protocol::Subscriber(subscriber) => subscriber.ended(view),
            Protocol::Closing => return false,
        }
        *self = Protocol::Closing;
        true
    }
}
