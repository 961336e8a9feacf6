//! The sweep: takes invalidated objects out of memory and lets rules retire.
//!
//! At most one runs for an edge. It never decides what may be served, so it may be late, or never come.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::{History, Receipt};
use crate::edge::EdgeInner;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Objects looked at before other tasks get their turn.
const BATCH: usize = 256;
/// Rules that come in this time after the first share a pass.
const BATCH_TIME: Duration = Duration::from_millis(10);
/// Between two passes if no rule comes: the fills that end meanwhile share the next.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    running: AtomicBool,
    /// A rule has come while a sweep was under way.
    more: Arc<Notify>,
}

/// Starts a sweep unless one is running. Without a runtime the next fill starts it.
pub(crate) fn start(edge: &Arc<EdgeInner>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    if claims(edge) {
        runtime.spawn(sweep(Running { edge: Arc::downgrade(edge), done: false }));
    }
}

/// Whether no sweep was running: now one is, and whoever asked runs it. The one that was running is told.
pub(crate) fn claims(edge: &EdgeInner) -> bool {
    let running = edge.sweeper.running.swap(true, Ordering::AcqRel);
    if running {
        edge.sweeper.more.notify_one();
    }
    !running
}

/// Starts a sweep that could not be started where the invalidation was made, outside the runtime.
pub(crate) fn start_if_pending(edge: &Arc<EdgeInner>) {
    if edge.log.is_pending() {
        start(edge);
    }
}

/// Dropped when the task ends. `done` if the task has said so itself, since the next may be running by then.
struct Running {
    edge: Weak<EdgeInner>,
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
        if round(&edge, &mut seen).await {
            running.done = true;
            return;
        }
        let more = Arc::clone(&edge.sweeper.more);
        // The sweep keeps nothing alive while it waits.
        drop(edge);
        tokio::select! {
            () = more.notified() => {
                // A storm of rules shares one pass.
                tokio::time::sleep(BATCH_TIME).await;
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Where the log stood when the last pass began: what had settled, and its head.
#[derive(Debug, Default)]
pub(crate) struct Seen(Option<(u64, u64)>);

/// Goes through everything stored if there is anything new to do, and says whether the sweeper has stopped.
pub(crate) async fn round(edge: &EdgeInner, seen: &mut Seen) -> bool {
    // Looked at before the objects: a fill that ends after this published under rules that stay in force.
    let settled = edge.log.settled();
    let head = edge.log.head();
    // While a fill lasts and no rule comes, there is nothing new to do. A receipt is entered after its rule is in
    // force, so it may come to light only when that has been applied already.
    if seen.0 != Some((settled, head)) || edge.ledger.history.has_open() {
        pass(edge).await;
        edge.log.retire(settled);
        seen.0 = Some((settled, head));
    }
    settled == head && stops(edge)
}

/// Takes out what is invalidated now.
async fn pass(edge: &EdgeInner) {
    let receipts = edge.ledger.history.open();
    let receipt_of = |rule| {
        let at = receipts.binary_search_by_key(&rule, |(number, _)| *number).ok()?;
        Some(&receipts[at].1)
    };
    edge.fills.revoked(&edge.log, |rule| receipt_of(rule).into_iter().for_each(Receipt::credit_fill));
    for (at, key) in edge.store.keys().enumerate() {
        edge.store.sweep(&key, &edge.log, |rule, bytes| {
            receipt_of(rule).into_iter().for_each(|receipt| receipt.credit(1, bytes));
        });
        if at % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
    edge.memos.sweep(&edge.log);
    // They were in force before the first object was looked at.
    History::complete(&receipts);
}

/// Stops the sweeper, unless rules have come.
fn stops(edge: &EdgeInner) -> bool {
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
    use crate::invalidation::Scope;
    use crate::invalidation::receipt::Entry;

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
    async fn a_receipt_entered_after_its_rule_was_applied_is_completed() {
        let edge = Edge::builder().build().unwrap();
        // A fill that lasts keeps the sweep running.
        let _running = edge.0.log.register();
        let number = edge.0.log.append([Scope::All], None);
        start(&edge.0);
        tokio::time::sleep(PAUSE * 3).await;
        let entry = Entry { number, ..Entry::for_test() };
        let receipt = edge.0.ledger.history.add(entry);
        start(&edge.0);
        tokio::time::timeout(PAUSE * 3, receipt.completed()).await.expect("completed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_made_outside_the_runtime_is_swept_with_the_next_fill() {
        let edge = Edge::builder().build().unwrap();
        edge.0.log.append([Scope::All], None);
        start_if_pending(&edge.0);
        assert!(edge.0.sweeper.running.load(Ordering::Relaxed));
        tokio::time::sleep(PAUSE * 2).await;
        assert!(!edge.0.log.is_pending() && !edge.0.sweeper.running.load(Ordering::Relaxed));
        start_if_pending(&edge.0);
        assert!(!edge.0.sweeper.running.load(Ordering::Relaxed));
    }
}
