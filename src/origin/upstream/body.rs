//! Bodies on their way: [`Counted`] towards the origin, [`Paced`] from it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

/// How many frames of a body have passed.
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

pin_project! {
    /// A body that counts its frames.
    pub(super) struct Counted<B> {
        #[pin]
        body: B,
        count: Count,
    }
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, count: Count) -> Self {
        Self { body, count }
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if frame.is_ready() {
            this.count.add();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// A body that fails when nothing of it comes for too long. The time its reader takes does not count.
    pub struct Paced<B> {
        #[pin]
        body: B,
        #[pin]
        timer: Sleep,
        limit: Duration,
        waits: bool,
    }
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self { body, timer: sleep(limit), limit, waits: false }
    }
}

impl<B: Body> Body for Paced<B>
where
    B::Error: Error + Send + Sync + 'static,
{
    type Data = B::Data;
    type Error = PacedError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            *this.waits = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(PacedError::Body)));
        }
        if !*this.waits {
            *this.waits = true;
            this.timer.as_mut().reset(Instant::now() + *this.limit);
        }
        this.timer.poll(cx).map(|()| Some(Err(PacedError::BetweenBytesTime)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a body from the origin ended early.
#[derive(Debug)]
pub enum PacedError<E> {
    /// The connection failed, or the body was malformed.
    Body(E),
    /// Nothing came in time.
    BetweenBytesTime,
}

impl<E> fmt::Display for PacedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body(_) => "the origin's connection failed",
            Self::BetweenBytesTime => "the origin went silent",
        })
    }
}

impl<E: Error + 'static> Error for PacedError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Body(error) => Some(error),
            Self::BetweenBytesTime => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream::{self, Stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    fn trickle(pause: Duration) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::unfold((), move |()| async move {
            sleep(pause).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_goes_on() {
        let mut body = Box::pin(Paced::new(StreamBody::new(trickle(LIMIT - Duration::from_secs(1))), LIMIT));
        for _ in 0..10 {
            body.frame().await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_is_an_error() {
        let mut body = Box::pin(Paced::new(StreamBody::new(trickle(LIMIT * 2)), LIMIT));
        let start = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, PacedError::BetweenBytesTime));
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_its_reader_takes_does_not_count() {
        let mut body = Box::pin(Paced::new(StreamBody::new(trickle(LIMIT / 2)), LIMIT));
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
            sleep(LIMIT * 3).await;
        }
    }
}
