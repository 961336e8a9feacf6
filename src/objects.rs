//! What is stored for a URL, for whoever operates an edge: [`StoredObject`].

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::edge::{Edge, EdgeInner};
use crate::invalidation::{ScopeError, label, parse_url};
use crate::key::{self, KeyBuf, is_slice, more_parts, origin_part, uri_part};
use crate::store::Stored;

/// Keys looked at before other tasks get their turn.
const BATCH: usize = 256;
/// No question is answered with more than this: by a cookie, one URL may have any number of keys.
const MAX_OBJECTS: usize = 1_000;
/// Slices beyond these are not counted.
const MAX_SLICES: u64 = 65_536;

/// One stored response, as it was when [`Edge::objects`] looked.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredObject {
    /// The status it answers with.
    pub status: StatusCode,
    /// Its fields, without `Age`, `Cache-Status` and those that name tags.
    pub headers: HeaderMap,
    /// By what it varies (`Vary`), with the values of the request it was fetched for in normal form.
    pub vary: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The request's fields in its key: those the policy chose, and those from which an origin may take its URL.
    pub key_fields: Vec<(HeaderName, HeaderValue)>,
    /// What the policy's [`CustomKey`](crate::CustomKey) added to its key.
    pub key_parts: Vec<Vec<u8>>,
    /// Its tags, in lower case.
    pub tags: Vec<String>,
    /// Its groups (RFC 9875).
    pub groups: Vec<String>,
    /// Its age (RFC 9111 §4.2.3).
    pub age: Duration,
    /// Seconds of freshness left, negative when stale.
    pub ttl: i64,
    /// A soft invalidation made it stale.
    pub softly_invalidated: bool,
    /// Which bytes of its body are held. None of an object in slices: those are held apart.
    pub range: Range<u64>,
    /// The length of the whole body.
    pub length: u64,
    /// How many of its slices are held. `None` if it is not kept in [slices](crate::Slices).
    pub slices: Option<u64>,
    /// What it takes of the capacity, in bytes, slices included.
    pub weight: u64,
}

impl StoredObject {
    /// Whether its whole body is held.
    pub fn is_whole(&self) -> bool {
        self.range == (0..self.length)
    }
}

/// Without the values of fields, which may be secrets.
impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredObject")
            .field("status", &self.status)
            .field("age", &self.age)
            .field("ttl", &self.ttl)
            .field("range", &self.range)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Edge {
    /// What is stored for an absolute `http` or `https` URL: every variant, under whatever headers and cookies it is
    /// keyed. What was invalidated is not there. 1,000 at most.
    ///
    /// It is a question of whoever operates the edge, and none that requests wait for: it visits every key, and lets
    /// other tasks run between. It does not count as a use of what it finds.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let edge = tower_edge::Edge::builder().build()?;
    /// assert!(edge.objects("http://www.example.com/").await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it is no such URL.
    pub async fn objects(&self, url: &str) -> Result<Vec<StoredObject>, ScopeError> {
        let edge = &self.0;
        let (uri, _) = parse_url(url)?;
        // What the policy leaves out of the key is not in a stored one.
        let uri = key::rewritten_uri(&uri, &edge.policy_for(&uri).key);
        let (_, plain) = parse_url(&uri.to_string())?;
        // Most have but this key, and it is found even if it moves while the others are visited.
        let mut found = Vec::new();
        edge.describe(plain.as_bytes(), &mut found);
        for (at, (key, _)) in edge.store.iter().enumerate() {
            if uri_part(key.as_bytes()) == plain.as_bytes()
                && key.as_bytes() != plain.as_bytes()
                && !is_slice(key.as_bytes())
            {
                edge.describe(key.as_bytes(), &mut found);
            }
            if found.len() >= MAX_OBJECTS {
                break;
            }
            if at % BATCH == BATCH - 1 {
                tokio::task::yield_now().await;
            }
        }
        found.truncate(MAX_OBJECTS);
        Ok(found)
    }
}

impl EdgeInner {
    /// How many slices of an object are held, and what they weigh.
    fn slices_of(&self, key: &[u8], stored: &Stored) -> (u64, u64) {
        let Some(generation) = stored.generation() else { return (0, 0) };
        let (mut held, mut weight) = (0, 0);
        let key = KeyBuf::from_bytes(key);
        for index in 0..stored.slices().min(MAX_SLICES) {
            let key = key.for_slice(generation.id, index);
            let Some(slot) = self.store.peek(key.as_bytes()) else { continue };
            for slice in slot.variants() {
                held += 1;
                weight += slice.weight();
            }
        }
        (held, weight)
    }

    fn describe(&self, key: &[u8], found: &mut Vec<StoredObject>) {
        let Some(slot) = self.store.peek(key) else { return };
        let now = self.clock.elapsed();
        let current = slot.variants().iter().filter(|stored| self.log.is_current(stored.subject(key)));
        found.extend(current.map(|stored| {
            let slices = stored.is_sliced().then(|| self.slices_of(key, stored));
            describe(key, stored, slices, now)
        }));
    }
}

fn describe(key: &[u8], stored: &Stored, slices: Option<(u64, u64)>, now: Duration) -> StoredObject {
    let head = &stored.head;
    let (mut key_fields, mut key_parts) = (Vec::new(), Vec::new());
    for (name, value) in more_parts(key) {
        match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => key_fields.push((name, value)),
            _ => key_parts.push(value.to_vec()),
        }
    }
    let selecting = |(name, value): (&HeaderName, Option<&[u8]>)| {
        (name.clone(), value.and_then(|value| HeaderValue::from_bytes(value).ok()))
    };
    let (tags, groups) = head.labels.iter().partition::<Vec<_>, _>(|label| label::is_tag(label));
    StoredObject {
        status: head.status,
        headers: head.fields.unpack(),
        vary: head.vary.fields().map(selecting).collect(),
        key_fields,
        key_parts,
        tags: tags.iter().map(|tag| label::tag_name(tag)).collect(),
        groups: groups.iter().map(|group| label::group_name(origin_part(key), group)).collect(),
        age: head.age(now),
        ttl: stored.ttl(now),
        softly_invalidated: stored.stamp.stale_since().is_some(),
        range: stored.range(),
        length: stored.total(),
        slices: slices.map(|(held, _)| held),
        weight: stored.weight() + slices.map_or(0, |(_, weight)| weight),
    }
}
