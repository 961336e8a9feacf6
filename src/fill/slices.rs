//! An object in slices: when it is to be cut, and how its body is cut as it comes.
//!
//! The head is stored under the object's key, each slice under one of its own that only this head leads to. A slice that
//! comes is a fill like any other, found by its key: so it is fetched once however many want it, and read while it grows. The
//! body of a whole object is read slice by slice, no faster than somebody wants the next.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tower::{BoxError, Service};

use super::recorder::{Decision, Part, Recorder};
use super::registry::Lead;
use super::shared::{Fill, Unshared};
use super::task::poll_frame;
use crate::edge::EdgeInner;
use crate::error::{BodyError, BodyErrorKind};
use crate::invalidation::Check;
use crate::key::KeyBuf;
use crate::policy::Slices;
use crate::semantics::range;
use crate::semantics::slices::{self, Answer};
use crate::semantics::storable::{self, NotStored};
use crate::store::{Blocks, Head, Stored};
use crate::sync::timeout;

/// The body of a whole object waits this long for somebody who wants the next slice, when nobody reads the last.
const GRACE: Duration = Duration::from_secs(5);
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
                let total = storable::content_length(fields).ok()?.or(length)?;
                if total <= threshold || !slices::takes_ranges(fields) {
                    return None;
                }
                let head = self.head_of(status, fields.clone(), sent, length, asked, u64::MAX);
                let (head, own) = head.ok().filter(|(head, _)| slices::can_be_told_apart(&head.headers))?;
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
        let (range, total) = range::parse_content_range(&fields).ok_or(NotStored::Partial)?;
        let size = range.end - range.start;
        let length = length.or(storable::content_length(&fields)?).unwrap_or(size);
        if length != size || range.start != probe.start || range.end != probe.end.min(total) {
            return Err(NotStored::Partial);
        }
        let is_small = total <= threshold;
        if is_small && size != total {
            return Ok(Decision::Whole);
        }
        // RFC 9110 §14.4: it speaks of the part.
        fields.remove(CONTENT_RANGE);
        fields.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
        let (mut head, own) = self.head_of(StatusCode::OK, fields, sent, Some(size), asked, u64::MAX)?;
        if is_small {
            // RFC 9111 §3.4: a part with all the bytes is the whole.
            return Ok(Decision::Share(head, own));
        }
        if !slices::can_be_told_apart(&head.headers) {
            return Err(NotStored::Partial);
        }
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(total));
        Ok(Decision::Slices(head, own, Part { range, total }))
    }

    /// Stores the head of an object in slices, and has everyone who waited read those that come.
    pub(super) fn begin_slices(mut self, head: Head, part: Part) -> (Arc<Stored>, Cut) {
        let Slices { size, read_ahead, .. } = self.policy.slices.unwrap_or_default();
        let id = head.order;
        let stored = Arc::new(Stored::sliced(Arc::new(head), part.total, size, id, self.stamp.as_of()));
        let mut cut = Cut {
            edge: Arc::clone(&self.edge),
            key: self.key.clone(),
            stored: Arc::clone(&stored),
            as_of: self.stamp.as_of(),
            next: part.range.start / size.max(1),
            end: part.range.end,
            leads: VecDeque::new(),
            ahead: read_ahead + 1,
            is_met: false,
            exchange: None,
        };
        // Before anybody finds the head: who does is to find these slices, too.
        cut.open();
        self.insert(&stored);
        self.lead.leave_registry();
        if stored.head.joinable {
            self.lead.fill.answer_stored(Arc::clone(&stored));
        } else {
            self.lead.fill.unshared(Unshared::Private);
        }
        cut.exchange = Some(self.lead);
        (stored, cut)
    }
}

/// The body of an object, or of a slice of it, while it is cut.
pub(super) struct Cut {
    edge: Arc<EdgeInner>,
    key: KeyBuf,
    /// The head.
    stored: Arc<Stored>,
    /// Where the log was when the exchange began.
    as_of: u64,
    /// The end of what comes.
    end: u64,
    /// The fills of the slices that come next, with their numbers.
    leads: VecDeque<(u64, Lead)>,
    /// How many of them there may be, and which the next is.
    ahead: usize,
    next: u64,
    /// Somebody else has the next slice, or it is stored: this body is read no further.
    is_met: bool,
    /// What has the log keep the rules that came since.
    exchange: Option<Lead>,
}

impl Cut {
    /// The body of one slice.
    fn one(edge: &Arc<EdgeInner>, key: &KeyBuf, stored: &Arc<Stored>, index: u64, lead: Lead) -> Self {
        let as_of = lead.as_of();
        let (edge, key, stored) = (Arc::clone(edge), key.clone(), Arc::clone(stored));
        let end = stored.slice(index).end;
        let leads = VecDeque::from([(index, lead)]);
        Self { edge, key, stored, as_of, end, leads, ahead: 1, next: index + 1, is_met: true, exchange: None }
    }

    /// Begins the fills of the slices that come next.
    fn open(&mut self) {
        let Some(generation) = self.stored.generation() else { return };
        while !self.is_met && self.leads.len() < self.ahead && self.stored.slice(self.next).start < self.end {
            let key = self.key.for_slice(generation.id, self.next);
            let lead = match self.edge.store.peek(key.as_bytes()) {
                None => self.edge.fills.open_slice(&key, self.as_of),
                Some(_) => None,
            };
            match lead {
                Some(lead) => self.leads.push_back((self.next, lead)),
                None => self.is_met = true,
            }
            self.next += 1;
        }
    }

