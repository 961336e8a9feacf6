//! The store in memory, on quick_cache: bounded by bytes, evicting what is least worth keeping.

use std::sync::Arc;

use http::HeaderMap;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::maps::Maps;
use super::slot::Slot;
use super::stored::{Head, Stored};
use crate::invalidation::Log;
use crate::key::{CacheKey, KeyBuf};
use crate::signature::Signature;
use crate::sync::{Mutex, MutexGuard};

/// An object may take up to an eighth of a shard and of the maps' share of it.
const OBJECTS_A_SHARD: u64 = 8;
/// What an object is taken to weigh on average, to size the tables.
const TYPICAL_WEIGHT: u64 = 16 * 1024;
/// The share of the room for what was read more than once. quick_cache's 97 % loses up to 11 points of hits to LRU where what is
/// popular changes, since it cannot be changed later; with less than this it wins less where nothing changes
/// (docs/hit-ratio.md).
const HOT: f64 = 0.58;
/// The share of the items whose keys are remembered when they go, to come back as read more than once. What gets so much room
/// as here and is not read in it is no better than others: large objects above all then stood in the way (docs/hit-ratio.md).
const GHOSTS: f64 = 0.0;
const WRITERS: usize = 64;

#[derive(Debug)]
pub(crate) struct MemoryStore {
    slots: Cache<CacheKey, Slot, ByWeight, foldhash::quality::RandomState>,
    /// One writer at a time changes a key's slot; readers do not come here.
    writers: Box<[Mutex<()>]>,
    hasher: foldhash::quality::RandomState,
    /// The heaviest slot the store admits.
    max_slot: u64,
    maps: Maps,
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<CacheKey, Slot> for ByWeight {
    fn weight(&self, key: &CacheKey, slot: &Slot) -> u64 {
        slot.weight() + key.as_bytes().len() as u64
    }
}

impl MemoryStore {
    /// A store of `capacity` bytes that can hold an object of `max_object` bytes.
    pub(crate) fn new(capacity: u64, max_object: u64) -> Self {
        let maps = Maps::new(capacity);
        // quick_cache divides its capacity among shards and refuses what does not fit into one, so the largest object
        // bounds how many shards there may be. They are counted before the maps take their share: their number is a power of
        // two, and so is the capacity most often, of which a little less has room for half as many.
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let fit = (capacity / (OBJECTS_A_SHARD * max_object.max(1))).max(1);
        let capacity = capacity - Maps::share(capacity);
        let shards = (1u64 << fit.ilog2()).min((cores * 4).next_power_of_two());
        let items = (capacity / TYPICAL_WEIGHT).max(32 * shards);
        let options = OptionsBuilder::new()
            .shards(shards as usize)
            .estimated_items_capacity(items as usize)
            .weight_capacity(capacity)
            .hot_allocation(HOT)
            .ghost_allocation(GHOSTS)
            .build()
            .expect("every option is set");
        let hasher = foldhash::quality::RandomState::default();
        let slots = Cache::with_options(options, ByWeight, hasher.clone(), DefaultLifecycle::default());
        // quick_cache takes no entry that weighs more than it keeps for what was read more than once, and lets go of what its
        // key had.
        let max_slot = (slots.shard_capacity() as f64 * HOT) as u64;
        let writers = (0..WRITERS).map(|_| Mutex::default()).collect();
        Self { slots, writers, hasher, max_slot, maps }
    }

    /// The fields of an answer with this head.
    pub(crate) fn signed(&self, head: &Head, signature: &Signature<'_>) -> HeaderMap {
        self.maps.signed(&head.fields, &head.heat, signature)
    }

    pub(crate) fn get(&self, key: &KeyBuf) -> Option<Slot> {
        self.slots.get(key.as_bytes())
    }

    /// The same, without counting as a use.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<Slot> {
        self.slots.peek(key)
    }

    /// Adds a response, unless one is stored whose fill began later. At most `max_variants` stay.
    ///
    /// Only variants that the log allows are carried over: a sweep may already have passed the place where the slot is
    /// put, and must be able to count on what it finds behind it.
    /// `noted` hears of those that it does not, with the number of the rule and the weight.
    pub(crate) fn insert(
        &self,
        key: &CacheKey,
        stored: Arc<Stored>,
        max_variants: usize,
        log: &Log,
        noted: impl Fn(u64, u64),
    ) -> bool {
        let _writer = self.writer(key);
        let before = self.slots.peek(key.as_bytes());
        let before = before.as_ref().map_or(&[][..], Slot::variants);
        let mut kept = Vec::with_capacity(before.len());
        let mut revoked = Vec::new();
        for stored in before {
            match log.revoked_by(stored.subject(key.as_bytes())) {
                None => kept.push(Arc::clone(stored)),
                Some(rule) => revoked.push((rule, stored.weight())),
            }
        }
        let room = self.max_slot.saturating_sub(key.as_bytes().len() as u64);
        match Slot::with(&kept, stored, max_variants, room) {
            Some(slot) => {
                self.slots.insert(key.clone(), slot);
                revoked.into_iter().for_each(|(rule, weight)| noted(rule, weight));
                true
            }
            None => false,
        }
    }

