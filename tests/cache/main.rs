//! What the edge promises, tried through the public layer: one module a promise, over a scripted origin and a clock that
//! stands still. Nothing here sleeps.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod basics;
mod invalidation;
mod keyed;
mod released;
mod requests;
mod shareable;
mod stale;
mod support;
mod whole;
mod writes;
