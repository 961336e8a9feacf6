//! The body of an object in slices, cut as it comes: [`Cut`].
//!
//! Each slice of it is a fill of its own, begun before its bytes are there, so that who wants it waits for this body rather
//! than ask for it once more. The body is read no further than somebody wants the next slice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use tower::BoxError;

use super::recorder::Recorder;
use super::registry::Lead;
use super::shared::Fill;
use super::task::poll_frame;
use crate::edge::EdgeInner;
use crate::error::{BodyError, BodyErrorKind};
use crate::invalidation::Check;
use crate::key::KeyBuf;
use crate::store::{Blocks, Stored};
use crate::sync::timeout;

/// The body of a whole object waits this long for somebody who wants the next slice, when nobody reads the last.
const GRACE: Duration = Duration::from_secs(5);

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
    _exchange: Option<Lead>,
}

impl Cut {
    /// The bytes `range` of an object, that come in the exchange that `recorder` is about.
    pub(super) fn of(
        recorder: &Recorder,
        stored: &Arc<Stored>,
        range: &Range<u64>,
        read_ahead: usize,
    ) -> Self {
        let size = stored.generation().map_or(u64::MAX, |generation| generation.size);
        let mut cut = Self {
            edge: Arc::clone(&recorder.edge),
            key: recorder.key.clone(),
            stored: Arc::clone(stored),
            as_of: recorder.stamp.as_of(),
            end: range.end,
            leads: VecDeque::new(),
            ahead: read_ahead + 1,
            next: range.start / size,
            is_met: false,
            _exchange: None,
        };
        // Before anybody finds the head: who does is to find these slices, too.
        cut.open();
        cut
    }

    /// The log keeps the rules that came since the exchange began, as long as there is anything to store.
    pub(super) fn during(self, exchange: Lead) -> Self {
        Self { _exchange: Some(exchange), ..self }
    }

    /// The body of one slice.
    pub(super) fn one(
        edge: &Arc<EdgeInner>,
        key: &KeyBuf,
        stored: &Arc<Stored>,
        index: u64,
        lead: Lead,
    ) -> Self {
        let as_of = lead.as_of();
        let (edge, key, stored) = (Arc::clone(edge), key.clone(), Arc::clone(stored));
        let end = stored.slice(index).end;
        let leads = VecDeque::from([(index, lead)]);
        Self {
            edge,
            key,
            stored,
            as_of,
            end,
            leads,
            ahead: 1,
            next: index + 1,
            is_met: true,
            _exchange: None,
        }
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
            } else if let Some(blocks) = lead.fill.whole()
                && self.store(index, slice.start, blocks)
            {
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

    /// Stores a slice, unless its head is not what its key has any more (invariants 4 and 5). Says whether it went in.
    fn store(&self, index: u64, first: u64, blocks: Blocks) -> bool {
        let Some(generation) = self.stored.generation() else { return false };
        let (edge, log) = (&self.edge, &self.edge.log);
        if !edge.store.has_generation(self.key.as_bytes(), generation.id, log) {
            return false;
        }
        let key = self.key.for_slice(generation.id, index);
        let head = Arc::clone(&generation.slim);
        let slice = Arc::new(Stored::part(head, blocks, first, self.stored.total(), self.as_of));
        let subject = slice.subject(key.as_bytes());
        let is_stored = log.passes(Check::Publish, subject)
            && edge.store.insert(&key.to_key(), Arc::clone(&slice), 1, log, |_, _| {});
        if is_stored && !log.passes(Check::Publish, subject) {
            edge.store.sweep(&key.to_key(), log);
        }
        is_stored
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
