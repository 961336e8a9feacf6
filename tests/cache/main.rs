//! What the edge promises, tried through the public layer: one module a promise, over a scripted origin and a clock that
//! stands still. Nothing here sleeps.

mod basics;
mod normal;
mod refusals;
mod status;
mod support;
mod targeted;
