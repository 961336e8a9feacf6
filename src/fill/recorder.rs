//! What an answer of the origin means to the store: whether it goes in, what it freshens, what it clears.
//!
//! One recorder goes with one exchange. It holds the lead, and with it the exchange's place in the log and in the order of
//! fills, by which [`publish`](Recorder::publish) keeps invariants 4 and 5.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, SET_COOKIE, TRAILER};
use http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;

use super::registry::Lead;
use super::shared::{Participant, Unshared};
use crate::edge::{EdgeInner, State};
use crate::hints::CacheHints;
use crate::invalidation::{Check, Stamp, label};
use crate::key::{KeyBuf, origin_part};
use crate::policy::CachePolicy;
use crate::semantics::directives::{RequestCacheControl, ResponseCacheControl};
use crate::semantics::freshness::{Received, terms};
use crate::semantics::headers;
use crate::semantics::labels;
use crate::semantics::part;
use crate::semantics::reuse::{Failure, Reuse, reuse};
use crate::semantics::slices;
use crate::semantics::status::is_server_error;
use crate::semantics::storable::{self, NotStored};
use crate::semantics::targeted::effective;
use crate::semantics::validation;
use crate::semantics::vary::Vary;
use crate::store::{Blocks, Fields, Head, Heat, Stored, Uncacheable};

/// What a head means.
pub(super) enum Decision {
    /// It may be shared, and its body goes to the store. The fields are for the one who asked alone.
    Share(Head, HeaderMap),
    /// The same for a part of a body.
    SharePart(Head, HeaderMap, Part),
    /// The object is to be stored in slices: its head, the fields for the one who asked alone, and which bytes of it
    /// the body is.
    Slices(Head, HeaderMap, Part),
    /// It is too small for slices: the whole is to be asked for.
    Whole,
    /// A stored response is still good.
    Refreshed(Arc<Stored>, HeaderMap),
    NotStored(NotStored),
    /// A 304 about something that is not stored: there is no answer.
    Unknown,
}

/// Which part of which whole a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: Range<u64>,
    pub(crate) total: u64,
}

pub(crate) struct Recorder {
    pub(super) lead: Lead,
    pub(super) edge: Arc<EdgeInner>,
    pub(super) policy: Arc<CachePolicy>,
    pub(super) key: KeyBuf,
    /// The key under which the fill is registered: that of a variant, where one is known.
    fill_key: KeyBuf,
    /// What is stored for the request.
    pub(super) stored: Option<Arc<Stored>>,
    /// What the request is conditional on: that, or what is stored for other requests of the key. Only one response is
    /// named, so that a 304 leaves no doubt which it is about, whatever fields it lacks.
    pub(super) base: Option<Arc<Stored>>,
    /// The request is for one range, and a 206 is what was asked for.
    ranged: bool,
    /// The request is for this slice of something of which nothing is known, or nothing that counts.
    pub(super) probe: Option<Range<u64>>,
    /// The part that the answer is.
    part: Option<Part>,
    /// What the answer says to the edge alone.
    pub(super) hints: CacheHints,
    /// As of when the answer is.
    pub(super) stamp: Stamp,
}

impl Recorder {
    pub(crate) fn new(
        lead: Lead,
        edge: Arc<EdgeInner>,
        policy: Arc<CachePolicy>,
        key: KeyBuf,
        fill_key: KeyBuf,
    ) -> Self {
        let stamp = Stamp::new(lead.as_of());
        let hints = CacheHints::new();
        Self {
            lead,
            edge,
            policy,
            key,
            fill_key,
            stored: None,
            base: None,
            ranged: false,
            probe: None,
            part: None,
            hints,
            stamp,
        }
    }

    /// The object's key.
    pub(crate) fn key(&self) -> &KeyBuf {
        &self.key
    }

    /// Takes what an answer says to the edge alone out of its extensions.
    pub(crate) fn take_hints(&mut self, extensions: &mut Extensions) {
        self.hints = extensions.remove().unwrap_or_default();
    }

