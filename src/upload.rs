//! The body of a request on its way to the origin: [`RequestBody`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::fill::Copy;

pin_project! {
    /// A request's body as the origin gets it: the viewer's own, `B`, as it streams in; or none, where the edge asks on
    /// its own account.
    ///
    /// An origin that takes bodies of one type only is adapted in front of it:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Empty, combinators::BoxBody};
    /// use std::convert::Infallible;
    /// use tower::{ServiceBuilder, service_fn};
    /// use tower_edge::{Edge, RequestBody};
    ///
    /// async fn picky(_: Request<BoxBody<Bytes, Infallible>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    ///     Ok(Response::new(Empty::new()))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let edge = Edge::builder().build()?;
    /// let site = ServiceBuilder::new()
    ///     .layer(edge.layer())
    ///     .map_request(|request: Request<RequestBody<Empty<Bytes>>>| request.map(BodyExt::boxed))
    ///     .service_fn(picky);
    /// let request = Request::get("http://example.com/").body(Empty::new())?;
    /// assert!(tower::ServiceExt::oneshot(site, request).await?.status().is_success());
    /// # Ok(())
    /// # }
    /// ```
    pub struct RequestBody<B> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B> {
        Empty,
        Viewer { #[pin] body: B, copy: Option<Arc<Copy>> },
    }
}

impl<B> RequestBody<B> {
    /// No body.
    pub fn empty() -> Self {
        Self { inner: Inner::Empty }
    }

    /// What the viewer sends.
    pub(crate) fn viewer(body: B) -> Self {
        Self { inner: Inner::Viewer { body, copy: None } }
    }
}

impl<B: http_body::Body> RequestBody<B> {
    /// What the viewer sends, which is copied on its way.
    pub(crate) fn copied(body: B, copy: Arc<Copy>) -> Self {
        // Whoever sends it need not poll a body that has nothing to give.
        if body.is_end_stream() {
            copy.end();
        }
        Self { inner: Inner::Viewer { body, copy: Some(copy) } }
    }
}

/// No body.
impl<B> Default for RequestBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: http_body::Body> http_body::Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let InnerProj::Viewer { mut body, copy } = self.project().inner.project() else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.as_mut().poll_frame(cx));
        let frame = frame.map(|frame| {
            // Of `Bytes` this is a handle.
            frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        });
        if let Some(copy) = copy {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        copy.push(data.clone());
                    }
                    // Nor need it poll for the end once that is known.
                    if frame.is_trailers() || body.is_end_stream() {
                        copy.end();
                    }
                }
                Some(Err(_)) => copy.give_up(),
                None => copy.end(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Viewer { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Viewer { body, .. } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::Empty => "RequestBody::Empty",
            Inner::Viewer { .. } => "RequestBody::Viewer",
        })
    }
}
