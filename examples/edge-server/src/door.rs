//! [`Door`]: what a request has to pass on its way to the cache of a server by flags.

use hyper::body::Incoming;
use hyper::http::uri::Scheme;
use hyper::{Request, Response};
use tower::{BoxError, Service};
use tower_edge::ResponseFuture;
use tower_edge::origin::Upstream;

use crate::admit::admit;
use crate::answer::Answer;
use crate::page::{EdgeBody, OriginBody, page};
use crate::trust::Trust;

#[derive(Clone)]
pub(crate) struct Door<S> {
    /// Always ready, as a [`Cache`](tower_edge::Cache) and a [`Parent`](tower_edge::distribution::Parent) are.
    cache: S,
    trust: Trust,
    /// A request that this upstream has sent before has come in a circle, and would wait for the answer to itself.
    upstream: Option<Upstream>,
}

impl<S> Door<S> {
    pub(crate) fn new(cache: S, trust: Trust, upstream: Option<Upstream>) -> Self {
        Self { cache, trust, upstream }
    }

    pub(crate) fn answer(&self, mut request: Request<Incoming>) -> Answer
    where
        for<'a> &'a S: Service<
                Request<Incoming>,
                Response = Response<EdgeBody>,
                Error = BoxError,
                Future = ResponseFuture<OriginBody, BoxError>,
            >,
    {
        if let Err(refusal) = admit(&mut request, &Scheme::HTTP, &self.trust) {
            return page(refusal.status(), refusal.reason()).into();
        }
        if let Some(upstream) = &self.upstream
            && let Err(error) = upstream.refuse_loop(request.headers())
        {
            return page(error.status(), error.page()).into();
        }
        Answer::Cache((&self.cache).call(request))
    }
}
