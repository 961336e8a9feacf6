//! What the edge promises, tried through the public layer: one module a promise, over a scripted origin and a clock that
//! stands still. Nothing here sleeps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod basics;
mod bounded;
mod collapse;
mod harmless;
mod newest;
mod panics;
mod support;
mod tower;
mod waiting;
