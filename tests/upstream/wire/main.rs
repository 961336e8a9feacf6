//! `origin::Upstream` in front of real sockets: what the origin sees, and what comes of what it does.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod again;
mod expect;
mod identity;
mod names;
mod passage;
mod patience;
mod protocols;
mod support;
