//! How long to wait before trying again: [`Backoff`].

use std::time::Duration;

use tokio::time::sleep;

use super::FollowerSettings;

/// Longer waits from failure to failure.
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(settings: &FollowerSettings) -> Self {
        let longest = settings.heartbeat.max(settings.retry);
        Self { first: settings.retry, longest, next: settings.retry }
    }

    pub(super) async fn wait(&mut self) {
        sleep(self.next()).await;
    }

    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.longest);
        now
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}
