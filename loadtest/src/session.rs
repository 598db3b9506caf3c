//! The receiving half of a subscriber's connection, whatever its transport.

use crate::client::{self, Event, Fault};
use crate::events::{self, Events};
use crate::scenario::Transport;
use crate::wire::Wire;

/// One connection, from its request on.
#[derive(Debug)]
pub enum Session {
    /// WebSocket.
    Socket(client::Session),
    /// server-sent events.
    Events(Events),
}

impl Session {
    /// A connection that has not been opened yet.
    pub fn new(wire: &Wire) -> Session {
        match wire.transport {
            Transport::Ws => Session::Socket(client::Session::new(wire.binary())),
            Transport::Sse => Session::Events(Events::default()),
        }
    }

    /// What is sent first.
    pub fn request(&self, host: &str, path: &str) -> Vec<u8> {
        match self {
            Session::Socket(_) => client::request(host, path),
            Session::Events(_) => events::request(host, path),
        }
    }

    /// Takes what one read brought and hands every event to `sink`, in order.
    pub fn handle_bytes(&mut self, bytes: &[u8], sink: &mut impl FnMut(Event)) -> Result<(), Fault> {
        match self {
            Session::Socket(session) => session.handle_bytes(bytes, sink),
            Session::Events(session) => session.handle_bytes(bytes, sink),
        }
    }

    /// WebSocket frames, or events, received so far.
    pub fn frames(&self) -> u64 {
        match self {
            Session::Socket(session) => session.frames,
            Session::Events(session) => session.frames,
        }
    }
}
