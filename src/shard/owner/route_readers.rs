//! Routes, on the side of the owners: what a reader has missed by the names that it knows, and how many readers there are.

use crate::flow::encode::events::write_offset;
use crate::flow::encode::hub;
use crate::flow::filter::{self, Filter};
use crate::flow::request::catchup::MissedQuery;
use crate::flow::request::position::Position;
use crate::flow::request::views::{View, Views};
use crate::shard::context::Context;
use crate::shard::owner::channels::{Channel, Channels};
use crate::wire::cursor::Cursor;
use crate::wire::json::Json;
use hashbrown::HashMap;
use memchr::memmem;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many readers the routes of this owner have, all together and by user.
#[derive(Debug, Default)]
pub struct Readers(HashMap<(u8, Option<Arc<str>>), usize>);

impl Readers {
    /// One more reader of a route, if there is room.
    pub fn enter(&mut self, ctx: &Context, number: u8, user: Option<&Arc<str>>) -> bool {
        let route = &ctx.limits.routes[usize::from(number)];
        let count = |of: Option<&Arc<str>>| self.0.get(&(number, of.cloned())).copied().unwrap_or(0);
        if count(None) >= route.streams || user.is_some() && count(user) >= route.streams_per_user {
            return false;
        }
        for of in [None].into_iter().chain(user.map(Some)) {
            *self.0.entry((number, of.cloned())).or_default() += 1;
        }
        true
    }

    /// One less.
    pub fn exit(&mut self, number: u8, user: Option<Arc<str>>) {
        for of in [None].into_iter().chain(user.map(Some)) {
            let name = (number, of);
            let count = self.0.get_mut(&name).expect("it has entered");
            *count -= 1;
            if *count == 0 {
                self.0.remove(&name);
            }
        }
    }
}

impl Channel {
    /// A reader's place as an offset, where it says it otherwise. What is unknown means that it has nothing; then the
    /// answer's second part is true.
    pub fn placed_at(
        &mut self,
        ctx: &Context,
        channel: &str,
        has: &Position,
        id_field: Option<&str>,
    ) -> (Position, bool) {
        let epoch = || Box::from(&*ctx.epoch);
        let (first, last) = match self.history(ctx) {
            Some(history) => (history.last() - history.len() as u64, history.last()),
            None => (self.offset(), self.offset()),
        };
        match has {
            Position::First => (Position::Offset(epoch(), first), false),
            Position::Named(name) => {
                let cursor = Cursor::decode(name).ok();
                let ours = cursor.filter(|c| c.epoch.as_deref().is_none_or(|e| *e == *ctx.epoch));
                let offset = match ours.and_then(|cursor| cursor.channels.get(channel).copied()) {
                    Some(offset) => Some(offset).filter(|offset| (first..=last).contains(offset)),
                    None => id_field.and_then(|field| self.named(ctx, field, name)),
                };
                (Position::Offset(epoch(), offset.unwrap_or(first)), offset.is_none())
            }
            Position::Offset(epoch, offset) if *offset < first => {
                (Position::Offset(epoch.clone(), first), true)
            }
            other => (other.clone(), false),
        }
    }

    /// The offset of the last publication with this text in a field.
    fn named(&mut self, ctx: &Context, field: &str, name: &str) -> Option<u64> {
        let history = self.history(ctx)?;
        // a name of plain characters stands in the data as it is; the others are read
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let finder = plain.then(|| memmem::Finder::new(name.as_bytes()));
        let all = history.since(history.last() - history.len() as u64)?;
        let is = |data| filter::field(data, field).is_some_and(|found| *found == *name);
        let found = all.filter(|(_, entry)| {
            let data = &entry.publish.data;
            finder.as_ref().is_none_or(|finder| finder.find(data.as_bytes()).is_some()) && is(data)
        });
        found.last().map(|(offset, _)| offset)
    }

    /// What the readers of a route call the last publication; `None` if there never was one.
    pub fn last_name(&mut self, ctx: &Context, channel: &Arc<str>, route: u8) -> Option<Box<str>> {
        let offset = self.offset();
        let history = self.history(ctx);
        let newest = history.and_then(|history| history.newest());
        let name =
            newest.map(|(offset, entry)| hub::name(&entry.publish, offset, route, &ctx.limits, &ctx.epoch));
        let place = || (offset > 0).then(|| hub::place(channel, offset, &ctx.epoch));
        name.or_else(place).map(String::into_boxed_str)
    }
}

