//! Three edge servers and one Redis, as processes: what a receipt says of an invalidation is so on every edge, whatever
//! happens to any of them.
//!
//! Needs redis-server; some edges stand in network namespaces (`namespace.rs`), for which root is needed. `TOWER_EDGE_INVALIDATIONS` sets how many the history has, `TOWER_EDGE_SEED` the order of what happens.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod chance;
mod demo;
mod edge;
mod faults;
mod history;
mod namespace;
mod operators;
mod origin;
mod partitions;
mod policies;
mod proxy;
mod readers;
mod receipts;
/// The same as for the library's own tests.
#[path = "../../../../tests/redis/server.rs"]
mod server;
mod site;
mod tiers;
mod truth;
