//! What the edge promises, tried through the public layer: one module a promise, over a scripted origin and a clock that
//! stands still. Nothing here sleeps.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod basics;
mod bounded;
mod collapse;
mod contact;
mod fields;
mod harmless;
mod hints;
mod informational;
mod invalidation;
mod keyed;
mod live;
mod newest;
mod normal;
mod objects;
mod panics;
mod parts;
mod prefetch;
mod purge;
mod reconfigured;
mod refusals;
mod released;
mod requests;
mod shareable;
mod slices;
mod stale;
mod status;
mod support;
mod targeted;
mod through;
mod tower;
mod validation;
mod waiting;
mod whole;
mod writes;
