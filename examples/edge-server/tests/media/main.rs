//! Video through the edge server: real files by nginx, played by ffmpeg and by Chromium.
//!
//! These tests need ffmpeg, nginx or Chromium, and real seconds, so `cargo test` leaves them out; `tests/all.sh` runs them.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod browser;
mod client;
mod live;
mod memory;
mod page;
mod played;
mod processes;
mod ranges;
