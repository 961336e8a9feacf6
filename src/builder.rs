//! How an edge is configured: [`EdgeBuilder`].

use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::contact::Contact;
use crate::edge::{Edge, State};
use crate::error::ConfigError;
use crate::fill::Registry;
use crate::invalidation::{Ledger, LeftOut, Log, Outbox, Tariff, sweep};
use crate::name;
use crate::observe::Counters;
use crate::policy::{Behavior, CachePolicy};
use crate::rules::Rules;
use crate::store::{MemoryStore, Memos};

/// Fills may hold this part of the capacity.
const IN_FLIGHT_SHARE: u64 = 4;
const MIN_CAPACITY: u64 = 64 * 1024;

/// Configures an [`Edge`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct EdgeBuilder {
    name: String,
    capacity: u64,
    max_fills: u64,
    https: bool,
    outcomes: bool,
    policy: CachePolicy,
    behaviors: Vec<Behavior>,
    tariff: Tariff,
    clock: Arc<dyn Clock>,
    left_out: LeftOut,
}

impl Default for EdgeBuilder {
    fn default() -> Self {
        Self {
            name: "tower-edge".into(),
            capacity: 512 * 1024 * 1024,
            max_fills: 1024,
            https: false,
            outcomes: false,
            policy: CachePolicy::default(),
            behaviors: Vec::new(),
            tariff: Tariff::default(),
            clock: Arc::new(SystemClock::new()),
            left_out: LeftOut::default(),
        }
    }
}

impl EdgeBuilder {
    /// The edge's name in `Cache-Status`, such as `fra-1`. `tower-edge` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Bytes the store may hold, heads and keys included. 512 MiB by default.
    ///
    /// A 128th of it, at most 16 MiB, goes to the fields of what is asked for most, ready to be sent.
    ///
    /// It bounds what the allocator is asked for. With many small objects glibc's takes some 40 % more than that from the
    /// system; jemalloc and mimalloc don't.
    ///
    /// Fills in flight may hold another quarter of it. Past that, each fill may still hold 256 KiB and one frame of the
    /// origin's; [`max_fills`](Self::max_fills) bounds how many there are.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// How many fills may run at a time; past that, requests are forwarded and not stored. 1024 by default.
    pub fn max_fills(mut self, fills: u64) -> Self {
        self.max_fills = fills;
        self
    }

    /// The scheme of requests that do not say theirs (HTTP/1.1 in origin form) is `https`. Set it where the edge is
    /// behind TLS.
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// Whether answers have their [`Outcome`](crate::Outcome) among their extensions, for whoever stands in front of the edge: a
    /// log, a meter. They don't by default, since it takes a hit from two allocations to five, or three where the request
    /// brought extensions. `Cache-Status` says the same in any case.
    pub fn outcomes(mut self, outcomes: bool) -> Self {
        self.outcomes = outcomes;
        self
    }

    /// The policy for paths that no behavior matches.
    pub fn policy(mut self, policy: CachePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Adds a behavior after those already there.
    pub fn behavior(mut self, behavior: Behavior) -> Self {
        self.behaviors.push(behavior);
        self
    }

    /// Adds several, such as those of a [`preset`](crate::preset).
    pub fn behaviors(mut self, behaviors: impl IntoIterator<Item = Behavior>) -> Self {
        self.behaviors.extend(behaviors);
        self
    }

    /// What invalidations cost, and how many there may be.
    pub fn tariff(mut self, tariff: Tariff) -> Self {
        self.tariff = tariff;
        self
    }

    /// Takes the time from `clock`. For tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Leaves out a check of the log, so that invalidations do not hold. For the tests of this crate, which must be able to
    /// fail.
    #[cfg(feature = "faults")]
    #[doc(hidden)]
    pub fn leave_out(mut self, check: crate::invalidation::Check) -> Self {
        self.left_out.add(check);
        self
    }

    /// Checks the configuration and builds the edge.
    ///
    /// # Errors
    /// If a setting cannot work; the error names it.
    pub fn build(self) -> Result<Edge, ConfigError> {
        let name = name::item("name", &self.name)?;
        if self.capacity < MIN_CAPACITY {
            return Err(ConfigError::new("capacity", format!("is under {MIN_CAPACITY} bytes")));
        }
        if self.max_fills == 0 {
            return Err(ConfigError::new("max_fills", "is zero: nothing would ever be stored"));
        }
        let rules = Rules::new(self.policy, self.behaviors, self.capacity)?;
        let log = Arc::new(Log::leaving_out(self.left_out));
        let state = State {
            name,
            clock: self.clock,
            https: self.https,
            outcomes: self.outcomes,
            store: MemoryStore::new(self.capacity, rules.largest),
            memos: Memos::new(),
            fills: Arc::new(Registry::new(Arc::clone(&log), self.max_fills)),
            log,
            outbox: Outbox::default(),
            ledger: Ledger::new(self.tariff),
            sweeper: sweep::Sweeper::default(),
            contact: Contact::default(),
            counters: Counters::default(),
            hasher: foldhash::quality::RandomState::default(),
            capacity: self.capacity,
            largest: rules.largest,
            max_in_flight: self.capacity / IN_FLIGHT_SHARE,
            ahead: Arc::default(),
        };
        Ok(Edge::of(rules, Arc::new(state)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Limits, Slices, Ttl};

    #[test]
    fn a_configuration_that_cannot_work_is_refused_by_name() {
        let sized = |object_size| CachePolicy {
            limits: Limits { object_size: Some(object_size), ..Limits::default() },
            ..CachePolicy::default()
        };
        let backwards = CachePolicy {
            ttl: Ttl { min: Duration::from_secs(2), max: Duration::from_secs(1), ..Ttl::default() },
            ..CachePolicy::default()
        };
        let sliced = |slices| CachePolicy { slices: Some(slices), ..CachePolicy::default() };
        let edge = || Edge::builder().capacity(8 << 20);
        for (builder, setting) in [
            (edge().name(""), "name"),
            (edge().name("a\nb"), "name"),
            (edge().capacity(1), "capacity"),
            (edge().max_fills(0), "max_fills"),
            (edge().policy(sized((1 << 20) + 1)), "policy: limits.object_size"),
            (edge().policy(backwards), "policy: ttl.min"),
            (edge().policy(sliced(Slices::of(4095))), "policy: slices.size"),
            (edge().policy(sliced(Slices::of((1 << 20) + 1))), "policy: slices.size"),
            (
                edge().policy(sliced(Slices { threshold: 4095, ..Slices::of(4096) })),
                "policy: slices.threshold",
            ),
            (
                edge().policy(sliced(Slices { read_ahead: 17, ..Slices::of(4096) })),
                "policy: slices.read_ahead",
            ),
            (edge().behavior(Behavior::new("/a", sized(0))), "behavior \"/a\": limits.object_size"),
            (edge().behavior(Behavior::new("a", CachePolicy::default())), "behavior \"a\""),
        ] {
            assert_eq!(builder.build().unwrap_err().setting(), setting);
        }
        assert!(edge().policy(sized(1 << 20)).build().is_ok());
        assert!(edge().policy(sliced(Slices::default())).build().is_ok());
    }
}
