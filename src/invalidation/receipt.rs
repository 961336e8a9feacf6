//! What became of an invalidation: [`Receipt`], and the history in which one is found again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::meter::Charge;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How many receipts are kept. Those still in progress are kept beyond that.
const HISTORY: usize = 1_000;

/// What became of an invalidation. Cheap to clone; every clone shows the same.
///
/// The invalidation is in force since before there was a receipt. What is still in progress is taking the objects out of
/// memory.
#[derive(Clone, Debug)]
pub struct Receipt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    number: u64,
    reference: Option<String>,
    created: SystemTime,
    paths: u64,
    wildcards: u64,
    charge: Charge,
    objects: AtomicU64,
    bytes: AtomicU64,
    fills_revoked: AtomicU64,
    state: watch::Sender<InvalidationState>,
}

/// How far an invalidation has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidationState {
    /// In force; objects are still being taken out of memory.
    InProgress,
    /// Nothing it is about is left in memory.
    Completed,
}

impl Receipt {
    /// What identifies it, for as long as the edge lives.
    pub fn id(&self) -> String {
        format!("I{:08X}", self.0.number)
    }

    /// The caller's reference.
    pub fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// When it was put in force.
    pub fn created(&self) -> SystemTime {
        self.0.created
    }

    /// How far it has got.
    pub fn state(&self) -> InvalidationState {
        *self.0.state.borrow()
    }

    /// Stored responses taken out of memory or, if soft, made stale. Final when completed.
    pub fn objects(&self) -> u64 {
        self.0.objects.load(Ordering::Relaxed)
    }

    /// What those weighed.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Fills under way whose answers are not stored because of it.
    pub fn fills_revoked(&self) -> u64 {
        self.0.fills_revoked.load(Ordering::Relaxed)
    }

    /// What it cost.
    pub fn charge(&self) -> Charge {
        self.0.charge
    }

    /// Waits until it is completed. The sweep that completes it runs on tokio; where the invalidation was made outside a
    /// runtime, it starts with the next invalidation inside one or with the next fill, and this waits for that.
    pub async fn completed(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as this receipt.
        let _ = state.wait_for(|state| *state == InvalidationState::Completed).await;
    }

    pub(super) fn credit(&self, objects: u64, bytes: u64) {
        self.0.objects.fetch_add(objects, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn credit_fill(&self) {
        self.0.fills_revoked.fetch_add(1, Ordering::Relaxed);
    }
}

/// The receipts of an edge, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    receipts: Mutex<VecDeque<Receipt>>,
}

/// What a new receipt says.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) reference: Option<String>,
    pub(super) created: SystemTime,
    pub(super) paths: u64,
    pub(super) wildcards: u64,
    pub(super) charge: Charge,
}

#[cfg(test)]
impl Entry {
    pub(super) fn for_test() -> Self {
        let (created, charge) = (SystemTime::UNIX_EPOCH, Charge::default());
        Self { number: 0, reference: None, created, paths: 1, wildcards: 0, charge }
    }
}

impl History {
    pub(super) fn add(&self, entry: Entry) -> Receipt {
        let receipt = Receipt(Arc::new(Inner {
            number: entry.number,
            reference: entry.reference,
            created: entry.created,
            paths: entry.paths,
            wildcards: entry.wildcards,
            charge: entry.charge,
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            fills_revoked: AtomicU64::new(0),
            state: watch::Sender::new(InvalidationState::InProgress),
        }));
        let mut receipts = self.receipts.lock();
        receipts.push_back(receipt.clone());
        while receipts.len() > HISTORY
            && receipts.front().is_some_and(|oldest| oldest.state() == InvalidationState::Completed)
        {
            receipts.pop_front();
        }
        receipt
    }

    /// Newest first.
    pub(crate) fn all(&self) -> Vec<Receipt> {
        self.receipts.lock().iter().rev().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Receipt> {
        self.receipts.lock().iter().find(|receipt| receipt.id() == id).cloned()
    }

    pub(super) fn by_reference(&self, reference: &str) -> Option<Receipt> {
        self.receipts.lock().iter().find(|receipt| receipt.reference() == Some(reference)).cloned()
    }

    /// Paths and wildcards of the invalidations in progress.
    pub(super) fn in_progress(&self) -> (u64, u64) {
        let receipts = self.receipts.lock();
        let open = receipts.iter().filter(|receipt| receipt.state() == InvalidationState::InProgress);
        open.fold((0, 0), |(paths, wildcards), receipt| {
            (paths + receipt.0.paths, wildcards + receipt.0.wildcards)
        })
    }

    /// The receipts in progress, by their rules' numbers.
    pub(super) fn open(&self) -> Vec<(u64, Receipt)> {
        let receipts = self.receipts.lock();
        receipts
            .iter()
            .filter(|receipt| receipt.state() == InvalidationState::InProgress)
            .map(|receipt| (receipt.0.number, receipt.clone()))
            .collect()
    }

    /// Whether any receipt is in progress.
    pub(super) fn has_open(&self) -> bool {
        let receipts = self.receipts.lock();
        // Newest first: what is in progress is almost always there.
        receipts.iter().rev().any(|receipt| receipt.state() == InvalidationState::InProgress)
    }

    pub(super) fn complete(receipts: &[(u64, Receipt)]) {
        for (_, receipt) in receipts {
            receipt.0.state.send_replace(InvalidationState::Completed);
        }
    }
}
