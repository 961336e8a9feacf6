//! Clearing on every edge that follows a log: [`BusInvalidator`].

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::receipt::{BusReceipt, Seen, Silences, shown};
use super::{Bus, BusError, Position, Record, RecordError, Roll};
use crate::clock::{Clock, SystemClock};
use crate::edge::Edge;
use crate::invalidation::Invalidation;
use crate::sync::Mutex;

/// Clears objects on every edge that follows a log. Cheap to clone.
#[derive(Clone)]
pub struct BusInvalidator {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    bus: Arc<dyn Bus>,
    author: String,
    pub(super) silence: Duration,
    queue: Option<Queue>,
    pub(super) seen: Mutex<Seen>,
    pub(super) silences: Mutex<Silences>,
}

/// What waits for the log to come back.
struct Queue {
    limit: usize,
    /// Where it is put in force meanwhile.
    edges: Vec<Edge>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<(Record, watch::Sender<Option<Position>>)>,
    /// Somebody is appending them.
    is_flushed: bool,
}

/// Why an invalidation was not made, or not everywhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BusInvalidateError {
    /// It cannot be written down. Nothing of it is in force.
    Record(RecordError),
    /// The log did not take it, or did not say so: it may come into force.
    Bus(BusError),
    /// The log is away and as many wait for it as may. It is in force on the edges of this process only.
    QueueFull {
        /// How many wait.
        limit: usize,
    },
}

impl fmt::Display for BusInvalidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => write!(f, "{error}"),
            Self::Bus(error) => write!(f, "{error}"),
            Self::QueueFull { limit } => {
                write!(f, "the invalidation log is away, and {limit} invalidations wait for it already")
            }
        }
    }
}

impl Error for BusInvalidateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Record(error) => Some(error),
            Self::Bus(error) => Some(error),
            Self::QueueFull { .. } => None,
        }
    }
}

/// An edge that has not reported for so long is silent, unless it says that it may be silent for longer.
const SILENCE: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

impl BusInvalidator {
    /// Appends to a log. `author` stands in every record.
    pub fn new(bus: Arc<dyn Bus>, author: impl Into<String>) -> Self {
        let (seen, silences) = (Mutex::default(), Mutex::default());
        let author = author.into();
        Self { shared: Arc::new(Shared { bus, author, silence: SILENCE, queue: None, seen, silences }) }
    }

    /// Receipts wait so long for an edge that does not report; then it is named as silent, and they go on without it. Five
    /// seconds by default; it has to be longer than any edge's heartbeat. On a log that was away, or is new, edges get that
    /// long to come back, or as long as they [trust themselves](super::WithoutContact): one that came back empty cannot name
    /// those that don't.
    pub fn silence(self, silence: Duration) -> Self {
        self.with(|shared| shared.silence = silence)
    }

