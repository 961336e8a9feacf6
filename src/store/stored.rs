//! One stored response: its head, its body, and what is known about both.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS, HeaderMap};
use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use crate::invalidation::{Stamp, Subject};
use crate::semantics::freshness::Terms;
use crate::semantics::reuse::Failure;
use crate::semantics::slices;
use crate::semantics::vary::Vary;
use crate::signature::{LastSignature, Signature};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// The tags and groups by which it can be invalidated.
    pub(crate) labels: Box<[Box<[u8]>]>,
    pub(crate) terms: Terms,
    /// When the response came, by the clock that never steps.
    pub(crate) received: Duration,
    /// The same by the wall clock.
    pub(crate) received_wall: SystemTime,
    /// Whether a request that merely waited for this answer may have it (unqualified `no-cache` says no).
    pub(crate) joinable: bool,
    /// The place of its fill in the order in which fills began.
    pub(crate) order: u64,
    /// What a hit said of itself last.
    pub(crate) last_signature: LastSignature,
}

impl Head {
    /// Takes `Age` and `Cache-Status` out of the fields as received and leaves room for the edge's own, in front. The values
    /// are copied into one block: as they came, each is a slice that keeps the connection's whole read buffer alive.
    pub(crate) fn reserve(headers: &mut HeaderMap) -> Option<HeaderValue> {
        let mut upstream: Vec<u8> = Vec::new();
        for value in headers.get_all(CACHE_STATUS) {
            if !upstream.is_empty() {
                upstream.extend_from_slice(b", ");
            }
            upstream.extend_from_slice(value.as_bytes());
        }
        headers.remove(AGE);
        headers.remove(CACHE_STATUS);
        let mut fields = HeaderMap::with_capacity(headers.keys_len() + 2);
        fields.insert(AGE, HeaderValue::from_static("0"));
        fields.insert(CACHE_STATUS, HeaderValue::from_static(""));
        fields.extend(std::mem::take(headers));
        copy_values(&mut fields);
        *headers = fields;
        if upstream.is_empty() { None } else { HeaderValue::from_bytes(&upstream).ok() }
    }

    /// The fields with these two values. They stand in front, so it takes no search.
    pub(crate) fn signed(&self, signature: Signature) -> HeaderMap {
        let mut headers = self.headers.clone();
        let mut fields = headers.iter_mut();
        if let (Some((age, its_age)), Some((status, its_status))) = (fields.next(), fields.next()) {
            debug_assert!(*age == AGE && *status == CACHE_STATUS);
            *its_age = signature.age;
            *its_status = signature.status;
        }
        headers
    }

    pub(crate) fn age(&self, now: Duration) -> Duration {
        self.terms.age(now.saturating_sub(self.received))
    }

    /// What a slice needs of it, to be invalidated like the object.
    fn slim(&self) -> Self {
        Self { vary: Vary::default(), upstream_status: None, ..self.with_headers(HeaderMap::new()) }
    }

    /// The same with other fields.
    pub(crate) fn with_headers(&self, headers: HeaderMap) -> Self {
        Self {
            headers,
            upstream_status: self.upstream_status.clone(),
            vary: self.vary.clone(),
            labels: self.labels.clone(),
            last_signature: LastSignature::default(),
            ..*self
        }
    }

