//! One stored response: its head, its body, and what is known about both.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, ETAG, HeaderMap, LAST_MODIFIED};
use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::fields::Fields;
use super::maps::Heat;
use crate::invalidation::{Stamp, Subject};
use crate::semantics::freshness::Terms;
use crate::semantics::reuse::Failure;
use crate::semantics::slices;
use crate::semantics::vary::Vary;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The head of a response that may be shared, with everything a hit needs already worked out.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields,
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
    /// How often it is asked for.
    pub(crate) heat: Heat,
}

impl Head {
    pub(crate) fn age(&self, now: Duration) -> Duration {
        self.terms.age(now.saturating_sub(self.received))
    }

    /// What a slice needs of it, to be invalidated like the object.
    fn slim(&self) -> Self {
        Self { vary: Vary::default(), ..self.with_fields(Fields::pack(&HeaderMap::new())) }
    }

    /// The same with the length of the whole among the fields.
    pub(crate) fn with_length(&self, length: u64) -> Self {
        self.with_fields(self.fields.with(CONTENT_LENGTH, HeaderValue::from(length)))
    }

    fn with_fields(&self, fields: Fields) -> Self {
        Self { fields, vary: self.vary.clone(), labels: self.labels.clone(), heat: Heat::default(), ..*self }
    }

    /// The length of the body, if it is among the fields.
    pub(crate) fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.fields.get(&CONTENT_LENGTH)?).ok()?.parse().ok()
    }

    /// The fields by which conditions are judged.
    pub(crate) fn validators(&self) -> HeaderMap {
        self.fields.only(&[ETAG, LAST_MODIFIED, DATE])
    }

    fn weight(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| label.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Self>() + self.fields.weight() + self.vary.weight() + labels
    }
}

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
        self.ttl_at(self.age(now))
    }

    /// The same at an [`age`](Self::age).
    pub(crate) fn ttl_at(&self, age: Duration) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.head.terms.lifetime).saturating_sub(seconds(age))
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

    /// The body, if it is in one piece.
    pub(crate) fn single(&self) -> Option<Bytes> {
        if self.is_sliced() { None } else { self.body.single() }
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
}
