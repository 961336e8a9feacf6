//! The sweep: takes invalidated objects out of memory and lets rules retire.
//!
//! At most one runs for an edge. It never decides what may be served, so it may be late, or never come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{History, Receipt};
use crate::edge::EdgeInner;

/// Objects looked at before other tasks get their turn.
const BATCH: usize = 256;
/// How long a sweep waits for fills that began before its rules.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    running: AtomicBool,
}

/// Starts a sweep unless one is running. Without a runtime the next fill starts it.
pub(crate) fn start(edge: &Arc<EdgeInner>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    if !edge.sweeper.running.swap(true, Ordering::AcqRel) {
        let running = Running(Arc::downgrade(edge));
        runtime.spawn(async move { sweep(&running.0).await });
    }
}

/// Starts a sweep that could not be started where the invalidation was made, outside the runtime.
pub(crate) fn start_if_pending(edge: &Arc<EdgeInner>) {
    if edge.log.pending() > 0 {
        start(edge);
    }
}

/// Dropped when the task ends, however it ends.
struct Running(Weak<EdgeInner>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(edge) = self.0.upgrade() {
            edge.sweeper.running.store(false, Ordering::Release);
        }
    }
}

async fn sweep(edge: &Weak<EdgeInner>) {
    while let Some(edge) = edge.upgrade() {
        let number = edge.log.head();
        let receipts = edge.ledger.history.open_until(number);
        let receipt_of = |rule| {
            let at = receipts.binary_search_by_key(&rule, |(number, _)| *number).ok()?;
            Some(&receipts[at].1)
        };
        // Looked at before the objects: a fill that ends after this published under rules that are still in force.
        let quiet = edge.log.is_quiet_before(number);
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
        History::complete(&receipts);
        if quiet {
            edge.log.retire(number);
            if edge.log.head() == number {
                return;
            }
        } else {
            drop(edge);
            tokio::time::sleep(PATIENCE).await;
        }
    }
}
