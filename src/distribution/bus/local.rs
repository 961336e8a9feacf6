//! A log in memory: [`Local`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Bus, BusFuture, BusReader, Incarnation, Position, Read, Record, Report, Roll};
use crate::sync::Mutex;

/// Records read at once.
const BATCH: usize = 256;

/// A log in this process, for edges in this process.
///
/// Of its records it keeps the last ten thousand, and of references those that were used with them.
#[derive(Debug)]
pub struct Local {
    log: Arc<Log>,
}

#[derive(Debug)]
struct Log {
    incarnation: Mutex<Incarnation>,
    kept: usize,
    records: Mutex<Records>,
    head: watch::Sender<u64>,
    members: Mutex<BTreeMap<String, (Report, Instant)>>,
}

#[derive(Debug, Default)]
struct Records {
    /// The last ones. The number of the last is the head.
    last: VecDeque<Arc<Record>>,
    references: HashMap<String, u64>,
}

impl Local {
    /// A log with nothing in it.
    pub fn new() -> Self {
        Self::keeping(10_000)
    }

    /// The same; it keeps so many records, at least one. An edge that is further behind starts over.
    pub fn keeping(records: usize) -> Self {
        let log = Log {
            incarnation: Mutex::new(super::random_incarnation()),
            kept: records.max(1),
            records: Mutex::default(),
            head: watch::Sender::new(0),
            members: Mutex::default(),
        };
        Self { log: Arc::new(log) }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for Local {
    fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position> {
        let incarnation = *self.log.incarnation.lock();
        let number = self.log.append(record);
        Box::pin(async move { Ok(Position { incarnation, number }) })
    }

    fn reader(&self) -> BusFuture<'_, Box<dyn BusReader>> {
        let reader = Reader { head: self.log.head.subscribe(), log: Arc::clone(&self.log) };
        Box::pin(async move { Ok(Box::new(reader) as Box<dyn BusReader>) })
    }

    fn report<'a>(&'a self, report: &'a Report) -> BusFuture<'a, ()> {
        self.log.members.lock().insert(report.id.clone(), (report.clone(), Instant::now()));
        Box::pin(async { Ok(()) })
    }

    fn leave<'a>(&'a self, id: &'a str) -> BusFuture<'a, ()> {
        self.log.members.lock().remove(id);
        Box::pin(async { Ok(()) })
    }

    fn roll(&self) -> BusFuture<'_, Roll> {
        let now = Instant::now();
        let members = self.log.members.lock();
        let members =
            members.values().map(|(report, at)| (report.clone(), now.saturating_duration_since(*at)));
        // Nobody outside this process can be missing.
        let roll = Roll {
            incarnation: *self.log.incarnation.lock(),
            age: Duration::MAX,
            members: members.collect(),
        };
        Box::pin(async move { Ok(roll) })
    }

    fn renew(&self, seen: Incarnation) -> BusFuture<'_, ()> {
        let mut incarnation = self.log.incarnation.lock();
        if *incarnation == seen {
            *incarnation = super::random_incarnation();
        }
        Box::pin(async { Ok(()) })
    }
}

impl Log {
    fn append(&self, record: &Record) -> u64 {
        let mut records = self.records.lock();
        let Records { last, references } = &mut *records;
        if let Some(number) = record.reference().and_then(|reference| references.get(reference)) {
            return *number;
        }
        let number = *self.head.borrow() + 1;
        if last.len() == self.kept
            && let Some(oldest) = last.pop_front()
            && let Some(reference) = oldest.reference()
        {
            references.remove(reference);
        }
        if let Some(reference) = record.reference() {
            references.insert(reference.to_owned(), number);
        }
        last.push_back(Arc::new(record.clone()));
        self.head.send_replace(number);
        number
    }

    fn after(&self, number: u64) -> Read {
        let records = self.records.lock();
        let head = *self.head.borrow();
        let first = head - records.last.len() as u64;
        let skipped = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        let after = records.last.iter().zip(first + 1..).skip(skipped).take(BATCH);
        let records = after.map(|(record, number)| (number, Ok(Record::clone(record)))).collect();
        Read { incarnation: *self.incarnation.lock(), head, records }
    }
}

#[derive(Debug)]
struct Reader {
    log: Arc<Log>,
    head: watch::Receiver<u64>,
}

impl BusReader for Reader {
    fn read(&mut self, after: u64, patience: Duration) -> BusFuture<'_, Read> {
        Box::pin(async move {
            // The sender lives as long as the log.
            let _ = timeout(patience, self.head.wait_for(|head| *head > after)).await;
            Ok(self.log.after(after))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Invalidation;

    fn record(id: u64, reference: Option<&str>) -> Record {
        let all = Invalidation::all();
        let all = match reference {
            Some(reference) => all.reference(reference),
            None => all,
        };
        Record::new(id, "test", SystemTime::UNIX_EPOCH, all).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_keeps_its_last_records() {
        let bus = Local::keeping(2);
        let mut reader = bus.reader().await.unwrap();
        let numbers =
            |read: Read| (read.head, read.records.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        assert_eq!(numbers(reader.read(0, Duration::from_secs(1)).await.unwrap()), (0, vec![]));
        for id in 1..=3 {
            assert_eq!(bus.append(&record(id, None)).await.unwrap().number, id);
        }
        for (after, expected) in [(0, vec![2, 3]), (1, vec![2, 3]), (2, vec![3]), (3, vec![]), (9, vec![])] {
            let read = reader.read(after, Duration::ZERO).await.unwrap();
            assert_eq!(numbers(read), (3, expected), "after {after}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reference_is_used_once_as_long_as_its_record_is_kept() {
        let bus = Local::keeping(2);
        let append = async |id, reference| bus.append(&record(id, reference)).await.unwrap().number;
        assert_eq!((append(1, Some("a")).await, append(2, Some("a")).await), (1, 1));
        assert_eq!((append(3, None).await, append(4, None).await), (2, 3));
        assert_eq!(append(5, Some("a")).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_incarnation_is_renewed_once() {
        let bus = Local::new();
        let first = bus.roll().await.unwrap().incarnation;
        bus.renew(first).await.unwrap();
        let second = bus.roll().await.unwrap().incarnation;
        bus.renew(first).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(bus.roll().await.unwrap().incarnation, second);
    }
}