    fn weight(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum();
        let labels: usize = self.labels.iter().map(|label| label.len() + size_of::<Box<[u8]>>()).sum();
        let upstream = self.upstream_status.as_ref().map_or(0, HeaderValue::len);
        size_of::<Self>() + fields + self.vary.weight() + labels + upstream + SIGNATURE + upstream
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
/// What the last signature takes beside the upstream's part of it.
const SIGNATURE: usize = 128;
/// What a stored response costs beside head and body: handles, its place in the store, the allocator's share.
const OBJECT_OVERHEAD: usize = 240;
/// What a block costs beside its bytes: its handle and the allocator's.
const BLOCK_OVERHEAD: usize = 64;

/// A response in the store: whole, or a contiguous part of one (RFC 9111 §3.3).
#[derive(Debug)]
pub(crate) struct Stored {
    /// Of a part: the head that the whole would have.
    pub(crate) head: Arc<Head>,
    pub(crate) body: Blocks,
    /// Where in the whole the body begins, and how long the whole is.
    first: u64,
    total: u64,
    /// The body is not here: it is stored slice by slice.
    generation: Option<Box<Generation>>,
    pub(crate) stamp: Stamp,
    /// After the origin failed: not asked again before this moment, in milliseconds, and above them the status with
    /// which it failed, 0 if it did not answer.
    retry_at: AtomicU64,
    /// A viewer was answered with it, and what follows from that has been asked.
    served: AtomicBool,
    weight: u64,
}

impl Stored {
    pub(crate) fn new(head: Arc<Head>, body: Blocks, as_of: u64) -> Self {
        let total = body.len();
        Self::part(head, body, 0, total, as_of)
    }

    /// The head of an object of `total` bytes, that is stored in slices of `size` bytes.
    pub(crate) fn sliced(head: Arc<Head>, total: u64, size: u64, id: u64, as_of: u64) -> Self {
        let slim = Arc::new(head.slim());
        let extra = size_of::<Generation>() + slim.weight();
        let part = Self::part(head, Blocks::default(), 0, total, as_of);
        let generation = Some(Box::new(Generation { id, size: size.max(1), slim }));
        Self { weight: part.weight + extra as u64, generation, ..part }
    }

    /// The same body under another head.
    pub(crate) fn under(&self, head: Arc<Head>, as_of: u64) -> Self {
        match self.generation() {
            Some(Generation { id, size, .. }) => Self::sliced(head, self.total, *size, *id, as_of),
            None => Self::part(head, self.body.clone(), self.first, self.total, as_of),
        }
    }

    /// A part that begins at `first`, of a whole `total` bytes long.
    pub(crate) fn part(head: Arc<Head>, body: Blocks, first: u64, total: u64, as_of: u64) -> Self {
        let weight = OBJECT_OVERHEAD + head.weight() + body.blocks.len() * BLOCK_OVERHEAD;
        Self {
            weight: weight as u64 + body.length,
            head,
            body,
            first,
            total,
            generation: None,
            stamp: Stamp::new(as_of),
            retry_at: AtomicU64::new(0),
            served: AtomicBool::new(false),
        }
    }

    /// What the log judges.
    pub(crate) fn subject<'a>(&'a self, key: &'a [u8]) -> Subject<'a> {
        Subject { key, labels: Some(&self.head.labels), stamp: &self.stamp }
    }

    /// The age by which it is judged: one that a soft invalidation made stale is as old as if its lifetime had ended then.
    pub(crate) fn age(&self, now: Duration) -> Duration {
        let age = self.head.age(now);
        match self.stamp.stale_since() {
            Some(since) => age.max(self.head.terms.lifetime.saturating_add(now.saturating_sub(since))),
            None => age,
        }
    }

    /// Seconds of freshness left, negative when stale.
    pub(crate) fn ttl(&self, now: Duration) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.head.terms.lifetime).saturating_sub(seconds(self.age(now)))
    }

