//! Several edges: routed to the nearest, cleared as one, in front of each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod edges;
mod held;
mod resurrection;
mod sockets;
mod support;
mod tiers;
mod writes;
mod written_past;