    /// The request is about what is `stored`, and conditional on `base`.
    pub(crate) fn about(self, stored: Option<Arc<Stored>>, base: Option<Arc<Stored>>) -> Self {
        Self { stored, base, ..self }
    }

    /// The request is for one range.
    pub(crate) fn ranged(self) -> Self {
        Self { ranged: true, ..self }
    }

    /// The request is for one slice, for everyone who wants any of the object.
    pub(crate) fn probing(self, slice: Range<u64>) -> Self {
        Self { probe: Some(slice), ..self }
    }

    /// Judges a head. `sent` are the request's fields as the origin got them, at the moment `asked`.
    pub(super) fn decide(
        &self,
        status: StatusCode,
        fields: &HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
    ) -> Decision {
        if status == StatusCode::NOT_MODIFIED && self.base.is_some() {
            return self.not_modified(fields, sent, asked);
        }
        if let Some(decision) = self.sliced(status, fields, sent, length, asked) {
            return decision;
        }
        if status == StatusCode::PARTIAL_CONTENT && self.ranged {
            return match self.part_head(fields.clone(), sent, length, asked) {
                Ok((head, own, part)) => Decision::SharePart(head, own, part),
                Err(why) => Decision::NotStored(why),
            };
        }
        if self.ranged && status != StatusCode::OK {
            // RFC 9110 §14.2: a 200 did not heed the range. What else comes may be about the range alone, like 416, and
            // would be shown to those who ask for the whole.
            return Decision::NotStored(NotStored::Partial);
        }
        match self.head(status, fields.clone(), sent, length, asked) {
            Ok((head, own)) => Decision::Share(head, own),
            Err(why) => Decision::NotStored(why),
        }
    }

    /// The head of the whole that a 206 is a part of (RFC 9111 §3.3). Only a strong validator can tell which parts belong
    /// together (§3.4), so a part without one is not stored.
    fn part_head(
        &self,
        mut fields: HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
    ) -> Result<(Head, HeaderMap, Part), NotStored> {
        let (range, total) = part::parse_content_range(&fields).ok_or(NotStored::Partial)?;
        let size = range.end - range.start;
        let length = length.or_else(|| content_length(&fields)).unwrap_or(size);
        if length != size || !validation::has_strong_tag(&fields) {
            return Err(NotStored::Partial);
        }
        fields.remove(CONTENT_RANGE);
        part::drop_content_digests(&mut fields);
        let (head, own) = self.head(StatusCode::OK, fields, sent, Some(size), asked)?;
        Ok((head.with_length(total), own, Part { range, total }))
    }

    /// The head to store, out of the fields as they came, and the fields that only the one who asked gets.
    pub(super) fn head(
        &self,
        status: StatusCode,
        fields: HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
    ) -> Result<(Head, HeaderMap), NotStored> {
        self.head_of(status, fields, sent, length, asked, self.max_length())
    }

