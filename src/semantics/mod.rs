//! The rules of HTTP caching, as functions of values: no I/O, no clock, no store.
//!
//! Each file answers one question and names the section of the RFC it answers from. The service asks,
//! in this order:
//!
//! | question | file |
//! |---|---|
//! | what does the origin say to this cache? | [`targeted`] |
//! | what does `Cache-Control` say? | [`directives`] |
//! | may this response be stored? | [`storable`] |
//! | how long does it live, how old is it? | [`freshness`] |
//! | may this stored response answer this request? | [`reuse`] |
//! | which of several stored responses? | [`vary`] |
//! | do two requests ask for the same thing? | [`normal`] |
//! | how is it revalidated, and what does a 304 change? | [`validation`] |
//! | what do the viewer's own conditions come to? | [`preconditions`] |
//! | which bytes did the viewer ask for? | [`range`] |
//! | which bytes does an answer have, and of how many? | [`part`] |
//! | which slices does that take, and which belong together? | [`slices`] |
//! | which answer goes on with a body that broke off? | [`rest`] |
//! | what does a write make invalid? | [`writes`] |
//! | is what a PUT sent what a GET would get? | [`saved`] |
//! | which fields travel, and which are for the one who asked? | [`headers`] |
//! | by which tags and groups can it be invalidated? | [`labels`] |
//!
//! `date`, `length`, `members` and `status` hold what several of them need.

mod date;
pub mod directives;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod freshness;
pub mod headers;
pub mod labels;
pub(crate) mod length;
mod members;
pub mod normal;
pub mod part;
pub mod preconditions;
pub mod range;
pub mod rest;
pub mod reuse;
pub mod saved;
pub mod slices;
pub(crate) mod status;
pub mod storable;
pub mod targeted;
pub mod validation;
pub mod vary;
pub mod writes;
