//! A read that the store cannot answer: it joins the fill of its key, or leads it, or goes alone.

use std::panic::resume_unwind;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Service, ServiceExt};

use crate::answer::{self, View};
use crate::body::{Body, Source};
use crate::edge::EdgeInner;
use crate::fill::{Answer, Exchange, Lead, LeaderAnswer, Participant, Turn, Unshared, Wish, spawn};
use crate::invalidation::sweep;
use crate::key::KeyBuf;
use crate::lookup::{Ask, Look, Query, Use};
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::reuse::Failure;
use crate::semantics::{headers, normal, validation};
use crate::store::{Head, Stored};

/// How often a request that waited for another variant looks for the fill of its own.
const REJOINS: u8 = 3;

/// A request on its way to the origin.
pub(super) struct Miss<S, B> {
    origin: S,
    parts: Parts,
    body: B,
    reader: Reader,
}

/// Everything about the request that stays when its parts have gone to the origin.
struct Reader {
    edge: Arc<EdgeInner>,
    policy: Arc<CachePolicy>,
    key: KeyBuf,
    /// The key of the fill: that of a variant, where it is known what the responses vary by.
    fill_key: KeyBuf,
    method: Method,
    /// The request's fields as the viewer sent them.
    headers: HeaderMap,
    facts: Facts,
    control: RequestCacheControl,
    reason: ForwardReason,
    /// What is stored for the request and may have to stand in.
    stored: Option<Arc<Stored>>,
}

/// What waiting for another request's fill came to.
enum Waited<R> {
    Answered(Response<Body<R>>),
    /// To be tried again.
    Again,
    Alone(Detail),
}

impl<S, B> Miss<S, B> {
    #[allow(clippy::too_many_arguments, reason = "it takes over everything the walk has found out")]
    pub(super) fn new(
        edge: &Arc<EdgeInner>,
        policy: &Arc<CachePolicy>,
        key: KeyBuf,
        origin: S,
        mut parts: Parts,
        body: B,
        facts: Facts,
        control: RequestCacheControl,
    ) -> Self {
        let reader = Reader {
            edge: Arc::clone(edge),
            policy: Arc::clone(policy),
            fill_key: key.clone(),
            key,
            method: parts.method.clone(),
            headers: std::mem::take(&mut parts.headers),
            facts,
            control,
            reason: ForwardReason::Miss,
            stored: None,
        };
        Self { origin, parts, body, reader }
    }
}

