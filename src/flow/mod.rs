//! Floor 2: the steps of one event, one folder each, in order. A step never names a later one.

pub mod limits;

pub mod identity;

pub mod filter;

pub mod request;

pub mod route;

pub mod state;

pub mod encode;

pub mod fanout;

pub mod conn;