    /// Reads the body for everyone who wants a slice of it and, slice by slice, for the store.
    pub(super) async fn run<R>(mut self, body: R)
    where
        R: Body,
        R::Error: Into<BoxError>,
    {
        let mut body = pin!(body);
        let mut rest = Bytes::new();
        let mut before: Option<Arc<Fill>> = None;
        while let Some((index, mut lead)) = self.leads.pop_front() {
            self.open();
            if let Some(before) = &before
                && !self.is_wanted(&lead, before).await
            {
                return;
            }
            let slice = self.stored.slice(index);
            lead.fill.flow(Arc::clone(&self.stored.head), Some(self.stored.total()), slice.start);
            let Some(end) = self.read(&lead, slice.clone(), &mut rest, body.as_mut()).await else { return };
            let is_over = end.is_err();
            if is_over {
                self.edge.counters.body_failed();
            } else if let Some(blocks) = lead.fill.whole() {
                self.store(index, slice.start, blocks);
                lead.fill.handed_over();
            }
            lead.leave_registry();
            lead.fill.end(end);
            if is_over {
                return;
            }
            before = Some(Arc::clone(&lead.fill));
        }
    }

    /// Whether somebody wants what comes next: waits while the last slice is still being read, and a little longer.
    async fn is_wanted(&self, next: &Lead, before: &Fill) -> bool {
        let joined = || {
            poll_fn(|cx| {
                let mut fills = self.leads.iter().map(|(_, lead)| lead).chain([next]);
                // Each that is not has to know whom to wake.
                match fills.any(|lead| lead.fill.poll_joined(cx).is_ready()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
        };
        tokio::select! {
            biased;
            () = joined() => return true,
            () = before.left() => {}
        }
        timeout(GRACE, joined()).await.is_ok()
    }

    /// Reads one slice. `None` if nobody wants it any more.
    async fn read<R>(
        &self,
        lead: &Lead,
        slice: Range<u64>,
        rest: &mut Bytes,
        mut body: Pin<&mut R>,
    ) -> Option<Result<(), BodyError>>
    where
        R: Body,
        R::Error: Into<BoxError>,
    {
        let (mut at, budget) = (slice.start, self.edge.max_in_flight);
        while at < slice.end {
            if rest.is_empty() {
                let frame = tokio::select! {
                    biased;
                    () = lead.fill.abandoned() => return None,
                    frame = async {
                        // A slice that is not kept is read no faster than somebody reads it.
                        lead.fill.wanted().await;
                        poll_fn(|cx| poll_frame(body.as_mut(), cx)).await
                    } => frame,
                };
                match frame {
                    None => return Some(Err(BodyError::new(BodyErrorKind::Length))),
                    Some(Err(error)) => return Some(Err(error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(mut data) => *rest = data.copy_to_bytes(data.remaining()),
                        // Trailers are not part of what is shared (RFC 9111 §3.1).
                        Err(_) => continue,
                    },
                }
            }
            let taken = rest.len().min(usize::try_from(slice.end - at).unwrap_or(usize::MAX));
            let data = rest.split_to(taken);
            at += taken as u64;
            if at == self.end && (!rest.is_empty() || goes_on(body.as_mut())) {
                // It must not look whole to anyone.
                return Some(Err(BodyError::new(BodyErrorKind::Length)));
            }
            let size = slice.end - slice.start;
            // Who has the last byte may ask again at once, and should find the slice in the store.
            lead.fill.push(data, size, budget, at < slice.end);
            // A body that is always ready must not keep its thread from others.
            tokio::task::coop::consume_budget().await;
        }
        Some(Ok(()))
    }

    /// Stores a slice, unless its head is not what its key has any more (invariants 4 and 5).
    fn store(&self, index: u64, first: u64, blocks: Blocks) {
        let Some(generation) = self.stored.generation() else { return };
        let (edge, log) = (&self.edge, &self.edge.log);
        if !edge.store.has_generation(self.key.as_bytes(), generation.id, log) {
            return;
        }
        let key = self.key.for_slice(generation.id, index);
        let head = Arc::clone(&generation.slim);
        let slice = Arc::new(Stored::part(head, blocks, first, self.stored.total(), self.as_of));
        let subject = slice.subject(key.as_bytes());
        if log.passes(Check::Publish, subject)
            && edge.store.insert(&key.to_key(), Arc::clone(&slice), 1, log, |_, _| {})
            && !log.passes(Check::Publish, subject)
        {
            edge.store.sweep(&key.to_key(), log);
        }
    }
}

/// Whether a body has more to give, or fails, after what was to be its last byte, as far as it says so at once.
fn goes_on<R>(mut body: Pin<&mut R>) -> bool
where
    R: Body,
    R::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return false;
    }
    match poll_frame(body.as_mut(), &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().is_some_and(Buf::has_remaining),
        Poll::Ready(Some(Err(_))) => true,
        Poll::Ready(None) | Poll::Pending => false,
    }
}

/// Asks the origin for one slice of a stored object.
pub(crate) struct SliceExchange<S, B> {
    /// Holds the lead of the slice's fill.
    pub(crate) recorder: Recorder,
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
        let (why, is_over) = match slices::judge(&stored.head.headers, stored.total(), &slice, status, fields)
        {
            Answer::Slice => {
                let size = response.body().size_hint().exact().or(Some(slice.end - slice.start));
                let mut fields = fields.clone();
                fields.remove(CONTENT_RANGE);
                match recorder.head_of(StatusCode::OK, fields, &sent, size, asked, u64::MAX) {
                    Ok(_) => {
                        let Recorder { lead, edge, key, .. } = recorder;
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
        let slices = stored.total().div_ceil(generation.size);
        for index in 0..slices.min(MAX_FREED) {
            self.edge.store.forget(&self.key.for_slice(generation.id, index));
        }
    }
}
