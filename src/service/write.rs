//! Requests that change the origin's state: forwarded as they stream, and what they change is invalidated before the
//! answer is seen (RFC 9111 §4.4).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::runtime::Handle;
use tower::{BoxError, Service, ServiceExt};

use super::Cache;
use crate::answer;
use crate::body::{Body, Source};
use crate::edge::EdgeInner;
use crate::fill::Recorder;
use crate::future::ResponseFuture;
use crate::invalidation::{Scope, label};
use crate::key::{self, KeyBuf};
use crate::outcome::{ForwardReason, Outcome};
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::{headers, labels, writes};

impl<S> Cache<S> {
    pub(super) fn write<B, R>(&mut self, request: Request<B>, facts: Facts) -> ResponseFuture<R, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        B: Send + 'static,
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let edge = Arc::clone(&self.edge.0);
        let policy = Arc::clone(edge.policy_for(request.uri()));
        let target = Target::of(&edge, &request);
        let posted = Posted::begin(&edge, &request, &facts);
        let exchange = self.origin.clone().oneshot(request);
        ResponseFuture::waiting(async move {
            let mut pending = Pending { edge: Arc::clone(&edge), scope: Some(target.scope) };
            let response = exchange.await?;
            let outcome = Outcome::forward(ForwardReason::Method);
            edge.counters.answered(&outcome);
            if !writes::invalidates(response.status()) {
                pending.scope = None;
                return Ok(answer::passed(&edge, &policy, response, outcome));
            }
            let Some(uri) = &target.uri else {
                return Ok(answer::passed(&edge, &policy, response, outcome));
            };
            let others = others(&edge, uri, response.headers());
            match posted {
                Some(posted) if writes::represents(uri, response.headers()) => {
                    let scopes = others.into_iter().chain(pending.scope.take());
                    Ok(posted.answered(&policy, scopes, response, outcome))
                }
                _ => {
                    pending.settle(others);
                    Ok(answer::passed(&edge, &policy, response, outcome))
                }
            }
        })
    }
}

/// A POST whose answer may be stored (RFC 9110 §9.3.3).
struct Posted {
    edge: Arc<EdgeInner>,
    key: KeyBuf,
    /// The head of the log when it was sent.
    as_of: u64,
    asked: Duration,
    /// The request's fields, as a later GET is compared with them.
    sent: HeaderMap,
}

impl Posted {
    fn begin<B>(edge: &Arc<EdgeInner>, request: &Request<B>, facts: &Facts) -> Option<Self> {
        if request.method() != Method::POST || facts.override_field {
            return None;
        }
        let policy = edge.policy_for(request.uri());
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        key::rewrite(&mut parts, &policy.key, policy.normalise);
        headers::prepare_fill(&mut parts.headers);
        let key = KeyBuf::new(&parts, facts, &policy.key, edge.https).ok()?;
        let (as_of, asked) = (edge.log.head(), edge.clock.elapsed());
        Some(Self { edge: Arc::clone(edge), key, as_of, asked, sent: parts.headers })
    }

    /// Invalidates `scopes` and, if the answer may be stored and nothing else invalidated it meanwhile, stores it as it
    /// streams to the one who posted.
    fn answered<R>(
        self,
        policy: &Arc<CachePolicy>,
        scopes: impl Iterator<Item = Scope>,
        response: Response<R>,
        outcome: Outcome,
    ) -> Response<Body<R>>
    where
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        // It is a fill from here on only, so that a long upload keeps no other from running. It comes before the rules: a
        // fill that begins after them is the newer one.
        let lead = self.edge.fills.lead_alone();
        let as_of = self.edge.invalidate_alone(scopes, self.key.as_bytes(), self.as_of);
        let length = response.body().size_hint().exact();
        let (parts, body) = response.into_parts();
        let stored = match (lead, as_of, Handle::try_current()) {
            (Some(lead), Some(as_of), Ok(runtime)) => {
                let (edge, policy) = (Arc::clone(&self.edge), Arc::clone(policy));
                let mut recorder = Recorder::new(lead, edge, policy, self.key.clone(), self.key);
                let head = recorder.post_answered(&parts, &self.sent, length, self.asked, as_of);
                head.map(|head| (recorder, head, runtime))
            }
            _ => None,
        };
        let Some((recorder, head, runtime)) = stored else {
            return answer::passed(&self.edge, policy, Response::from_parts(parts, body), outcome);
        };
        let participant = recorder.participate();
        runtime.spawn(recorder.read(head, body));
        let body = Body::whole(Source::Fill(participant), length);
        let outcome = Outcome { stored: true, ..outcome };
        answer::flowing(&self.edge, policy, Response::from_parts(parts, body), outcome)
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

/// The other stored responses that a write's answer names: those at other URIs of the origin, and its groups (RFC 9875 §3).
fn others(edge: &EdgeInner, target: &Uri, response: &HeaderMap) -> Vec<Scope> {
    let uris = writes::also_invalidated(target, response);
    let mut scopes: Vec<_> = uris
        .iter()
        .filter_map(|uri| {
            let uri = key::rewritten_uri(uri, &edge.policy_for(uri).key);
            edge.uri_scope(&uri, &HeaderMap::new())
        })
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
