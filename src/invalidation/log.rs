//! The log of invalidations: a sequence of rules, and who may still be used under them.
//!
//! A rule is in force as soon as it is appended, whatever the number of stored objects: an object carries a [`Stamp`]
//! with the position of the log when its fetch from the origin *began*, and is checked against the rules that came later
//! when somebody wants to use it. A sweep then visits the objects, and the rules it has applied everywhere retire.
//!
//! Why nothing old can slip through:
//! 1. A fill [`register`](Log::register)s before it asks the origin, and so knows a position `p` of the log.
//! 2. Before it publishes, and again after, it asks whether a rule later than `p` matches; if so its object goes.
//! 3. A rule appended between 2's last look and the end of the registration is still in the log for every reader, since
//!    a rule retires only when no fill registered before it is left *and* a sweep that began after that has ended.
//! 4. Whoever took an object from the store before the sweep and asks about it after the rule retired finds that the
//!    object was last checked before the last retired rule, and must not use it: what the sweep left was checked by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::{KeyBuf, path_part, uri_part};
use crate::sync::{Mutex, RwLock};

/// More exact rules than this cannot be pending; the log then falls back to invalidating everything.
const MAX_RULES: usize = 65_536;
/// Nor may what they are about take more than this many bytes: who writes chooses how long a path is.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a rule is about. The bytes are runs of a cache key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Everything at this scheme, authority, path and query.
    Uri(Box<[u8]>),
    /// Everything at this path and query, on any host.
    Path(Box<[u8]>),
    /// Everything.
    All,
}

impl Scope {
    pub(crate) fn path(path: &str, query: Option<&str>) -> Self {
        Self::Path(KeyBuf::of_path(path, query).as_bytes().into())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The number of the last rule.
    head: AtomicU64,
    rules: RwLock<Rules>,
    /// Positions of the fills that have begun and not ended, with how many began there.
    running: Mutex<BTreeMap<u64, usize>>,
}

#[derive(Debug, Default)]
struct Rules {
    /// The last rule for each scope. Older ones for the same scope say nothing more.
    uris: HashMap<Box<[u8]>, u64>,
    paths: HashMap<Box<[u8]>, u64>,
    all: u64,
    /// The last rule that retired.
    retired: u64,
    /// Bytes of the scopes.
    bytes: usize,
}

/// The position of the log up to which something is known to be good.
#[derive(Debug)]
pub(crate) struct Stamp {
    as_of: u64,
    /// No rule up to here matches. Only grows.
    checked: AtomicU64,
}

impl Stamp {
    pub(crate) fn new(as_of: u64) -> Self {
        Self { as_of, checked: AtomicU64::new(as_of) }
    }

    pub(crate) fn as_of(&self) -> u64 {
        self.as_of
    }
}

impl Log {
    /// Puts a rule in force and returns its number.
    pub(crate) fn append(&self, scopes: impl IntoIterator<Item = Scope>) -> u64 {
        self.append_to(&mut self.rules.write(), scopes)
    }

    fn append_to(&self, rules: &mut Rules, scopes: impl IntoIterator<Item = Scope>) -> u64 {
        let number = self.head.load(Ordering::Relaxed) + 1;
        for scope in scopes {
            match scope {
                Scope::Uri(uri) => add(&mut rules.uris, uri, number, &mut rules.bytes),
                Scope::Path(path) => add(&mut rules.paths, path, number, &mut rules.bytes),
                Scope::All => rules.all = number,
            }
        }
        if rules.uris.len() + rules.paths.len() > MAX_RULES || rules.bytes > MAX_BYTES {
            (rules.uris, rules.paths, rules.bytes) = Default::default();
            rules.all = number;
        }
        // Released while the rules are locked: whoever sees the number finds the rules.
        self.head.store(number, Ordering::Release);
        number
    }