impl<S, B, R> Miss<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    R: http_body::Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    pub(super) async fn run(mut self, ask: Ask) -> Result<Response<Body<R>>, S::Error> {
        self.reader.take(ask);
        let reader = &self.reader;
        if reader.reason == ForwardReason::Bypass || reader.control.no_store {
            return self.alone(None).await;
        }
        let now = reader.edge.clock.elapsed();
        if reader.edge.memos.knows(&reader.fill_key, now, &reader.edge.log) {
            return self.alone(Some(Detail::Uncacheable)).await;
        }
        if reader.method == Method::HEAD {
            return self.head().await;
        }
        let Ok(runtime) = Handle::try_current() else {
            return self.alone(Some(Detail::Busy)).await;
        };
        if reader.facts.authorization {
            // Its answer may be for this viewer only; nobody waits to find out.
            return match reader.edge.fills.lead_alone() {
                Some(lead) => self.lead(lead, &runtime).await,
                None => self.alone(Some(Detail::Busy)).await,
            };
        }
        let deadline = Instant::now() + reader.policy.limits.follower_wait;
        let mut wish = Wish { unanswered: reader.reason == ForwardReason::Request, ..Wish::default() };
        let mut rejoins = 0;
        loop {
            match self.reader.edge.fills.join_or_lead(&self.reader.fill_key, &wish) {
                Turn::Lead(lead) => return self.lead(lead, &runtime).await,
                Turn::Busy => return self.alone(Some(Detail::Busy)).await,
                Turn::Exhausted => return Ok(self.reader.no_answer()),
                Turn::Follow(participant) => {
                    let retries = self.reader.policy.limits.follower_retries;
                    wish.retry = Some((participant.chain(), retries));
                    match self.reader.wait(participant, deadline, &mut rejoins).await {
                        Waited::Answered(response) => return Ok(response),
                        Waited::Alone(detail) => return self.alone(Some(detail)).await,
                        Waited::Again => {}
                    }
                }
            }
        }
    }

    /// Refreshes a stale response while this request is answered with it (RFC 5861 §3).
    pub(super) fn refresh(mut self, stored: Arc<Stored>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let vary = Some(stored.head.vary.clone()).filter(|vary| !vary.is_empty());
        self.reader.take(Ask { reason: ForwardReason::Stale, stored: Some(stored), vary });
        let wish = Wish { background: true, ..Wish::default() };
        if let Turn::Lead(lead) = self.reader.edge.fills.join_or_lead(&self.reader.fill_key, &wish) {
            // The origin's answer is for the store alone.
            drop(self.exchange(lead, &runtime));
        }
    }

    /// Asks the origin, for everyone who wants this key.
    async fn lead(mut self, lead: Lead, runtime: &Handle) -> Result<Response<Body<R>>, S::Error> {
        // Another fill may have ended between the lookup and the lead. What is stored now is also what may be
        // revalidated: nothing that was invalidated before this fill began.
        let now = self.reader.edge.clock.elapsed();
        match self.reader.edge.look(self.reader.query(), now) {
            Look::Answer { stored, use_: Use::Fresh } => {
                lead.found(Arc::clone(&stored));
                return Ok(self.reader.answer_stored(&stored, Use::Fresh.outcome(&stored, now)));
            }
            Look::Ask(ask) => self.reader.stored = ask.stored,
            Look::Answer { stored, .. } => self.reader.stored = Some(stored),
            Look::Unsatisfiable => self.reader.stored = None,
        }
        let participant = lead.participate();
        let (told, reader) = self.exchange(lead, runtime);
        let outcome = Outcome::forward(reader.reason);
        match told.await {
            Ok(LeaderAnswer::Shared) => match participant.answer().await {
                Answer::Flowing { head, length } => {
                    let outcome = Outcome { stored: true, ..outcome };
                    Ok(reader.answer_flowing(&head, length, participant, outcome))
                }
                Answer::Stored(stored) => Ok(reader.answer_stored(&stored, outcome)),
                Answer::Unshared(_) => Ok(reader.no_answer()),
            },
            Ok(LeaderAnswer::Refreshed(stored)) => {
                let outcome = Outcome { fwd_status: Some(StatusCode::NOT_MODIFIED), stored: true, ..outcome };
                Ok(reader.answer_stored(&stored, outcome))
            }
            Ok(LeaderAnswer::Own(response)) => match reader.stand_in(Failure::Status(response.status())) {
                Some(stale) => Ok(stale),
                None => Ok(reader.answer_own(response, true, outcome)),
            },
            Ok(LeaderAnswer::Failed(error)) => reader.stand_in(Failure::Disconnected).ok_or(error),
            Ok(LeaderAnswer::Panicked(panic)) => match reader.stand_in(Failure::Disconnected) {
                Some(stale) => Ok(stale),
                None => resume_unwind(panic),
            },
            // The task was dropped: the runtime is shutting down.
            Err(_) => Ok(reader.no_answer()),
        }
    }

    /// Starts the exchange with the origin.
    #[allow(clippy::type_complexity, reason = "the receiver's type says what comes")]
    fn exchange(
        self,
        lead: Lead,
        runtime: &Handle,
    ) -> (tokio::sync::oneshot::Receiver<LeaderAnswer<R, S::Error>>, Reader) {
        let Self { origin, mut parts, body, reader } = self;
        parts.headers = reader.headers.clone();
        headers::prepare_fill(&mut parts.headers);
        parts.method = Method::GET;
        let base = reader.stored.clone();
        let base = base.filter(|base| validation::make_conditional(&base.head.headers, &mut parts.headers));
        sweep::start_if_pending(&reader.edge);
        let exchange = Exchange {
            lead,
            edge: Arc::clone(&reader.edge),
            policy: Arc::clone(&reader.policy),
            key: reader.key.clone(),
            fill_key: reader.fill_key.clone(),
            origin,
            request: Request::from_parts(parts, body),
            base,
        };
        (spawn(exchange, runtime), reader)
    }

    /// HEAD: a fill under way knows the head; else the origin is asked for just that.
    async fn head(mut self) -> Result<Response<Body<R>>, S::Error> {
        if let Some(participant) = self.reader.edge.fills.join(&self.reader.fill_key) {
            let deadline = Instant::now() + self.reader.policy.limits.follower_wait;
            if let Waited::Answered(response) = self.reader.wait(participant, deadline, &mut 0).await {
                return Ok(response);
            }
        }
        // Without the viewer's conditions, and without a range, which HEAD has none of (RFC 9110 §14.2): the answer
        // then speaks of the whole object.
        self.forward(None, true).await
    }

    /// Forwards the request as the viewer sent it. The answer is for this viewer and is not stored.
    async fn alone(self, detail: Option<Detail>) -> Result<Response<Body<R>>, S::Error> {
        self.forward(detail, false).await
    }

    /// Forwards the request; if `reduced`, without what the viewer's copy of the answer has to be fitted to.
    async fn forward(self, detail: Option<Detail>, reduced: bool) -> Result<Response<Body<R>>, S::Error> {
        let Self { origin, mut parts, body, reader } = self;
        parts.headers = reader.headers.clone();
        if reduced {
            headers::prepare_fill(&mut parts.headers);
        }
        normal::rewrite(&mut parts.headers, reader.policy.normalise);
        let outcome = Outcome { detail, ..Outcome::forward(reader.reason) };
        match origin.oneshot(Request::from_parts(parts, body)).await {
            Ok(response) => {
                if let Some(stale) = reader.stand_in(Failure::Status(response.status())) {
                    return Ok(stale);
                }
                if detail == Some(Detail::Uncacheable) && reader.is_storable(&response) {
                    reader.edge.memos.forget(&reader.fill_key);
                }
                Ok(reader.answer_own(response, reduced, outcome))
            }
            Err(error) => reader.stand_in(Failure::Disconnected).ok_or(error),
        }
    }
}