    /// Takes away the variants of a key that an invalidation is about.
    pub(crate) fn sweep(&self, key: &CacheKey, log: &Log) {
        if let Some(slot) = self.slots.peek(key.as_bytes()) {
            self.sweep_slot(key, &slot, log, |_, _| {});
        }
    }

    /// The same for the slot that was just found. `noted` hears of each variant that goes, or that was made stale and was
    /// not noted before, with the number of the rule and its weight.
    pub(crate) fn sweep_slot(&self, key: &CacheKey, slot: &Slot, log: &Log, mut noted: impl FnMut(u64, u64)) {
        let mut gone = false;
        for stored in slot.variants() {
            if let Some(rule) = log.revoked_by(stored.subject(key.as_bytes())) {
                gone = true;
                noted(rule, stored.weight());
            } else if let Some(rule) = stored.stamp.take_softening() {
                noted(rule, stored.weight());
            }
        }
        if gone {
            self.retain(key, |stored| log.is_current(stored.subject(key.as_bytes())));
        }
    }

    /// Takes away one response, if it is still there.
    pub(crate) fn remove(&self, key: &CacheKey, stored: &Arc<Stored>) {
        self.retain(key, |other| !std::ptr::eq(other, &**stored));
    }

    /// Whether a generation of an object in slices is what its key has, and no invalidation is about it.
    pub(crate) fn has_generation(&self, key: &[u8], id: u64, log: &Log) -> bool {
        let is_it = |stored: &Arc<Stored>| stored.generation().is_some_and(|generation| generation.id == id);
        self.peek(key).is_some_and(|slot| {
            slot.variants().iter().any(|stored| is_it(stored) && log.is_current(stored.subject(key)))
        })
    }

    /// Takes away a generation of an object in slices. Its slices are not found from then on.
    pub(crate) fn remove_generation(&self, key: &CacheKey, id: u64) {
        self.retain(key, |stored| stored.generation().is_none_or(|generation| generation.id != id));
    }

    /// Takes away whatever a key has.
    pub(crate) fn forget(&self, key: &KeyBuf) {
        self.slots.remove(key.as_bytes());
    }

    fn retain(&self, key: &CacheKey, keep: impl Fn(&Stored) -> bool) {
        let Some(seen) = self.slots.peek(key.as_bytes()) else {
            return;
        };
        if seen.variants().iter().all(|stored| keep(stored)) {
            return;
        }
        let _writer = self.writer(key);
        let Some(before) = self.slots.peek(key.as_bytes()) else {
            return;
        };
        match before.retain(keep) {
            Some(slot) => self.slots.insert(key.clone(), slot),
            None => drop(self.slots.remove(key.as_bytes())),
        }
    }

    /// What is stored when the iterator comes to it. A shard is locked for a step at a time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CacheKey, Slot)> + Send {
        self.slots.iter()
    }

    /// Keys stored, and bytes held.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.slots.len() as u64, self.slots.weight())
    }

    fn writer(&self, key: &CacheKey) -> MutexGuard<'_, ()> {
        use std::hash::BuildHasher;
        let at = self.hasher.hash_one(key.as_bytes()) as usize % self.writers.len();
        self.writers[at].lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::{key, stored};

    #[test]
    fn the_largest_object_allowed_is_held() {
        for (capacity, object) in
            [(64 << 20, 8 << 20), (1 << 30, 64 << 20), (1 << 30, 1 << 20), (8 << 20, 1 << 20)]
        {
            let store = MemoryStore::new(capacity, object);
            let key = key("http://a/large");
            assert!(store.insert(&key.to_key(), stored(0, object as usize), 8, &Log::default(), |_, _| {}));
            assert!(store.get(&key).is_some(), "{object} of {capacity}");
        }
    }

    #[test]
    fn what_is_set_aside_for_maps_costs_no_shard() {
        for (capacity, object) in [(1 << 30, 64 << 20), (64 << 20, 4 << 20), (8 << 20, 512 << 10)] {
            let store = MemoryStore::new(capacity, object);
            assert!(store.slots.shard_capacity() <= capacity / 2, "{object} of {capacity}");
        }
    }

    #[test]
    fn what_is_held_stays_within_the_capacity() {
        let capacity = 4 << 20;
        let store = MemoryStore::new(capacity, 64 << 10);
        for n in 0..1_000 {
            store.insert(
                &key(&format!("http://a/{n}")).to_key(),
                stored(n, 32 << 10),
                8,
                &Log::default(),
                |_, _| {},
            );
        }
        let (_, bytes) = store.usage();
        assert!(bytes <= capacity && bytes > capacity / 2, "{bytes}");
    }

    #[test]
    fn the_fill_that_began_later_wins() {
        let store = MemoryStore::new(1 << 20, 1 << 10);
        let key = key("http://a/");
        assert!(store.insert(&key.to_key(), stored(2, 10), 8, &Log::default(), |_, _| {}));
        assert!(!store.insert(&key.to_key(), stored(1, 20), 8, &Log::default(), |_, _| {}));
        assert_eq!(store.get(&key).unwrap().variants()[0].body.len(), 10);
        assert!(store.insert(&key.to_key(), stored(3, 30), 8, &Log::default(), |_, _| {}));
        assert_eq!(store.get(&key).unwrap().variants()[0].body.len(), 30);
    }
}
