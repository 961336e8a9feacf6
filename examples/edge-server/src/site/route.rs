//! What of a behavior is not caching: [`Route`], and the origin's side of it, [`ToOrigin`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::uri::Uri;
use hyper::{Method, Request, Response, StatusCode};
use tower::{BoxError, Service, ServiceExt};
use tower_edge::Edge;
use tower_edge::origin::upstream::{self, Upstream};

use super::origins::{Origins, Source, Upload};
use crate::compress;
use crate::config::{Behavior, Https};
use crate::page::OriginBody;
use crate::relocate::{self, Relocate};

/// How requests of one behavior are let in and sent on. It travels with each in its extensions, past the cache.
pub(super) struct Route {
    source: Source,
    upstreams: Vec<Upstream>,
    pub(super) https: Https,
    methods: Option<(Vec<Method>, HeaderValue)>,
    relocate: Relocate,
    compress: bool,
}

impl Route {
    pub(super) fn new(behavior: &Behavior, origins: &Origins) -> Self {
        let source = origins.get(&behavior.origin).expect("a configuration names what it has").clone();
        let methods = behavior.methods.clone().map(|methods| {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            let allow = HeaderValue::try_from(names.join(", ")).expect("methods are tokens");
            (methods, allow)
        });
        Self {
            source,
            upstreams: origins.upstreams(&behavior.origin),
            https: behavior.https,
            methods,
            relocate: Relocate {
                names: origins.names(&behavior.origin),
                strip_prefix: behavior.strip_prefix.clone(),
                add_prefix: behavior.add_prefix.clone(),
            },
            compress: behavior.compress,
        }
    }

    /// What is allowed, if the method is not.
    pub(super) fn refuses(&self, method: &Method) -> Option<HeaderValue> {
        let (methods, allow) = self.methods.as_ref()?;
        (!methods.contains(method)).then(|| allow.clone())
    }

    /// # Errors
    ///
    /// The request has been here before. The cache would have it wait for the answer to itself.
    pub(super) fn refuse_loop(&self, headers: &HeaderMap) -> Result<(), upstream::Error> {
        self.upstreams.iter().try_for_each(|upstream| upstream.refuse_loop(headers))
    }

    /// The target as the origin has it. The key knows it as the viewer has it.
    ///
    /// # Errors
    ///
    /// The target is too long with the prefix, or might lead out of it.
    fn rewrite(&self, uri: &mut Uri) -> Result<(), BadTarget> {
        let Some(target) = self.relocate.to_origin(uri) else { return Ok(()) };
        if self.relocate.may_leave(uri) {
            return Err(BadTarget::Leaves);
        }
        let target = target.parse().map_err(|_| BadTarget::TooLong)?;
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(target);
        *uri = Uri::from_parts(parts).expect("scheme and authority are as they were");
        Ok(())
    }

    async fn ask(&self, mut request: Request<Upload>) -> Result<Response<OriginBody>, BoxError> {
        let asked = relocate::Asked::of(&request);
        self.rewrite(request.uri_mut())?;
        let path = request.uri().path().to_owned();
        let coding = self.compress.then(|| compress::Asked::of(&mut request));
        let mut response = self.source.clone().oneshot(request).await?;
        self.relocate.to_viewer(&asked, &path, response.headers_mut());
        Ok(match coding {
            Some(coding) => coding.answer(response),
            None => response,
        })
    }
}

/// The routes of a site, found as the edge finds its policies.
#[derive(Clone)]
pub(super) struct Routes {
    edge: Edge,
    /// As the edge's behaviors; the last is for what none of those takes.
    routes: Arc<[Arc<Route>]>,
}

impl Routes {
    pub(super) fn new(edge: Edge, behaviors: &[Behavior], origins: &Origins) -> Self {
        let routes = behaviors.iter().flat_map(|behavior| {
            let route = Arc::new(Route::new(behavior, origins));
            vec![route; behavior.rules().len()]
        });
        Self { edge, routes: routes.collect() }
    }

    pub(super) fn of(&self, uri: &Uri) -> &Arc<Route> {
        &self.routes[self.edge.behavior_of(uri).unwrap_or(self.routes.len() - 1)]
    }
}

/// What a target is with its prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BadTarget {
    /// Longer than a URI may be.
    TooLong,
    /// To some origins, one outside of it.
    Leaves,
}

impl BadTarget {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::URI_TOO_LONG,
            Self::Leaves => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) const fn page(self) -> &'static str {
        match self {
            Self::TooLong => "The request's target is too long.\n",
            Self::Leaves => "The request's path leads nowhere here.\n",
        }
    }
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the target is too long with its prefix",
            Self::Leaves => "the target may lead out of its prefix",
        })
    }
}

impl Error for BadTarget {}

/// The origin's side of the cache: sends each request where its route leads.
#[derive(Clone)]
pub(super) struct ToOrigin(pub(super) Routes);

impl Service<Request<Upload>> for ToOrigin {
    type Response = Response<OriginBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Upload>) -> Self::Future {
        // What is fetched ahead of viewers has not been through `Site::answer`.
        let route = request.extensions_mut().remove::<Arc<Route>>();
        let route = route.unwrap_or_else(|| Arc::clone(self.0.of(request.uri())));
        Box::pin(async move { route.ask(request).await })
    }
}
