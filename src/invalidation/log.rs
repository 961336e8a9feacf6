//! The log of invalidations: a sequence of rules, and who may still be used under them.
//!
//! A rule is in force as soon as it is appended, whatever the number of stored objects: an object carries a [`Stamp`]
//! with the position of the log when its fetch from the origin *began*, and is judged by the rules that came later
//! when somebody wants to use it. A sweep then visits the objects, and the rules it has applied everywhere retire.
//!
//! Why nothing old can slip through:
//! 1. A fill [`register`](Log::register)s before it asks the origin, and so knows a position `p` of the log.
//! 2. Before it publishes, and again after, it asks whether a rule later than `p` matches; if so its object goes.
//! 3. A rule appended between 2's last look and the end of the registration is still in the log for every reader, since
//!    a rule retires only when no fill registered before it is left *and* a sweep that began after that has ended. Where
//!    very many wait, the sweep is enough: then by 4 what those fills bring is not used.
//! 4. Whoever took an object from the store before the sweep and asks about it after the rule retired finds that the
//!    object was last checked before the last retired rule, and must not use it: what the sweep left was checked by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::check::{Check, LeftOut};
use super::rules::{Generation, Rules};
use super::scope::{Name, Names, Scope};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The number of the last rule.
    head: AtomicU64,
    rules: RwLock<Rules>,
    names: Names,
    /// Positions of the fills that have begun and not ended, with how many began there.
    running: Mutex<BTreeMap<u64, usize>>,
    left_out: LeftOut,
}

/// The position of the log up to which something is known to be good, or stale.
#[derive(Debug)]
pub(crate) struct Stamp {
    as_of: u64,
    /// No hard rule up to here matches. Only grows.
    checked: AtomicU64,
    /// When the first soft rule that matches came, in milliseconds and one more; 0 if none did.
    softened: AtomicU64,
    /// The number of that rule, until it is told.
    softened_by: AtomicU64,
}

impl Stamp {
    pub(crate) fn new(as_of: u64) -> Self {
        Self {
            as_of,
            checked: AtomicU64::new(as_of),
            softened: AtomicU64::new(0),
            softened_by: AtomicU64::new(0),
        }
    }

    pub(crate) fn as_of(&self) -> u64 {
        self.as_of
    }

    /// Since when a soft invalidation has it stale.
    pub(crate) fn stale_since(&self) -> Option<Duration> {
        let softened = self.softened.load(Ordering::Relaxed);
        softened.checked_sub(1).map(Duration::from_millis)
    }

    /// The rule that made it stale, told once.
    pub(crate) fn take_softening(&self) -> Option<u64> {
        Some(self.softened_by.swap(0, Ordering::Relaxed)).filter(|number| *number > 0)
    }

    fn soften(&self, number: u64, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1);
        if self.softened.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.softened_by.store(number, Ordering::Relaxed);
        }
    }
}

/// Something that an invalidation may be about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a [u8],
    /// `None` while they are not known: then every rule about labels is taken to match.
    pub(crate) labels: Option<&'a [Box<[u8]>]>,
    pub(crate) stamp: &'a Stamp,
}

/// Rules that one for everything has taken the place of.
type Displaced = Vec<[Generation; 2]>;

impl Log {
    pub(crate) fn leaving_out(left_out: LeftOut) -> Self {
        Self { left_out, ..Self::default() }
    }

    /// Puts a rule in force and returns its number. `soft` rules make stale from `now` on, the others take away.
    pub(crate) fn append(&self, scopes: impl IntoIterator<Item = Scope>, soft: Option<Duration>) -> u64 {
        let names = self.names(scopes);
        let mut displaced = Displaced::new();
        // The lock is gone before what is displaced.
        self.append_to(&mut self.rules.write(), &names, soft, &mut displaced)
    }

    /// Puts a hard rule in force, and returns its number unless another rule that is about `key` came after `since`.
    pub(crate) fn append_alone(
        &self,
        scopes: impl IntoIterator<Item = Scope>,
        key: &[u8],
        since: u64,
    ) -> Option<u64> {
        let names = self.names(scopes);
        let mut displaced = Displaced::new();
        let mut rules = self.rules.write();
        let last = rules.judge(&self.names, key, None, since);
        let number = self.append_to(&mut rules, &names, None, &mut displaced);
        (last.hard.max(last.soft) == 0).then_some(number)
    }

    /// What a rule is about is hashed before anybody waits for it.
    fn names(&self, scopes: impl IntoIterator<Item = Scope>) -> SmallVec<[Name; 2]> {
        scopes.into_iter().map(|scope| self.names.of(&scope)).collect()
    }

