//! The exchange of one fill: asks the origin, has the head judged, reads the body.
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

use bytes::Buf;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tower::{BoxError, Service, ServiceExt};

use super::judge::{Decision, Part};
use super::recorder::Recorder;
use super::shared::Kept;
use crate::error::{BodyError, BodyErrorKind};
use crate::semantics::normal;
use crate::semantics::reuse::Failure;
use crate::store::{Head, Stored};

/// Everything a fill needs.
pub(crate) struct Exchange<S, B> {
    pub(crate) recorder: Box<Recorder>,
    pub(crate) origin: S,
    /// The request as the origin gets it.
    pub(crate) request: Request<B>,
    /// The same for the whole, where `request` is for a slice. In a box, since few exchanges have it.
    pub(crate) whole: Option<Box<Request<B>>>,
}

/// What the one who led gets.
pub(crate) enum LeaderAnswer<R, E> {
    /// The same as everyone, and these fields, which are for the one who asked alone.
    Shared(HeaderMap),
    /// This part of it.
    SharedPart(Part, HeaderMap),
    /// The head of an object that is stored in slices from now on, and these fields.
    Sliced(Arc<Stored>, HeaderMap),
    /// A stored response that the origin said is still good, and these fields.
    Refreshed(Arc<Stored>, HeaderMap),
    /// An answer that is not for anybody else.
    Own(Response<R>),
    Failed(E),
    /// The origin panicked: so will the one who asked it.
    Panicked(Box<dyn Any + Send>),
}

/// What is done when an exchange has ended, and what came of it is stored.
pub(crate) type After = Option<Box<dyn FnOnce() + Send>>;

/// Starts the exchange.
pub(crate) fn spawn<S, B, R>(
    exchange: Exchange<S, B>,
    after: After,
    runtime: &tokio::runtime::Handle,
) -> oneshot::Receiver<LeaderAnswer<R, S::Error>>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    let (tell, told) = oneshot::channel();
    let then = move |()| {
        if let Some(after) = after {
            after();
        }
    };
    // Not by a block that waits for the exchange: that would have room for it twice.
    runtime.spawn(exchange.run(tell).map(then));
    told
}

impl<S, B> Exchange<S, B> {
    pub(crate) async fn run<R>(self, tell: oneshot::Sender<LeaderAnswer<R, S::Error>>)
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
        R: Body,
        R::Error: Into<BoxError>,
    {
        // In a block: what is moved on in it takes no room in the task.
        let (mut recorder, spare, asking) = {
            let Self { recorder, origin, request, whole } = self;
            let spare = whole.map(|request| (origin.clone(), request));
            let asking = recorder.ask(origin, request);
            (recorder, spare, asking)
        };
        let Some(asked) = asking.await else { return };
        let (mut response, mut decision) = match recorder.heard(asked) {
            Ok(heard) => heard,
            Err(failed) => return drop(tell.send(failed)),
        };
        if matches!(decision, Decision::Whole)
            && let Some((origin, request)) = spare
        {
            recorder.probe = None;
            drop(response);
            let Some(asked) = recorder.ask(origin, *request).await else { return };
            (response, decision) = match recorder.heard(asked) {
                Ok(heard) => heard,
                Err(failed) => return drop(tell.send(failed)),
            };
        }
        match decision {
            Decision::Share(head, own) => {
                let (_, body) = response.into_parts();
                let head = recorder.flow(head);
                let _ = tell.send(LeaderAnswer::Shared(own));
                recorder.read(head, body).await;
            }
            Decision::SharePart(head, own, part) => {
                let (_, body) = response.into_parts();
                let head = recorder.flow_part(head, part.clone());
                let _ = tell.send(LeaderAnswer::SharedPart(part, own));
                recorder.read(head, body).await;
            }
            Decision::Slices(head, own, part) => {
                let (_, body) = response.into_parts();
                let (stored, cut) = recorder.begin_slices(head, part);
                let _ = tell.send(LeaderAnswer::Sliced(stored, own));
                Box::pin(cut.run(body)).await;
            }
            Decision::Refreshed(stored, own) => {
                recorder.refreshed(&stored);
                let _ = tell.send(LeaderAnswer::Refreshed(stored, own));
            }
            Decision::NotStored(why) => {
                recorder.not_stored(why, response.status());
                let _ = tell.send(LeaderAnswer::Own(response));
            }
            Decision::Unknown | Decision::Whole => {}
        }
    }
}

