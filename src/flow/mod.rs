//! Floor 2: the steps of one event, one folder each, in order. A step never names a later one.

pub mod state;
