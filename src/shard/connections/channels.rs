//! Subscriptions of one connection to channels, and the frames that wait to be told where a subscription begins.

use crate::base::offset::Offset;
use crate::flow::fanout::pool::PoolId;
use crate::flow::fanout::reach::Reach;
use crate::flow::request::position::Position;
use crate::flow::route::subject::Subject;
use crate::shard::connections::memberships::Memberships;
use crate::shard::connections::rejection::Rejection;
use crate::shard::connections::view::View;
use crate::shard::mail::user::QuotaChange;
use crate::wire::hub::{EVERYONE, ReplyTo, write};
use smallvec::SmallVec;
use std::sync::Arc;

/// A subscription to a channel that is to be told when it begins.
#[derive(Debug)]
struct PendingReply {
    /// Its pool.
    pool: PoolId,
    /// The frame that asked for it.
    reply_to: ReplyTo,
    /// Whether that said what was seen last.
    recovers: bool,
}

/// What a connection asks for when it subscribes to a channel.
#[derive(Debug)]
pub struct ChannelRequest {
    /// Which.
    pub channel: Arc<str>,
    /// What it has seen.
    pub position: Position,
    /// The frame that asks, if the connection understands replies.
    pub reply_to: Option<ReplyTo>,
}

/// The channels that a connection is subscribed to. The subscriptions themselves are those of the connection.
#[derive(Debug, Default)]
pub struct ChannelSubscriptions {
    replies: Vec<PendingReply>,
}

impl ChannelSubscriptions {
    /// Subscribes to a channel. Whoever is subscribed already is told where it stands; whoever says what it has seen
    /// last gets what is behind that.
    ///
    /// # Errors
    /// It is subscribed to as many as it may be.
    pub fn subscribe(
        &mut self,
        view: &mut View<'_>,
        rooms: &Memberships,
        request: ChannelRequest,
    ) -> Result<(), Rejection> {
        let ChannelRequest { channel, position, reply_to } = request;
        let recovers = !matches!(position, Position::Nothing);
        match pool(view, &channel) {
            Some(pool) if *channel == *EVERYONE || !recovers => {
                self.expect(pool, reply_to, false);
                if let Some(at) = view.position(pool) {
                    self.joined(view, pool, at, false);
                }
                return Ok(());
            }
            Some(pool) => view.unsubscribe(pool),
            None if count(view, rooms) >= view.ctx.limits.hub.channels_per_user as usize => {
                return Err(Rejection::too_many_channels());
            }
            None => view.change_quota(QuotaChange::Subscribe(channel.clone())),
        }
        if let Some(pool) = view.subscribe(&Subject::Channel(channel), position) {
            self.expect(pool, reply_to, recovers);
        }
        Ok(())
    }

    fn expect(&mut self, pool: PoolId, reply_to: Option<ReplyTo>, recovers: bool) {
        self.replies.extend(reply_to.map(|reply_to| PendingReply { pool, reply_to, recovers }));
    }

    fn take(&mut self, pool: PoolId) -> impl Iterator<Item = PendingReply> {
        self.replies.extract_if(.., move |reply| reply.pool == pool)
    }

    /// A subscription to a channel has begun behind `at`: whoever waits for that is told. `gap`: what was said to be
    /// seen last is too long ago.
    pub fn joined(&mut self, view: &mut View<'_>, pool: PoolId, at: Reach, gap: bool) {
        let Some(Subject::Channel(channel)) = view.subject(pool).cloned() else { return };
        let epoch = view.ctx.epoch.clone();
        for PendingReply { reply_to, recovers, .. } in self.take(pool) {
            let (request, recovered) = (reply_to.request.as_deref(), recovers && !gap);
            view.send_text(|out| {
                write::subscribed(request, &channel, (&epoch, at.as_offset()), recovered, out)
            });
        }
    }

    /// Ends a subscription, which is everybody's channel if it is not ended. Returns the frames that still waited for
    /// its beginning.
    pub fn unsubscribe(&mut self, view: &mut View<'_>, channel: &Arc<str>) -> Vec<ReplyTo> {
        if **channel == *EVERYONE {
            return Vec::new();
        }
        let Some(pool) = pool(view, channel) else { return Vec::new() };
        view.unsubscribe(pool);
        view.change_quota(QuotaChange::Unsubscribe(channel.clone()));
        self.take(pool).map(|reply| reply.reply_to).collect()
    }

    /// The user may not have a channel that it has: the subscription ends. Returns whom to tell.
    pub fn quota_exceeded(&mut self, view: &mut View<'_>, channel: Arc<str>) -> Option<ReplyTo> {
        let pool = pool(view, &channel)?;
        view.unsubscribe(pool);
        let asked = self.take(pool).last().map(|reply| reply.reply_to);
        Some(asked.unwrap_or_else(|| of_channel(channel)))
    }

    /// The connection may not hear a channel, and is subscribed no more. Returns whom to tell.
    pub fn denied(&mut self, view: &mut View<'_>, pool: PoolId, channel: Arc<str>) -> Vec<ReplyTo> {
        view.change_quota(QuotaChange::Unsubscribe(channel.clone()));
        let waiting: Vec<ReplyTo> = self.take(pool).map(|reply| reply.reply_to).collect();
        if waiting.is_empty() { vec![of_channel(channel)] } else { waiting }
    }
}

/// What a reply says that is about a channel, and to no frame.
pub fn of_channel(channel: Arc<str>) -> ReplyTo {
    ReplyTo { channel: Some(channel), ..ReplyTo::default() }
}

/// Publications are gone that a late reader has not seen: the next one is behind `next`.
pub fn send_gap(view: &mut View<'_>, pool: PoolId, next: Reach) {
    if let Some(Subject::Channel(channel)) = view.subject(pool).cloned() {
        let epoch = view.ctx.epoch.clone();
        view.send_text(|out| write::gap(&channel, (&epoch, next.as_offset()), out));
    }
}

/// The pool over which a connection gets a channel, if it is subscribed.
pub fn pool(view: &View<'_>, channel: &Arc<str>) -> Option<PoolId> {
    view.pool_of(&Subject::Channel(channel.clone()))
}

/// The channels that a connection has asked for, and their pools.
fn named(view: &View<'_>) -> SmallVec<[(Arc<str>, PoolId); 4]> {
    let subjects = view.subscriptions().subjects(view.id.slot);
    let channels = subjects.filter_map(|(subject, pool)| match subject {
        Subject::Channel(name) if **name != *EVERYONE => Some((name.clone(), pool)),
        _ => None,
    });
    channels.collect()
}

/// How many channels a connection has asked for, beside those of the rooms that it is in.
pub fn count(view: &View<'_>, rooms: &Memberships) -> usize {
    named(view).iter().filter(|(name, _)| rooms.get(name).is_none()).count()
}

/// How far a connection has come in the channels of which it has something.
pub fn positions(view: &View<'_>) -> Vec<(Arc<str>, Offset)> {
    let named = named(view).into_iter();
    named.filter_map(|(name, pool)| Some((name, view.position(pool)?.as_offset()))).collect()
}

/// A connection that gets every channel for want of a subscription has one now: it gets what it asks for, and no more.
/// What is due to it already it still gets.
pub fn end_implicit(view: &mut View<'_>) {
    if !view.ctx.limits.hub.implicit_channels {
        return;
    }
    let subjects = view.subscriptions().subjects(view.id.slot);
    let every = subjects.filter(|(subject, _)| matches!(subject, Subject::Every(_)));
    for pool in every.map(|(_, pool)| pool).collect::<Vec<_>>() {
        view.send_due(pool);
        view.unsubscribe(pool);
    }
}