    /// The same for a body that may be `max_length` bytes long.
    pub(super) fn head_of(
        &self,
        status: StatusCode,
        mut fields: HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
        max_length: u64,
    ) -> Result<(Head, HeaderMap), NotStored> {
        let now = self.edge.clock.elapsed();
        let received = Received { at: self.edge.clock.wall(), delay: now.saturating_sub(asked) };
        let mut control = effective(&fields, &self.policy.targeted.fields);
        self.hints.apply(&mut control);
        let terms = terms(status, &fields, &control, &self.policy, received);
        storable::storable(&storable::Exchange {
            method: &Method::GET,
            request: sent,
            status,
            response: &fields,
            control: &control,
            terms: &terms,
            policy: &self.policy,
            length,
            max_length,
        })?;
        let vary = Vary::new(&fields, sent, self.policy.normalise).map_err(|_| NotStored::Vary)?;
        let length = length.or_else(|| content_length(&fields));
        headers::strip_hop_by_hop(&mut fields);
        fields.remove(TRAILER);
        let labels = self.take_labels(&mut fields);
        let own = self.take_own(&mut fields, &control);
        fields.remove(CONTENT_LENGTH);
        if let Some(length) = length {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // RFC 9110 §6.6.1: a recipient that stores a response without `Date` notes when it came.
        fields.entry(DATE).or_insert_with(|| http_date(received.at));
        let head = Head {
            status,
            fields: Fields::pack(&fields),
            vary,
            labels,
            terms,
            received: now,
            received_wall: received.at,
            // Who only waited gets what the store could have given, and nothing else.
            joinable: !matches!(
                reuse(&terms, terms.initial_age, &RequestCacheControl::default()),
                Reuse::Validate(_) | Reuse::Unsatisfiable
            ),
            order: self.lead.fill.order,
            heat: Heat::default(),
        };
        Ok((head, own))
    }

    /// Takes out the tags and reads the groups, which viewers may see.
    fn take_labels(&self, fields: &mut HeaderMap) -> Box<[Box<[u8]>]> {
        let tags = labels::tags(fields, &self.policy.tags.0, self.hints.normal_tags());
        let groups = labels::groups(fields, &labels::CACHE_GROUPS);
        for field in &self.policy.tags.0 {
            fields.remove(&field.name);
        }
        let key = self.key.as_bytes();
        let groups = groups.iter().map(|group| label::group(origin_part(key), group));
        tags.iter().map(|tag| label::tag(tag)).chain(groups).collect()
    }

    /// Whether an answer has tags of its own.
    pub(super) fn names_tags(&self, fields: &HeaderMap) -> bool {
        !self.hints.normal_tags().is_empty()
            || self.policy.tags.0.iter().any(|field| fields.contains_key(&field.name))
    }

    /// Takes out what is not stored with the rest: the fields named by `private` and `no-cache`, which the one who asked
    /// gets all the same, and the cookies a policy strips from everyone.
    fn take_own(&self, fields: &mut HeaderMap, control: &ResponseCacheControl) -> HeaderMap {
        let mut own = HeaderMap::new();
        for name in storable::fields_to_strip(control, &self.policy) {
            let for_nobody = name == SET_COOKIE && self.policy.set_cookie == crate::policy::SetCookie::Strip;
            if let http::header::Entry::Occupied(entry) = fields.entry(name) {
                let (name, values) = entry.remove_entry_mult();
                if !for_nobody {
                    own.extend(values.map(|value| (name.clone(), value)));
                }
            }
        }
        own
    }

    /// What a POST's answer gives to later GETs (RFC 9110 §9.3.3), as of the invalidation that it brought itself. The
    /// caller has seen that its `Content-Location` is the target. The head is for the one who posted.
    pub(crate) fn post_answered(
        &mut self,
        response: &http::response::Parts,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
        as_of: u64,
    ) -> Option<Arc<Head>> {
        self.stamp = Stamp::new(as_of);
        // Another status is about the POST: a GET led by a 201 or a 303 would go astray.
        if response.status != StatusCode::OK {
            return None;
        }
        let (head, _) = self.head(response.status, response.headers.clone(), sent, length, asked).ok()?;
        (head.terms.source.is_explicit()).then(|| self.flow(head))
    }

    /// Stores what a PUT sent, as of the invalidation that it brought itself: `fields` are those of the representation that it
    /// left at its target. Says whether it is stored.
    pub(crate) fn written(mut self, fields: HeaderMap, blocks: Blocks, sent: &HeaderMap, as_of: u64) -> bool {
        self.stamp = Stamp::new(as_of);
        // What was saved is no older than the answer that says so, however long it took to send.
        let asked = self.edge.clock.elapsed();
        match self.head(StatusCode::OK, fields, sent, Some(blocks.len()), asked) {
            Ok((head, _)) => self.store(Arc::new(head), blocks),
            Err(why) => {
                self.edge.counters.not_stored(why);
                false
            }
        }
    }

    pub(crate) fn participate(&self) -> Participant {
        self.lead.participate()
    }

    /// The answer is a part.
    pub(super) fn flow_part(&mut self, head: Head, part: Part) -> Arc<Head> {
        self.part = Some(part);
        self.flow(head)
    }

    /// How long the body is to be.
    pub(super) fn promised(&self, head: &Head) -> Option<u64> {
        match &self.part {
            Some(part) => Some(part.range.end - part.range.start),
            None => head.content_length(),
        }
    }

    /// Hands the head to everyone who waits.
    pub(super) fn flow(&mut self, head: Head) -> Arc<Head> {
        let head = Arc::new(head);
        if !head.joinable {
            self.lead.leave_registry();
        }
        let first = self.part.as_ref().map_or(0, |part| part.range.start);
        self.lead.fill.flow(Arc::clone(&head), head.content_length(), first);
        head
    }

    pub(super) fn refreshed(&mut self, stored: &Arc<Stored>) {
        let fresh = !self.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, stored));
        if fresh {
            self.edge.counters.refreshed();
            self.publish(stored);
        }
        // Where the 304 did not make a fresh response of it, what is stored is for the one who asked, at most.
        if fresh && stored.head.joinable {
            self.lead.fill.answer_stored(Arc::clone(stored));
        } else {
            self.lead.fill.unshared(Unshared::Private);
        }
    }

    pub(super) fn not_stored(&mut self, why: NotStored, status: StatusCode) {
        // An error says nothing about the object: it stays, whether it may stand in for the error or not.
        let refused = is_server_error(status) || self.policy.stale.error_statuses.contains(&status);
        // Nor does an answer for a viewer with credentials, or about a range, say anything about the object as others get it.
        let is_about_the_range = self.ranged && status != StatusCode::OK
            || self.probe.is_some() && !slices::is_about_the_whole(status);
        let beside =
            why == NotStored::Authorization || is_about_the_range && status != StatusCode::PARTIAL_CONTENT;
        if refused {
            self.put_off_stored(Failure::Status(status));
        } else if !beside {
            if let Some(base) = &self.stored {
                // The origin has another answer now, which only is not for the store.
                self.edge.store.remove(&self.key.to_key(), base);
            }
            self.note_uncacheable(match why {
                NotStored::BodyTooLarge => Uncacheable::TooLarge,
                // Nothing tells its slices apart: each viewer gets the range it asked for.
                NotStored::Partial if self.probe.is_some() => Uncacheable::TooLarge,
                _ => Uncacheable::NotShared,
            });
        } else if why == NotStored::Authorization && self.probe.is_some() {
            // The whole would have been for the one who asked; a slice is for nobody, and the next is spared it.
            self.note(&self.fill_key.for_credentials(), Uncacheable::NotShared);
        }
        self.edge.counters.not_stored(why);
        self.lead.leave_registry();
        self.lead.fill.unshared(if refused { Unshared::Refused(status) } else { Unshared::Private });
    }

    /// The origin failed: it gets time to recover.
    pub(super) fn put_off_stored(&self, failure: Failure) {
        if let Some(stored) = &self.stored {
            stored.put_off(self.edge.clock.elapsed().saturating_add(self.policy.stale.retry_after), failure);
        }
    }

    /// The body turned out too large to keep: the next ones need not find that out again.
    pub(super) fn too_large(&mut self) {
        if self.lead.retire() {
            if let Some(base) = &self.stored {
                self.edge.store.remove(&self.key.to_key(), base);
            }
            self.note_uncacheable(Uncacheable::TooLarge);
            self.edge.counters.not_stored(NotStored::BodyTooLarge);
        }
    }

    fn note_uncacheable(&self, why: Uncacheable) {
        self.note(&self.fill_key, why);
    }

    fn note(&self, key: &KeyBuf, why: Uncacheable) {
        let until = self.edge.clock.elapsed().saturating_add(self.policy.limits.uncacheable_memo);
        self.edge.memos.note(key, why, until, self.stamp.as_of());
    }

    pub(super) fn max_length(&self) -> u64 {
        self.edge.max_object(&self.policy)
    }

    /// Stores a body that came whole. Says whether it is stored.
    pub(super) fn store(&mut self, head: Arc<Head>, blocks: Blocks) -> bool {
        let head = match head.content_length() {
            Some(_) => head,
            None => Arc::new(head.with_length(blocks.len())),
        };
        let stored = match &self.part {
            None => Stored::new(head, blocks, self.stamp.as_of()),
            Some(Part { range, total }) => {
                let part = Stored::part(head, blocks, range.start, *total, self.stamp.as_of());
                self.with_other_parts(part)
            }
        };
        let is_stored = self.publish(&Arc::new(stored));
        // What the store did not take is held by the fill alone, for as long as anybody reads it.
        if is_stored {
            self.lead.fill.handed_over();
        }
        is_stored
    }

    /// A part, and what is stored of the same whole and meets it (RFC 9111 §3.4).
    fn with_other_parts(&self, part: Stored) -> Stored {
        let Some(slot) = self.edge.store.get(&self.key) else { return part };
        let other = slot.variants().iter().find(|other| {
            other.head.vary == part.head.vary
                && !other.is_sliced()
                && self.edge.log.is_current(other.subject(self.key.as_bytes()))
                && validation::same_strong_tag(&other.head.validators(), &part.head.validators())
        });
        match other.and_then(|other| part.joined_with(other)) {
            Some((blocks, first)) if blocks.len() <= self.max_length() => {
                Stored::part(Arc::clone(&part.head), blocks, first, part.total(), self.stamp.as_of())
            }
            _ => part,
        }
    }

    /// Puts a response into the store, unless an invalidation or a newer fill came first (invariants 4 and 5). After
    /// that the exchange publishes nothing more. Says whether the response went in.
    pub(super) fn publish(&mut self, stored: &Arc<Stored>) -> bool {
        let is_stored = self.insert(stored);
        self.lead.retire();
        is_stored
    }

    pub(super) fn insert(&self, stored: &Arc<Stored>) -> bool {
        let State { store, log, memos, .. } = &**self.edge;
        let subject = stored.subject(self.key.as_bytes());
        if !log.passes(Check::Publish, subject) {
            return false;
        }
        let key = self.key.to_key();
        // What an invalidation was about, and the sweep has not come to yet, goes now.
        let noted = |rule, weight| {
            if let Some(receipt) = self.edge.ledger.history.of_rule(rule) {
                receipt.credit(1, weight);
            }
        };
        let max_variants = self.policy.limits.variants;
        let is_stored = store.insert(&key, Arc::clone(stored), max_variants, log, noted);
        if is_stored {
            // A rule may have come between the two looks, and its sweep may have been and gone. This look also notes a
            // soft one while it is sure to be in the log.
            if !log.passes(Check::Publish, subject) {
                store.sweep(&key, log);
            }
            if stored.is_whole() {
                memos.forget(&self.fill_key);
                memos.forget(&self.key);
            }
            self.edge.counters.stored();
        }
        is_stored
    }
}

/// Whether a response to a request with the fields `sent` would be stored, were it led by a fill.
pub(crate) fn would_store<R: Body>(
    edge: &EdgeInner,
    policy: &CachePolicy,
    sent: &HeaderMap,
    response: &Response<R>,
) -> bool {
    let fields = response.headers();
    let mut control = effective(fields, &policy.targeted.fields);
    if let Some(hints) = response.extensions().get::<CacheHints>() {
        hints.apply(&mut control);
    }
    let received = Received { at: edge.clock.wall(), delay: Duration::ZERO };
    let exchange = storable::Exchange {
        method: &Method::GET,
        request: sent,
        status: response.status(),
        response: fields,
        control: &control,
        terms: &terms(response.status(), fields, &control, policy, received),
        policy,
        length: response.body().size_hint().exact(),
        max_length: edge.max_object(policy),
    };
    storable::storable(&exchange).is_ok()
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn http_date(time: std::time::SystemTime) -> HeaderValue {
    let date = httpdate::fmt_http_date(time);
    HeaderValue::from_maybe_shared(Bytes::from(date)).expect("a date is visible ASCII")
}
