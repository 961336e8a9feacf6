//! What a group of origins promises, seen from outside.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod behind;
mod failover;
mod health;
mod keeper;
mod silence;
mod support;
mod takeover;
