//! The edge server as its users meet it: started as a process, talked to over TCP.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod clearing;
mod commands;
mod compression;
#[cfg(unix)]
mod configured;
mod control;
mod demo;
mod distribution;
mod flags;
mod guard;
#[cfg(unix)]
mod identity;
mod media;
mod passage;
#[cfg(unix)]
mod places;
#[cfg(unix)]
mod proxies;
mod support;
/// The same as for the library's own tests.
#[cfg(feature = "maxmind")]
#[path = "../../../../src/distribution/viewer/tiny.rs"]
mod tiny;
mod wire;
