//! Short memos about keys whose last answer could not be stored, so that nobody queues for the next.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::invalidation::{Log, Stamp};
use crate::key::{CacheKey, KeyBuf};

/// How many keys are remembered.
const MEMOS: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Memos {
    memos: Cache<CacheKey, Arc<Memo>>,
}

#[derive(Debug)]
struct Memo {
    until: Duration,
    stamp: Stamp,
}

impl Memos {
    pub(crate) fn new() -> Self {
        Self { memos: Cache::new(MEMOS) }
    }

    pub(crate) fn note(&self, key: &KeyBuf, until: Duration, as_of: u64) {
        self.memos.insert(key.to_key(), Arc::new(Memo { until, stamp: Stamp::new(as_of) }));
    }

    /// Whether the key's last answer could not be stored.
    pub(crate) fn knows(&self, key: &KeyBuf, now: Duration, log: &Log) -> bool {
        let Some(memo) = self.memos.get(key.as_bytes()) else {
            return false;
        };
        let knows = memo.until > now && log.is_current(key.as_bytes(), &memo.stamp);
        if !knows {
            self.forget(key);
        }
        knows
    }

    pub(crate) fn forget(&self, key: &KeyBuf) {
        self.memos.remove(key.as_bytes());
    }

    pub(crate) fn sweep(&self, log: &Log) {
        self.memos.retain(|key, memo| log.is_current(key.as_bytes(), &memo.stamp));
    }
}