    /// Puts a rule in force, and returns its number unless another rule that covers `key` came after `since`.
    pub(crate) fn append_alone(
        &self,
        scopes: impl IntoIterator<Item = Scope>,
        key: &[u8],
        since: u64,
    ) -> Option<u64> {
        let mut rules = self.rules.write();
        let alone = !rules.matches(key, since);
        let number = self.append_to(&mut rules, scopes);
        alone.then_some(number)
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Whether something with this key and stamp may still be used: two loads, unless a rule has come since it was
    /// last asked.
    pub(crate) fn is_current(&self, key: &[u8], stamp: &Stamp) -> bool {
        let head = self.head.load(Ordering::Acquire);
        // Relaxed: the value is a position under which this very object was checked, whenever that was.
        let checked = stamp.checked.load(Ordering::Relaxed);
        if checked >= head {
            return true;
        }
        let rules = self.rules.read();
        let current = !rules.matches(key, checked);
        if current {
            // Under the read lock the head cannot move.
            stamp.checked.fetch_max(self.head.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        current
    }

    /// Notes that a fill begins, and tells it as of when its answer will be.
    pub(crate) fn register(self: &Arc<Self>) -> Registration {
        let mut running = self.running.lock();
        let as_of = self.head();
        *running.entry(as_of).or_default() += 1;
        Registration { log: Arc::clone(self), as_of }
    }

    /// The last rule that no running fill began before: under the rules up to it nothing more is published.
    pub(crate) fn settled(&self) -> u64 {
        let running = self.running.lock();
        // Read under the lock: who registers later does so at this position or behind it.
        running.first_key_value().map_or_else(|| self.head(), |(oldest, _)| *oldest)
    }

    /// Forgets the rules up to `number`, which have been applied to everything stored.
    pub(crate) fn retire(&self, number: u64) {
        let mut rules = self.rules.write();
        let Rules { uris, paths, bytes, .. } = &mut *rules;
        for scopes in [uris, paths] {
            scopes.retain(|scope, rule| {
                let stays = *rule > number;
                *bytes -= if stays { 0 } else { scope.len() };
                stays
            });
        }
        rules.retired = rules.retired.max(number);
        // Nothing grows with `all`, so it stays.
    }

    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        let rules = self.rules.read();
        rules.uris.len() + rules.paths.len()
    }

    /// Whether rules are waiting for a sweep.
    pub(crate) fn is_pending(&self) -> bool {
        self.rules.read().retired < self.head()
    }
}

fn add(scopes: &mut HashMap<Box<[u8]>, u64>, scope: Box<[u8]>, number: u64, bytes: &mut usize) {
    let length = scope.len();
    if scopes.insert(scope, number).is_none() {
        *bytes += length;
    }
}

impl Rules {
    fn matches(&self, key: &[u8], since: u64) -> bool {
        let later = |rule: Option<&u64>| rule.is_some_and(|number| *number > since);
        // What was last checked before rules that are gone was out of the store when they were applied to it.
        self.all > since
            || self.retired > since
            || (!self.uris.is_empty() && later(self.uris.get(uri_part(key))))
            || (!self.paths.is_empty() && later(self.paths.get(path_part(key))))
    }
}

/// A fill that has begun. Dropping it says that the fill will publish nothing more.
#[derive(Debug)]
pub(crate) struct Registration {
    log: Arc<Log>,
    as_of: u64,
}

impl Registration {
    pub(crate) fn as_of(&self) -> u64 {
        self.as_of
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = self.log.running.lock();
        if let Some(count) = running.get_mut(&self.as_of) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.as_of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uri: &str) -> Box<[u8]> {
        KeyBuf::of_uri(&uri.parse().unwrap(), &http::HeaderMap::new(), false).unwrap().as_bytes().into()
    }

    fn path(path: &str) -> Scope {
        Scope::Path(KeyBuf::of_path(path, None).as_bytes().into())
    }

    #[test]
    fn a_rule_is_about_what_began_before_it() {
        let log = Log::default();
        let key = key("http://a/x");
        let before = Stamp::new(log.head());
        log.append([Scope::Uri(key.clone())]);
        let after = Stamp::new(log.head());
        assert!(!log.is_current(&key, &before));
        assert!(log.is_current(&key, &after));
        log.append([Scope::All]);
        assert!(!log.is_current(&key, &after));
    }

    #[test]
    fn a_rule_is_about_its_scope_only() {
        let log = Log::default();
        let stamps: Vec<_> = ["http://a/x", "http://b/x", "https://a/x", "http://a/x?q", "http://a/y"]
            .map(|uri| (key(uri), Stamp::new(0)))
            .into();
        let current = |log: &Log| stamps.iter().map(|(k, s)| log.is_current(k, s)).collect::<Vec<_>>();
        log.append([Scope::Uri(key("http://a/x"))]);
        assert_eq!(current(&log), [false, true, true, true, true]);
        log.append([path("/x")]);
        assert_eq!(current(&log), [false, false, false, true, true]);
    }

    #[test]
    fn a_check_is_remembered() {
        let log = Log::default();
        let (x, y) = (key("http://a/x"), key("http://a/y"));
        let stamp = Stamp::new(0);
        log.append([Scope::Uri(x)]);
        assert!(log.is_current(&y, &stamp));
        assert_eq!(stamp.checked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn rules_wait_for_the_fills_that_began_before_them() {
        let log = Arc::new(Log::default());
        let early = log.register();
        let first = log.append([path("/x")]);
        let late = log.register();
        let second = log.append([path("/y")]);
        assert_eq!(log.settled(), 0);
        drop(early);
        assert_eq!((log.settled(), late.as_of()), (first, first), "later fills do not keep earlier rules");
        log.retire(first);
        assert!(log.is_pending());
        drop(late);
        assert_eq!(log.settled(), second);
        log.retire(second);
        assert!(!log.is_pending());
    }

    #[test]
    fn what_was_taken_before_a_sweep_is_not_current_after_it() {
        let log = Log::default();
        let (x, y) = (key("http://a/x"), key("http://a/y"));
        let (taken, swept) = (Stamp::new(0), Stamp::new(0));
        let rule = log.append([Scope::Uri(x.clone())]);
        assert!(log.is_current(&y, &swept));
        log.retire(rule);
        assert!(!log.is_current(&x, &taken));
        assert!(log.is_current(&y, &swept));
        assert!(log.is_current(&x, &Stamp::new(rule)));
    }

    #[test]
    fn too_many_rules_become_one_for_everything() {
        let log = Log::default();
        let elsewhere = Stamp::new(0);
        for n in 0..=MAX_RULES {
            log.append([path(&format!("/{n}"))]);
        }
        assert_eq!(log.pending(), 0);
        assert!(!log.is_current(&key("http://a/elsewhere"), &elsewhere));
    }

    #[test]
    fn long_paths_become_one_rule_for_everything_too() {
        let log = Log::default();
        let elsewhere = Stamp::new(0);
        let name = "x".repeat(30_000);
        for n in 0..2 * MAX_BYTES / name.len() {
            log.append([path(&format!("/{n}/{name}")), path("/same")]);
            assert!(log.rules.read().bytes <= MAX_BYTES);
        }
        assert!(!log.is_current(&key("http://a/elsewhere"), &elsewhere));
        log.retire(log.head());
        assert_eq!((log.pending(), log.rules.read().bytes), (0, 0));
    }
}
