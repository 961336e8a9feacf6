//! Viewers of every edge, who must never get what an edge said is cleared.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::chance::Chance;
use crate::site::Site;
use crate::truth::{PATHS, name};

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) reads: AtomicU64,
    pub(crate) hits: AtomicU64,
    /// By an edge that was killed.
    pub(crate) unanswered: AtomicU64,
    /// Invalidations that the log took.
    pub(crate) taken: AtomicU64,
    /// Those that it did not, or not certainly.
    pub(crate) refused: AtomicU64,
    /// Receipts that said so.
    pub(crate) completed: AtomicU64,
    /// Of an edge, before all had.
    pub(crate) acknowledged: AtomicU64,
    /// Receipts that named a silent edge.
    pub(crate) silent: AtomicU64,
    pub(crate) stale: AtomicU64,
    /// How often everything has happened.
    pub(crate) rounds: AtomicU64,
    pub(crate) faults: Mutex<BTreeMap<&'static str, u64>>,
    /// The first of what must not be.
    pub(crate) wrong: Mutex<Vec<String>>,
    pub(crate) over: AtomicBool,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() < 10 {
            wrong.push(what);
        }
    }
}

/// Reads from one edge until it is over.
pub(crate) async fn read(site: &Site, tally: &Tally, edge: usize, seed: u64) {
    let mut chance = Chance::new(seed);
    while !tally.is_over() {
        read_once(site, tally, edge, chance.below(PATHS as u64) as usize).await;
        sleep(Duration::from_micros(chance.below(6_000))).await;
    }
}

pub(crate) async fn read_once(site: &Site, tally: &Tally, edge: usize, path: usize) {
    // Before the request begins.
    let floor = site.truth.floor(edge, path);
    let Some(answer) = site.get(edge, path).await else {
        return count(&tally.unanswered);
    };
    if answer.status != 200 {
        // The origin is there, whatever else is not.
        return tally.wrong(format!("edge-{} answered {} by {answer:?}", edge + 1, name(path)));
    }
    count(&tally.reads);
    if answer.is_hit() {
        count(&tally.hits);
    }
    let status = answer.text("cache-status");
    let Some(version) = answer.version() else {
        return tally.wrong(format!("{}: no version ({status})", name(path)));
    };
    if version < floor {
        count(&tally.stale);
        tally.wrong(format!(
            "edge-{} gave {} of version {version}, and {floor} was in force ({status})",
            edge + 1,
            name(path)
        ));
    }
    if answer.body != format!("path {path}, version {version}") {
        tally.wrong(format!("{}: version {version} with another's bytes ({status})", name(path)));
    }
}
