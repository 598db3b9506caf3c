//! The channels of an owner: which there are, the next publication of each, and which are forgotten.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::base::time::SEC;
use crate::flow::conn::listing::Row;
use crate::flow::limits::Limits;
use crate::flow::state::tail::Tail;
use crate::shard::context::Context;
use crate::shard::owner::channel::{Channel, ChannelKind, retention};
use crate::shard::owner::record::{Publication, Record};
use crate::wire::feed::Publish;
use crate::wire::hub::EVERYONE;
use crate::wire::hub::write::Placed;
use crate::wire::json::Json;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

/// For how long a channel is remembered that nobody is subscribed to and that has no history.
const IDLE: u64 = 60 * SEC;

/// All channels of an owner.
#[derive(Debug, Default)]
pub struct Channels {
    map: HashMap<Arc<str>, Channel>,
    /// The latest publications of all of them.
    tail: Tail,
    /// The highest offset in a channel that is forgotten: every other begins behind it, so that the offsets of a name
    /// never go back.
    floor: Offset,
    /// Those that are new since idle ones were last looked for.
    opened: Vec<Arc<str>>,
    /// Every other once, with the moment at which it may be forgotten, if nothing has come between.
    idle: VecDeque<(u64, Arc<str>)>,
}

impl Channels {
    /// The channel of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Channel> {
        self.map.get(name)
    }

    /// A channel that was visited just now.
    pub fn visited(&self, name: &str) -> &Channel {
        self.get(name).expect("a visit opens it")
    }

    /// The latest publications of all of them.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The channels that anybody may know of. Everybody's is none that one would choose.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let open = self
            .map
            .iter()
            .filter(|(name, channel)| channel.kind() != ChannelKind::PrivateRoom && ***name != *EVERYONE);
        open.map(|(name, channel)| Row { name: name.clone(), offset: Some(channel.offset()), subscribers: 0 })
    }

    /// The next publication of a channel.
    pub fn next(&self, ctx: &mut Context, publish: Arc<Publish>) -> Publication {
        let name = &publish.channel;
        let (offset, kind, keep) = match self.map.get(name) {
            Some(channel) => {
                channel.touch(ctx.now.mono);
                (channel.offset(), channel.kind(), channel.keep(&ctx.limits, name))
            }
            None => (self.floor, ChannelKind::Open, retention(&ctx.limits, name, ChannelKind::Open)),
        };
        // forge's clients expect an id and a time of everything that is said in a room
        let told = keep.count > 0 || publish.client || kind != ChannelKind::Open;
        let stamp = if told { ctx.stamp() } else { Stamp::ZERO };
        let placed = Placed { room: kind != ChannelKind::Open, sequence: offset.next(), stamp, told };
        Publication { placed, keep, publish }
    }

    /// Somebody is about to subscribe to a channel or to read it: what is to be recorded before, if anything.
    pub fn visit(&self, ctx: &Context, name: &Arc<str>) -> Option<Record> {
        let Some(channel) = self.map.get(name) else {
            return Some(Record::ChannelOpened { channel: name.clone() });
        };
        channel.touch(ctx.now.mono);
        let keep = channel.is_beyond(ctx, name)?;
        Some(Record::HistoryTrimmed { channel: name.clone(), keep, at: ctx.now.wall })
    }

    /// The same for those who ask about a channel that may not be there.
    pub fn consult(&self, ctx: &Context, name: &Arc<str>) -> Option<Record> {
        let keep = self.map.get(name)?.is_beyond(ctx, name)?;
        Some(Record::HistoryTrimmed { channel: name.clone(), keep, at: ctx.now.wall })
    }

    /// The next channel whose time to be forgotten may have come, with what has become of it. `watched`: whether
    /// somebody is subscribed.
    pub fn next_idle(&mut self, ctx: &Context, watched: impl Fn(&Arc<str>) -> bool) -> Option<Record> {
        let now = ctx.now.mono;
        for name in std::mem::take(&mut self.opened) {
            if let Some(channel) = self.map.get(&name) {
                channel.touch(now);
                self.idle.push_back((now + IDLE, name));
            }
        }
        while self.idle.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, name)) = self.idle.pop_front()
        {
            let Some(channel) = self.map.get_mut(&name) else { continue };
            if let Some(keep) = channel.is_beyond(ctx, &name) {
                // looked at once more when that is done
                self.idle.push_front((now, name.clone()));
                return Some(Record::HistoryTrimmed { channel: name, keep, at: ctx.now.wall });
            }
            channel.prune(&self.tail);
            let room = channel.kind() != ChannelKind::Open;
            let empty = channel.history().is_none_or(|history| history.is_empty());
            let due = if room || !empty || watched(&name) { now } else { channel.touched() } + IDLE;
            if due <= now {
                return Some(Record::ChannelForgotten { channel: name });
            }
            self.idle.push_back((due, name));
        }
        None
    }

    /// Settings have changed.
    pub fn limits_changed(&mut self, limits: &Limits) {
        self.tail.set_limits(limits.hub.tail);
        self.map.values_mut().for_each(Channel::limits_changed);
    }

    /// A second has passed.
    pub fn tick(&mut self, now: u64) {
        self.tail.tick(now);
    }

    /// A channel, opened if need be, to take a record in.
    pub fn open(&mut self, name: &Arc<str>) -> &mut Channel {
        let (floor, opened) = (self.floor, &mut self.opened);
        self.map.entry_ref(name).or_insert_with(|| {
            opened.push(name.clone());
            Channel::new(floor)
        })
    }

    /// A publication takes its place.
    pub fn append(&mut self, publication: &Publication) {
        let name = &publication.publish.channel;
        let (floor, opened) = (self.floor, &mut self.opened);
        let channel = match self.map.get_mut(name) {
            Some(channel) => channel,
            None => {
                opened.push(name.clone());
                self.map.entry_ref(name).or_insert_with(|| Channel::new(floor))
            }
        };
        channel.append(&mut self.tail, publication);
    }

    /// A message says something else.
    pub fn edit(&mut self, name: &str, message: Stamp, data: &Json) {
        if let Some(channel) = self.map.get_mut(name) {
            channel.edit(&mut self.tail, message, data);
        }
    }

    /// A message is deleted.
    pub fn erase(&mut self, name: &str, message: Stamp) {
        if let Some(channel) = self.map.get_mut(name) {
            channel.erase(&mut self.tail, message);
        }
    }

    /// A channel is forgotten.
    pub fn forget(&mut self, name: &str) {
        if let Some(channel) = self.map.remove(name) {
            self.floor = self.floor.max(channel.offset());
        }
    }

    /// Everything that records have made, as text.
    pub fn dump(&self, out: &mut Vec<u8>) {
        writeln!(out, "floor {}", self.floor).expect("a Vec takes all");
        let mut all: Vec<_> = self.map.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        for (name, channel) in all {
            write!(out, "channel {name:?} ").expect("a Vec takes all");
            channel.dump(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Channels, Record};
    use crate::base::id::ShardId;
    use crate::base::time::SEC;
    use crate::shard::context::Context;
    use crate::wire::feed::Publish;
    use crate::wire::json::Json;
    use fastrand::Rng;
    use std::collections::HashMap;
    use std::sync::Arc;

    #[test]
    fn offsets_of_a_name_rise_and_never_go_back_though_channels_are_forgotten() {
        let (mut rng, mut channels) = (Rng::with_seed(1), Channels::default());
        let mut ctx = Context::new(ShardId(0), 1, Default::default(), "e".into());
        let (mut last, mut forgotten) = (HashMap::<String, u64>::new(), 0);
        for _ in 0..5000 {
            ctx.now.mono += rng.u64(0..3) * SEC;
            let name = format!("c{}", rng.u32(0..60));
            let publish = Publish::new(&name, "message", Json::null());
            let publication = channels.next(&mut ctx, Arc::new(publish));
            channels.append(&publication);
            let offset = publication.placed.sequence.get();
            let before = last.insert(name.clone(), offset).unwrap_or(0);
            assert!(offset > before, "{name}: {before}, then {offset}");
            while let Some(record) = channels.next_idle(&ctx, |name| &**name == "c1") {
                let Record::ChannelForgotten { channel } = record else { panic!("{record:?}") };
                assert!(&*channel != "c1", "somebody is subscribed to it");
                channels.forget(&channel);
                forgotten += 1;
            }
        }
        assert!(forgotten > 100 && channels.len() < 60, "{forgotten} were forgotten");
    }
}
