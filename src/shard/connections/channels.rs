//! Channels, as connections see them: subscribing, being told where that begins, publishing.

use crate::base::id::ConnId;
use crate::flow::conn::hub::Beginning;
use crate::flow::conn::{Conn, Stage, Sub};
use crate::flow::fanout::pool::PoolId;
use crate::flow::limits::Access;
use crate::flow::request::position::Position;
use crate::flow::request::write::Write;
use crate::flow::route::subject::Subject;
use crate::shard::connections::Clients;
use crate::shard::connections::hub::Rejection;
use crate::shard::context::Context;
use crate::shard::mail::question::{Question, WriteOrigin, WriteTicket};
use crate::shard::mail::user::QuotaChange;
use crate::wire::feed::Publish;
use crate::wire::hub::{As, Class, EVERYONE, NewMessage, Recover, ReplyTo, write};
use smallvec::SmallVec;
use std::sync::Arc;

/// How many publications of one connection may wait for their owners: these wait when readers are slow.
const IN_FLIGHT: u32 = 128;

impl Clients {
    /// The channel that a pool is about.
    fn channel_of(&self, pool: PoolId) -> Option<&Arc<str>> {
        match &self.fanout.pools.get(pool)?.subject {
            Subject::Channel(name) => Some(name),
            _ => None,
        }
    }

    /// The channels that a connection has asked for, and their pools.
    pub(in crate::shard) fn channels_of(&mut self, id: ConnId) -> SmallVec<[(Arc<str>, PoolId); 4]> {
        if self.get(id).is_none() {
            return SmallVec::new();
        }
        let conn = self.conns.at(id.slot).expect("just seen");
        let named = conn.subs.iter().filter_map(|sub| Some((self.channel_of(sub.pool)?.clone(), sub.pool)));
        named.filter(|(name, _)| **name != *EVERYONE).collect()
    }

    /// How many channels a connection has asked for, beside those of the rooms that it is in.
    pub(super) fn channel_count(&mut self, id: ConnId) -> usize {
        let channels = self.channels_of(id);
        let rooms = self.hub(id).map(|hub| &hub.memberships);
        channels
            .iter()
            .filter(|(name, _)| rooms.as_ref().is_none_or(|rooms| rooms.get(name).is_none()))
            .count()
    }

    /// The pool over which a connection gets a channel, if it is subscribed.
    pub(in crate::shard) fn channel_pool(&mut self, id: ConnId, channel: &Arc<str>) -> Option<PoolId> {
        let subject = Subject::Channel(channel.clone());
        let variant = self.variant(id, &subject)?;
        let pool = self.fanout.pools.find(&subject, variant)?;
        self.get(id)?.subs.iter().any(|sub| sub.pool == pool).then_some(pool)
    }

    /// Subscribes to a channel. Whoever is subscribed already is told where it stands; whoever says what it has seen
    /// last gets what is behind that.
    pub(super) fn subscribe_channel(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        channel: Arc<str>,
        recover: Option<Recover>,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let seen = self.seen(ctx, id, &channel);
        let has = recover.map_or(seen, |place| Position::Offset(place.epoch, place.offset));
        match self.channel_pool(id, &channel) {
            Some(pool) if *channel == *EVERYONE || matches!(has, Position::Nothing) => {
                self.expect_beginning(id, pool, about, false);
                if self.is_member(id, pool) {
                    let at = self.fanout.position(pool, id.slot);
                    self.tell_beginning(ctx, id, pool, at, false);
                }
                return Ok(());
            }
            Some(pool) => self.unsubscribe(ctx, id, pool),
            None if self.channel_count(id) >= ctx.limits.hub.channels_per_user as usize => {
                return Err(too_many_channels());
            }
            None => self.hold(ctx, id, QuotaChange::Subscribe(channel.clone())),
        }
        let subject = Subject::Channel(channel);
        let recovers = !matches!(has, Position::Nothing);
        if let Some(pool) = self.subscribe(ctx, id, subject, has) {
            self.expect_beginning(id, pool, about, recovers);
        }
        Ok(())
    }

    /// Whether a connection follows a pool, and does not only wait to.
    pub(super) fn is_member(&mut self, id: ConnId, pool: PoolId) -> bool {
        let member = |sub: &Sub| sub.pool == pool && matches!(sub.stage, Stage::Member(_));
        self.get(id).is_some_and(|conn| conn.subs.iter().any(member))
    }

