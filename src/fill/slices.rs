//! An object in slices: what says that it is to be kept so, and that a slice is one of it.
//!
//! The head is stored under the object's key, each slice under one of its own that only this head leads to. A slice that
//! comes is a fill like any other, found by its key: so it is fetched once however many want it, and read while it grows.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_RANGES, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tower::{BoxError, Service};

use super::cut::Cut;
use super::judge::{Decision, Part};
use super::recorder::Recorder;
use super::shared::Unshared;
use crate::policy::Slices;
use crate::semantics::length::content_length;
use crate::semantics::slices::{self, Answer};
use crate::semantics::storable::NotStored;
use crate::store::{Head, Stored};

/// At most so many slices of a generation that is over are taken out of memory at once; the others make room in time.
const MAX_FREED: u64 = 16_384;

impl Recorder {
    /// What a head means under a policy with slices, where that makes a difference.
    pub(super) fn sliced(
        &self,
        status: StatusCode,
        fields: &HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
    ) -> Option<Decision> {
        let threshold = self.edge.slice_threshold(&self.policy)?;
        match (&self.probe, status) {
            (Some(probe), StatusCode::PARTIAL_CONTENT) => {
                let decision = self.probed(probe, fields.clone(), sent, length, asked, threshold);
                Some(decision.unwrap_or_else(Decision::NotStored))
            }
            // RFC 9110 §14.2: it did not heed the range, and would not the next one.
            (Some(_), _) if slices::is_about_the_whole(status) => None,
            (Some(_), _) => Some(Decision::NotStored(NotStored::Partial)),
            (None, StatusCode::OK) => {
                let total = content_length(fields).ok()?.or(length)?;
                if total <= threshold || !slices::takes_ranges(fields) {
                    return None;
                }
                let head = self.head_of(status, &mut fields.clone(), sent, length, asked, u64::MAX);
                let (head, own) =
                    head.ok().filter(|(head, _)| slices::can_be_told_apart(&head.fields.unpack()))?;
                Some(Decision::Slices(head, own, Part { range: 0..total, total }))
            }
            (None, _) => None,
        }
    }

    /// The answer to a request for one slice of something unknown.
    fn probed(
        &self,
        probe: &Range<u64>,
        mut fields: HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        asked: Duration,
        threshold: u64,
    ) -> Result<Decision, NotStored> {
        let part = Part::take(&mut fields, length)?;
        let (size, total) = (part.size(), part.total);
        if part.range.start != probe.start || part.range.end != probe.end.min(total) {
            return Err(NotStored::Partial);
        }
        let is_small = total <= threshold;
        if is_small && size != total {
            return Ok(Decision::Whole);
        }
        fields.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
        let (head, own) = self.head_of(StatusCode::OK, &mut fields, sent, Some(size), asked, u64::MAX)?;
        if is_small {
            // RFC 9111 §3.4: a part with all the bytes is the whole.
            return Ok(Decision::Share(head, own));
        }
        if !slices::can_be_told_apart(&head.fields.unpack()) {
            return Err(NotStored::Partial);
        }
        Ok(Decision::Slices(head.with_length(total), own, part))
    }

    /// Stores the head of an object in slices, and has everyone who waited read those that come.
    pub(super) fn begin_slices(mut self: Box<Self>, head: Head, part: Part) -> (Arc<Stored>, Cut) {
        let Slices { size, read_ahead, .. } = self.policy.slices.unwrap_or_default();
        let id = head.order;
        let stored = Arc::new(Stored::sliced(Arc::new(head), part.total, size, id, self.stamp.as_of()));
        let cut = Cut::of(&self, &stored, &part.range, read_ahead);
        self.insert(&stored);
        self.lead.leave_registry();
        if stored.head.joinable {
            self.lead.fill.answer_stored(Arc::clone(&stored));
        } else {
            self.lead.fill.unshared(Unshared::Private);
        }
        (stored, cut.during(self.lead))
    }
}

/// Asks the origin for one slice of a stored object.
pub(crate) struct SliceExchange<S, B> {
    /// Holds the lead of the slice's fill.
    pub(crate) recorder: Box<Recorder>,
    pub(crate) stored: Arc<Stored>,
    pub(crate) index: u64,
    pub(crate) origin: S,
    /// The request as the origin gets it.
    pub(crate) request: Request<B>,
}

impl<S, B> SliceExchange<S, B> {
    pub(crate) async fn run<R>(self)
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: Body,
        R::Error: Into<BoxError>,
    {
        let Self { mut recorder, stored, index, origin, request } = self;
        // Dropping the recorder tells everyone that the origin failed.
        let Some((Ok(Ok(mut response)), sent, asked)) = recorder.ask(origin, request).await else { return };
        recorder.take_hints(response.extensions_mut());
        let (status, fields) = (response.status(), response.headers());
        let slice = stored.slice(index);
        let (why, is_over) =
            match slices::judge(&stored.head.fields.unpack(), stored.total(), &slice, status, fields) {
                Answer::Slice => {
                    let size = response.body().size_hint().exact().or(Some(slice.end - slice.start));
                    let mut fields = fields.clone();
                    fields.remove(CONTENT_RANGE);
                    match recorder.head_of(StatusCode::OK, &mut fields, &sent, size, asked, u64::MAX) {
                        Ok(_) => {
                            let Recorder { lead, edge, key, .. } = *recorder;
                            let body = response.into_body();
                            return Cut::one(&edge, &key, &stored, index, lead).run(body).await;
                        }
                        // What one viewer with credentials was told is no news of what others have.
                        Err(why) => (Unshared::Private, why != NotStored::Authorization),
                    }
                }
                Answer::Changed => (Unshared::Changed, true),
                Answer::Refused => (Unshared::Refused(status), false),
            };
        if is_over {
            recorder.end_generation(&stored);
        }
        recorder.lead.leave_registry();
        recorder.lead.fill.unshared(why);
    }
}

impl Recorder {
    /// The origin has another object now, or none: what is stored of this one goes.
    fn end_generation(&self, stored: &Stored) {
        let Some(generation) = stored.generation() else { return };
        self.edge.store.remove_generation(&self.key.to_key(), generation.id);
        for index in 0..stored.slices().min(MAX_FREED) {
            self.edge.store.forget(&self.key.for_slice(generation.id, index));
        }
    }
}
