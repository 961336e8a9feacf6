//! What the edge counts: [`Stats`].

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::outcome::{Detail, Disposition, Outcome};
use crate::semantics::storable::NotStored;

/// What an edge has done since it was built, and what it holds. The counts are read one after the other, so they need
/// not add up while requests are being answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered, whatever the answer: an error of the origin is one, and a connection that becomes a tunnel. Each is
    /// a hit, a stale hit, a miss, a revalidation or passed.
    pub requests: u64,
    /// Answered from the store with a fresh response.
    pub hits: u64,
    /// Answered from the store with a stale response.
    pub stale_hits: u64,
    /// Forwarded since nothing that could be used was stored.
    pub misses: u64,
    /// Forwarded, or waited, to revalidate a stored response.
    pub revalidations: u64,
    /// Answered out of another request's exchange with the origin.
    pub collapsed: u64,
    /// Forwarded since the edge had no business with them: writes, upgrades, requests without a key.
    pub passed: u64,
    /// Responses put into the store.
    pub stored: u64,
    /// Stored responses that a 304 made fresh.
    pub refreshed: u64,
    /// Answers that could not be stored.
    pub not_stored: u64,
    /// Fetched ahead of viewers.
    pub prefetched: u64,
    /// Bodies that ended before their end.
    pub failed_bodies: u64,
    /// Invalidations, those by writes included.
    pub invalidations: u64,
    /// Keys in the store now: of an object in slices its head, and each slice.
    pub objects: u64,
    /// Bytes held by the store now, heads and keys included.
    pub bytes: u64,
    /// Fills running now.
    pub fills: u64,
    /// Bytes held by fills now.
    pub bytes_in_flight: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        // Spelt out, so that none is forgotten.
        let Self {
            requests,
            hits,
            stale_hits,
            misses,
            revalidations,
            collapsed,
            passed,
            stored,
            refreshed,
            not_stored,
            prefetched,
            failed_bodies,
            invalidations,
            objects,
            bytes,
            fills,
            bytes_in_flight,
        } = other;
        for (sum, more) in [
            (&mut self.requests, requests),
            (&mut self.hits, hits),
            (&mut self.stale_hits, stale_hits),
            (&mut self.misses, misses),
            (&mut self.revalidations, revalidations),
            (&mut self.collapsed, collapsed),
            (&mut self.passed, passed),
            (&mut self.stored, stored),
            (&mut self.refreshed, refreshed),
            (&mut self.not_stored, not_stored),
            (&mut self.prefetched, prefetched),
            (&mut self.failed_bodies, failed_bodies),
            (&mut self.invalidations, invalidations),
            (&mut self.objects, objects),
            (&mut self.bytes, bytes),
            (&mut self.fills, fills),
            (&mut self.bytes_in_flight, bytes_in_flight),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Cores write to counters of their own as far as there are that many.
const SHARDS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    shards: [Shard; SHARDS],
    stored: AtomicU64,
    refreshed: AtomicU64,
    not_stored: AtomicU64,
    prefetched: AtomicU64,
    failed_bodies: AtomicU64,
    invalidations: AtomicU64,
}

/// What every request counts. Aligned, so that no two threads write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    hits: AtomicU64,
    stale_hits: AtomicU64,
    misses: AtomicU64,
    revalidations: AtomicU64,
    collapsed: AtomicU64,
    passed: AtomicU64,
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn answered(&self, outcome: &Outcome) {
        use crate::outcome::ForwardReason::{Bypass, Method, Stale};

        let shard = &self.shards[shard()];
        let stale = matches!(
            outcome.detail,
            Some(Detail::StaleWhileRevalidate | Detail::StaleIfError | Detail::MaxStale)
        );
        match outcome.disposition {
            Disposition::Hit if stale => add(&shard.stale_hits),
            Disposition::Hit => add(&shard.hits),
            Disposition::Forward(Bypass | Method) => add(&shard.passed),
            Disposition::Forward(Stale) => add(&shard.revalidations),
            Disposition::Forward(_) => add(&shard.misses),
        }
        if outcome.collapsed {
            add(&shard.collapsed);
        }
    }

    pub(crate) fn stored(&self) {
        add(&self.stored);
    }

    pub(crate) fn refreshed(&self) {
        add(&self.refreshed);
    }

    pub(crate) fn not_stored(&self, _why: NotStored) {
        add(&self.not_stored);
    }

    pub(crate) fn prefetched(&self) {
        add(&self.prefetched);
    }

    pub(crate) fn body_failed(&self) {
        add(&self.failed_bodies);
    }

    pub(crate) fn invalidated(&self) {
        add(&self.invalidations);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = Stats {
            stored: read(&self.stored),
            refreshed: read(&self.refreshed),
            not_stored: read(&self.not_stored),
            prefetched: read(&self.prefetched),
            failed_bodies: read(&self.failed_bodies),
            invalidations: read(&self.invalidations),
            ..Stats::default()
        };
        for shard in &self.shards {
            stats.hits += read(&shard.hits);
            stats.stale_hits += read(&shard.stale_hits);
            stats.misses += read(&shard.misses);
            stats.revalidations += read(&shard.revalidations);
            stats.collapsed += read(&shard.collapsed);
            stats.passed += read(&shard.passed);
        }
        stats.requests = stats.hits + stats.stale_hits + stats.misses + stats.revalidations + stats.passed;
        stats
    }
}
