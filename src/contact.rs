//! Whether an edge may use what it has stored, though it may not know what was cleared: [`WithoutContact`].

use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};

/// What an edge of a distribution does while it has no contact with the log of invalidations.
///
/// Contact is lost when the edge has not known for `after` that it is up to date and counted as alive; it is there again
/// as soon as everything missed is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutContact {
    /// It goes on. What was cleared meanwhile is served until contact is there again, or its lifetime ends.
    #[default]
    Serve,
    /// Whatever is stored is validated with the origin, by each request for itself. Nothing stale stands in for a
    /// failing origin.
    Revalidate {
        /// So long after the last contact.
        after: Duration,
    },
    /// Nothing stored is used, and nothing is stored: requests go to the origin as if there were no cache.
    Refuse {
        /// So long after the last contact.
        after: Duration,
    },
}

impl WithoutContact {
    /// For how long stored responses are used without contact. `None` if for as long as there is none.
    pub(crate) fn trusts_for(self) -> Option<Duration> {
        match self {
            Self::Serve => None,
            Self::Revalidate { after } | Self::Refuse { after } => Some(after),
        }
    }
}

/// What may be done with stored responses at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Full,
    Validated,
    None,
}

/// Until when an edge counts as up to date, on its own clock. One load for who asks.
#[derive(Debug)]
pub(crate) struct Contact {
    /// In microseconds and shifted by one; the lowest bit says what is to be done afterwards: 1 to refuse. All bits for ever.
    until: AtomicU64,
}

const FOR_EVER: u64 = u64::MAX;

impl Default for Contact {
    fn default() -> Self {
        Self { until: AtomicU64::new(FOR_EVER) }
    }
}

impl Contact {
    pub(crate) fn trust(&self, now: Duration) -> Trust {
        // Acquire: who sees that contact is there again sees the rules that it brought.
        let until = self.until.load(Ordering::Acquire);
        if until == FOR_EVER || micros(now) < until >> 1 {
            return Trust::Full;
        }
        if until & 1 == 1 { Trust::None } else { Trust::Validated }
    }

    /// There is no contact until [`touch`](Self::touch) says so.
    pub(crate) fn lose(&self, policy: WithoutContact) {
        self.set(policy, |_| 0);
    }

    /// The edge was up to date at `at`.
    pub(crate) fn touch(&self, policy: WithoutContact, at: Duration) {
        self.set(policy, |after| micros(at.saturating_add(after)));
    }

    fn set(&self, policy: WithoutContact, until: impl Fn(Duration) -> u64) {
        let value = match policy {
            WithoutContact::Serve => FOR_EVER,
            WithoutContact::Revalidate { after } => until(after) << 1,
            WithoutContact::Refuse { after } => until(after) << 1 | 1,
        };
        self.until.store(value, Ordering::Release);
    }
}

/// Fewer than fill 62 bits, so that it is never for ever.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(u64::MAX >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_time_that_cannot_be_counted_is_late_and_not_for_ever() {
        let contact = Contact::default();
        assert_eq!(contact.trust(Duration::from_micros(u64::MAX)), Trust::Full);
        contact.touch(WithoutContact::Refuse { after: Duration::MAX }, SECOND);
        assert_ne!(contact.until.load(Ordering::Relaxed), FOR_EVER);
        assert_eq!(contact.trust(Duration::MAX), Trust::None);
    }

    #[test]
    fn trust_ends_when_contact_is_older_than_the_policy_says() {
        let contact = Contact::default();
        assert_eq!(contact.trust(Duration::MAX), Trust::Full, "an edge by itself");
        for (policy, before, after) in [
            (WithoutContact::Serve, Trust::Full, Trust::Full),
            (WithoutContact::Revalidate { after: SECOND }, Trust::Full, Trust::Validated),
            (WithoutContact::Refuse { after: SECOND }, Trust::Full, Trust::None),
            (WithoutContact::Refuse { after: Duration::MAX }, Trust::Full, Trust::Full),
            (WithoutContact::Refuse { after: Duration::ZERO }, Trust::None, Trust::None),
        ] {
            contact.lose(policy);
            assert_eq!(
                contact.trust(Duration::ZERO),
                if policy == WithoutContact::Serve { before } else { contact.trust(SECOND) }
            );
            contact.touch(policy, SECOND * 9);
            assert_eq!(contact.trust(SECOND * 10 - Duration::from_micros(1)), before, "{policy:?}");
            assert_eq!(contact.trust(SECOND * 10), after, "{policy:?}");
        }
    }
}
