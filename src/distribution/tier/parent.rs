//! A parent's side: [`Parent`].

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HOST, HeaderName};
use http::uri::{Authority, Scheme};
use http::{Extensions, HeaderMap, Request, Response, Uri};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service, ServiceExt};

use super::{AsNewAs, POSITION, Token};
use crate::answer;
use crate::behind::Origin;
use crate::body::Body;
use crate::distribution::bus::{Follower, Position};
use crate::edge::Edge;
use crate::future::ResponseFuture;
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::semantics::headers::only_line;
use crate::service::Cache;
use crate::upload::RequestBody;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How an edge serves other edges.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TierPolicy {
    /// What children show. `None`, by default, takes everybody for a viewer.
    pub token: Option<Token>,
    /// How long a request of a child waits that has come further in the log. Then the origin answers it. 100 milliseconds by
    /// default.
    pub patience: Duration,
}

impl Default for TierPolicy {
    fn default() -> Self {
        Self { token: None, patience: Duration::from_millis(100) }
    }
}

/// An edge that other edges may ask, as their parent. It serves viewers, too.
///
/// A child gets what a viewer gets, and the fields that are for caches besides: tags, and those that say how long to keep.
/// If it has come further in the log than this edge, it does not get what this edge has stored or is fetching, but, after
/// [`TierPolicy::patience`], the origin's own answer, of which nothing is stored here; `Cache-Status` then says
/// `fwd=bypass; detail=behind`.
#[derive(Clone)]
pub struct Parent<S> {
    viewers: Cache<S>,
    children: Cache<S>,
    follower: Arc<Follower>,
    policy: Arc<TierPolicy>,
}

impl<S: Clone> Parent<S> {
    /// An edge in front of `origin`. `follower` keeps the edge in step with the log that the children follow.
    pub fn new(edge: &Edge, origin: S, follower: Arc<Follower>, policy: TierPolicy) -> Self {
        let viewers = edge.layer().layer(origin.clone());
        let children = edge.for_edges().layer().layer(origin);
        Self { viewers, children, follower, policy: Arc::new(policy) }
    }
}

impl<S> Parent<S> {
    /// Takes out what a child says, and whether it was a child that said it.
    fn take(&self, headers: &mut HeaderMap) -> (bool, Option<Position>) {
        let is_child = self.policy.token.as_ref().is_some_and(|token| token.is_shown(headers));
        let position = only_line(headers, &POSITION).filter(|_| is_child);
        let position = position.and_then(|text| text.to_str().ok()?.parse().ok());
        super::strip(headers);
        (is_child, position)
    }
}

impl<S, B, R> Service<Request<B>> for Parent<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    R: http_body::Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<R, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Service::call(&mut &*self, request)
    }
}

/// For a server that shares it.
impl<S, B, R> Service<Request<B>> for &Parent<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    R: http_body::Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<R, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.call_with(request, |_| {})
    }
}

impl<S> Parent<S> {
    /// The same as to call the service. `extend` gives a request what only the origin needs, before it goes there: see
    /// [`Cache::call_with`].
    pub fn call_with<B, R>(
        &self,
        mut request: Request<B>,
        extend: impl FnOnce(&mut Extensions),
    ) -> ResponseFuture<R, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        B: http_body::Body + Send + 'static,
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let (is_child, position) = self.take(request.headers_mut());
        // Only an edge of this process can have put it there.
        let within = request.extensions_mut().remove::<AsNewAs>().map(|AsNewAs(position)| position);
        let (request, position) = match (is_child, within) {
            (_, Some(position)) => (request, position),
            (false, None) => return self.viewers.call_with(request, extend),
            (true, None) => {
                let request = as_the_viewer_came(request);
                match position {
                    Some(position) => (request, position),
                    None => return self.children.call_with(request, extend),
                }
            }
        };
        answer(&self.children, &self.follower, self.policy.patience, request, position, extend)
    }
}

/// The answer to another edge, which has come to `position`. `extend` is as for [`Cache::call_with`].
pub(crate) fn answer<S, B>(
    cache: &Cache<S>,
    follower: &Arc<Follower>,
    patience: Duration,
    mut request: Request<B>,
    position: Position,
    extend: impl FnOnce(&mut Extensions),
) -> ResponseFuture<S::Body, S::Error>
where
    S: Origin<B>,
    B: http_body::Body + Send + 'static,
{
    let applied = follower.applied();
    let has_reached = applied.is_some_and(|applied| applied.has_reached(&position));
    // What is stored here is no answer to a write, which is for the origin anyway.
    if has_reached || !request.method().is_safe() || cache.edge().0.log.ignores_positions() {
        return cache.call_with(request, extend);
    }
    extend(request.extensions_mut());
    let mut cache = cache.clone();
    let follower = Arc::clone(follower);
    // Of another log it will not be there in a moment; nor while this one cannot be reached.
    let may_come = applied.is_some_and(|applied| applied.incarnation == position.incarnation)
        && follower.trouble().is_none();
    ResponseFuture::waiting(async move {
        if may_come && timeout(patience, follower.reached(position)).await.is_ok() {
            return cache.call(request).await;
        }
        alone(cache, request, position).await
    })
}

/// The origin's answer, of which nothing is stored.
async fn alone<S, B>(
    cache: Cache<S>,
    mut request: Request<B>,
    position: Position,
) -> Result<Response<Body<S::Body>>, S::Error>
where
    S: Origin<B>,
{
    let edge = &cache.edge().0;
    let policy = Arc::clone(edge.policy_for(request.uri()));
    let outcome = Outcome::forward(ForwardReason::Bypass).because(Detail::Behind);
    edge.counters.answered(&outcome);
    // The origin may be an edge again.
    request.extensions_mut().insert(AsNewAs(position));
    let response = cache.get_ref().clone().oneshot(request.map(RequestBody::viewer));
    let (edge, response) = (Arc::clone(edge), {
        drop(cache);
        response.await?
    });
    Ok(answer::passed(&edge, &policy, response, outcome))
}

/// A child may ask without TLS for what its viewer asked for with it. What is cleared by its URL has the viewer's scheme.
fn as_the_viewer_came<B>(mut request: Request<B>) -> Request<B> {
    // What the child says comes last.
    let mut lines = request.headers().get_all(X_FORWARDED_PROTO).iter();
    let last = lines.next_back().and_then(|line| line.as_bytes().rsplit(|byte| *byte == b',').next());
    let scheme = match last.map(<[u8]>::trim_ascii) {
        Some(b"https") => Scheme::HTTPS,
        Some(b"http") => Scheme::HTTP,
        _ => return request,
    };
    let host = only_line(request.headers(), &HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = request.uri().clone().into_parts();
    parts.authority = parts.authority.or(host);
    parts.scheme = Some(scheme);
    if parts.authority.is_some()
        && let Ok(uri) = Uri::from_parts(parts)
    {
        *request.uri_mut() = uri;
    }
    request
}

impl<S> fmt::Debug for Parent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("edge", self.viewers.edge()).finish_non_exhaustive()
    }
}
