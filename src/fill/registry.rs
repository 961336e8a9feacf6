//! Who leads the fill of a key, and who joins it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use super::copy::Copy;
use super::shared::{Fill, Participant, Unshared};
use crate::invalidation::{Log, Registration, Stamp};
use crate::key::{CacheKey, KeyBuf};
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::reuse::{Reuse, reuse};
use crate::store::{Head, Stored};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Registry {
    fills: Mutex<HashMap<CacheKey, Arc<Fill>>>,
    log: Arc<Log>,
    /// Gives every fill its place in the order in which they began.
    order: AtomicU64,
    /// Fills that run, registered or not.
    running: AtomicU64,
    in_flight: Arc<AtomicU64>,
    max_fills: u64,
}

/// What somebody who needs an answer does next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Asks the origin, for everyone.
    Lead(Lead),
    /// Waits for the one who does.
    Follow(Participant),
    /// The edge runs as many fills as it may.
    Busy,
    /// As many leaders have failed as may try.
    Exhausted,
}

/// Who wants a fill, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) takes: Takes,
    /// Leads without waiting for the answer.
    pub(crate) background: bool,
    /// The fill this request waited for failed: those who waited with it try in turn, this many in all.
    pub(crate) retry: Option<(Chain, u8)>,
}

/// Which answers that have begun to come a request takes: those it would take from the store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Takes {
    pub(crate) control: RequestCacheControl,
    pub(crate) now: Duration,
}

impl Takes {
    pub(super) fn accepts(&self, head: &Head) -> bool {
        // RFC 9111 §4 makes no difference between what is stored and what is being stored.
        matches!(reuse(&head.terms, head.age(self.now), &self.control), Reuse::Fresh | Reuse::Stale(_))
    }
}

/// How many leaders have failed one after the other while the same requests waited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain(Arc<AtomicU8>);

impl Chain {
    /// Whether one more of those who waited may try. Counts the try.
    pub(crate) fn try_again(&self, retries: u8) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tries| {
                (tries < retries).then_some(tries + 1)
            })
            .is_ok()
    }
}

impl Registry {
    pub(crate) fn new(log: Arc<Log>, max_fills: u64) -> Self {
        Self {
            fills: Mutex::default(),
            log,
            order: AtomicU64::new(1),
            running: AtomicU64::new(0),
            in_flight: Arc::default(),
            max_fills,
        }
    }

    /// Joins the fill of a key or, where there is none that this request may have, begins one.
    pub(crate) fn join_or_lead(self: &Arc<Self>, key: &KeyBuf, wish: &Wish) -> Turn {
        let mut fills = self.fills.lock();
        if let Some(fill) = fills.get(key.as_bytes()) {
            // A fill that began before an invalidation is not for those who come after it (invariant 4).
            if fill.is_joinable(&wish.takes) && fill.may_be_joined(key.as_bytes(), &self.log) {
                return Turn::Follow(fill.participate());
            }
        }
        let chain = match &wish.retry {
            Some((chain, retries)) if !chain.try_again(*retries) => return Turn::Exhausted,
            Some((chain, _)) => chain.clone(),
            None => Chain::default(),
        };
        let key = key.to_key();
        match self.begin(Some(key.clone()), chain, wish.background) {
            Some(lead) => {
                fills.insert(key, Arc::clone(&lead.fill));
                Turn::Lead(lead)
            }
            None => Turn::Busy,
        }
    }

    /// Joins the fill of a slice or begins one, which goes on whoever leaves. Who has come to a generation may read all of it:
    /// the log was asked about its head. A reader that `needs` the slice gets a fill however many run.
    pub(crate) fn slice(self: &Arc<Self>, key: &KeyBuf, needs: bool) -> Turn {
        let mut fills = self.fills.lock();
        if let Some(fill) = fills.get(key.as_bytes())
            && fill.is_whole()
        {
            return Turn::Follow(fill.participate());
        }
        if self.is_full() && !needs {
            return Turn::Busy;
        }
        Turn::Lead(self.lead_slice(&mut fills, key, self.log.register(), None))
    }

    /// Begins the fill of a slice that is about to come in an exchange which began at `as_of`, unless somebody has begun it.
    pub(super) fn open_slice(self: &Arc<Self>, key: &KeyBuf, as_of: u64) -> Option<Lead> {
        let mut fills = self.fills.lock();
        let is_free = !fills.contains_key(key.as_bytes()) && !self.is_full();
        is_free.then(|| self.lead_slice(&mut fills, key, self.log.register(), Some(as_of)))
    }

    fn lead_slice(
        self: &Arc<Self>,
        fills: &mut HashMap<CacheKey, Arc<Fill>>,
        key: &KeyBuf,
        registration: Registration,
        as_of: Option<u64>,
    ) -> Lead {
        self.running.fetch_add(1, Ordering::Relaxed);
        let key = key.to_key();
        let stamp = Stamp::new(as_of.unwrap_or(registration.as_of()));
        let lead = self.lead(Some(key.clone()), Chain::default(), true, stamp, registration);
        fills.insert(key, Arc::clone(&lead.fill));
        lead
    }