    fn append_to(
        &self,
        rules: &mut Rules,
        names: &[Name],
        soft: Option<Duration>,
        displaced: &mut Displaced,
    ) -> u64 {
        let number = self.head.load(Ordering::Relaxed) + 1;
        for name in names {
            displaced.extend(rules.add(*name, number, soft));
        }
        // Released while the rules are locked: whoever sees the number finds the rules.
        self.head.store(number, Ordering::Release);
        number
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Whether something may still be used: two loads, unless a rule has come since it was last asked.
    pub(crate) fn is_current(&self, subject: Subject<'_>) -> bool {
        self.revoked_by(subject).is_none()
    }

    /// The same where it counts.
    pub(crate) fn passes(&self, check: Check, subject: Subject<'_>) -> bool {
        if self.left_out.has(check) {
            subject.stamp.checked.fetch_max(self.head(), Ordering::Relaxed);
            return true;
        }
        self.is_current(subject)
    }

    /// Whether a request may join what is in flight: it is as good as it was.
    pub(crate) fn may_be_joined(&self, subject: Subject<'_>) -> bool {
        self.left_out.has(Check::Join) || self.is_untouched(subject)
    }

    /// Whether another edge's position is of no account.
    pub(crate) fn ignores_positions(&self) -> bool {
        self.left_out.has(Check::Position)
    }

    /// Whether something is as good as it was, neither gone nor stale.
    pub(crate) fn is_untouched(&self, subject: Subject<'_>) -> bool {
        self.is_current(subject) && subject.stamp.stale_since().is_none()
    }

    /// The rule under which something may not be used any more.
    pub(crate) fn revoked_by(&self, subject: Subject<'_>) -> Option<u64> {
        let head = self.head.load(Ordering::Acquire);
        // Acquire: who sees that it was checked also sees that it was softened.
        if subject.stamp.checked.load(Ordering::Acquire) >= head {
            return None;
        }
        let rules = self.rules.read();
        // Once more, under the lock: since the first look,
        // 1. a sweep may have checked the object under all the rules,
        // 2. which then retired,
        // and an object last checked before a retired rule is taken to be gone.
        let checked = subject.stamp.checked.load(Ordering::Relaxed);
        let last = rules.judge(&self.names, subject.key, subject.labels, checked);
        if last.hard > 0 {
            return Some(last.hard);
        }
        if last.soft > 0 {
            subject.stamp.soften(last.soft, last.soft_at);
        }
        // Under the read lock the head cannot move.
        subject.stamp.checked.fetch_max(self.head.load(Ordering::Relaxed), Ordering::Release);
        None
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
        // Dropped when the lock is gone.
        let _retired = self.rules.write().retire(number);
    }

    /// Whether so many rules are pending that they cannot wait for fills and writes that take long.
    pub(crate) fn is_crowded(&self) -> bool {
        self.rules.read().is_crowded()
    }

    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.rules.read().len()
    }

