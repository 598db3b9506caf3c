//! Who is connected to this shard: how a connection is reached, once per input, and how it ends.

use crate::base::id::ConnId;
use crate::base::slab::Table;
use crate::base::time::SEC;
use crate::flow::limits::Limits;
use crate::shard::connections::feed::FeedSession;
use crate::shard::connections::http::HttpSession;
use crate::shard::connections::hub::HubSession;
use crate::shard::connections::protocol::Protocol;
use crate::shard::connections::shared::Shared;
use crate::shard::connections::subscriber::Subscriber;
use crate::shard::connections::subscriptions::Subscriptions;
use crate::shard::connections::view::{ConnectionRecord, Ending, View};
use crate::shard::context::Context;
use crate::shard::end_reason::EndReason;
use crate::shard::inspect::{ConnectionInspection, Inspection};
use crate::shard::io::{Action, Door};

/// How long a peer that has got our last bytes may take to close its side.
const GRACE: u64 = 2 * SEC;

/// One connection: an idle one is this and its subscriptions.
#[derive(Debug)]
struct Connection {
    record: ConnectionRecord,
    protocol: Protocol,
}

/// The connections, and what they share.
#[derive(Debug)]
pub struct ConnectionTable {
    slots: Table<Connection>,
    /// What they share.
    pub shared: Shared,
    /// Those whose last bytes are on their way.
    closing: Vec<ConnId>,
}

impl ConnectionTable {
    /// Bytes that one connection takes here, two subscriptions included.
    pub const PLACE: usize = Table::<Connection>::PLACE + Subscriptions::PLACE;