    /// The bytes of the whole that are here.
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + self.body.length
    }

    /// The length of the whole.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether all of the body can be had: it is here, or slices of it are.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.length == self.total || self.is_sliced()
    }

    pub(crate) fn is_sliced(&self) -> bool {
        self.generation.is_some()
    }

    /// The bytes of a slice of it.
    pub(crate) fn slice(&self, index: u64) -> Range<u64> {
        let size = self.generation().map_or(self.total, |generation| generation.size);
        slices::bytes_of(index, size, self.total)
    }

    /// How many slices there are of it.
    pub(crate) fn slices(&self) -> u64 {
        self.generation().map_or(0, |generation| self.total.div_ceil(generation.size))
    }

    pub(crate) fn generation(&self) -> Option<&Generation> {
        self.generation.as_deref()
    }

    /// Whether a viewer is answered with it for the first time. Says so once.
    pub(crate) fn first_served(&self) -> bool {
        !self.served.load(Ordering::Relaxed) && !self.served.swap(true, Ordering::Relaxed)
    }

    /// The longest run of bytes at hand from the start of `range`, counted in the whole.
    pub(crate) fn run(&self, range: &Range<u64>) -> Bytes {
        let here = self.range();
        if here.contains(&range.start) {
            self.body.run(&(range.start - here.start..range.end.min(here.end) - here.start))
        } else {
            Bytes::new()
        }
    }

    /// Another part of the same whole and this one, where they meet (RFC 9111 §3.4): the bytes, and where they begin.
    pub(crate) fn joined_with(&self, other: &Stored) -> Option<(Blocks, u64)> {
        let (early, late) = if self.first <= other.first { (self, other) } else { (other, self) };
        let (before, after) = (early.range(), late.range());
        if early.total != late.total || after.start > before.end {
            return None;
        }
        let mut blocks = early.body.blocks.clone();
        let mut rest = before.end..after.end;
        while !rest.is_empty() {
            let run = late.run(&rest);
            rest.start += run.len() as u64;
            // A copy, since a slice would keep its whole block.
            blocks.push(Bytes::copy_from_slice(&run));
        }
        Some((Blocks::new(blocks), before.start))
    }

    /// Bytes really held.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// The origin failed when it was asked about this response.
    pub(crate) fn put_off(&self, until: Duration, failure: Failure) {
        let status = match failure {
            Failure::Status(status) => status.as_u16(),
            Failure::Disconnected => 0,
        };
        self.retry_at.store(u64::from(status) << MILLIS_BITS | millis(until), Ordering::Relaxed);
    }

    /// How the origin failed, if that was just now.
    pub(crate) fn put_off_by(&self, now: Duration) -> Option<Failure> {
        let retry_at = self.retry_at.load(Ordering::Relaxed);
        if retry_at & MAX_MILLIS <= millis(now) {
            return None;
        }
        let status = u16::try_from(retry_at >> MILLIS_BITS).ok();
        Some(
            status
                .and_then(|status| StatusCode::from_u16(status).ok())
                .map_or(Failure::Disconnected, Failure::Status),
        )
    }
}

/// One state of an object that is stored in slices. Slices are found by its number, so that those of two never meet.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) id: u64,
    /// Bytes in a slice.
    pub(crate) size: u64,
    /// The head that each slice has.
    pub(crate) slim: Arc<Head>,
}

const MILLIS_BITS: u32 = 48;
const MAX_MILLIS: u64 = (1 << MILLIS_BITS) - 1;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
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
    fn parts_join_where_they_meet() {
        let part = |range: Range<usize>| {
            let bytes = Bytes::copy_from_slice(&b"abcdefgh"[range.clone()]);
            let head = crate::store::test_support::stored(0, 0).head.clone();
            Stored::part(head, Blocks::new(smallvec![bytes]), range.start as u64, 8, 0)
        };
        for (one, other, joined) in [
            (0..3, 3..5, Some(0..5)),
            (0..3, 4..5, None),
            (2..5, 0..3, Some(0..5)),
            (0..8, 2..3, Some(0..8)),
            (2..3, 0..8, Some(0..8)),
            (5..8, 1..5, Some(1..8)),
        ] {
            let (one, other) = (part(one), part(other));
            let found = one.joined_with(&other).map(|(blocks, first)| (blocks, first as usize));
            assert_eq!(found.is_some(), joined.is_some());
            if let (Some((blocks, first)), Some(joined)) = (found, joined) {
                assert_eq!(first, joined.start);
                let all = Stored::part(one.head.clone(), blocks, first as u64, 8, 0);
                let (mut at, mut read) = (all.range(), Vec::new());
                while !at.is_empty() {
                    let run = all.run(&at);
                    at.start += run.len() as u64;
                    read.extend_from_slice(&run);
                }
                assert_eq!(read, b"abcdefgh"[joined]);
            }
        }
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