    /// Whether rules are waiting for a sweep.
    pub(crate) fn is_pending(&self) -> bool {
        self.rules.read().retired() < self.head()
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
    use super::super::rules::{MAX_LENGTHS, MAX_RULES};
    use super::super::scope::Prefix;
    use super::*;
    use crate::key::KeyBuf;

    fn key(uri: &str) -> Box<[u8]> {
        KeyBuf::of_uri(&uri.parse().unwrap(), &http::HeaderMap::new(), false).unwrap().as_bytes().into()
    }

    fn subject<'a>(key: &'a [u8], stamp: &'a Stamp) -> Subject<'a> {
        Subject { key, labels: Some(&[]), stamp }
    }

    fn path(path: &str) -> Scope {
        Scope::Path(KeyBuf::of_path(path, None).as_bytes().into())
    }

    #[test]
    fn a_rule_is_about_what_began_before_it() {
        let log = Log::default();
        let key = key("http://a/x");
        let before = Stamp::new(log.head());
        log.append([Scope::Uri(key.clone())], None);
        let after = Stamp::new(log.head());
        assert!(!log.is_current(subject(&key, &before)));
        assert!(log.is_current(subject(&key, &after)));
        log.append([Scope::All], None);
        assert!(!log.is_current(subject(&key, &after)));
    }

    #[test]
    fn a_rule_is_about_its_scope_only() {
        let log = Log::default();
        let stamps: Vec<_> = ["http://a/x", "http://b/x", "https://a/x", "http://a/x?q", "http://a/y"]
            .map(|uri| (key(uri), Stamp::new(0)))
            .into();
        let current =
            |log: &Log| stamps.iter().map(|(k, s)| log.is_current(subject(k, s))).collect::<Vec<_>>();
        log.append([Scope::Uri(key("http://a/x"))], None);
        assert_eq!(current(&log), [false, true, true, true, true]);
        log.append([path("/x")], None);
        assert_eq!(current(&log), [false, false, false, true, true]);
    }

    #[test]
    fn a_check_is_remembered() {
        let log = Log::default();
        let (x, y) = (key("http://a/x"), key("http://a/y"));
        let stamp = Stamp::new(0);
        log.append([Scope::Uri(x)], None);
        assert!(log.is_current(subject(&y, &stamp)));
        assert_eq!(stamp.checked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn rules_wait_for_the_fills_that_began_before_them() {
        let log = Arc::new(Log::default());
        let early = log.register();
        let first = log.append([path("/x")], None);
        let late = log.register();
        let second = log.append([path("/y")], None);
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
        let rule = log.append([Scope::Uri(x.clone())], None);
        assert!(log.is_current(subject(&y, &swept)));
        log.retire(rule);
        assert!(!log.is_current(subject(&x, &taken)));
        assert!(log.is_current(subject(&y, &swept)));
        assert!(log.is_current(subject(&x, &Stamp::new(rule))));
    }

    #[test]
    fn what_the_sweep_checks_while_a_reader_waits_stays_current() {
        let log = Log::default();
        let key = key("http://a/x");
        let stamp = Stamp::new(0);
        std::thread::scope(|scope| {
            let sweeps = scope.spawn(|| {
                for _ in 0..100_000 {
                    log.append([path("/y")], None);
                    assert!(log.is_current(subject(&key, &stamp)));
                    log.retire(log.head());
                }
            });
            while !sweeps.is_finished() {
                assert!(log.is_current(subject(&key, &stamp)));
            }
        });
    }

    #[test]
    fn too_many_rules_become_one_for_everything() {
        let log = Log::default();
        let elsewhere = Stamp::new(0);
        for n in 0..=MAX_RULES {
            log.append([path(&format!("/{n}"))], None);
        }
        assert_eq!(log.pending(), 0);
        assert!(!log.is_current(subject(&key("http://a/elsewhere"), &elsewhere)));
    }

    #[test]
    fn prefixes_of_too_many_lengths_become_one_for_everything_too() {
        let log = Log::default();
        let elsewhere = Stamp::new(0);
        let append = |n| {
            let text = format!("/{}", "x".repeat(n)).into();
            log.append([Scope::Prefix(Prefix { authority: None, text })], None)
        };
        // Of the same length there may be more.
        for n in (1..=MAX_LENGTHS).chain(1..=MAX_LENGTHS) {
            append(n);
        }
        let key = key("http://a/elsewhere");
        assert!(log.is_current(subject(&key, &Stamp::new(0))));
        append(MAX_LENGTHS + 1);
        assert_eq!(log.pending(), 0);
        assert!(!log.is_current(subject(&key, &elsewhere)));
    }

    #[test]
    fn a_soft_rule_makes_stale_from_when_it_came() {
        let log = Log::default();
        let key = key("http://a/x");
        let (before, after) = (Stamp::new(0), Stamp::new(1));
        log.append([path("/x")], Some(Duration::from_secs(7)));
        assert!(log.is_current(subject(&key, &before)) && log.is_current(subject(&key, &after)));
        assert_eq!(before.stale_since(), Some(Duration::from_secs(7)));
        assert_eq!(
            (before.take_softening(), before.take_softening(), after.stale_since()),
            (Some(1), None, None)
        );
        // The first one counts.
        log.append([Scope::All], Some(Duration::from_secs(9)));
        assert!(!log.is_untouched(subject(&key, &before)));
        assert_eq!(before.stale_since(), Some(Duration::from_secs(7)));
        log.append([Scope::All], None);
        assert_eq!(log.revoked_by(subject(&key, &before)), Some(3));
    }

    #[test]
    fn what_has_labels_nobody_knows_is_under_every_rule_about_labels() {
        let log = Log::default();
        let key = key("http://a/x");
        let stamps = [Stamp::new(0), Stamp::new(0), Stamp::new(0)];
        log.append([Scope::Label(b"tag".as_slice().into())], None);
        let labels: [Box<[u8]>; 1] = [b"tag".as_slice().into()];
        for (labels, stamp, current) in [
            (None, &stamps[0], false),
            (Some(&labels[..]), &stamps[1], false),
            (Some(&[][..]), &stamps[2], true),
        ] {
            assert_eq!(log.is_current(Subject { key: &key, labels, stamp }), current);
        }
    }
}
