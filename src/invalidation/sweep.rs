//! The sweep: takes invalidated objects out of memory and lets rules retire.
//!
//! At most one runs for an edge. It never decides what may be served, so it may be late, or never come.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::{History, Receipt};
use crate::edge::State;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Objects looked at before other tasks get their turn.
const BATCH: usize = 256;
/// After a pass, at least; and at least as long as it took, so that a storm of rules leaves everybody else most of the
/// machine. Rules that come meanwhile share the next.
const REST: Duration = Duration::from_millis(10);
/// Between two passes if no rule comes: the fills that end meanwhile share the next.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    running: AtomicBool,
    /// A rule has come while a sweep was under way.
    more: Arc<Notify>,
}

/// Starts a sweep unless one is running. Without a runtime the next fill starts it.
pub(crate) fn start(edge: &Arc<State>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    if claims(edge) {
        runtime.spawn(sweep(Running { edge: Arc::downgrade(edge), done: false }));
    }
}

/// Whether no sweep was running: now one is, and whoever asked runs it. The one that was running is told.
pub(crate) fn claims(edge: &State) -> bool {
    let running = edge.sweeper.running.swap(true, Ordering::AcqRel);
    if running {
        edge.sweeper.more.notify_one();
    }
    !running
}

/// Starts a sweep that could not be started where the invalidation was made, outside the runtime.
pub(crate) fn start_if_pending(edge: &Arc<State>) {
    if edge.log.is_pending() {
        start(edge);
    }
}

/// Dropped when the task ends. `done` if the task has said so itself, since the next may be running by then.
struct Running {
    edge: Weak<State>,
    done: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done
            && let Some(edge) = self.edge.upgrade()
        {
            edge.sweeper.running.store(false, Ordering::Release);
        }
    }
}

