//! `origin::ObjectStore`, from outside: what a request gets, and what the store was asked for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod reads;
mod refusals;
mod support;
mod upload;
mod writes;
