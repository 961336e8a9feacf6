//! What became of an invalidation: [`Receipt`], and the history in which one is found again.

use std::collections::{HashMap, VecDeque};
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
    reference: Option<Arc<str>>,
    created: SystemTime,
    soft: bool,
    charge: Charge,
    objects: AtomicU64,
    bytes: AtomicU64,
    fills_revoked: AtomicU64,
    /// Of the history it is in.
    completed: Arc<Completed>,
}

/// The number of the last receipt that is completed. They are in the order in which they came.
type Completed = watch::Sender<u64>;

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

    /// Whether it made stale instead of taking away.
    pub fn is_soft(&self) -> bool {
        self.0.soft
    }

    /// How far it has got.
    pub fn state(&self) -> InvalidationState {
        match *self.0.completed.borrow() >= self.0.number {
            true => InvalidationState::Completed,
            false => InvalidationState::InProgress,
        }
    }

    /// Stored responses taken out of memory or, if soft, made stale. Final when completed.
    pub fn objects(&self) -> u64 {
        self.0.objects.load(Ordering::Relaxed)
    }

    /// What those weighed.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Fills that were under way when the sweep came by, and whose answers it forbids to store. As long as a fill's tags are not
    /// known it counts for every invalidation of a tag.
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
        let mut completed = self.0.completed.subscribe();
        // The sender lives as long as this receipt.
        let _ = completed.wait_for(|number| *number >= self.0.number).await;
    }

    pub(crate) fn credit(&self, objects: u64, bytes: u64) {
        self.0.objects.fetch_add(objects, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn credit_fill(&self) {
        self.0.fills_revoked.fetch_add(1, Ordering::Relaxed);
    }
}

/// The receipts of an edge. What is asked for each invalidation is answered in the same time however many there are.
#[derive(Debug, Default)]
pub(crate) struct History {
    book: Mutex<Book>,
    completed: Arc<Completed>,
}

#[derive(Debug, Default)]
struct Book {
    /// By their numbers, oldest first.
    receipts: VecDeque<Receipt>,
    references: HashMap<Arc<str>, Receipt>,
    /// As of the last receipt, and as of the last that is completed.
    entered: Mark,
    completed: Mark,
}

/// A place in the history: a receipt's number, and the paths and wildcards of all up to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    number: u64,
    paths: u64,
    wildcards: u64,
}

/// What a new receipt says.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) reference: Option<String>,
    pub(super) created: SystemTime,
    pub(super) paths: u64,
    pub(super) wildcards: u64,
    pub(super) soft: bool,
    pub(super) charge: Charge,
}

#[cfg(test)]
impl Entry {
    pub(super) fn for_test() -> Self {
        let (created, charge) = (SystemTime::UNIX_EPOCH, Charge::default());
        Self { number: 0, reference: None, created, paths: 1, wildcards: 0, soft: false, charge }
    }
}

impl History {
    pub(super) fn add(&self, entry: Entry) -> Receipt {
        let receipt = Receipt(Arc::new(Inner {
            number: entry.number,
            reference: entry.reference.map(Arc::from),
            created: entry.created,
            soft: entry.soft,
            charge: entry.charge,
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            fills_revoked: AtomicU64::new(0),
            completed: Arc::clone(&self.completed),
        }));
        let mut book = self.book.lock();
        book.entered.number = entry.number;
        book.entered.paths = book.entered.paths.wrapping_add(entry.paths);
        book.entered.wildcards = book.entered.wildcards.wrapping_add(entry.wildcards);
        if let Some(reference) = &receipt.0.reference {
            book.references.insert(Arc::clone(reference), receipt.clone());
        }
        book.receipts.push_back(receipt.clone());
        receipt
    }