    /// The lead of a fill that nobody finds, for a reader who has waited long enough for another's.
    pub(crate) fn slice_alone(self: &Arc<Self>) -> Lead {
        self.running.fetch_add(1, Ordering::Relaxed);
        let registration = self.log.register();
        let stamp = Stamp::new(registration.as_of());
        self.lead(None, Chain::default(), false, stamp, registration)
    }

    fn is_full(&self) -> bool {
        self.running.load(Ordering::Relaxed) >= self.max_fills
    }

    /// Tells the rules under which registered fills will not be stored, each fill once.
    pub(crate) fn revoked(&self, log: &Log, told: impl Fn(u64)) {
        let fills: Vec<_> =
            self.fills.lock().iter().map(|(key, fill)| (key.clone(), Arc::clone(fill))).collect();
        for (key, fill) in fills {
            if let Some(rule) = fill.newly_revoked_by(key.as_bytes(), log) {
                told(rule);
            }
        }
    }

    /// Begins a fill that nobody else joins.
    pub(crate) fn lead_alone(self: &Arc<Self>) -> Option<Lead> {
        self.begin(None, Chain::default(), false)
    }

    /// Joins a fill that is there, and begins none.
    pub(crate) fn join(&self, key: &KeyBuf, takes: &Takes) -> Option<Participant> {
        let fills = self.fills.lock();
        let fill = fills.get(key.as_bytes())?;
        (fill.is_joinable(takes) && fill.may_be_joined(key.as_bytes(), &self.log)).then(|| fill.participate())
    }

    fn begin(self: &Arc<Self>, key: Option<CacheKey>, chain: Chain, keep: bool) -> Option<Lead> {
        if self.running.fetch_add(1, Ordering::Relaxed) >= self.max_fills {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let registration = self.log.register();
        let stamp = Stamp::new(registration.as_of());
        Some(self.lead(key, chain, keep, stamp, registration))
    }

    /// A fill that has been counted as running.
    fn lead(
        self: &Arc<Self>,
        key: Option<CacheKey>,
        chain: Chain,
        keep: bool,
        stamp: Stamp,
        registration: Registration,
    ) -> Lead {
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        let fill = Arc::new(Fill::new(stamp, order, chain, keep, Arc::clone(&self.in_flight)));
        Lead { fill, key, registry: Arc::clone(self), registration: Some(registration) }
    }

    /// A copy of a body of so many bytes, if they are known, for which there is room: the fills and copies of the edge may hold
    /// `budget` together.
    pub(crate) fn copy(&self, promised: Option<u64>, max_length: u64, budget: u64) -> Option<Arc<Copy>> {
        let fits = promised.is_none_or(|promised| promised <= max_length);
        fits.then(|| Copy::new(promised, max_length, Arc::clone(&self.in_flight), budget))
    }

    /// Fills running, and bytes they hold.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.running.load(Ordering::Relaxed), self.in_flight.load(Ordering::Relaxed))
    }
}

/// The lead of a fill. Dropping it ends the fill for everyone, whatever has not ended by then, and takes it off the
/// registry.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(super) fill: Arc<Fill>,
    key: Option<CacheKey>,
    registry: Arc<Registry>,
    registration: Option<Registration>,
}

impl Lead {
    pub(crate) fn participate(&self) -> Participant {
        self.fill.participate()
    }

    /// There is a stored response after all: whoever joined meanwhile has it, unless it is the part that the leader
    /// asked for, which need not be theirs.
    pub(crate) fn found(self, stored: Arc<Stored>) {
        match stored.is_whole() {
            true => self.fill.answer_stored(stored),
            false => self.fill.unshared(Unshared::Private),
        }
    }

    pub(crate) fn as_of(&self) -> u64 {
        self.fill.stamp.as_of()
    }

    /// Nothing more will be published: nobody joins, and invalidations need not wait. False if that was known before.
    pub(super) fn retire(&mut self) -> bool {
        self.leave_registry();
        self.registration.take().is_some()
    }

    /// Nobody finds this fill any more.
    pub(super) fn leave_registry(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut fills = self.registry.fills.lock();
        if let Entry::Occupied(entry) = fills.entry(key)
            && Arc::ptr_eq(entry.get(), &self.fill)
        {
            entry.remove();
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // First off the registry, then told: a follower that is woken must not find this fill again.
        self.leave_registry();
        self.fill.abort();
        self.registry.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::Answer;
    use crate::store::test_support::{key, stored};

    #[tokio::test]
    async fn a_part_that_was_found_is_for_the_one_who_asked_for_it() {
        let fills = Arc::new(Registry::new(Arc::default(), 8));
        let whole = stored(0, 4);
        let part = Stored::part(Arc::clone(&whole.head), whole.body.clone(), 0, 8, 0);
        for (found, is_shared) in [(whole, true), (Arc::new(part), false)] {
            let key = key("http://a/");
            let Turn::Lead(lead) = fills.join_or_lead(&key, &Wish::default()) else { panic!() };
            let Turn::Follow(follower) = fills.join_or_lead(&key, &Wish::default()) else { panic!() };
            lead.found(found);
            assert_eq!(matches!(follower.answer().await, Answer::Stored(_)), is_shared);
        }
    }
}
