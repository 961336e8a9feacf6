//! The way of a request through a distribution: to the nearest edge ([`Routed`]), and from edge to edge to the origin.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{BoxError, Layer, Service, ServiceExt};

use super::body::AnyBody;
use super::edges::{Distribution, Inner, Seat};
use super::tier::{self, AsNewAs};
use crate::body::Body;
use crate::future::ResponseFuture;
use crate::service::Cache;
use crate::upload::RequestBody;

/// Puts the nearest edge of a distribution in front of a service. Made by [`Distribution::layer`].
#[derive(Clone, Debug)]
pub struct DistributionLayer {
    distribution: Distribution,
}

impl DistributionLayer {
    pub(super) fn new(distribution: Distribution) -> Self {
        Self { distribution }
    }
}

impl<S> Layer<S> for DistributionLayer {
    type Service = Routed<S>;

    fn layer(&self, origin: S) -> Routed<S> {
        Routed { distribution: self.distribution.clone(), origin }
    }
}

/// An origin service with a distribution in front. Made by [`DistributionLayer`].
///
/// Like [`Cache`] it is always ready, and its error is the origin's. Who has no edge to go to is answered by the origin.
#[derive(Clone)]
pub struct Routed<S> {
    distribution: Distribution,
    origin: S,
}

impl<S, B, R> Service<Request<B>> for Routed<S>
where
    S: Service<Request<RequestBody<AnyBody>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body<AnyBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<AnyBody, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Nothing that a viewer says is said by an edge.
        tier::strip(request.headers_mut());
        request.extensions_mut().remove::<AsNewAs>();
        let inner = &self.distribution.0;
        let seat = inner.route(&request);
        let request = request.map(AnyBody::new);
        let origin = self.origin.clone();
        match seat {
            Some(seat) => {
                let edge = seat.edge.clone();
                let behind = Behind { distribution: Arc::clone(inner), seat, origin };
                Cache::new(edge, behind).call(request)
            }
            None => {
                let answer = origin.oneshot(request.map(RequestBody::viewer));
                ResponseFuture::waiting(async move {
                    Ok(answer.await?.map(|body| Body::origin(AnyBody::new(body))))
                })
            }
        }
    }
}

impl<S> fmt::Debug for Routed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed").field("distribution", &self.distribution).finish_non_exhaustive()
    }
}

/// What an edge has behind it: a parent, or the origin.
#[derive(Clone)]
struct Behind<S> {
    distribution: Arc<Inner>,
    seat: Arc<Seat>,
    origin: S,
}

impl<S, R> Service<Request<RequestBody<AnyBody>>> for Behind<S>
where
    S: Service<Request<RequestBody<AnyBody>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    R: http_body::Body + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<AnyBody>;
    type Error = S::Error;
    /// In a box, since a parent has the same behind it again.
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnyBody>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody<AnyBody>>) -> Self::Future {
        let passed_on = request.extensions_mut().remove::<AsNewAs>().map(|AsNewAs(position)| position);
        let origin = self.origin.clone();
        let Some(seat) = self.distribution.parent_of(&self.seat, &request) else {
            let answer = origin.oneshot(request);
            return Box::pin(async move { Ok(answer.await?.map(AnyBody::new)) });
        };
        // Asked after the fill was registered: whatever its stamp covers is told.
        let position = passed_on.or_else(|| self.seat.follower.as_new_as(request.uri(), request.headers()));
        let (edge, follower) = (seat.for_edges.clone(), Arc::clone(&seat.follower));
        let behind = Self { distribution: Arc::clone(&self.distribution), seat, origin };
        let mut cache = Cache::new(edge, behind);
        let request = request.map(AnyBody::new);
        let answer = match position {
            Some(position) => {
                let patience = self.distribution.settings.patience;
                tier::answer(&cache, &follower, patience, request, position, |_| {})
            }
            None => cache.call(request),
        };
        Box::pin(async move { Ok(answer.await?.map(AnyBody::new)) })
    }
}
