//! What a write may put in the place of what it invalidates: a POST its answer (RFC 9110 §9.3.3), a PUT what it sent (§9.3.4).
//!
//! Why nothing old gets in by it, nor anything that was written over:
//! 1. Before it is sent the write registers with the log, which keeps every rule that comes from then on.
//! 2. When the answer has come, the write's own rules are appended, unless another that is about its key came since: then
//!    another write or an invalidation overlapped this one, and which of them the origin did last nobody knows.
//! 3. What is stored is as of those rules: any that comes later is about it.
//! 4. Its place in the order of fills is taken before the rules: a fill that begins after them is newer, and wins.

use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::runtime::Handle;
use tower::BoxError;

use crate::answer;
use crate::body::{Body, Source};
use crate::edge::EdgeInner;
use crate::fill::{Copy, Recorder};
use crate::invalidation::{Registration, Scope};
use crate::key::{self, KeyBuf};
use crate::outcome::Outcome;
use crate::policy::{CachePolicy, Writes};
use crate::request::Facts;
use crate::semantics::length::content_length;
use crate::semantics::saved::saved;
use crate::semantics::{headers, writes};
use crate::store::Blocks;
use crate::upload::RequestBody;

/// A write that may leave something for later reads.
pub(super) struct Replacement {
    edge: Arc<EdgeInner>,
    policy: Arc<CachePolicy>,
    key: KeyBuf,
    /// Since before it was sent.
    registration: Registration,
    asked: Duration,
    /// The request's fields, as a later GET is compared with them.
    sent: HeaderMap,
    what: What,
}

enum What {
    /// The answer to a POST.
    Answer,
    /// The body of a PUT.
    Sent(Arc<Copy>),
}

/// What it does leave.
pub(super) enum Successor {
    Answer,
    Sent { fields: HeaderMap, blocks: Blocks },
}

impl Replacement {
    pub(super) fn begin<B: http_body::Body>(
        edge: &Arc<EdgeInner>,
        policy: &Arc<CachePolicy>,
        request: &Request<B>,
        facts: &Facts,
    ) -> Option<Self> {
        let through = *request.method() == Method::PUT && policy.writes == Writes::Through;
        if facts.override_field || !through && *request.method() != Method::POST {
            return None;
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        key::rewrite(&mut parts, &policy.key, policy.normalise);
        // The origin is told more than the key knows. It may keep what was sent beside what reads of this key get; and its answer
        // to a POST may be for the one with that cookie. (invariant 1)
        let cookies = |headers: &HeaderMap| headers.get_all(COOKIE).iter().cloned().collect::<Vec<_>>();
        let is_told_more = parts.headers.len() != request.headers().len()
            || cookies(&parts.headers) != cookies(request.headers());
        if parts.uri != *request.uri() || !through && is_told_more {
            return None;
        }
        headers::prepare_fill(&mut parts.headers);
        let key = KeyBuf::new(&parts, facts, &policy.key, edge.https).ok()?;
        let what = if through {
            let stated = content_length(request.headers()).ok()?;
            let promised = stated.or(request.body().size_hint().exact());
            What::Sent(edge.fills.copy(promised, edge.max_object(policy), edge.max_in_flight)?)
        } else {
            What::Answer
        };
        let (registration, asked) = (edge.log.register(), edge.clock.elapsed());
        let (edge, policy) = (Arc::clone(edge), Arc::clone(policy));
        Some(Self { edge, policy, key, registration, asked, sent: parts.headers, what })
    }

    /// The body as it goes to the origin.
    pub(super) fn body<B: http_body::Body>(&self, body: B) -> RequestBody<B> {
        match &self.what {
            What::Answer => RequestBody::viewer(body),
            What::Sent(copy) => RequestBody::copied(body, Arc::clone(copy)),
        }
    }

    /// What the answer to the write, which worked, leaves for reads of its `target`.
    pub(super) fn successor<R: http_body::Body>(
        &self,
        target: &Uri,
        response: &Response<R>,
    ) -> Option<Successor> {
        match &self.what {
            What::Answer => writes::represents(target, response.headers()).then_some(Successor::Answer),
            What::Sent(copy) => {
                let has_content = !response.body().is_end_stream();
                let (status, answer) = (response.status(), response.headers());
                let fields = saved(&self.sent, status, answer, has_content, &self.policy).ok()?;
                Some(Successor::Sent { fields, blocks: copy.take()? })
            }
        }
    }

    /// Invalidates `scopes` and puts the successor in their place, if nothing overlapped the write.
    pub(super) fn replace<R>(
        self,
        successor: Successor,
        scopes: impl IntoIterator<Item = Scope>,
        response: Response<R>,
        outcome: Outcome,
    ) -> Response<Body<R>>
    where
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        // It is a fill from here on only, so that a long upload keeps no other from running.
        let lead = self.edge.fills.lead_alone();
        let as_of = self.edge.invalidate_alone(scopes, self.key.as_bytes(), self.registration.as_of());
        let (Some(lead), Some(as_of)) = (lead, as_of) else {
            return answer::passed(&self.edge, &self.policy, response, outcome);
        };
        let (mut head, body) = response.into_parts();
        let (edge, policy) = (Arc::clone(&self.edge), Arc::clone(&self.policy));
        let mut recorder = Recorder::new(lead, edge, policy, self.key.clone(), self.key.clone());
        recorder.take_hints(&mut head.extensions);
        match successor {
            Successor::Answer => self.answered(recorder, head, body, as_of, outcome),
            Successor::Sent { fields, blocks } => {
                let stored = recorder.written(fields, blocks, &self.sent, as_of);
                let response = Response::from_parts(head, body);
                answer::passed(&self.edge, &self.policy, response, Outcome { stored, ..outcome })
            }
        }
    }

    /// Stores a POST's answer, if it may be stored, as it streams to the one who posted.
    fn answered<R>(
        self,
        mut recorder: Box<Recorder>,
        head: Parts,
        body: R,
        as_of: u64,
        outcome: Outcome,
    ) -> Response<Body<R>>
    where
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let length = body.size_hint().exact();
        let shared = Handle::try_current().ok().and_then(|runtime| {
            Some((runtime, recorder.post_answered(&head, &self.sent, length, self.asked, as_of)?))
        });
        let Some((runtime, shared)) = shared else {
            return answer::passed(&self.edge, &self.policy, Response::from_parts(head, body), outcome);
        };
        let participant = recorder.participate();
        runtime.spawn(recorder.read(shared, body));
        let body = Body::whole(Source::Fill(participant), length);
        let outcome = Outcome { stored: true, ..outcome };
        answer::flowing(&self.edge, &self.policy, Response::from_parts(head, body), outcome)
    }
}