    /// While the log cannot be reached, invalidations are put in force on `edges`, those of this process, and at most
    /// `limit` wait to be appended in their order. Without this they are refused.
    ///
    /// What waits is lost with the process.
    pub fn queueing(self, limit: usize, edges: impl IntoIterator<Item = Edge>) -> Self {
        let edges = edges.into_iter().collect();
        let queue = Queue { limit, edges, waiting: Mutex::default() };
        self.with(|shared| shared.queue = Some(queue))
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let Shared { bus, author, silence, queue, .. } = &*self.shared;
        let queue = queue.as_ref().map(|Queue { limit, edges, .. }| Queue {
            limit: *limit,
            edges: edges.clone(),
            waiting: Mutex::default(),
        });
        let mut shared = Shared {
            bus: Arc::clone(bus),
            author: author.clone(),
            silence: *silence,
            queue,
            seen: Mutex::default(),
            silences: Mutex::default(),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// Appends an invalidation to the log, from which every edge takes it. When this returns the log has it, or it
    /// [waits](Self::queueing); when it is in force where, the receipt tells.
    ///
    /// Under a reference that the log knows nothing is appended, and the receipt is about the first record of that
    /// reference.
    ///
    /// # Errors
    /// If it cannot be written down, or the log does not take it.
    pub async fn invalidate(&self, invalidation: Invalidation) -> Result<BusReceipt, BusInvalidateError> {
        let shared = &self.shared;
        let created = SystemClock::new().wall();
        let (id, reference) = (super::random(), invalidation.reference.as_deref().map(Arc::from));
        let invalidation = match (&shared.queue, &reference) {
            // What failed may have been done, and it is tried again: under its own name it is in the log once.
            (Some(_), None) => invalidation.reference(shown(id)),
            _ => invalidation,
        };
        let record = Record::new(id, shared.author.as_str(), created, invalidation)
            .map_err(BusInvalidateError::Record)?;
        let (placed, position) = watch::channel(None);
        let receipt =
            BusReceipt { shared: Arc::clone(shared), id, reference, created: record.created(), position };
        let Some(queue) = &shared.queue else {
            placed.send_replace(Some(shared.append(&record).await.map_err(BusInvalidateError::Bus)?));
            return Ok(receipt);
        };
        // Behind those that wait, or it would overtake them.
        let failed = match queue.is_empty() {
            true => shared.append(&record).await,
            false => Err(BusError::Changed),
        };
        match failed {
            Ok(position) => {
                placed.send_replace(Some(position));
            }
            Err(_) => queue.push(shared, record, placed)?,
        }
        Ok(receipt)
    }

    /// How many invalidations wait for the log.
    pub fn queued(&self) -> usize {
        self.shared.queue.as_ref().map_or(0, |queue| queue.waiting.lock().records.len())
    }
}

impl fmt::Debug for BusInvalidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusInvalidator").field("author", &self.shared.author).finish_non_exhaustive()
    }
}

impl Shared {
    async fn append(&self, record: &Record) -> Result<Position, BusError> {
        let position = match self.bus.append(record).await {
            // Nothing was done, and by now it is known what the log is.
            Err(BusError::Changed) => self.bus.append(record).await?,
            appended => appended?,
        };
        self.seen.lock().note(position.incarnation);
        Ok(position)
    }

    pub(super) async fn roll(&self) -> Result<Roll, BusError> {
        let roll = self.bus.roll().await?;
        self.seen.lock().note(roll.incarnation);
        self.silences.lock().note(&roll, self.silence);
        Ok(roll)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.lock().records.is_empty()
    }

    fn push(
        &self,
        shared: &Arc<Shared>,
        record: Record,
        placed: watch::Sender<Option<Position>>,
    ) -> Result<(), BusInvalidateError> {
        for edge in &self.edges {
            edge.invalidator().apply(record.invalidation().clone());
        }
        let mut waiting = self.waiting.lock();
        if waiting.records.len() >= self.limit {
            return Err(BusInvalidateError::QueueFull { limit: self.limit });
        }
        waiting.records.push_back((record, placed));
        if !std::mem::replace(&mut waiting.is_flushed, true) {
            tokio::spawn(flush(Arc::downgrade(shared)));
        }
        Ok(())
    }
}

/// Appends what waits, one after the other, until nothing does or nobody is left who could ask about it.
async fn flush(shared: Weak<Shared>) {
    let mut wait = FIRST_RETRY;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let Some(queue) = &shared.queue else { return };
        let next = {
            let mut waiting = queue.waiting.lock();
            let next = waiting.records.front().map(|(record, _)| record.clone());
            waiting.is_flushed = next.is_some();
            next
        };
        let Some(record) = next else { return };
        match shared.append(&record).await {
            Ok(position) => {
                let placed = queue.waiting.lock().records.pop_front();
                if let Some((_, placed)) = placed {
                    placed.send_replace(Some(position));
                }
                wait = FIRST_RETRY;
            }
            Err(_) => {
                drop(shared);
                sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
        }
    }
}
