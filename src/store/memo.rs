//! Short memos about keys whose last answer could not be stored, so that nobody queues for the next.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::invalidation::{Log, Stamp, Subject};
use crate::key::{CacheKey, KeyBuf};

/// How many bytes they may take together. A viewer chooses how long keys are.
const BYTES: u64 = 8 * 1024 * 1024;
/// What one takes beside its key, and with a short one.
const MEMO: usize = 128;
const TYPICAL: usize = 256;

#[derive(Debug)]
pub(crate) struct Memos {
    memos: Cache<CacheKey, Arc<Memo>, ByWeight>,
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<CacheKey, Arc<Memo>> for ByWeight {
    fn weight(&self, key: &CacheKey, _: &Arc<Memo>) -> u64 {
        (key.as_bytes().len() + MEMO) as u64
    }
}

/// Why a key's last answer could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncacheable {
    /// It may be shared, and is larger than what is stored. Parts of it may be stored.
    TooLarge,
    /// It is not for everyone.
    NotShared,
}

#[derive(Debug)]
struct Memo {
    why: Uncacheable,
    until: Duration,
    stamp: Stamp,
}

impl Memo {
    fn subject<'a>(&'a self, key: &'a [u8]) -> Subject<'a> {
        Subject { key, labels: None, stamp: &self.stamp }
    }
}

impl Memos {
    pub(crate) fn new() -> Self {
        let typical = BYTES as usize / TYPICAL;
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { memos: Cache::with(typical, BYTES, ByWeight, hasher, lifecycle) }
    }

    pub(crate) fn note(&self, key: &KeyBuf, why: Uncacheable, until: Duration, as_of: u64) {
        self.memos.insert(key.to_key(), Arc::new(Memo { why, until, stamp: Stamp::new(as_of) }));
    }

    /// Why the key's last answer could not be stored, if that is so.
    pub(crate) fn look(&self, key: &KeyBuf, now: Duration, log: &Log) -> Option<Uncacheable> {
        let memo = self.memos.get(key.as_bytes())?;
        let knows = memo.until > now && log.is_untouched(memo.subject(key.as_bytes()));
        if !knows {
            self.forget(key);
        }
        knows.then_some(memo.why)
    }

    pub(crate) fn forget(&self, key: &KeyBuf) {
        self.memos.remove(key.as_bytes());
    }

    /// Takes away those that an invalidation is about. The log is asked while the memos are not locked.
    pub(crate) fn sweep(&self, log: &Log) {
        for (key, memo) in self.memos.iter() {
            if !log.is_untouched(memo.subject(key.as_bytes())) {
                self.memos.remove_if(key.as_bytes(), |now| Arc::ptr_eq(now, &memo));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::key;

    #[test]
    fn long_keys_do_not_take_more_than_their_share() {
        let memos = Memos::new();
        let name = "x".repeat(30_000);
        for n in 0..1_000 {
            memos.note(&key(&format!("http://a/{n}?{name}")), Uncacheable::NotShared, Duration::MAX, 0);
        }
        assert!(memos.memos.weight() <= BYTES, "{}", memos.memos.weight());
        assert!(memos.memos.len() > 100);
    }
}