    /// The connection is to be told where a subscription begins, if it understands that.
    fn expect_beginning(&mut self, id: ConnId, pool: PoolId, about: &ReplyTo, recovers: bool) {
        if self.class(id) > Class::Plain
            && let Some(hub) = self.hub(id)
        {
            hub.replies.push(Beginning { pool, about: about.clone(), recovers });
        }
    }

    /// A subscription to a channel has begun behind `at`. `gap`: what was said to be seen last is too long ago.
    pub(super) fn tell_beginning(&mut self, ctx: &mut Context, id: ConnId, pool: PoolId, at: u64, gap: bool) {
        let Some(channel) = self.channel_of(pool).cloned() else { return };
        let Some(hub) = self.hub(id) else { return };
        let due = hub.take_replies(pool);
        let epoch = ctx.epoch.clone();
        for Beginning { about, recovers, .. } in due {
            let (request, recovered) = (about.request.as_deref(), recovers && !gap);
            self.say(ctx, id, |out| write::subscribed(request, &channel, (&epoch, at), recovered, out));
        }
    }

    /// Ends a subscription to a channel. Everybody's channel stays.
    pub(super) fn unsubscribe_channel(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        channel: &Arc<str>,
        about: &ReplyTo,
    ) {
        if **channel != *EVERYONE
            && let Some(pool) = self.channel_pool(id, channel)
        {
            self.unsubscribe(ctx, id, pool);
            self.hold(ctx, id, QuotaChange::Unsubscribe(channel.clone()));
            let waiting = self.hub(id).map(|hub| hub.take_replies(pool)).unwrap_or_default();
            let why = Rejection::new("error", "the subscription was ended before it had begun");
            waiting.iter().for_each(|beginning| self.reject(ctx, id, &beginning.about, &why));
        }
        if self.class(id) > Class::Plain {
            self.say(ctx, id, |out| write::unsubscribed(about.request.as_deref(), channel, out));
        }
    }

    /// A client publishes into a channel, under its own name.
    pub(super) fn publish(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        channel: Arc<str>,
        post: NewMessage,
        how: As,
        about: &ReplyTo,
    ) -> Result<(), Rejection> {
        let subscribed = how == As::Writer || self.channel_pool(id, &channel).is_some();
        let Some(Conn { access, hub, .. }) = self.get(id) else { return Ok(()) };
        if *access < Access::Write {
            return Err(Rejection::new("send_denied", "writing is not allowed here without a token"));
        }
        if !subscribed {
            return Err(Rejection::new("send_denied", "subscribe to the channel before you send to it"));
        }
        let hub = hub.get_or_insert_default();
        if hub.in_flight >= IN_FLIGHT {
            let why = "too much is on its way; wait a moment";
            return Err(Rejection { retry_after_ms: Some(100), ..Rejection::new("rate_limited", why) });
        }
        hub.in_flight += 1;
        let user_id = hub.user.clone();
        let NewMessage { data, event, metadata, thread: thread_id } = post;
        let kind = "message".into();
        let publish = Publish { channel, kind, data, event, user_id, metadata, thread_id, client: true };
        let origin = WriteOrigin::Frame(Box::new(about.clone()));
        let ticket = WriteTicket { conn: id, origin };
        let owner = publish.channel.clone();
        let write = Write::Publish(Arc::new(publish));
        ctx.ask(&owner, Question::Write { write, ticket });
        Ok(())
    }

    /// A connection that gets every channel for want of a subscription has one now: it gets what it asks for, and no
    /// more. What is due to it already it still gets.
    pub(super) fn end_implicit(&mut self, ctx: &mut Context, id: ConnId) {
        if !ctx.limits.hub.implicit_channels {
            return;
        }
        let Some(conn) = self.conns.get_mut(id.slot, id.generation) else { return };
        let is_part =
            |pool: PoolId| matches!(self.fanout.pools.get(pool)?.subject, Subject::Every(_)).then_some(pool);
        let parts: Vec<PoolId> = conn.subs.iter().filter_map(|sub| is_part(sub.pool)).collect();
        for pool in parts {
            if !self.fanout.hand_over(pool, id.slot) {
                self.doomed.push(id);
            }
            self.unsubscribe(ctx, id, pool);
        }
    }
}

/// More channels than `[hub] channels_per_user`.
pub(super) fn too_many_channels() -> Rejection {
    Rejection::new("channel_limit_reached", "you are subscribed to as many channels as you may be")
}
