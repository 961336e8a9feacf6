//! One stored response: its head, its body, and what is known about both.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS, HeaderMap};
use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use crate::invalidation::Stamp;
use crate::semantics::freshness::Terms;
use crate::semantics::vary::Vary;

/// The head of a response that may be shared, with everything a hit needs already worked out.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// As they are sent, `Age` and `Cache-Status` included: a hit overwrites their values and so never grows its
    /// clone of the map.
    pub(crate) headers: HeaderMap,
    /// What `Cache-Status` said when the response came (RFC 9211 §2: members are appended).
    pub(crate) upstream_status: Option<HeaderValue>,
    pub(crate) vary: Vary,
    pub(crate) terms: Terms,
    /// When the response came, by the clock that never steps.
    pub(crate) received: Duration,
    /// The same by the wall clock.
    pub(crate) received_wall: SystemTime,
    /// Whether a request that merely waited for this answer may have it (unqualified `no-cache` says no).
    pub(crate) joinable: bool,
    /// The place of its fill in the order in which fills began.
    pub(crate) order: u64,
}

impl Head {
    /// Takes `Age` and `Cache-Status` out of the fields as received and leaves room for the edge's own. The values are
    /// copied into one block: as they came, each is a slice that keeps the connection's whole read buffer alive.
    pub(crate) fn reserve(headers: &mut HeaderMap) -> Option<HeaderValue> {
        let mut upstream: Vec<u8> = Vec::new();
        for value in headers.get_all(CACHE_STATUS) {
            if !upstream.is_empty() {
                upstream.extend_from_slice(b", ");
            }
            upstream.extend_from_slice(value.as_bytes());
        }
        headers.insert(AGE, HeaderValue::from_static("0"));
        headers.insert(CACHE_STATUS, HeaderValue::from_static(""));
        copy_values(headers);
        if upstream.is_empty() { None } else { HeaderValue::from_bytes(&upstream).ok() }
    }

    pub(crate) fn age(&self, now: Duration) -> Duration {
        self.terms.age(now.saturating_sub(self.received))
    }

    /// Seconds of freshness left, negative when stale.
    pub(crate) fn ttl(&self, now: Duration) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.terms.lifetime).saturating_sub(seconds(self.age(now)))
    }

    /// The same with other fields.
    pub(crate) fn with_headers(&self, headers: HeaderMap) -> Self {
        Self { headers, upstream_status: self.upstream_status.clone(), vary: self.vary.clone(), ..*self }
    }

    fn weight(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum();
        size_of::<Self>() + fields + self.vary.weight()
    }
}

/// Copies the values into one block of their own, and the map to its right size.
fn copy_values(headers: &mut HeaderMap) {
    let mut block = Vec::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers.values().for_each(|value| block.extend_from_slice(value.as_bytes()));
    let mut block = Bytes::from(block);
    for value in headers.values_mut() {
        let sensitive = value.is_sensitive();
        let copy = block.split_to(value.len());
        *value = HeaderValue::from_maybe_shared(copy).expect("a copy of a field value");
        value.set_sensitive(sensitive);
    }
    // A clone has no spare room.
    *headers = headers.clone();
}

/// What a field costs beside its bytes: its entry and its index in the map.
const FIELD_OVERHEAD: usize = 120;
/// What a stored response costs beside head and body: handles, its place in the store, the allocator's share.
const OBJECT_OVERHEAD: usize = 240;
/// What a block costs beside its bytes: its handle and the allocator's.
const BLOCK_OVERHEAD: usize = 64;

/// A response in the store. Its body is whole.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) head: Arc<Head>,
    pub(crate) body: Blocks,
    pub(crate) stamp: Stamp,
    /// After the origin failed: not asked again before this moment, in milliseconds.
    retry_at: AtomicU64,
    weight: u64,
}

impl Stored {
    pub(crate) fn new(head: Arc<Head>, body: Blocks, as_of: u64) -> Self {
        let weight = OBJECT_OVERHEAD + head.weight() + body.blocks.len() * BLOCK_OVERHEAD;
        Self {
            weight: weight as u64 + body.length,
            head,
            body,
            stamp: Stamp::new(as_of),
            retry_at: AtomicU64::new(0),
        }
    }

    /// Bytes really held.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// The origin failed when it was asked about this response.
    pub(crate) fn put_off(&self, until: Duration) {
        self.retry_at.store(millis(until), Ordering::Relaxed);
    }

    pub(crate) fn is_put_off(&self, now: Duration) -> bool {
        self.retry_at.load(Ordering::Relaxed) > millis(now)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The bytes of a body, in blocks that hold nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    blocks: SmallVec<[Bytes; 1]>,
    length: u64,
}

impl Blocks {
    pub(crate) fn new(blocks: SmallVec<[Bytes; 1]>) -> Self {
        let length = blocks.iter().map(|block| block.len() as u64).sum();
        Self { blocks, length }
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The body, if it is in one piece.
    pub(crate) fn single(&self) -> Option<Bytes> {
        match self.blocks.as_slice() {
            [] => Some(Bytes::new()),
            [block] => Some(block.clone()),
            _ => None,
        }
    }

    /// The longest run of bytes at hand from the start of `range`. Empty only if the range is.
    pub(crate) fn run(&self, range: &Range<u64>) -> Bytes {
        let mut start = 0;
        for block in &self.blocks {
            let end = start + block.len() as u64;
            if range.start < end {
                let from = (range.start - start) as usize;
                let to = (range.end.min(end) - start) as usize;
                return block.slice(from..to.max(from));
            }
            start = end;
        }
        Bytes::new()
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    #[test]
    fn runs_cover_a_range_block_by_block() {
        let blocks = Blocks::new(smallvec![Bytes::from("abc"), Bytes::from("de"), Bytes::from("fgh")]);
        assert_eq!(blocks.len(), 8);
        for start in 0..8 {
            for end in start..=8 {
                let (mut at, mut read) = (start, Vec::new());
                while at < end {
                    let run = blocks.run(&(at..end));
                    at += run.len() as u64;
                    read.extend_from_slice(&run);
                }
                assert_eq!(read, b"abcdefgh"[start as usize..end as usize]);
            }
        }
        assert!(blocks.run(&(8..8)).is_empty());
    }

    #[test]
    fn stored_fields_hold_nothing_of_the_read_buffer() {
        let buffer = Bytes::from(vec![b'x'; 16 * 1024]);
        let mut headers = HeaderMap::new();
        for (name, range) in [("a", 0..10), ("b", 10..20)] {
            headers.append(name, HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap());
        }
        headers.append("a", HeaderValue::from_static("more"));
        let before = headers.clone();
        Head::reserve(&mut headers);
        for name in ["a", "b"] {
            assert!(headers.get_all(name).iter().eq(before.get_all(name)));
        }
        drop(before);
        assert!(buffer.is_unique());
    }

    #[test]
    fn upstream_cache_status_is_kept_apart() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_STATUS, "a; hit".parse().unwrap());
        headers.append(CACHE_STATUS, "b; fwd=miss".parse().unwrap());
        assert_eq!(Head::reserve(&mut headers).unwrap(), "a; hit, b; fwd=miss");
        assert_eq!(headers.get_all(CACHE_STATUS).iter().count(), 1);
    }
}
