//! Short memos about keys whose last answer could not be stored, so that nobody queues for the next.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::invalidation::{Log, Stamp, Subject};
use crate::key::{CacheKey, KeyBuf};

/// How many keys are remembered.
const MEMOS: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Memos {
    memos: Cache<CacheKey, Arc<Memo>>,
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
        Self { memos: Cache::new(MEMOS) }
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

    pub(crate) fn sweep(&self, log: &Log) {
        self.memos.retain(|key, memo| log.is_untouched(memo.subject(key.as_bytes())));
    }
}
