//! Requests that change the origin's state: forwarded as they stream, and what they change is invalidated before the
//! answer is seen (RFC 9111 §4.4).

use std::sync::Arc;

use http::{HeaderMap, Request, Response, Uri};
use tower::{Service, ServiceExt};

use super::{Cache, passed};
use crate::edge::EdgeInner;
use crate::future::ResponseFuture;
use crate::invalidation::Scope;
use crate::key;
use crate::outcome::{ForwardReason, Outcome};
use crate::request::Facts;
use crate::semantics::writes;

impl<S> Cache<S> {
    pub(super) fn write<B, R>(&mut self, request: Request<B>, facts: Facts) -> ResponseFuture<R, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        B: Send + 'static,
        R: http_body::Body + 'static,
    {
        let edge = Arc::clone(&self.edge.0);
        let method = request.method().clone();
        let target = Target::of(&edge, &request);
        let exchange = self.origin.clone().oneshot(request);
        ResponseFuture::waiting(async move {
            let mut pending = Pending { edge: Arc::clone(&edge), scope: Some(target.scope) };
            let response = exchange.await?;
            if writes::invalidates(response.status()) {
                let others = others(&edge, target.uri.as_ref(), response.headers());
                pending.settle(others);
            } else {
                pending.scope = None;
            }
            let outcome = Outcome::forward(ForwardReason::Method);
            edge.counters.answered(&outcome);
            Ok(passed(&edge, response, &method, &facts, outcome))
        })
    }
}

/// What a write is about.
struct Target {
    /// Absolute, as its key has it. `None` if the request has no key.
    uri: Option<Uri>,
    scope: Scope,
}

impl Target {
    fn of<B>(edge: &EdgeInner, request: &Request<B>) -> Self {
        let policy = edge.policy_for(request.uri());
        // The key of a read of the same target, so in the form a read has.
        let uri = key::rewritten_uri(request.uri(), &policy.key);
        match edge.uri_scope(&uri, request.headers()) {
            Some(scope) => Self { uri: absolute(edge, uri, request.headers()), scope },
            // Whose object it is only the origin knows: it may be that of any host.
            None => Self { scope: Scope::path(uri.path(), uri.query()), uri: None },
        }
    }
}

fn absolute(edge: &EdgeInner, uri: Uri, headers: &HeaderMap) -> Option<Uri> {
    if uri.authority().is_some() {
        return Some(uri);
    }
    let host = headers.get(http::header::HOST)?.to_str().ok()?;
    let scheme = if edge.https { "https" } else { "http" };
    Uri::builder().scheme(scheme).authority(host).path_and_query(uri.path_and_query()?.clone()).build().ok()
}

/// The other stored responses that a write's answer names.
fn others(edge: &EdgeInner, target: Option<&Uri>, response: &HeaderMap) -> Vec<Scope> {
    let Some(target) = target else { return Vec::new() };
    writes::also_invalidated(target, response)
        .iter()
        .filter_map(|uri| {
            let uri = key::rewritten_uri(uri, &edge.policy_for(uri).key);
            edge.uri_scope(&uri, &HeaderMap::new())
        })
        .collect()
}

/// A write whose outcome is not known yet. Dropped in that state (the origin failed, the viewer left), it invalidates:
/// the write may have happened.
struct Pending {
    edge: Arc<EdgeInner>,
    scope: Option<Scope>,
}

impl Pending {
    fn settle(&mut self, others: Vec<Scope>) {
        if let Some(target) = self.scope.take() {
            self.edge.invalidate(others.into_iter().chain([target]));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.settle(Vec::new());
    }
}