impl Channels {
    /// The plain answer of a route: what the client has missed, oldest first, and its cursor behind that.
    pub fn missed(&mut self, ctx: &Context, missed: &MissedQuery) -> Vec<u8> {
        let MissedQuery { channel: name, route, position: has, filter: choice } = missed;
        let id_field = ctx.limits.routes[usize::from(*route)].id_field.as_deref();
        let channel = self.open(ctx, name);
        let (has, _) = channel.placed_at(ctx, name, has, id_field);
        let mut out = br#"{"activities":["#.to_vec();
        let wanted =
            |choice: &Option<Arc<Filter>>, data| choice.as_ref().is_none_or(|choice| choice.allows(data));
        for (_, publish) in channel.start(ctx, &has).missed {
            if wanted(choice, &publish.data) {
                if !out.ends_with(b"[") {
                    out.push(b',');
                }
                out.extend_from_slice(publish.data.as_bytes());
            }
        }
        out.extend_from_slice(b"],");
        let last = channel.last_name(ctx, name, *route).or_else(|| missed.position.name());
        let mut cursor = Vec::new();
        write_offset(last.as_deref(), &mut cursor);
        out.extend_from_slice(&cursor[1..]);
        out
    }

    /// What has happened in the views of a client since it looked last: per organization whether its membership changed,
    /// per view how often something did, by type, and how far that goes.
    pub fn views(&mut self, ctx: &Context, name: &Arc<str>, route: u8, asked: &Views) -> Vec<u8> {
        let id_field = ctx.limits.routes[usize::from(route)].id_field.as_deref();
        let channel = self.open(ctx, name);
        let (first, _) = channel.placed_at(ctx, name, &Position::First, id_field);
        // each publication is read once, however many views there are
        let notes: Vec<(u64, Note)> = channel
            .start(ctx, &first)
            .missed
            .iter()
            .map(|(placed, publish)| (placed.sequence, Note::read(&publish.data)))
            .collect();
        let mut since = |cursor: &Option<Box<str>>| {
            let has = cursor.clone().map(Position::Named)?;
            match channel.placed_at(ctx, name, &has, id_field) {
                (Position::Offset(_, seen), false) => {
                    Some(&notes[notes.partition_point(|(offset, _)| *offset <= seen)..])
                }
                _ => None,
            }
        };
        let all = since(&asked.cursor);
        let mut changes: BTreeMap<&str, bool> = BTreeMap::new();
        for (_, note) in all.unwrap_or_default() {
            if let Some(organization) = &note.organization {
                *changes.entry(organization).or_default() |= note.kind.as_deref() == Some("membership");
            }
        }
        let changes: Map<String, Value> = changes
            .into_iter()
            .map(|(organization, members)| {
                let signals = if members { json!({"signals": {"membership": true}}) } else { json!({}) };
                (organization.to_owned(), signals)
            })
            .collect();
        let mut views = Vec::new();
        for view in &asked.views {
            let own = if view.cursor.is_some() { since(&view.cursor) } else { all };
            views.push(look(view, own));
        }
        let last = channel.last_name(ctx, name, route).or_else(|| asked.cursor.clone());
        json!({"changes": changes, "views": views, "cursor": last}).to_string().into_bytes()
    }
}

/// What matters of a publication to a view.
struct Note {
    kind: Option<Box<str>>,
    organization: Option<Box<str>>,
    product: Option<Box<str>>,
    path: Option<Box<str>>,
    seq: Option<u64>,
}

impl Note {
    fn read(data: &Json) -> Note {
        let names = ["kind", "organizationId", "productType", "entityType", "path", "seq"];
        let [kind, organization, product, entity, path, seq] = filter::fields(data, names);
        Note {
            kind,
            organization,
            product: product.or(entity),
            path,
            seq: seq.and_then(|seq| seq.parse().ok()),
        }
    }
}

/// The answer about one view. Where it is not known what the client had, there is nothing to say.
fn look(view: &View, notes: Option<&[(u64, Note)]>) -> Value {
    let Some(notes) = notes else { return json!({"key": view.key, "status": "opaque"}) };
    let (mut counts, mut frontiers): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = Default::default();
    for (_, note) in notes {
        let (organization, product) = (note.organization.as_deref(), note.product.as_deref());
        if !view.shows(organization, product, note.path.as_deref()) {
            continue;
        }
        let Some(product) = product else { continue };
        *counts.entry(product).or_default() += 1;
        if let Some(seq) = note.seq {
            let frontier = frontiers.entry(product).or_default();
            *frontier = seq.max(*frontier);
        }
    }
    json!({"key": view.key, "status": "ok", "frontiers": frontiers, "counts": counts})
}