impl Reader {
    fn take(&mut self, ask: Ask) {
        self.reason = ask.reason;
        self.stored = ask.stored;
        if let Some(vary) = ask.vary {
            self.vary_by(&vary);
        }
    }

    fn vary_by(&mut self, vary: &crate::semantics::vary::Vary) {
        let mut fingerprint = Vec::new();
        vary.fingerprint(&self.headers, &mut fingerprint);
        self.fill_key = self.key.for_variant(&fingerprint);
    }

    fn query(&self) -> Query<'_> {
        Query {
            key: &self.key,
            headers: &self.headers,
            facts: &self.facts,
            control: &self.control,
            policy: &self.policy,
        }
    }

    fn view(&self) -> View<'_> {
        View { method: &self.method, headers: &self.headers, facts: &self.facts, policy: &self.policy }
    }

    /// Waits for the head of a fill that another request leads.
    async fn wait<R>(&mut self, participant: Participant, deadline: Instant, rejoins: &mut u8) -> Waited<R> {
        let Ok(answer) = timeout_at(deadline, participant.answer()).await else {
            return match self.stand_in(Failure::Disconnected) {
                Some(stale) => Waited::Answered(stale),
                None => Waited::Alone(Detail::Timeout),
            };
        };
        let outcome = Outcome { collapsed: true, ..Outcome::forward(self.reason) };
        match answer {
            Answer::Flowing { head, length } if head.joinable && head.vary.matches(&self.headers) => {
                Waited::Answered(self.answer_flowing(&head, length, participant, outcome))
            }
            Answer::Stored(stored) if stored.head.joinable && stored.head.vary.matches(&self.headers) => {
                Waited::Answered(self.answer_stored(&stored, outcome))
            }
            // The answer is for other requests: those like this one share a fill of their own.
            Answer::Flowing { head, .. } if head.joinable && *rejoins < REJOINS => {
                *rejoins += 1;
                self.vary_by(&head.vary);
                Waited::Again
            }
            Answer::Flowing { .. } | Answer::Stored(_) => Waited::Alone(Detail::Uncacheable),
            Answer::Unshared(Unshared::Private) => Waited::Alone(Detail::Uncacheable),
            Answer::Unshared(Unshared::Refused(status)) => match self.stand_in(Failure::Status(status)) {
                Some(stale) => Waited::Answered(stale),
                None => Waited::Alone(Detail::OriginError),
            },
            Answer::Unshared(Unshared::Failed) => match self.stand_in(Failure::Disconnected) {
                Some(stale) => Waited::Answered(stale),
                None => Waited::Again,
            },
        }
    }

    fn answer_flowing<R>(
        &self,
        head: &Head,
        length: Option<u64>,
        participant: Participant,
        outcome: Outcome,
    ) -> Response<Body<R>> {
        self.count(&outcome);
        let now = self.edge.clock.elapsed();
        answer::shared(&self.edge, head, Source::Fill(participant), length, self.view(), outcome, now)
    }

    fn answer_stored<R>(&self, stored: &Arc<Stored>, outcome: Outcome) -> Response<Body<R>> {
        self.count(&outcome);
        let now = self.edge.clock.elapsed();
        let source = Source::Stored(Arc::clone(stored));
        let length = Some(stored.body.len());
        answer::shared(&self.edge, &stored.head, source, length, self.view(), outcome, now)
    }

    fn answer_own<R: http_body::Body>(
        &self,
        response: Response<R>,
        reduced: bool,
        outcome: Outcome,
    ) -> Response<Body<R>> {
        self.count(&outcome);
        answer::own(&self.edge, response, self.view(), reduced, outcome)
    }

    /// The stale response, where it may stand in for the origin's failure.
    fn stand_in<R>(&self, failure: Failure) -> Option<Response<Body<R>>> {
        let stored = self.stored.as_ref()?;
        let now = self.edge.clock.elapsed();
        if !self.edge.stands_in(self.query(), stored, failure, now) {
            return None;
        }
        let fwd_status = match failure {
            Failure::Status(status) => Some(status),
            Failure::Disconnected => None,
        };
        let outcome =
            Outcome { fwd_status, ttl: Some(stored.head.ttl(now)), ..Outcome::forward(self.reason) };
        Some(self.answer_stored(stored, outcome.because(Detail::StaleIfError)))
    }

    /// The origin has failed everyone who tried.
    fn no_answer<R>(&self) -> Response<Body<R>> {
        let outcome =
            Outcome { collapsed: true, ..Outcome::forward(self.reason) }.because(Detail::OriginError);
        self.count(&outcome);
        answer::made_up(&self.edge, StatusCode::BAD_GATEWAY, outcome)
    }

    /// Whether an answer to this request would be stored, were it led by one.
    fn is_storable<R: http_body::Body>(&self, response: &Response<R>) -> bool {
        crate::fill::would_store(&self.edge, &self.policy, &self.headers, response)
    }

    fn count(&self, outcome: &Outcome) {
        self.edge.counters.answered(outcome);
    }
}
