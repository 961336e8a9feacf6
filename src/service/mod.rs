//! [`Cache`]: the walk of one request.
//!
//! What can be decided at once is decided here, without a box or waiting for a lock: the method, the policy, the key,
//! the lookup, a hit. What has to wait goes on in [`miss`] (with its [`reader`], and
//! [`sliced`] for objects in slices) and [`write`] (with its [`replacement`]).
//! What is fetched [`ahead`] of viewers follows from an answer and is no part of it.

mod ahead;
mod miss;
mod reader;
mod replacement;
mod sliced;
mod write;

use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Extensions, Method, Request, Response, StatusCode};
use tower::{BoxError, Service, ServiceExt};

use self::ahead::Ahead;
use self::miss::Miss;
use crate::answer::{self, Supply, View};
use crate::behind::Origin;
use crate::body::Body;
use crate::contact::Trust;
use crate::edge::Edge;
use crate::future::ResponseFuture;
use crate::key::{self, KeyBuf, NoKey};
use crate::lookup::{Look, Query, Use};
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::{CachePolicy, RequestDirectives};
use crate::request::{Class, Facts};
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::headers;
use crate::upload::RequestBody;

/// An origin service with an edge in front. Made by [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready: a hit does not wait for a busy origin, and a miss waits in its future. Its error is the origin's.
/// Misses of GET are fetched by a task of their own, spawned on the tokio runtime the call is made in; outside one
/// requests are forwarded and nothing is stored. The runtime needs its time driver
/// ([`enable_time`](tokio::runtime::Builder::enable_time)): waits for a fill are timed, and panic without it.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    edge: Edge,
    origin: S,
}

impl<S> Cache<S> {
    pub(crate) fn new(edge: Edge, origin: S) -> Self {
        Self { edge, origin }
    }

    /// The origin service.
    pub fn get_ref(&self) -> &S {
        &self.origin
    }

    /// The edge in front of it.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }
}

impl<S, B, R> Service<Request<B>> for Cache<S>
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

/// For a server that shares it: a clone a request would count up and down what all requests share.
impl<S, B, R> Service<Request<B>> for &Cache<S>
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

