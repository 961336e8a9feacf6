//! What writes have invalidated here and other edges do not know of yet: [`Outbox`].
//!
//! Whoever follows the edge's distribution carries it to the others, batch by batch. All of it is hard and in force here
//! already, so in a batch there is no order, and nothing twice.

use std::collections::HashSet;

use tokio::sync::Notify;

use super::Scope;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// More scopes, or more bytes of them, become one for everything.
const MAX_SCOPES: usize = 1024;
const MAX_BYTES: usize = 256 * 1024;

/// Holds what writes invalidate until other edges can know of it. Costs an edge by itself one load a write.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    is_followed: AtomicBool,
    /// Something waits or is on its way.
    holds: AtomicBool,
    mail: Mutex<Mail>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Mail {
    waiting: Batch,
    /// Under the number that the log will show it by.
    on_its_way: Option<(u64, Batch)>,
}

#[derive(Debug, Default)]
struct Batch {
    scopes: HashSet<Scope>,
    bytes: usize,
    /// Some are not about one URI.
    is_wide: bool,
}

impl Outbox {
    /// Whether somebody carries off what is put in. Says whether that is news: two would take it from each other.
    pub(crate) fn follow(&self, follows: bool) -> bool {
        let mut mail = self.mail.lock();
        if self.is_followed.swap(follows, Ordering::Relaxed) == follows {
            return false;
        }
        *mail = Mail::default();
        self.holds.store(false, Ordering::Release);
        drop(mail);
        self.changed.notify_waiters();
        true
    }

    /// To put in what is about to be in force, if anybody follows. Nothing is taken out, nor looked for, while this is held.
    pub(crate) fn open(&self) -> Option<Opened<'_>> {
        if !self.is_followed.load(Ordering::Relaxed) {
            return None;
        }
        let mail = self.mail.lock();
        // Before the rules: who has seen them sees this.
        self.holds.store(true, Ordering::Release);
        Some(Opened { outbox: self, mail })
    }

    /// Whether something in here may be about what is at one URI, by the scopes that name no more than that.
    pub(crate) fn concerns(&self, exact: impl FnOnce() -> Option<[Scope; 2]>) -> bool {
        if !self.holds.load(Ordering::Acquire) {
            return false;
        }
        let exact = exact();
        let mail = self.mail.lock();
        let mut batches = mail.on_its_way.iter().map(|(_, batch)| batch).chain([&mail.waiting]);
        batches.any(|batch| batch.concerns(exact.as_ref()))
    }

    /// Waits for something to carry, which then is on its way under `id`.
    pub(crate) async fn next(&self, id: u64) -> Vec<Scope> {
        self.until(|mail| {
            let batch = Some(std::mem::take(&mut mail.waiting)).filter(|batch| !batch.scopes.is_empty())?;
            let scopes = batch.scopes.iter().cloned().collect();
            mail.on_its_way = Some((id, batch));
            Some(scopes)
        })
        .await
    }

    /// What is on its way under `id` is in the log: whoever is to know of it can be told its place.
    pub(crate) fn arrives(&self, id: u64) {
        let mut mail = self.mail.lock();
        if mail.is_on_its_way(id) {
            mail.on_its_way = None;
            self.holds.store(!mail.waiting.scopes.is_empty(), Ordering::Release);
            drop(mail);
            self.changed.notify_waiters();
        }
    }

    /// Waits until nothing is on its way under `id`.
    pub(crate) async fn arrived(&self, id: u64) {
        self.until(|mail| (!mail.is_on_its_way(id)).then_some(())).await;
    }

    /// Waits until there is nothing in here.
    pub(crate) async fn emptied(&self) {
        self.until(|mail| (mail.on_its_way.is_none() && mail.waiting.scopes.is_empty()).then_some(())).await;
    }

    async fn until<T>(&self, mut look: impl FnMut(&mut Mail) -> Option<T>) -> T {
        loop {
            // From now on a change is heard of.
            let changed = self.changed.notified();
            let seen = look(&mut self.mail.lock());
            match seen {
                Some(seen) => return seen,
                None => changed.await,
            }
        }
    }
}

impl Mail {
    fn is_on_its_way(&self, id: u64) -> bool {
        self.on_its_way.as_ref().is_some_and(|(own, _)| *own == id)
    }
}

impl Batch {
    fn add(&mut self, scope: &Scope) {
        if self.scopes.contains(&Scope::All) || self.scopes.contains(scope) {
            return;
        }
        self.bytes += scope.bytes();
        self.is_wide |= !matches!(scope, Scope::Uri(_) | Scope::Path(_));
        if self.scopes.len() == MAX_SCOPES || self.bytes > MAX_BYTES {
            *self = Self { scopes: HashSet::from([Scope::All]), bytes: 0, is_wide: true };
        } else {
            self.scopes.insert(scope.clone());
        }
    }

