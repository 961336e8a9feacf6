//! Reads the log, by a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;
use tokio::time::timeout;

use super::link::{Link, failed};
use super::{Shared, millis};
use crate::distribution::bus::{BusError, BusFuture, BusReader, Read, Record, RecordError};

/// Records read at once.
const BATCH: usize = 256;

pub(super) struct Reader {
    shared: Arc<Shared>,
    link: Link,
}

/// An entry of a stream: its id, its fields and their values.
type Entry = (String, Vec<Vec<u8>>);
type Streams = Option<Vec<(String, Vec<Entry>)>>;

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, link: Link) -> Self {
        Self { shared, link }
    }

    async fn read(&mut self, after: u64, patience: Duration) -> Result<Read, BusError> {
        let keys = &self.shared.keys;
        let mut asked = ::redis::pipe();
        // First where the log stands: what it has by then, the second finds.
        asked.cmd("HMGET").arg(&keys.meta).arg("marker").arg("head");
        // Nor is it of use to follow a server that another has taken the place of.
        asked.cmd("ROLE");
        asked.cmd("XREAD").arg("COUNT").arg(BATCH);
        // None would be for ever.
        if let wait @ 1.. = millis(patience) {
            asked.arg("BLOCK").arg(wait);
        }
        asked.arg("STREAMS").arg(&keys.log).arg(format!("{after}-0"));
        type Answer = ((Option<String>, Option<u64>), Vec<Value>, Streams);
        let (about, role, streams): Answer =
            asked.query_async(&mut self.link.connection).await.map_err(failed)?;
        if !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master") {
            return Err(BusError::Changed);
        }
        let (Some(marker), Some(head)) = about else {
            // It was deleted. Who connects begins another.
            return Err(BusError::Changed);
        };
        let entries = streams.into_iter().flatten().flat_map(|(_, entries)| entries);
        let incarnation = self.link.incarnation_of(&marker);
        Ok(Read { incarnation, head, records: entries.map(|(id, fields)| entry(&id, &fields)).collect() })
    }
}

impl BusReader for Reader {
    fn read(&mut self, after: u64, patience: Duration) -> BusFuture<'_, Read> {
        let bound = patience.saturating_add(self.shared.settings.patience);
        Box::pin(async move {
            let read = timeout(bound, self.read(after, patience)).await;
            read.unwrap_or_else(|_| Err(BusError::unreachable("no answer in time")))
        })
    }
}

/// A record and its number. What somebody else has put there has none, which makes a gap.
fn entry(id: &str, fields: &[Vec<u8>]) -> (u64, Result<Record, RecordError>) {
    let number = id.strip_suffix("-0").and_then(|number| number.parse().ok()).unwrap_or(0);
    let record = match fields {
        [name, record] if name == b"r" => Record::decode(record),
        _ => Err(RecordError::Corrupt),
    };
    (number, record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_put_there_is_no_record() {
        for (id, number) in [("7-0", 7), ("7-1", 0), ("1700000000000-3", 0), ("", 0)] {
            assert_eq!(entry(id, &[]), (number, Err(RecordError::Corrupt)), "{id}");
        }
        assert_eq!(entry("7-0", &[b"x".to_vec(), b"y".to_vec()]), (7, Err(RecordError::Corrupt)));
        assert_eq!(entry("7-0", &[b"r".to_vec(), b"\x09".to_vec()]), (7, Err(RecordError::Version(9))));
    }
}
