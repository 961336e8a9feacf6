//! What of a behavior is not caching: [`Route`], and the origin's side of it, [`ToOrigin`].

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::header::HeaderValue;
use hyper::http::uri::Uri;
use hyper::{Method, Request, Response};
use tower::{BoxError, Service, ServiceExt};
use tower_edge::Edge;

use super::origins::{OriginBody, Origins, Source, Upload};
use crate::config::{Behavior, Https};

/// How requests of one behavior are let in and sent on. It travels with each in its extensions, past the cache.
pub(super) struct Route {
    source: Source,
    pub(super) https: Https,
    methods: Option<(Vec<Method>, HeaderValue)>,
    strip_prefix: String,
    add_prefix: String,
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
            https: behavior.https,
            methods,
            strip_prefix: behavior.strip_prefix.clone(),
            add_prefix: behavior.add_prefix.clone(),
        }
    }

    /// What is allowed, if the method is not.
    pub(super) fn refuses(&self, method: &Method) -> Option<HeaderValue> {
        let (methods, allow) = self.methods.as_ref()?;
        (!methods.contains(method)).then(|| allow.clone())
    }

    /// The target as the origin has it. The key knows it as the viewer has it.
    /// # Errors
    ///
    /// The target is too long with the prefix.
    fn rewrite(&self, uri: &mut Uri) -> Result<(), BoxError> {
        let path = uri.path();
        if (self.strip_prefix.is_empty() && self.add_prefix.is_empty()) || !path.starts_with('/') {
            return Ok(());
        }
        let rest = match path.strip_prefix(self.strip_prefix.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{rest}{query}", self.add_prefix);
        let target = target.parse()?;
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(target);
        *uri = Uri::from_parts(parts).expect("scheme and authority are as they were");
        Ok(())
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
        if let Err(error) = route.rewrite(request.uri_mut()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        Box::pin(route.source.clone().oneshot(request))
    }
}

#[cfg(test)]
mod tests {
    use tower::service_fn;
    use tower::util::BoxCloneSyncService;

    use super::*;

    #[test]
    fn prefixes_are_stripped_and_added_by_whole_segments() {
        for (strip, add, asked, sent) in [
            ("", "", "/a?b", "/a?b"),
            ("/a", "", "/a/b?c=%2F", "/b?c=%2F"),
            ("/a", "", "/a", "/"),
            ("/a", "", "/a?", "/?"),
            ("/a", "", "/a//b/%2e", "//b/%2e"),
            ("/a", "", "/ab", "/ab"),
            ("", "/v1", "/a", "/v1/a"),
            ("/a", "/v1/x", "http://h:1/a/b?c", "http://h:1/v1/x/b?c"),
            ("/a", "/v1", "*", "*"),
        ] {
            let source = service_fn(|_| async { Err::<Response<OriginBody>, BoxError>("".into()) });
            let route = Route {
                source: BoxCloneSyncService::new(source),
                https: Https::Any,
                methods: None,
                strip_prefix: strip.to_owned(),
                add_prefix: add.to_owned(),
            };
            let mut uri: Uri = asked.parse().unwrap();
            route.rewrite(&mut uri).unwrap();
            assert_eq!(uri.to_string(), sent, "{strip} {add} {asked}");
        }
    }
}
