//! Bodies on their way: [`Outgoing`] towards the origin, [`Body`] from it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

use super::error::{Error, ErrorKind};
use super::expect::{Leave, Waiting};
use super::service::Lease;
use crate::semantics::headers::strip_hop_by_hop;

/// How often something has moved.
#[derive(Clone, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request's body of any type. Counts the frames it gives.
#[derive(Default)]
pub(super) struct Outgoing {
    /// `None` is an empty body, which most requests have: those cost nothing here.
    body: Option<Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>>,
    count: Count,
    /// What it waits for before its first frame.
    leave: Option<Waiting>,
}

impl Outgoing {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = (!body.is_end_stream()).then(|| Box::pin(Erased { body }) as _);
        Self { body, count: Count::default(), leave: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    /// Gives nothing until the leave is granted.
    pub(super) fn wait_for(&mut self, leave: &Arc<Leave>) {
        self.leave = Some(Waiting::new(Arc::clone(leave)));
    }

    /// Waits for nothing any more.
    pub(super) fn wait_no_more(&mut self) {
        self.leave = None;
    }

    pub(super) fn count(&self) -> Count {
        self.count.clone()
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(leave) = &mut self.leave {
            if let Err(gone) = ready!(leave.poll(cx)) {
                return Poll::Ready(Some(Err(gone.into())));
            }
            self.leave = None;
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = body.as_mut().poll_frame(cx);
        if frame.is_ready() {
            self.count.add();
        }
        frame.map_ok(strip_trailers)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), |body| body.size_hint())
    }
}

pin_project! {
    /// A body whose error has lost its type.
    struct Erased<B> {
        #[pin]
        body: B,
    }
}

impl<B> http_body::Body for Erased<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Fields of the connection do not become those of the message by coming after its body.
fn strip_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            strip_hop_by_hop(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The body of an answer from an [`Upstream`](super::Upstream). It fails when nothing of it comes for too long; the time
/// its reader takes does not count.
pub struct Body(Paced<Incoming>);

impl Body {
    /// A body that gives back what it holds when it ends well.
    pub(super) fn new(body: Incoming, limit: Duration, lease: Option<Lease>) -> Self {
        Self(Paced::new(body, limit, lease))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.size_hint()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

struct Paced<B> {
    body: B,
    limit: Duration,
    /// Runs while the reader waits. Most bodies never have one wait.
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
    /// The connection, until it can be used again. Dropped with a body that has not ended, it is closed.
    lease: Option<Lease>,
}

impl<B> Paced<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn new(body: B, limit: Duration, lease: Option<Lease>) -> Self {
        let mut paced = Self { body, limit, timer: None, waits: false, lease };
        paced.release_at_end(false);
        paced
    }

    fn release_at_end(&mut self, ended: bool) {
        if (ended || self.body.is_end_stream())
            && let Some(lease) = self.lease.take()
        {
            lease.end();
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waits = false;
            return Poll::Ready(match frame {
                Some(Ok(frame)) => {
                    self.release_at_end(false);
                    Some(Ok(strip_trailers(frame)))
                }
                Some(Err(error)) => Some(Err(Error::with(ErrorKind::Exchange, error))),
                None => {
                    self.release_at_end(true);
                    None
                }
            });
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        timer.as_mut().poll(cx).map(|()| Some(Err(ErrorKind::BetweenBytesTime.into())))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, Stream};
    use http::header::{CONTENT_TYPE, HeaderValue};
    use http_body_util::StreamBody;

    use super::*;
    use crate::origin::upstream::Timeouts;

    const LIMIT: Duration = Duration::from_secs(15);

    fn paced(pause: Duration) -> Paced<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin> {
        Paced::new(StreamBody::new(Box::pin(trickle(pause))), LIMIT, None)
    }

    fn trickle(pause: Duration) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::unfold((), move |()| async move {
            sleep(pause).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
        })
    }

    async fn frame<B>(body: &mut Paced<B>) -> Result<Frame<Bytes>, Error>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        std::future::poll_fn(|cx| body.poll_frame(cx)).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_goes_on() {
        let mut body = paced(LIMIT - Duration::from_secs(1));
        for _ in 0..10 {
            frame(&mut body).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_is_an_error() {
        let mut body = paced(LIMIT * 2);
        let start = Instant::now();
        assert_eq!(frame(&mut body).await.unwrap_err().kind(), ErrorKind::BetweenBytesTime);
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_for_as_long_as_there_is_news_may_be_quiet_for_longer() {
        let timeouts = Timeouts { between_bytes: LIMIT, ..Timeouts::default() };
        for (content_type, limit) in [
            ("text/event-stream", timeouts.quiet),
            ("Text/Event-Stream ; charset=utf-8", timeouts.quiet),
            ("application/grpc", timeouts.quiet),
            ("application/grpc+proto", timeouts.quiet),
            ("application/grpc-web", LIMIT),
            ("text/event-streams", LIMIT),
            ("text/html; note=text/event-stream", LIMIT),
            ("", LIMIT),
        ] {
            let head = [(CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
            let silence = timeouts.silence(&head);
            let quiet = StreamBody::new(Box::pin(trickle(limit - Duration::from_secs(1))));
            frame(&mut Paced::new(quiet, silence, None)).await.unwrap();
            let start = Instant::now();
            let silent = StreamBody::new(Box::pin(trickle(limit * 2)));
            let error = frame(&mut Paced::new(silent, silence, None)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BetweenBytesTime);
            assert_eq!(start.elapsed(), limit, "{content_type}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_its_reader_takes_does_not_count() {
        let mut body = paced(LIMIT / 2);
        for _ in 0..3 {
            frame(&mut body).await.unwrap();
            sleep(LIMIT * 3).await;
        }
    }
}
