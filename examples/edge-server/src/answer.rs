//! [`Answer`]: what the cache answers a viewer, or a page in its place.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::Response;
use tower::BoxError;
use tower_edge::ResponseFuture;

use crate::page::{EdgeBody, OriginBody, sorry};

/// An answer on its way. Made before it is polled: then a hit has let go of its request, and with that of the connection's
/// read buffer, when the connection reads on, which else would be given another.
pub(crate) enum Answer {
    Page(Option<Response<EdgeBody>>),
    Cache(ResponseFuture<OriginBody, BoxError>),
}

impl From<Response<EdgeBody>> for Answer {
    fn from(page: Response<EdgeBody>) -> Self {
        Self::Page(Some(page))
    }
}

impl Future for Answer {
    type Output = Result<Response<EdgeBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let cache = match &mut *self {
            Self::Page(page) => {
                return Poll::Ready(Ok(page.take().expect("a future is not polled after it was ready")));
            }
            Self::Cache(cache) => cache,
        };
        Poll::Ready(Ok(match ready!(Pin::new(cache).poll(cx)) {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(error = &*error as &dyn std::error::Error, "no answer");
                sorry(&error)
            }
        }))
    }
}
