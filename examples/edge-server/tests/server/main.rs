//! The edge server as its users meet it: started as a process, talked to over TCP.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[cfg(unix)]
mod configured;
mod demo;
mod flags;
mod support;
mod wire;
