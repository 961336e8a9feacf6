//! The exchange of one fill: asks the origin, decides what the head means, reads the body.
//!
//! It runs as a task of its own, so that nobody's leaving ends it for the others. Whatever ends the task (the origin's
//! error or panic, the runtime's shutdown), dropping the [`Lead`] tells everyone.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use http::header::{AGE, CONTENT_LENGTH, DATE, TRAILER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tower::{BoxError, Service, ServiceExt};

use super::registry::Lead;
use super::shared::{Kept, Unshared};
use crate::edge::EdgeInner;
use crate::error::{BodyError, BodyErrorKind};
use crate::key::KeyBuf;
use crate::policy::CachePolicy;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::freshness::{Received, terms};
use crate::semantics::headers;
use crate::semantics::normal;
use crate::semantics::reuse::{Reuse, reuse};
use crate::semantics::storable::{self, NotStored};
use crate::semantics::targeted::effective;
use crate::semantics::validation::{self, Freshens};
use crate::semantics::vary::Vary;
use crate::store::{Blocks, Head, Stored};

/// Everything a fill needs.
pub(crate) struct Exchange<S, B> {
    pub(crate) lead: Lead,
    pub(crate) edge: Arc<EdgeInner>,
    pub(crate) policy: Arc<CachePolicy>,
    pub(crate) key: KeyBuf,
    /// The key under which the fill is registered: that of a variant, where one is known.
    pub(crate) fill_key: KeyBuf,
    pub(crate) origin: S,
    /// The request as the origin gets it.
    pub(crate) request: Request<B>,
    /// What the request revalidates.
    pub(crate) base: Option<Arc<Stored>>,
}

/// What the one who led gets.
pub(crate) enum LeaderAnswer<R, E> {
    /// The same as everyone.
    Shared,
    /// A stored response that the origin said is still good.
    Refreshed(Arc<Stored>),
    /// An answer that is not for anybody else.
    Own(Response<R>),
    Failed(E),
    /// The origin panicked: so will the one who asked it.
    Panicked(Box<dyn Any + Send>),
}

/// Starts the exchange.
pub(crate) fn spawn<S, B, R>(
    exchange: Exchange<S, B>,
    runtime: &tokio::runtime::Handle,
) -> oneshot::Receiver<LeaderAnswer<R, S::Error>>
where
    S: Service<Request<B>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    let (tell, told) = oneshot::channel();
    runtime.spawn(exchange.run(tell));
    told
}

/// What a head means.
enum Decision {
    /// It may be shared, and its body goes to the store.
    Share(Head),
    /// The stored response is still good.
    Refreshed(Arc<Stored>),
    NotStored(NotStored),
}

impl<S, B> Exchange<S, B> {
    async fn run<R>(mut self, tell: oneshot::Sender<LeaderAnswer<R, S::Error>>)
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: Body,
        R::Error: Into<BoxError>,
    {
        let Self { origin, mut request, .. } = self;
        // As the viewer spelt it, which `Vary` keeps beside the normal form: those who come later often spell it alike.
        let sent = request.headers().clone();
        normal::rewrite(request.headers_mut(), self.policy.normalise);
        let asked = self.edge.clock.elapsed();
        let fill = Arc::clone(&self.lead.fill);
        let answer = tokio::select! {
            biased;
            answer = AssertUnwindSafe(origin.oneshot(request)).catch_unwind() => answer,
            () = fill.abandoned() => return,
        };
        let mut rest = Rest {
            lead: self.lead,
            edge: self.edge,
            policy: self.policy,
            key: self.key,
            fill_key: self.fill_key,
            base: self.base.take(),
        };
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                rest.put_off_base();
                let _ = tell.send(LeaderAnswer::Failed(error));
                return;
            }
            Err(panic) => {
                rest.put_off_base();
                let _ = tell.send(LeaderAnswer::Panicked(panic));
                return;
            }
        };
        match rest.decide(&response, &sent, asked) {
            Decision::Share(head) => {
                let (_, body) = response.into_parts();
                let length = content_length(&head.headers);
                let head = Arc::new(head);
                if !head.joinable {
                    rest.lead.leave_registry();
                }
                fill.flow(Arc::clone(&head), length);
                let _ = tell.send(LeaderAnswer::Shared);
                rest.read(head, length, body).await;
            }
            Decision::Refreshed(stored) => {
                rest.refreshed(&stored);
                let _ = tell.send(LeaderAnswer::Refreshed(stored));
            }
            Decision::NotStored(why) => {
                rest.not_stored(why, response.status());
                let _ = tell.send(LeaderAnswer::Own(response));
            }
        }
    }
}

