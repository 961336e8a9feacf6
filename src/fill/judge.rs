//! What the head of an answer means: whether it may be shared, and as what.
//!
//! The rules are those of `semantics`; what comes of the [`Decision`] is done by the [`Recorder`] and the exchange.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, TRAILER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;

use super::recorder::Recorder;
use crate::edge::EdgeInner;
use crate::hints::CacheHints;
use crate::invalidation::label;
use crate::key::origin_part;
use crate::policy::CachePolicy;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::freshness::{Received, terms};
use crate::semantics::headers;
use crate::semantics::labels;
use crate::semantics::length::content_length;
use crate::semantics::part;
use crate::semantics::reuse::{Reuse, reuse};
use crate::semantics::storable::{self, NotStored};
use crate::semantics::targeted::effective;
use crate::semantics::validation;
use crate::store::{Fields, Head, Heat, Stored};

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

impl Part {
    /// Takes out of an answer's fields what they say of the part alone (RFC 9110 §14.4).
    pub(super) fn take(fields: &mut HeaderMap, length: Option<u64>) -> Result<Self, NotStored> {
        let (range, total) = part::parse_content_range(fields).ok_or(NotStored::Partial)?;
        let part = Self { range, total };
        if length.or(content_length(fields)?).is_some_and(|length| length != part.size()) {
            return Err(NotStored::Partial);
        }
        fields.remove(CONTENT_RANGE);
        part::drop_content_digests(fields);
        Ok(part)
    }

    pub(super) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Recorder {
    /// Judges a head. `sent` are the request's fields as the origin got them, at the moment `asked`. What is to be stored whole
    /// is taken out of `fields`.
    pub(super) fn decide(
        &self,
        status: StatusCode,
        fields: &mut HeaderMap,
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
        match self.head(status, fields, sent, length, asked) {
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
        let part = Part::take(&mut fields, length)?;
        if !validation::has_strong_tag(&fields) {
            return Err(NotStored::Partial);
        }
        let (head, own) = self.head(StatusCode::OK, &mut fields, sent, Some(part.size()), asked)?;
        Ok((head.with_length(part.total), own, part))
    }

    /// The head to store, and the fields that only the one who asked gets: both out of the fields as they came, which are
    /// left as they are if there is an error.
    pub(super) fn head(
        &self,
        status: StatusCode,
        fields: &mut HeaderMap,
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
        fields: &mut HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
        max_length: u64,
    ) -> Result<(Head, HeaderMap), NotStored> {
        let now = self.edge.clock.elapsed();
        let received = Received { at: self.edge.clock.wall(), delay: now.saturating_sub(asked) };
        let mut control = effective(fields, &self.policy.targeted.fields);
        self.hints.apply(&mut control);
        let terms = terms(status, fields, &control, &self.policy, received);
        let vary = storable::storable(&storable::Exchange {
            method: &Method::GET,
            request: sent,
            status,
            response: fields,
            control: &control,
            terms: &terms,
            policy: &self.policy,
            length,
            max_length,
        })?;
        let length = length.or(content_length(fields)?);
        let mut fields = std::mem::take(fields);
        headers::strip_hop_by_hop(&mut fields);
        fields.remove(TRAILER);
        let labels = self.take_labels(&mut fields);
        let own = headers::take_own(&mut fields, &control, &self.policy);
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

fn http_date(time: std::time::SystemTime) -> HeaderValue {
    let date = httpdate::fmt_http_date(time);
    HeaderValue::from_maybe_shared(Bytes::from(date)).expect("a date is visible ASCII")
}
