//! The only file that reads the time.
//!
//! Residence in the store is measured on a clock that never steps; the wall clock serves only for
//! arithmetic with the dates in headers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Where an edge gets the time from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since some fixed moment. Never goes back.
    fn elapsed(&self) -> Duration;
    /// The time of day.
    fn wall(&self) -> SystemTime;
}

/// The machine's own clocks. Inside a tokio runtime whose time is paused, [`elapsed`](Clock::elapsed) follows it.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved: for tests. Clones share their time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: SystemTime,
    elapsed: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: SystemTime) -> Self {
        Self { start, elapsed: Arc::default() }
    }

    /// Moves both clocks ahead.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        self.start + self.elapsed()
    }
}
