//! The plain answers of routes: what a client has missed of a channel, and what has happened in its views.

use crate::base::offset::Offset;
use crate::flow::encode::events::write_offset;
use crate::flow::filter;
use crate::flow::limits::route::RouteId;
use crate::flow::request::catchup::MissedQuery;
use crate::flow::request::position::Position;
use crate::flow::request::views::{ViewQuery, Views};
use crate::shard::context::Context;
use crate::shard::owner::channel::{Channel, Missed};
use crate::wire::json::Json;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The field that names a route's publications, if it has one.
pub fn id_field(ctx: &Context, route: RouteId) -> Option<&str> {
    ctx.limits.route(route).and_then(|route| route.id_field.as_deref())
}

/// What the client has missed, oldest first, and its cursor behind that.
pub fn missed(ctx: &Context, channel: &Channel, query: &MissedQuery) -> Vec<u8> {
    let MissedQuery { channel: name, route, position, filter, .. } = query;
    let (has, _) = channel.resolve(ctx, name, position, id_field(ctx, *route));
    let mut out = br#"{"activities":["#.to_vec();
    let wanted = |data| filter.as_ref().is_none_or(|filter| filter.allows(data));
    for Missed { publish, .. } in channel.start(&ctx.epoch, &has).missed {
        if wanted(&publish.data) {
            if !out.ends_with(b"[") {
                out.push(b',');
            }
            out.extend_from_slice(publish.data.as_bytes());
        }
    }
    out.extend_from_slice(b"],");
    let last = channel.last_name(ctx, name, *route).or_else(|| position.name());
    let mut cursor = Vec::new();
    write_offset(last.as_deref(), &mut cursor);
    out.extend_from_slice(&cursor[1..]);
    out
}

/// What has happened in the views of a client since it looked last: per organization whether its membership changed,
/// per view how often something did, by type, and how far that goes.
pub fn views(ctx: &Context, channel: &Channel, name: &Arc<str>, route: RouteId, asked: &Views) -> Vec<u8> {
    let id_field = id_field(ctx, route);
    let (first, _) = channel.resolve(ctx, name, &Position::First, id_field);
    // each publication is read once, however many views there are
    let notes: Vec<(Offset, Note)> = channel
        .start(&ctx.epoch, &first)
        .missed
        .map(|Missed { at, publish, .. }| (at, Note::read(&publish.data)))
        .collect();
    let since = |cursor: &Option<Box<str>>| {
        let has = cursor.clone().map(Position::Named)?;
        match channel.resolve(ctx, name, &has, id_field) {
            (Position::Offset(_, seen), false) => {
                Some(&notes[notes.partition_point(|(offset, _)| *offset <= seen)..])
            }
            _ => None,
        }
    };
    let all = since(&asked.cursor);
    let views = asked.views.iter().map(|view| {
        let own = if view.cursor.is_some() { since(&view.cursor) } else { all };
        look(view, own)
    });
    let views: Vec<Value> = views.collect();
    let last = channel.last_name(ctx, name, route).or_else(|| asked.cursor.clone());
    let changes = signals(all.unwrap_or_default());
    json!({"changes": changes, "views": views, "cursor": last}).to_string().into_bytes()
}

/// Which organizations something has happened in, and whether their membership has changed.
fn signals(notes: &[(Offset, Note)]) -> Map<String, Value> {
    let mut changes: BTreeMap<&str, bool> = BTreeMap::new();
    for (_, note) in notes {
        if let Some(organization) = &note.organization {
            *changes.entry(organization).or_default() |= note.kind.as_deref() == Some("membership");
        }
    }
    let signals = changes.into_iter().map(|(organization, members)| {
        let signals = if members { json!({"signals": {"membership": true}}) } else { json!({}) };
        (organization.to_owned(), signals)
    });
    signals.collect()
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
fn look(view: &ViewQuery, notes: Option<&[(Offset, Note)]>) -> Value {
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