    /// Nobody.
    pub fn new(limits: &Limits) -> ConnectionTable {
        ConnectionTable { slots: Table::default(), shared: Shared::new(limits), closing: Vec::new() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Every slot below this bound may be in use.
    pub fn bound(&self) -> u32 {
        self.slots.bound()
    }

    /// Whether a connection is still there.
    pub fn has(&self, id: ConnId) -> bool {
        self.slots.at(id.slot).is_some() && self.slots.generation(id.slot) == id.generation
    }

    /// A connection came in.
    pub fn open(&mut self, ctx: &mut Context, slot: u32, door: Door) -> ConnId {
        let now = ctx.now.mono;
        let (protocol, due) = match door {
            Door::Clients(_) => (Protocol::Http(Box::default()), now + ctx.limits.handshake_timeout),
            Door::Feed => (Protocol::Feed(Box::default()), u64::MAX),
        };
        ctx.stats.accepted[usize::from(door == Door::Feed)] += 1;
        let record = ConnectionRecord {
            door,
            identity: self.shared.identity(door).clone(),
            variant: None,
            last_heard: now,
            due,
            blocked_since: 0,
            paused: false,
            eof: false,
        };
        let generation = self.slots.insert(slot, Connection { record, protocol });
        self.shared.subscriptions.open(slot);
        ConnId { slot, generation }
    }

    /// The connection as it is now in a slot.
    pub fn id(&self, slot: u32) -> ConnId {
        ConnId { slot, generation: self.slots.generation(slot) }
    }

    /// Brings something to a connection, if it is still there; ends it after that, if it is to end.
    pub fn with<R>(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        act: impl FnOnce(&mut Protocol, &mut View<'_>) -> R,
    ) -> Option<R> {
        let Connection { record, protocol } = self.slots.get_mut(id.slot, id.generation)?;
        let mut view = View { id, record, shared: &mut self.shared, ctx, ending: None };
        let result = act(protocol, &mut view);
        if let Some(ending) = view.ending.take() {
            self.end(ctx, id, ending);
        }
        Some(result)
    }

    /// The same for one that speaks HTTP.
    pub fn with_http(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        act: impl FnOnce(&mut HttpSession, &mut View<'_>),
    ) {
        self.with(ctx, id, |protocol, view| {
            if let Protocol::Http(http) = protocol {
                act(http, view);
            }
        });
    }

    /// The same for a feed.
    pub fn with_feed(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        act: impl FnOnce(&mut FeedSession, &mut View<'_>),
    ) {
        self.with(ctx, id, |protocol, view| {
            if let Protocol::Feed(feed) = protocol {
                act(feed, view);
            }
        });
    }

    /// The same for one with subscriptions.
    pub fn with_subscriber<R>(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        act: impl FnOnce(&mut Subscriber, &mut View<'_>) -> R,
    ) -> Option<R> {
        let acted = self.with(ctx, id, |protocol, view| match protocol {
            Protocol::Subscriber(subscriber) => Some(act(subscriber, view)),
            Protocol::Http(_) | Protocol::Feed(_) | Protocol::Closing => None,
        });
        acted.flatten()
    }

    /// The same for a WebSocket of the hub.
    pub fn with_hub(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        act: impl FnOnce(&mut HubSession, &mut View<'_>),
    ) {
        self.with_subscriber(ctx, id, |subscriber, view| {
            if let Subscriber::Hub(hub) = subscriber {
                act(hub, view);
            }
        });
    }

    /// Ends a connection: at once, or when it has got what is queued, however slowly it reads that.
    pub fn end(&mut self, ctx: &mut Context, id: ConnId, ending: Ending) {
        let Some(Connection { record, protocol }) = self.slots.get_mut(id.slot, id.generation) else {
            return;
        };
        let mut view = View { id, record, shared: &mut self.shared, ctx, ending: None };
        let (reason, at_once) = match ending {
            Ending::Close { code, why, reason } => {
                protocol.send_close(&mut view, code, &why, reason);
                (reason, false)
            }
            Ending::Finish(reason) => (reason, false),
            Ending::Abort(reason) => (reason, true),
        };
        let ended_now = protocol.end(&mut view);
        if ended_now {
            view.ctx.stats.ended[reason as usize] += 1;
        }
        if at_once {
            self.shared.subscriptions.close(ctx, id.slot);
            self.slots.remove(id.slot);
            self.shared.actions.push_back(Action::Close(id));
        } else if ended_now {
            view.record.variant = None;
            view.due_in(None);
            // bytes that nobody reads would make the kernel reset the connection, and the last response with it
            view.resume_reading();
            self.shared.subscriptions.end_all(ctx, id.slot);
            self.closing.push(id);
        }
    }

    /// Ends the writing to those that have got their last bytes: these have `GRACE` to say that they have read them.
    pub fn end_closing(&mut self, ctx: &mut Context) {
        for id in std::mem::take(&mut self.closing) {
            let waits = self.with(ctx, id, |_, view| {
                if view.queued() > 0 {
                    return true;
                }
                if view.record.eof {
                    view.abort(EndReason::Gone);
                } else {
                    view.due_in(Some(GRACE));
                    view.shared.actions.push_back(Action::Finish(view.id));
                }
                false
            });
            if waits == Some(true) {
                self.closing.push(id);
            }
        }
    }

    /// Looks after a connection: gives it up if its socket takes nothing or its time is over, else lets its protocol do
    /// what is due.
    pub fn check(&mut self, ctx: &mut Context, slot: u32) {
        let now = ctx.now.mono;
        let Some(Connection { record, .. }) = self.slots.at(slot) else { return };
        // a full socket is `write_timeout`'s affair: as long as it takes bytes, its peer is there
        if record.blocked_since != 0 {
            if record.blocked_since + ctx.limits.write_timeout <= now {
                self.end(ctx, self.id(slot), Ending::Abort(EndReason::WriteTimeout));
            }
        } else if record.due <= now {
            self.with(ctx, self.id(slot), Protocol::overdue);
        }
    }

    /// Adds what there is at the moment.
    pub fn inspect(&self, inspection: &mut Inspection) {
        inspection.connections = (0..self.bound()).filter_map(|slot| self.inspect_one(slot)).collect();
        inspection.streams = self.shared.streams.count();
        inspection.waiting_imports = self.shared.imports.len();
    }

    fn inspect_one(&self, slot: u32) -> Option<ConnectionInspection> {
        let Connection { record, protocol } = self.slots.at(slot)?;
        Some(ConnectionInspection {
            id: self.id(slot),
            queued: self.shared.subscriptions.fanout.queued(slot),
            unhandled: if let Protocol::Subscriber(Subscriber::Hub(hub)) = protocol { hub.held() } else { 0 },
            stream: if let Protocol::Http(http) = protocol { http.held_documents() } else { None },
            paused: record.paused,
            closing: matches!(protocol, Protocol::Closing),
        })
    }
}