/// What came of asking the origin: its answer, the fields it was asked with, and when.
type Asked<R, E> = (std::thread::Result<Result<Response<R>, E>>, HeaderMap, Duration);

impl Recorder {
    /// Asks the origin. `None` if nobody is left who wants to know.
    pub(super) fn ask<S, B, R>(
        &self,
        origin: S,
        mut request: Request<B>,
    ) -> impl Future<Output = Option<Asked<R, S::Error>>> + use<S, B, R>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        // As the viewer spelt it, which `Vary` keeps beside the normal form: those who come later often spell it alike.
        let sent = request.headers().clone();
        normal::rewrite(request.headers_mut(), self.policy.normalise);
        let asked = self.edge.clock.elapsed();
        let fill = Arc::clone(&self.lead.fill);
        // In a box, since tokio aligns a task to 128 bytes: glibc's allocator cannot use the place of a large one for the next,
        // and stored objects would keep the places apart.
        let mut answer = Box::pin(AssertUnwindSafe(origin.oneshot(request)).catch_unwind());
        async move {
            tokio::select! {
                biased;
                answer = &mut answer => Some((answer, sent, asked)),
                () = fill.abandoned() => None,
            }
        }
    }

    /// The answer and what it means, if there is one.
    fn heard<R: Body, E>(
        &mut self,
        (answer, sent, asked): Asked<R, E>,
    ) -> Result<(Response<R>, Decision), LeaderAnswer<R, E>> {
        let failed = match answer {
            Ok(Ok(mut response)) => {
                self.take_hints(response.extensions_mut());
                let length = response.body().size_hint().exact();
                let decision = self.decide(response.status(), response.headers_mut(), &sent, length, asked);
                return Ok((response, decision));
            }
            Ok(Err(error)) => LeaderAnswer::Failed(error),
            Err(panic) => LeaderAnswer::Panicked(panic),
        };
        self.put_off_stored(Failure::Disconnected);
        Err(failed)
    }

    /// Reads the body for everyone who wants it and, if it ends well, for the store.
    pub(crate) async fn read<R>(mut self: Box<Self>, head: Arc<Head>, body: R)
    where
        R: Body,
        R::Error: Into<BoxError>,
    {
        let fill = Arc::clone(&self.lead.fill);
        let promised = self.promised();
        let max_length = self.max_length();
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
            let first = length == 0;
            length += data.len() as u64;
            if promised.is_some_and(|promised| length > promised) {
                break Err(BodyError::new(BodyErrorKind::Length));
            }
            // The last byte is held back for one look at what follows it: a body that goes on, or fails, must not
            // look whole to anyone. And who has it may ask again at once, and should find the object in the store.
            let last = promised == Some(length);
            let next = if last && !body.is_end_stream() {
                poll_fn(|cx| Poll::Ready(poll_frame(body.as_mut(), cx))).await
            } else {
                Poll::Pending
            };
            let ended = match next {
                Poll::Ready(Some(Err(error))) => break Err(error),
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Buf::has_remaining) => {
                    break Err(BodyError::new(BodyErrorKind::Length));
                }
                Poll::Ready(None) => true,
                // An empty frame and trailers say nothing.
                Poll::Ready(Some(Ok(_))) | Poll::Pending => body.is_end_stream(),
            };
            if fill.push(data, max_length, budget, !ended) == Kept::Window {
                self.too_large();
            }
            if ended {
                break Ok(());
            }
            // A body that is always ready must not keep its thread from others, and first of all not from those who wait for
            // its first bytes.
            match first {
                true => tokio::task::yield_now().await,
                false => tokio::task::coop::consume_budget().await,
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
}

pub(super) type NextFrame<R> = Option<Result<Frame<<R as Body>::Data>, BodyError>>;

/// Polls for a frame. A panic of the body is an end like any other.
pub(super) fn poll_frame<R>(mut body: Pin<&mut R>, cx: &mut Context<'_>) -> Poll<NextFrame<R>>
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
