//! [`Front`]: what answers viewers.

use hyper::Request;
use hyper::body::Incoming;
use hyper::http::Extensions;
use tower::{BoxError, Service};
use tower_edge::distribution::Parent;
use tower_edge::{Cache, RequestBody, ResponseFuture};

use crate::page::OriginBody;
use crate::site::Source;

/// An edge before its origin `O`.
#[derive(Clone)]
pub(crate) enum Front<O> {
    Alone(Cache<O>),
    /// One of a distribution, before its parents.
    Member(Parent<Source>),
}

impl<O> Front<O>
where
    O: Service<Request<RequestBody<Incoming>>, Response = hyper::Response<OriginBody>, Error = BoxError>,
    O: Clone + Send + 'static,
    O::Future: Send,
{
    /// The answer to a request. `extend` gives it what only the origin needs.
    pub(crate) fn answer(
        &self,
        request: Request<Incoming>,
        extend: impl FnOnce(&mut Extensions),
    ) -> ResponseFuture<OriginBody, BoxError> {
        match self {
            Self::Alone(cache) => cache.call_with(request, extend),
            Self::Member(parent) => parent.call_with(request, extend),
        }
    }
}