impl<S> Cache<S> {
    /// The same as to call the service. `extend` gives a request what only the origin needs, such as the
    /// [`Viewer`](crate::origin::Viewer), before it goes there. For a hit it is not called: to put one value into extensions
    /// that have none yet, and to drop it again, takes a hit as long as the lookup.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use tower::{Layer, service_fn};
    /// # use tower_edge::{Edge, RequestBody, origin::Viewer};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let origin = service_fn(|request: Request<RequestBody<Full<&'static [u8]>>>| async move {
    /// #     assert!(request.extensions().get::<Viewer>().is_some());
    /// #     Ok::<_, Infallible>(Response::new(Full::new(&b"rendered"[..])))
    /// # });
    /// let viewer = Viewer::new("192.0.2.7:4711".parse()?);
    /// let cache = Edge::builder().build()?.layer().layer(origin);
    /// let request = Request::get("http://example.com/").body(Full::new(&b""[..]))?;
    /// let response = cache.call_with(request, |extensions| {
    ///     extensions.insert(viewer.clone());
    /// });
    /// assert_eq!(response.await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn call_with<B, R>(
        &self,
        request: Request<B>,
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
        let facts = Facts::read(request.headers());
        match facts.class(request.method()) {
            Class::Read => self.read(request, facts, extend),
            Class::Write => self.write(extended(request, extend), facts),
            Class::Other => self.pass(extended(request, extend), Outcome::forward(ForwardReason::Method)),
            Class::Tunnel => self.tunnel(extended(request, extend)),
        }
    }

    /// GET and HEAD.
    fn read<B>(
        &self,
        request: Request<B>,
        facts: Facts,
        extend: impl FnOnce(&mut Extensions),
    ) -> ResponseFuture<S::Body, S::Error>
    where
        S: Origin<B>,
        B: http_body::Body + Send + 'static,
    {
        let bypass = Outcome::forward(ForwardReason::Bypass);
        // What the key cannot tell apart is not cached: a body, a field some origins obey as another URL or method. The
        // preconditions that protect a write are for the origin (RFC 9111 §4.3.2).
        if facts.body
            || facts.override_field
            || facts.event_stream
            || facts.origin_condition
            || !request.body().is_end_stream()
        {
            return self.pass(extended(request, extend), bypass.because(Detail::Untouched));
        }
        let edge = &self.edge.0;
        let now = edge.clock.elapsed();
        let trust = edge.contact.trust(now);
        if trust == Trust::None {
            return self.pass(extended(request, extend), bypass.because(Detail::NoContact));
        }
        let policy = edge.policy_for(request.uri());
        let (mut parts, body) = request.into_parts();
        if facts.nominates {
            // Before the key is built: what the origin will not see must not be in it (invariant 1).
            headers::strip_hop_by_hop(&mut parts.headers);
        }
        key::rewrite(&mut parts, &policy.key, policy.normalise);
        let mut key = KeyBuf::default();
        if let Err(no_key) = key.read(&parts, &facts, &policy.key, edge.https) {
            let outcome = match no_key {
                NoKey::NotCanonical => bypass.because(Detail::NotCanonical),
                NoKey::Bypass => bypass,
            };
            return self.pass(extended(Request::from_parts(parts, body), extend), outcome);
        }
        let body = RequestBody::viewer(body);
        let control = request_control(&parts, &facts, policy);
        let query = Query { key: &key, headers: &parts.headers, facts: &facts, control: &control, policy };
        match edge.look(query, now, trust) {
            Look::Answer { stored, use_, .. } if stored.is_sliced() => {
                extend(&mut parts.extensions);
                if policy.prefetch.is_some() && parts.method == Method::GET && stored.first_served() {
                    Ahead::after_hit(edge, policy, &key, &self.origin, &parts, &facts, &stored);
                }
                let miss = Miss::new(edge, policy, key, self.origin.clone(), parts, body, facts, control);
                miss.answer_sliced(&stored, use_)
            }
            Look::Answer { stored, age, use_ } => {
                let outcome = use_.outcome(&stored, age);
                edge.counters.answered(&outcome);
                // RFC 9111 §5.2.1.5: nothing of what comes for a request with no-store could be stored.
                let refreshes = matches!(use_, Use::Stale { refresh: true, .. }) && !control.no_store;
                let spare = if refreshes { Extensions::new() } else { std::mem::take(&mut parts.extensions) };
                let view = View { method: &parts.method, headers: &parts.headers, facts: &facts, policy };
                let supply = Supply::Stored(&stored);
                let length = Some(stored.total());
                let response = answer::shared(edge, &stored.head, supply, length, view, outcome, now, spare);
                if policy.prefetch.is_some() && parts.method == Method::GET && stored.first_served() {
                    Ahead::after_hit(edge, policy, &key, &self.origin, &parts, &facts, &stored);
                }
                if refreshes {
                    extend(&mut parts.extensions);
                    let miss = Miss::new(edge, policy, key, self.origin.clone(), parts, body, facts, control);
                    miss.refresh(stored);
                }
                ResponseFuture::ready(response)
            }
            Look::Unsatisfiable => {
                let outcome = Outcome::forward(ForwardReason::Miss).because(Detail::OnlyIfCached);
                edge.counters.answered(&outcome);
                ResponseFuture::ready(answer::made_up(edge, StatusCode::GATEWAY_TIMEOUT, outcome))
            }
            Look::Ask(ask) => {
                extend(&mut parts.extensions);
                let miss = Miss::new(edge, policy, key, self.origin.clone(), parts, body, facts, control);
                ResponseFuture::waiting(miss.run(ask))
            }
        }
    }

    /// Forwards what may become a tunnel.
    fn tunnel<B>(&self, request: Request<B>) -> ResponseFuture<S::Body, S::Error>
    where
        S: Origin<B>,
        B: Send + 'static,
    {
        let edge = Arc::clone(&self.edge.0);
        let policy = Arc::clone(edge.policy_for(request.uri()));
        let connects = request.method() == Method::CONNECT;
        let exchange = self.origin.clone().oneshot(request.map(RequestBody::viewer));
        ResponseFuture::waiting(async move {
            let outcome = Outcome::forward(ForwardReason::Bypass).because(Detail::Untouched);
            edge.counters.answered(&outcome);
            let response = exchange.await?;
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS || connects && status.is_success() {
                return Ok(response.map(Body::origin));
            }
            // An origin may ignore `Upgrade` (RFC 9110 §7.8): then this is an answer like any other.
            Ok(answer::passed(&edge, &policy, response, outcome))
        })
    }

    /// Forwards a request and touches neither it nor, but for `Cache-Status`, its answer.
    fn pass<B>(&self, request: Request<B>, outcome: Outcome) -> ResponseFuture<S::Body, S::Error>
    where
        S: Origin<B>,
        B: Send + 'static,
    {
        let edge = Arc::clone(&self.edge.0);
        let policy = Arc::clone(edge.policy_for(request.uri()));
        let exchange = self.origin.clone().oneshot(request.map(RequestBody::viewer));
        ResponseFuture::waiting(async move {
            edge.counters.answered(&outcome);
            let response = exchange.await?;
            Ok(answer::passed(&edge, &policy, response, outcome))
        })
    }
}

fn extended<B>(mut request: Request<B>, extend: impl FnOnce(&mut Extensions)) -> Request<B> {
    extend(request.extensions_mut());
    request
}

fn request_control(parts: &Parts, facts: &Facts, policy: &CachePolicy) -> RequestCacheControl {
    if facts.directives && policy.request_directives == RequestDirectives::Honour {
        RequestCacheControl::parse(&parts.headers)
    } else {
        RequestCacheControl::default()
    }
}