    fn concerns(&self, exact: Option<&[Scope; 2]>) -> bool {
        let names = |exact: &[Scope; 2]| exact.iter().any(|scope| self.scopes.contains(scope));
        self.is_wide || exact.map_or(!self.scopes.is_empty(), names)
    }
}

/// An outbox while something is put in. Dropped, it is shut again, and whoever waits for mail is told.
pub(crate) struct Opened<'a> {
    outbox: &'a Outbox,
    mail: MutexGuard<'a, Mail>,
}

impl Opened<'_> {
    pub(crate) fn put(&mut self, scope: &Scope) {
        self.mail.waiting.add(scope);
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.outbox.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(outbox: &Outbox, scopes: impl IntoIterator<Item = Scope>) {
        if let Some(mut opened) = outbox.open() {
            scopes.into_iter().for_each(|scope| opened.put(&scope));
        }
    }

    fn path(path: &str) -> Scope {
        Scope::path(path, None)
    }

    fn followed() -> Outbox {
        let outbox = Outbox::default();
        outbox.follow(true);
        outbox
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_as_one_and_counts_until_it_has_arrived() {
        let outbox = followed();
        let concerns = |scope: &str| outbox.concerns(|| Some([path(scope), path(scope)]));
        put(&outbox, [path("/a"), path("/a")]);
        put(&outbox, [path("/b"), path("/a")]);
        assert_eq!(outbox.next(1).await.len(), 2, "nothing twice");
        put(&outbox, [path("/c")]);
        assert!(concerns("/a") && concerns("/b") && concerns("/c") && !concerns("/d"));
        assert!(outbox.concerns(|| None), "what is not known may be that");
        outbox.arrives(7);
        assert!(concerns("/a"), "another");
        outbox.arrives(1);
        outbox.arrived(1).await;
        assert!(!concerns("/a") && concerns("/c"));
        assert_eq!(outbox.next(2).await, [path("/c")]);
        outbox.arrives(2);
        outbox.emptied().await;
        assert!(!outbox.concerns(|| unreachable!("nothing is in there")));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_mail_is_told() {
        let outbox = followed();
        let writes = async {
            tokio::task::yield_now().await;
            put(&outbox, [path("/a")]);
        };
        assert_eq!(tokio::join!(outbox.next(1), writes).0, [path("/a")]);
        let arrives = async {
            tokio::task::yield_now().await;
            outbox.arrives(1);
        };
        tokio::join!(outbox.arrived(1), outbox.emptied(), arrives);
    }

    #[tokio::test(start_paused = true)]
    async fn too_much_is_everything() {
        let many = || (0..=MAX_SCOPES).map(|n| path(&format!("/{n}")));
        let large = || [path(&format!("/{}", "a".repeat(MAX_BYTES)))];
        let just_fits = || many().skip(1);
        for (name, scopes, expected) in [
            ("many", many().collect::<Vec<_>>(), 1),
            ("large", large().into(), 1),
            ("as many as may", just_fits().collect(), MAX_SCOPES),
        ] {
            let outbox = followed();
            put(&outbox, scopes);
            assert_eq!(outbox.concerns(|| Some([path("/other"), path("/other")])), expected == 1, "{name}");
            put(&outbox, [path("/1")]);
            let scopes = outbox.next(1).await;
            assert_eq!((scopes.len(), scopes.contains(&Scope::All)), (expected, expected == 1), "{name}");
        }
    }

    #[test]
    fn a_group_may_be_about_anything() {
        let outbox = followed();
        put(&outbox, [Scope::Label(Box::from(&b"group"[..]))]);
        assert!(outbox.concerns(|| Some([path("/a"), path("/a")])));
    }

    #[test]
    fn one_wide_scope_among_others_counts() {
        let outbox = followed();
        put(&outbox, [Scope::Label(Box::from(&b"group"[..])), path("/b")]);
        assert!(outbox.concerns(|| Some([path("/a"), path("/a")])));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_empty_when_nothing_waits_and_nothing_is_on_its_way() {
        let outbox = followed();
        let is_empty =
            async || tokio::time::timeout(std::time::Duration::from_secs(1), outbox.emptied()).await.is_ok();
        assert!(is_empty().await);
        put(&outbox, [path("/a")]);
        assert!(!is_empty().await, "it waits");
        outbox.next(1).await;
        assert!(!is_empty().await, "it is on its way");
        outbox.arrives(1);
        assert!(is_empty().await);
    }

    #[test]
    fn without_a_follower_nothing_is_kept() {
        let outbox = Outbox::default();
        assert!(outbox.open().is_none());
        outbox.follow(true);
        put(&outbox, [path("/a")]);
        outbox.follow(false);
        assert!(outbox.open().is_none() && outbox.mail.lock().waiting.scopes.is_empty());
        assert!(!outbox.concerns(|| unreachable!("nothing is in there")));
    }
}
