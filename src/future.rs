//! The future of a response: at hand already, or still to come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;

use crate::body::Body;

type Answer<R, E> = Result<Response<Body<R>>, E>;

/// The response future of [`Cache`](crate::Cache).
pub struct ResponseFuture<R, E>(Kind<R, E>);

enum Kind<R, E> {
    /// Boxing the response would cost a hit more than moving it.
    Ready(Option<Answer<R, E>>),
    Waiting(Pin<Box<dyn Future<Output = Answer<R, E>> + Send>>),
}

impl<R, E> ResponseFuture<R, E> {
    pub(crate) fn ready(response: Response<Body<R>>) -> Self {
        Self(Kind::Ready(Some(Ok(response))))
    }

    pub(crate) fn waiting(future: impl Future<Output = Answer<R, E>> + Send + 'static) -> Self {
        Self(Kind::Waiting(Box::pin(future)))
    }
}

// Nothing in it is pinned in place: a response at hand is only moved out, and the other future is in a box.
impl<R, E> Unpin for ResponseFuture<R, E> {}

impl<R, E> Future for ResponseFuture<R, E> {
    type Output = Answer<R, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Ready(answer) => {
                Poll::Ready(answer.take().expect("a future is not polled after it was ready"))
            }
            Kind::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

impl<R, E> fmt::Debug for ResponseFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Ready(_) => "ResponseFuture::Ready",
            Kind::Waiting(_) => "ResponseFuture::Waiting",
        })
    }
}
