//! What a log in Redis promises to the edges that follow it, with a Redis that is paused, killed, emptied and trimmed.
//!
//! Every test starts a server of its own: `cargo test --features redis --test redis -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod broken;
mod contact;
mod fit;
mod history;
mod lost;
mod proxy;
mod receipts;
mod server;
mod site;
mod taken_over;
mod writes;
