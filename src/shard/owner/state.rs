//! The part of an owner's state that outlives connections. It changes by records alone, so it can be built again from them.

use crate::flow::state::item::Item;
use crate::flow::state::room::{Room, RoomEvent};
use crate::shard::owner::channel::ChannelKind;
use crate::shard::owner::channels::Channels;
use crate::shard::owner::documents::Documents;
use crate::shard::owner::record::Record;
use crate::shard::owner::rooms::Rooms;
use std::sync::Arc;

/// The state of an owner.
#[derive(Debug, Default)]
pub struct State {
    /// Its documents.
    pub documents: Documents,
    /// Its channels.
    pub channels: Channels,
    /// Its rooms.
    pub rooms: Rooms,
}

/// What was there before a record, for those who are told of the difference.
#[derive(Debug)]
pub enum Before {
    /// Nothing that matters to them.
    Nothing,
    /// The document that is replaced or deleted.
    Document(Arc<Item>),
    /// The room that is deleted.
    Room(Box<Room>),
}

impl State {
    /// Takes in one change. Neither a clock nor a setting has a say in it.
    pub fn apply(&mut self, record: &Record) -> Before {
        let State { documents, channels, rooms } = self;
        let mut before = Before::Nothing;
        match record {
            Record::DocumentPut { item } => {
                before = documents.apply_put(item).map_or(before, Before::Document);
            }
            Record::DocumentDeleted { key, version, .. } => {
                before = documents.apply_deletion(key, *version).map_or(before, Before::Document);
            }
            Record::ChannelOpened { channel } => drop(channels.open(channel)),
            Record::Published(publication) => channels.append(publication),
            Record::HistoryTrimmed { channel, keep, at } => channels.open(channel).trim(*keep, *at),
            Record::ChannelForgotten { channel } => channels.forget(channel),
            Record::MessageEdited { channel, message, data } => channels.edit(channel, *message, data),
            Record::MessageErased { channel, message } => channels.erase(channel, *message),
            Record::Reaction { channel, message, emoji, user, added } => {
                channels.open(channel).react(*message, emoji, user, *added);
            }
            Record::RoomCreated { room, at, profile, owner } => {
                rooms.insert(room, Room::new(*at, (**profile).clone(), owner.clone()));
                channels.open(room).set_kind(rooms.kind(room));
            }
            Record::RoomChanged { room, event } => {
                rooms.apply(room, event);
                if let RoomEvent::Updated { .. } = event {
                    channels.open(room).set_kind(rooms.kind(room));
                }
            }
            Record::RoomDeleted { room } => {
                before = rooms.remove(room).map_or(before, |room| Before::Room(Box::new(room)));
                channels.open(room).set_kind(ChannelKind::Open);
            }
        }
        before
    }

    /// All of it as text: two states with the same text are the same.
    pub fn dump(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.documents.dump(&mut out);
        self.channels.dump(&mut out);
        self.rooms.dump(&mut out);
        out
    }
}