/// What is left of an exchange once the head has come.
struct Rest {
    lead: Lead,
    edge: Arc<EdgeInner>,
    policy: Arc<CachePolicy>,
    key: KeyBuf,
    fill_key: KeyBuf,
    base: Option<Arc<Stored>>,
}

impl Rest {
    fn decide<R: Body>(&self, response: &Response<R>, sent: &HeaderMap, asked: Duration) -> Decision {
        let now = self.edge.clock.elapsed();
        let received = Received { at: self.edge.clock.wall(), delay: now.saturating_sub(asked) };
        if let (StatusCode::NOT_MODIFIED, Some(base)) = (response.status(), &self.base) {
            return Decision::Refreshed(self.freshen(base, response.headers(), sent, received, now));
        }
        let length = response.body().size_hint().exact();
        match self.head(response.status(), response.headers().clone(), sent, length, received, now) {
            Ok(head) => Decision::Share(head),
            Err(why) => Decision::NotStored(why),
        }
    }

    /// The head to store, out of the fields as they came.
    fn head(
        &self,
        status: StatusCode,
        mut fields: HeaderMap,
        sent: &HeaderMap,
        length: Option<u64>,
        received: Received,
        now: Duration,
    ) -> Result<Head, NotStored> {
        let control = effective(&fields, &self.policy.targeted.fields);
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
            max_length: self.edge.max_object(&self.policy),
        })?;
        let vary = Vary::new(&fields, sent, self.policy.normalise).map_err(|_| NotStored::Vary)?;
        let length = length.or_else(|| content_length(&fields));
        headers::strip_hop_by_hop(&mut fields);
        fields.remove(TRAILER);
        for name in storable::fields_to_strip(&control, &self.policy) {
            fields.remove(name);
        }
        fields.remove(CONTENT_LENGTH);
        if let Some(length) = length {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // RFC 9110 §6.6.1: a recipient that stores a response without `Date` notes when it came.
        fields.entry(DATE).or_insert_with(|| http_date(received.at));
        let upstream_status = Head::reserve(&mut fields);
        Ok(Head {
            status,
            headers: fields,
            upstream_status,
            vary,
            terms,
            received: now,
            received_wall: received.at,
            // Who only waited gets what the store could have given, and nothing else.
            joinable: !matches!(
                reuse(&terms, terms.initial_age, &RequestCacheControl::default()),
                Reuse::Validate(_) | Reuse::Unsatisfiable
            ),
            order: self.lead.fill.order,
        })
    }

    /// The stored response after a 304 (RFC 9111 §4.3.4).
    fn freshen(
        &self,
        base: &Arc<Stored>,
        fields: &HeaderMap,
        sent: &HeaderMap,
        received: Received,
        now: Duration,
    ) -> Arc<Stored> {
        if validation::freshens(&base.head.headers, fields) == Freshens::No {
            // The origin speaks of another response than the one it was asked about. It is still good for those who
            // asked, but nothing is known of its future.
            return Arc::clone(base);
        }
        let mut before = base.head.headers.clone();
        before.remove(AGE);
        before.remove(http::header::CACHE_STATUS);
        let merged = validation::freshen(&before, fields);
        match self.head(base.head.status, merged, sent, Some(base.body.len()), received, now) {
            Ok(head) => Arc::new(Stored::new(Arc::new(head), base.body.clone(), self.lead.as_of())),
            Err(_) => {
                self.edge.store.remove(&self.key.to_key(), base);
                Arc::clone(base)
            }
        }
    }

    fn refreshed(&mut self, stored: &Arc<Stored>) {
        let fresh = self.base.as_ref().is_none_or(|base| !Arc::ptr_eq(base, stored));
        if fresh {
            self.edge.counters.refreshed();
            self.publish(stored);
        }
        if stored.head.joinable {
            self.lead.fill.answer_stored(Arc::clone(stored));
        } else {
            self.lead.fill.unshared(Unshared::Private);
        }
    }

    fn not_stored(&mut self, why: NotStored, status: StatusCode) {
        let refused = self.policy.stale.error_statuses.contains(&status);
        if refused {
            self.put_off_base();
        } else {
            if let Some(base) = &self.base {
                // The origin has another answer now, which only is not for the store.
                self.edge.store.remove(&self.key.to_key(), base);
            }
            let until = self.edge.clock.elapsed() + self.policy.limits.uncacheable_memo;
            self.edge.memos.note(&self.fill_key, until, self.lead.as_of());
        }
        self.edge.counters.not_stored(why);
        self.lead.leave_registry();
        self.lead.fill.unshared(if refused { Unshared::Refused(status) } else { Unshared::Private });
    }

    fn put_off_base(&self) {
        if let Some(base) = &self.base {
            base.put_off(self.edge.clock.elapsed() + self.policy.stale.retry_after);
        }
    }

    async fn read<R>(mut self, head: Arc<Head>, promised: Option<u64>, body: R)
    where
        R: Body,
        R::Error: Into<BoxError>,
    {
        let fill = Arc::clone(&self.lead.fill);
        let max_length = self.edge.max_object(&self.policy);
        let budget = self.edge.max_in_flight;
        let mut body = pin!(body);
        let mut length: u64 = 0;
        let end = loop {
            let frame = tokio::select! {
                biased;
                () = fill.abandoned() => return,
                frame = async {
                    // A body that is not kept is read no faster than somebody reads it.
                    fill.wanted().await;
                    poll_fn(|cx| poll_frame(body.as_mut(), cx)).await
                } => frame,
            };
            let data = match frame {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => data.copy_to_bytes(data.remaining()),
                    // Trailers are not part of what is shared (RFC 9111 §3.1).
                    Err(_) => continue,
                },
            };
            length += data.len() as u64;
            if promised.is_some_and(|promised| length > promised) {
                break Err(BodyError::new(BodyErrorKind::Length));
            }
            // Who has the last byte may ask again at once, and should find the object in the store.
            let last = promised == Some(length) || body.is_end_stream();
            let kept = fill.push(data, max_length, budget, !last);
            if kept == Kept::Window {
                self.retire_too_large();
            }
            if last && !body.is_end_stream() {
                match poll_fn(|cx| Poll::Ready(poll_frame(body.as_mut(), cx))).await {
                    Poll::Ready(None) => break Ok(()),
                    Poll::Ready(Some(Err(error))) => break Err(error),
                    // An empty frame says nothing, a full one too much.
                    Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Buf::has_remaining) => {
                        break Err(BodyError::new(BodyErrorKind::Length));
                    }
                    Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
                }
                fill.wake_readers();
            }
        };
        let short = promised.is_some_and(|promised| length != promised);
        let end = if end.is_ok() && short { Err(BodyError::new(BodyErrorKind::Length)) } else { end };
        match end {
            Ok(()) => {
                if let Some(blocks) = fill.whole() {
                    self.store(head, blocks);
                }
                self.lead.leave_registry();
                fill.end(Ok(()));
            }
            Err(error) => {
                self.edge.counters.body_failed();
                self.lead.leave_registry();
                fill.end(Err(error));
            }
        }
    }

    /// The body turned out too large to keep: the next ones need not find that out again.
    fn retire_too_large(&mut self) {
        if self.lead.retire() {
            let until = self.edge.clock.elapsed() + self.policy.limits.uncacheable_memo;
            self.edge.memos.note(&self.fill_key, until, self.lead.as_of());
            self.edge.counters.not_stored(NotStored::BodyTooLarge);
        }
    }

    fn store(&mut self, head: Arc<Head>, blocks: Blocks) {
        let head = if content_length(&head.headers).is_some() {
            head
        } else {
            let mut headers = head.headers.clone();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(blocks.len()));
            Arc::new(head.with_headers(headers))
        };
        let stored = Arc::new(Stored::new(head, blocks, self.lead.as_of()));
        self.publish(&stored);
        self.lead.fill.handed_over();
    }

    /// Puts a response into the store, unless an invalidation or a newer fill came first (invariants 4 and 5).
    fn publish(&mut self, stored: &Arc<Stored>) {
        let EdgeInner { store, log, memos, .. } = &*self.edge;
        if !self.lead.is_current(self.key.as_bytes()) {
            return;
        }
        let key = self.key.to_key();
        if store.insert(&key, Arc::clone(stored), self.policy.limits.variants, log) {
            if !self.lead.is_current(self.key.as_bytes()) {
                // A rule came between the two looks. Its sweep may have been and gone.
                store.sweep(&key, log);
            }
            memos.forget(&self.fill_key);
            memos.forget(&self.key);
            self.edge.counters.stored();
        }
        self.lead.retire();
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
    let control = effective(fields, &policy.targeted.fields);
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

type NextFrame<R> = Option<Result<Frame<<R as Body>::Data>, BodyError>>;

/// Polls for a frame. A panic of the body is an end like any other.
fn poll_frame<R>(mut body: Pin<&mut R>, cx: &mut Context<'_>) -> Poll<NextFrame<R>>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    let polled = std::panic::catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(cx)));
    polled.map_or_else(
        |_panic| Poll::Ready(Some(Err(BodyError::new(BodyErrorKind::Aborted)))),
        |poll| poll.map(|frame| frame.map(|frame| frame.map_err(|error| BodyError::origin(error.into())))),
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn http_date(time: std::time::SystemTime) -> HeaderValue {
    let date = httpdate::fmt_http_date(time);
    HeaderValue::from_maybe_shared(Bytes::from(date)).expect("a date is visible ASCII")
}
