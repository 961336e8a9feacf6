//! Requests that change the origin's state: forwarded as they stream, and what they change is invalidated before the
//! answer is seen (RFC 9111 §4.4).

use std::sync::Arc;

use http::{HeaderMap, Request, Uri};
use tower::ServiceExt;

use super::Cache;
use super::replacement::Replacement;
use crate::answer;
use crate::behind::Origin;
use crate::edge::EdgeInner;
use crate::future::ResponseFuture;
use crate::invalidation::{Scope, label};
use crate::key::{self, KeyBuf};
use crate::outcome::{ForwardReason, Outcome};
use crate::request::Facts;
use crate::semantics::writes::Effect;
use crate::semantics::{labels, writes};
use crate::upload::RequestBody;

impl<S> Cache<S> {
    pub(super) fn write<B>(&self, request: Request<B>, facts: Facts) -> ResponseFuture<S::Body, S::Error>
    where
        S: Origin<B>,
        B: http_body::Body + Send + 'static,
    {
        let edge = Arc::clone(&self.edge.0);
        let policy = Arc::clone(edge.policy_for(request.uri()));
        let target = Target::of(&edge, &request);
        let replacement = Replacement::begin(&edge, &policy, &request, &facts);
        let request = request.map(|body| match &replacement {
            Some(replacement) => replacement.body(body),
            None => RequestBody::viewer(body),
        });
        let exchange = self.origin.clone().oneshot(request);
        ResponseFuture::waiting(async move {
            let mut pending = Pending { edge: Arc::clone(&edge), scopes: target.scopes };
            let outcome = Outcome::forward(ForwardReason::Method);
            edge.counters.answered(&outcome);
            let response = exchange.await?;
            let uri = match (writes::effect(response.status()), target.uri) {
                (Effect::Happened, Some(uri)) => uri,
                (Effect::Refused, _) => {
                    pending.scopes.clear();
                    return Ok(answer::passed(&edge, &policy, response, outcome));
                }
                // Only the target, which is invalidated by leaving.
                (Effect::Happened | Effect::Unknown, _) => {
                    return Ok(answer::passed(&edge, &policy, response, outcome));
                }
            };
            let others = others(&edge, &uri, response.headers());
            let successor = replacement.as_ref().and_then(|write| write.successor(&uri, &response));
            let scopes = others.into_iter().chain(std::mem::take(&mut pending.scopes));
            Ok(match replacement.zip(successor) {
                Some((replacement, successor)) => replacement.replace(successor, scopes, response, outcome),
                None => {
                    edge.invalidate(scopes);
                    answer::passed(&edge, &policy, response, outcome)
                }
            })
        })
    }
}

/// What a write is about.
struct Target {
    /// Absolute, as its key has it. `None` if the request has no key.
    uri: Option<Uri>,
    /// As reads of it are keyed, and as it stands: under other rules those were keyed otherwise.
    scopes: Vec<Scope>,
}

impl Target {
    fn of<B>(edge: &EdgeInner, request: &Request<B>) -> Self {
        let policy = edge.policy_for(request.uri());
        // The key of a read of the same target, so in the form a read has.
        let uri = key::rewritten_uri(request.uri(), &policy.key);
        let forms = |uri: &Uri| {
            // Without a host only the origin knows whose object it is: it may be that of any.
            let scope = edge.uri_scope(uri, request.headers());
            scope.unwrap_or_else(|| Scope::path(uri.path(), uri.query()))
        };
        let mut scopes = vec![forms(&uri)];
        if uri != *request.uri() {
            scopes.push(forms(request.uri()));
        }
        let has_key = edge.uri_scope(&uri, request.headers()).is_some();
        let uri = if has_key { absolute(edge, uri, request.headers()) } else { None };
        Self { uri, scopes }
    }
}

pub(super) fn absolute(edge: &EdgeInner, uri: Uri, headers: &HeaderMap) -> Option<Uri> {
    if uri.authority().is_some() {
        return Some(uri);
    }
    let host = headers.get(http::header::HOST)?.to_str().ok()?;
    let scheme = if edge.https { "https" } else { "http" };
    Uri::builder().scheme(scheme).authority(host).path_and_query(uri.path_and_query()?.clone()).build().ok()
}

/// The other stored responses that a write's answer names: those at other URIs of the origin, and its groups (RFC 9875 §3).
fn others(edge: &EdgeInner, target: &Uri, response: &HeaderMap) -> Vec<Scope> {
    let uris = writes::also_invalidated(target, response);
    let mut scopes: Vec<_> = uris
        .iter()
        .flat_map(|uri| [key::rewritten_uri(uri, &edge.policy_for(uri).key), uri.clone()])
        .filter_map(|uri| edge.uri_scope(&uri, &HeaderMap::new()))
        .collect();
    if let Ok(key) = KeyBuf::of_uri(target, &HeaderMap::new(), edge.https) {
        let groups = labels::groups(response, &labels::CACHE_GROUP_INVALIDATION);
        let origin = key::origin_part(key.as_bytes());
        scopes.extend(groups.iter().map(|group| Scope::Label(label::group(origin, group))));
    }
    scopes
}

/// A write whose outcome is not known yet. Dropped in that state (the origin failed, the viewer left), it invalidates:
/// the write may have happened.
struct Pending {
    edge: Arc<EdgeInner>,
    scopes: Vec<Scope>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.scopes.is_empty() {
            self.edge.invalidate(std::mem::take(&mut self.scopes));
        }
    }
}