async fn sweep(mut running: Running) {
    let mut seen = Seen::default();
    while let Some(edge) = running.edge.upgrade() {
        let began = edge.clock.elapsed();
        let is_done = apply(&edge, &mut seen).await;
        let rest = REST.max(edge.clock.elapsed().saturating_sub(began));
        let more = Arc::clone(&edge.sweeper.more);
        // The sweep keeps nothing alive while it waits.
        drop(edge);
        tokio::time::sleep(rest).await;
        let Some(edge) = running.edge.upgrade() else { return };
        if seen.is_old(&edge) {
            continue;
        }
        if is_done && stops(&edge) {
            running.done = true;
            return;
        }
        drop(edge);
        tokio::select! {
            // No dice: under a test clock one seed is one history.
            biased;
            () = more.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Where the log stood when the last pass began: what had settled, and its head.
#[derive(Debug, Default)]
pub(crate) struct Seen(Option<(u64, u64)>);

impl Seen {
    /// Whether a rule or a receipt has come since.
    fn is_old(&self, edge: &State) -> bool {
        self.0.is_none_or(|(_, head)| head != edge.log.head()) || edge.ledger.history.has_open()
    }
}

/// Goes through everything stored, if there is anything new to do. Says whether every rule there was has retired.
async fn apply(edge: &State, seen: &mut Seen) -> bool {
    // Looked at before the objects: a fill that ends after this published under rules that stay in force.
    let settled = edge.log.settled();
    let head = edge.log.head();
    // While a fill lasts and no rule comes, there is nothing new to do. A receipt is entered after its rule is in
    // force, so it may come to light only when that has been applied already.
    // An upload or a slow origin may last for hours. Rules do not pile up meanwhile until everything has to go: what began
    // before them is not stored instead.
    let retiring = if edge.log.is_crowded() { head } else { settled };
    if seen.0 != Some((settled, head)) || edge.ledger.history.has_open() {
        pass(edge).await;
        edge.log.retire(retiring);
        seen.0 = Some((settled, head));
    }
    retiring == head
}

/// The same, and whether the sweeper has stopped: it does not rest between the two.
#[cfg(all(test, shuttle))]
pub(crate) async fn round(edge: &State, seen: &mut Seen) -> bool {
    apply(edge, seen).await && stops(edge)
}

/// Takes out what is invalidated now.
async fn pass(edge: &State) {
    let history = &edge.ledger.history;
    // Their rules are in force before the first object is looked at.
    let entered = history.entered();
    edge.fills.revoked(&edge.log, |rule| history.of_rule(rule).iter().for_each(Receipt::credit_fill));
    let mut turns = Turns::default();
    let mut credited = Credited::default();
    for (key, slot) in edge.store.iter() {
        edge.store.sweep_slot(&key, &slot, &edge.log, |rule, bytes| credited.credit(history, rule, bytes));
        turns.next().await;
    }
    for (key, memo) in edge.memos.iter() {
        edge.memos.sweep(&key, &memo, &edge.log);
        turns.next().await;
    }
    history.complete(entered);
    while history.forget_one() {
        turns.next().await;
    }
}

/// Lets other tasks have their turn now and then.
#[derive(Default)]
struct Turns(usize);

impl Turns {
    async fn next(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(BATCH) {
            tokio::task::yield_now().await;
        }
    }
}

/// The rule that took something away last, and its receipt: most often it takes the next thing, too.
#[derive(Default)]
struct Credited {
    rule: u64,
    receipt: Option<Receipt>,
}

impl Credited {
    fn credit(&mut self, history: &History, rule: u64, bytes: u64) {
        // A receipt is entered after its rule is in force.
        if self.rule != rule || self.receipt.is_none() {
            (self.rule, self.receipt) = (rule, history.of_rule(rule));
        }
        if let Some(receipt) = &self.receipt {
            receipt.credit(1, bytes);
        }
    }
}

/// Stops the sweeper, unless rules have come.
fn stops(edge: &State) -> bool {
    // A swap, not a store: it sees the rule of whoever found the sweeper running before it.
    edge.sweeper.running.swap(false, Ordering::AcqRel);
    // If they have, this one goes on, or another was started for them.
    let more = edge.log.is_pending() || edge.ledger.history.has_open();
    !more || edge.sweeper.running.swap(true, Ordering::AcqRel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Edge;
    use crate::invalidation::receipt::Entry;
    use crate::invalidation::rules::CROWD;
    use crate::invalidation::{Invalidation, InvalidationState, Scope};
    use crate::invalidation::{Stamp, Subject};
    use crate::store::test_support::{key, stored};

    #[tokio::test(start_paused = true)]
    async fn rules_retire_though_fills_overlap_without_end() {
        let edge = Edge::builder().build().unwrap();
        let log = &edge.0.log;
        let mut running = log.register();
        for n in 0..100 {
            edge.0.invalidate([Scope::path(&format!("/{n}"), None)]);
            // The next begins before the last has ended.
            running = log.register();
            tokio::time::sleep(PAUSE * 2).await;
        }
        assert!(log.pending() < 5, "{}", log.pending());
        drop(running);
        tokio::time::sleep(PAUSE * 2).await;
        assert_eq!(log.pending(), 0);
        assert!(!edge.0.sweeper.running.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_outlives_the_rules_it_was_started_under() {
        let edge = Edge::builder().build().unwrap();
        // A fill that lasts keeps the sweep waiting, though nothing is left to do.
        let running = edge.0.log.register();
        edge.0.invalidate([Scope::All]);
        tokio::time::sleep(PAUSE).await;
        let reconfigured = edge.reconfigured(Default::default(), []).unwrap();
        drop(edge);
        tokio::time::sleep(PAUSE * 3).await;
        let receipt = reconfigured.invalidator().invalidate(Invalidation::all()).unwrap();
        tokio::time::timeout(PAUSE * 3, receipt.completed()).await.expect("completed");
        drop(running);
        tokio::time::sleep(PAUSE * 3).await;
        assert!(!reconfigured.0.log.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_without_end_does_not_have_rules_pile_up() {
        let edge = Edge::builder().build().unwrap();
        let log = &edge.0.log;
        let running = log.register();
        for n in 0..=CROWD {
            edge.0.invalidate([Scope::path(&format!("/{n}"), None)]);
        }
        assert!(log.is_crowded());
        tokio::time::sleep(PAUSE * 2).await;
        assert_eq!(log.pending(), 0);
        // What it brings is not used, whatever it is about; what begins now is.
        let (late, early) = (Stamp::new(running.as_of()), Stamp::new(log.head()));
        let subject = |stamp| Subject { key: b"", labels: None, stamp };
        assert!(!log.is_current(subject(&late)) && log.is_current(subject(&early)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receipt_entered_after_its_rule_was_applied_is_completed() {
        let edge = Edge::builder().build().unwrap();
        // A fill that lasts keeps the sweep running.
        let _running = edge.0.log.register();
        let number = edge.0.log.append([Scope::All], None);
        start(edge.0.state());
        tokio::time::sleep(PAUSE * 3).await;
        let entry = Entry { number, ..Entry::for_test() };
        let receipt = edge.0.ledger.history.add(entry);
        start(edge.0.state());
        tokio::time::timeout(PAUSE * 3, receipt.completed()).await.expect("completed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_completes_what_was_in_force_when_it_began() {
        let edge = Edge::builder().build().unwrap();
        for n in 0..=BATCH as u64 {
            let key = key(&format!("http://a/{n}")).to_key();
            edge.0.store.insert(&key, stored(n, 10), 1, &edge.0.log, |_, _| {});
        }
        let invalidate = || edge.invalidator().invalidate(Invalidation::all()).unwrap();
        let first = invalidate();
        // Now the pass is half done.
        tokio::task::yield_now().await;
        assert!((1..=BATCH as u64).contains(&edge.stats().objects));
        let second = invalidate();
        while first.state() == InvalidationState::InProgress {
            tokio::task::yield_now().await;
        }
        assert_eq!(second.state(), InvalidationState::InProgress);
        second.completed().await;
        assert_eq!(first.objects() + second.objects(), BATCH as u64 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_made_outside_the_runtime_is_swept_with_the_next_fill() {
        let edge = Edge::builder().build().unwrap();
        edge.0.log.append([Scope::All], None);
        start_if_pending(edge.0.state());
        assert!(edge.0.sweeper.running.load(Ordering::Relaxed));
        tokio::time::sleep(PAUSE * 2).await;
        assert!(!edge.0.log.is_pending() && !edge.0.sweeper.running.load(Ordering::Relaxed));
        start_if_pending(edge.0.state());
        assert!(!edge.0.sweeper.running.load(Ordering::Relaxed));
    }
}
