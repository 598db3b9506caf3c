//! What must hold in every simulated world, by the door at which it shows.

mod batches;
mod channels;
mod connections;
mod documents;
mod event_recovery;
mod events;
mod hub;
mod hub_recovery;
mod imports;
mod late;
mod limits;
mod native_documents;
mod order;
mod pressure;
mod room_doors;
mod rooms;
mod rooms_http;
mod routes;
mod stream_turns;
mod streams;
mod support;
