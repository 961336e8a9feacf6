//! The service itself: [`ObjectStore`].

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use object_store::path::Path;
use tower::{BoxError, Service};

use super::body::ObjectBody;
use super::builder::{ObjectStoreBuilder, Upload};
use super::refusal::Refusal;

/// An object store as an origin: GET and HEAD of its objects, with ranges and conditions, and PUT and DELETE if
/// [switched on](ObjectStoreBuilder::writes).
///
/// The path of a request, decoded once, is the key. Nothing else of a request chooses what the store is asked for: not its
/// query, and no credentials of the viewer's. Attributes of an object are fields of its answer, user metadata is
/// `x-amz-meta-*`, and tags in the metadata `cache-tag` are the `Cache-Tag` the edge knows it by.
///
/// It never fails: what goes wrong is an answer, of the 400s, 501, 502 or 504, that nobody stores. A body that breaks off
/// is an error to its reader. It needs a tokio runtime with time enabled.
///
/// ```
/// use std::sync::Arc;
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::{BodyExt, Empty};
/// use object_store::{ObjectStoreExt, memory::InMemory};
/// use tower::{Layer, ServiceExt};
/// use tower_edge::{Edge, origin::ObjectStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bucket = InMemory::new();
/// bucket.put(&"hello.txt".into(), "hello".into()).await?;
///
/// let origin = ObjectStore::new(Arc::new(bucket));
/// let site = Edge::builder().build()?.layer().layer(origin);
/// let request = Request::get("http://example.com/hello.txt").body(Empty::<Bytes>::new())?;
/// let response = site.oneshot(request).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ObjectStore(pub(super) Arc<Inner>);

/// The store and what was decided about it.
pub(super) struct Inner {
    pub(super) store: Arc<dyn object_store::ObjectStore>,
    /// Without slashes around it.
    pub(super) prefix: String,
    pub(super) index: Option<String>,
    pub(super) pages: Vec<(StatusCode, Path)>,
    pub(super) writes: Option<Upload>,
    pub(super) first_byte: Duration,
    pub(super) between_bytes: Duration,
}

impl ObjectStore {
    /// A store to read from: no prefix, no index, no writes.
    pub fn new(store: Arc<dyn object_store::ObjectStore>) -> Self {
        Self::builder(store).build().expect("the defaults work")
    }

    /// Starts the configuration of a store.
    pub fn builder(store: Arc<dyn object_store::ObjectStore>) -> ObjectStoreBuilder {
        ObjectStoreBuilder::new(store)
    }
}

impl<B> Service<Request<B>> for ObjectStore
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ObjectBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let origin = Arc::clone(&self.0);
        Box::pin(async move { Ok(origin.answer(request).await) })
    }
}

impl Inner {
    async fn answer<B>(&self, request: Request<B>) -> Response<ObjectBody>
    where
        B: http_body::Body<Data = Bytes> + Send,
    {
        let (parts, body) = request.into_parts();
        let done = match (&parts.method, self.writes) {
            (&Method::GET | &Method::HEAD, _) => return self.read(&parts).await,
            (&Method::PUT, Some(upload)) => self.put(&parts, body, upload).await,
            (&Method::DELETE, Some(_)) => self.delete(&parts).await,
            (&Method::OPTIONS, _) => Ok(self.options()),
            _ => Err(Refusal::Method(self.allowed())),
        };
        done.unwrap_or_else(Refusal::response)
    }

    fn options(&self) -> Response<ObjectBody> {
        let mut response = Response::new(ObjectBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(self.allowed()));
        response
    }

    fn allowed(&self) -> &'static str {
        match self.writes {
            None => "GET, HEAD, OPTIONS",
            Some(_) => "GET, HEAD, PUT, DELETE, OPTIONS",
        }
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore").field("prefix", &self.0.prefix).finish_non_exhaustive()
    }
}
