//! What is done about an answer of the origin: what goes into the store, what is cleared, what the next ones are spared.
//!
//! One recorder goes with one exchange. It holds the lead, and with it the exchange's place in the log and in the order of
//! fills, by which [`publish`](Recorder::publish) keeps invariants 4 and 5.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap, StatusCode};

use super::judge::Part;
use super::registry::Lead;
use super::shared::{Participant, Unshared};
use crate::edge::{EdgeInner, State};
use crate::hints::CacheHints;
use crate::invalidation::{Check, Stamp};
use crate::key::KeyBuf;
use crate::policy::CachePolicy;
use crate::semantics::reuse::Failure;
use crate::semantics::slices;
use crate::semantics::status::is_server_error;
use crate::semantics::storable::NotStored;
use crate::semantics::validation;
use crate::store::{Blocks, Head, Stored, Uncacheable};

/// In a box, since every step of an exchange would hold a copy of it.
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
    pub(super) ranged: bool,
    /// The request is for this slice of something of which nothing is known, or nothing that counts.
    pub(super) probe: Option<Range<u64>>,
    /// The part that the answer is.
    part: Option<Part>,
    /// The length of the whole, if the head that was handed out says it.
    length: Option<u64>,
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
    ) -> Box<Self> {
        let stamp = Stamp::new(lead.as_of());
        let hints = CacheHints::new();
        Box::new(Self {
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
            length: None,
            hints,
            stamp,
        })
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
    pub(crate) fn about(&mut self, stored: Option<Arc<Stored>>, base: Option<Arc<Stored>>) {
        self.stored = stored;
        self.base = base;
    }

    /// The request is for one range.
    pub(crate) fn ranged(&mut self) {
        self.ranged = true;
    }

    /// The request is for one slice, for everyone who wants any of the object.
    pub(crate) fn probing(&mut self, slice: Range<u64>) {
        self.probe = Some(slice);
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
        let (head, _) =
            self.head(response.status, &mut response.headers.clone(), sent, length, asked).ok()?;
        (head.terms.source.is_explicit()).then(|| self.flow(head))
    }

    /// Stores what a PUT sent, as of the invalidation that it brought itself: `fields` are those of the representation that it
    /// left at its target. Says whether it is stored.
    pub(crate) fn written(
        mut self: Box<Self>,
        mut fields: HeaderMap,
        blocks: Blocks,
        sent: &HeaderMap,
        as_of: u64,
    ) -> bool {
        self.stamp = Stamp::new(as_of);
        // What was saved is no older than the answer that says so, however long it took to send.
        let asked = self.edge.clock.elapsed();
        match self.head(StatusCode::OK, &mut fields, sent, Some(blocks.len()), asked) {
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

    /// How long the body is to be, once the head has been handed out.
    pub(super) fn promised(&self) -> Option<u64> {
        self.part.as_ref().map(Part::size).or(self.length)
    }

    /// Hands the head to everyone who waits.
    pub(super) fn flow(&mut self, head: Head) -> Arc<Head> {
        let head = Arc::new(head);
        if !head.joinable {
            self.lead.leave_registry();
        }
        let first = self.part.as_ref().map_or(0, |part| part.range.start);
        self.length = head.content_length();
        self.lead.fill.flow(Arc::clone(&head), self.length, first);
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
        let head = match self.length.or_else(|| head.content_length()) {
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
