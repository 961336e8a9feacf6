//! What a connection has open: [`Streams`].

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::{Response, Version};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

/// The requests of one connection. Over HTTP/2 those are counted whose answers have not ended. HTTP/1.1 has one at a time, and
/// hyper gives the head of each its time.
#[derive(Default)]
pub(crate) struct Streams {
    asked: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// Of HTTP/2.
struct Open {
    number: usize,
    /// When the number last changed.
    since: Instant,
}

impl Streams {
    /// Whether there has been a request.
    pub(crate) fn any(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> Option<Stream> {
        self.asked.store(true, Ordering::Relaxed);
        (version == Version::HTTP_2).then(|| {
            self.count(|number| number + 1);
            Stream(Arc::clone(self))
        })
    }

    fn count(&self, next: impl Fn(usize) -> usize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = next(open.as_ref().map_or(0, |open| open.number));
        *open = Some(Open { number, since: Instant::now() });
    }

    /// Ends once nothing has been open for so long. Over HTTP/1.1 that is never.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let until = match &*self.open.lock().unwrap_or_else(PoisonError::into_inner) {
                None => None,
                Some(Open { number: 0, since }) => Some(*since + limit),
                // Should the last one end right now.
                Some(_) => Some(Instant::now() + limit),
            };
            match until {
                None => pending().await,
                Some(until) if until <= Instant::now() => return,
                Some(until) => sleep_until(until).await,
            }
        }
    }
}

/// An open stream, until it is dropped.
pub(crate) struct Stream(Arc<Streams>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.count(|number| number.saturating_sub(1));
    }
}

pin_project! {
    /// An answer, and then its body, that keeps a stream open until it ends or is dropped.
    pub(crate) struct Held<T> {
        #[pin]
        held: T,
        stream: Option<Stream>,
    }
}

impl<T> Held<T> {
    pub(crate) fn new(held: T, stream: Option<Stream>) -> Self {
        Self { held, stream }
    }
}

impl<F, B, E> Future for Held<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Held<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.held.poll(cx));
        let stream = this.stream.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| Held::new(body, stream))))
    }
}

impl<B: Body> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().held.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.held.size_hint()
    }
}
