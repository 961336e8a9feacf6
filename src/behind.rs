//! What is behind the cache: [`Origin`].

use http::{Request, Response};
use tower::{BoxError, Service};

use crate::upload::RequestBody;

/// A service that the cache can ask on behalf of requests with bodies `B`. It says once what every step of the walk needs; the
/// public services spell it out.
pub(crate) trait Origin<B>:
    Service<Request<RequestBody<B>>, Response = Response<Self::Body>, Error: Send + 'static, Future: Send>
    + Clone
    + Send
    + 'static
{
    /// That of its answers.
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B, R> Origin<B> for S
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    R: http_body::Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    type Body = R;
}