    /// Newest first.
    pub(crate) fn all(&self) -> Vec<Receipt> {
        self.book.lock().receipts.iter().rev().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Receipt> {
        let number = u64::from_str_radix(id.strip_prefix('I')?, 16).ok()?;
        self.of_rule(number).filter(|receipt| receipt.id() == id)
    }

    /// The receipt for the rule of this number.
    pub(crate) fn of_rule(&self, number: u64) -> Option<Receipt> {
        let book = self.book.lock();
        let at = book.receipts.binary_search_by_key(&number, |receipt| receipt.0.number).ok()?;
        book.receipts.get(at).cloned()
    }

    pub(super) fn by_reference(&self, reference: &str) -> Option<Receipt> {
        self.book.lock().references.get(reference).cloned()
    }

    /// Paths and wildcards of the invalidations in progress.
    pub(super) fn in_progress(&self) -> (u64, u64) {
        let Book { entered, completed, .. } = &*self.book.lock();
        (entered.paths.wrapping_sub(completed.paths), entered.wildcards.wrapping_sub(completed.wildcards))
    }

    /// Whether any receipt is in progress.
    pub(super) fn has_open(&self) -> bool {
        let book = self.book.lock();
        book.entered.number > book.completed.number
    }

    /// The place to which the receipts go that there are now.
    pub(super) fn entered(&self) -> Mark {
        self.book.lock().entered
    }

    /// Everything that the receipts up to `mark` are about is out of memory.
    pub(super) fn complete(&self, mark: Mark) {
        self.book.lock().completed = mark;
        self.completed.send_replace(mark.number);
    }

    /// Forgets one of the receipts that are too many, if one is.
    pub(super) fn forget_one(&self) -> bool {
        let mut book = self.book.lock();
        let done = book.completed.number;
        if book.receipts.len() <= HISTORY || book.receipts.front().is_none_or(|oldest| oldest.0.number > done)
        {
            return false;
        }
        let oldest = book.receipts.pop_front();
        let named = oldest.as_ref().and_then(|oldest| book.references.remove(oldest.reference()?));
        drop(book);
        drop((oldest, named));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Entry {
        Entry { number, reference: Some(format!("r{number}")), wildcards: number % 2, ..Entry::for_test() }
    }

    #[test]
    fn what_is_in_progress_is_counted() {
        let history = History::default();
        // Writes have numbers, too, and no receipts.
        for number in [2, 3, 5] {
            history.add(entry(number));
        }
        assert_eq!((history.in_progress(), history.has_open()), ((3, 2), true));
        let mark = history.entered();
        let later = history.add(entry(6));
        history.complete(mark);
        assert_eq!((history.in_progress(), history.has_open()), ((1, 0), true));
        let states: Vec<_> = history.all().iter().map(Receipt::state).collect();
        assert_eq!(states[0], InvalidationState::InProgress);
        assert!(states[1..].iter().all(|state| *state == InvalidationState::Completed));
        history.complete(history.entered());
        assert_eq!((history.in_progress(), history.has_open()), ((0, 0), false));
        assert_eq!(later.state(), InvalidationState::Completed);
    }

    #[test]
    fn a_receipt_is_found_until_it_is_completed_and_too_old() {
        let history = History::default();
        let found = |number: u64| {
            let by_id = history.get(&format!("I{number:08X}"));
            let by_reference = history.by_reference(&format!("r{number}"));
            assert_eq!(by_id.is_some(), by_reference.is_some());
            by_id.is_some()
        };
        for number in 1..=HISTORY as u64 + 2 {
            history.add(entry(number));
        }
        assert!(!history.forget_one(), "all are in progress");
        history.complete(history.entered());
        history.add(entry(HISTORY as u64 + 3));
        while history.forget_one() {}
        assert_eq!(history.all().len(), HISTORY);
        assert!(!found(3) && found(4) && found(HISTORY as u64 + 3));
        for id in ["", "I", "I4", "i00000004", "I+0000004", "I00000004 "] {
            assert!(history.get(id).is_none(), "{id}");
        }
    }
}
