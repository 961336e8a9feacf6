//! A read that the store cannot answer: it joins the fill of its key, or leads it, or goes alone.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use http::header::{IF_MODIFIED_SINCE, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Service, ServiceExt};

use crate::answer::{self, View};
use crate::body::{Body, Source};
use crate::edge::EdgeInner;
use crate::fill::{
    Answer, Exchange, Lead, LeaderAnswer, Part, Participant, Recorder, Takes, Turn, Unshared, Wish, spawn,
};
use crate::invalidation::sweep;
use crate::key::{self, KeyBuf};
use crate::lookup::{Ask, Look, Query, Use};
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::reuse::Failure;
use crate::semantics::{headers, normal, range, validation};
use crate::store::{Head, Stored, Uncacheable};

/// How often a request that waited for another variant looks for the fill of its own.
const REJOINS: u8 = 3;
/// No viewer waits longer than this, whatever the policy says.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

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
    /// What is stored for other requests of the key. It may turn out to be for this one too.
    others: Vec<Arc<Stored>>,
    /// The origin is asked for the viewer's range and no more.
    ranged: bool,
}

/// What waiting for another request's fill came to.
enum Waited<R> {
    Answered(Response<Body<R>>),
    /// The answer is for others; there may be one for this request under another key.
    Elsewhere,
    /// The origin failed the one who asked it.
    Failed,
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
            others: Vec::new(),
            ranged: false,
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
        match reader.edge.memos.look(&reader.fill_key, now, &reader.edge.log) {
            Some(Uncacheable::TooLarge) if reader.may_have_part() => return self.part().await,
            Some(_) => return self.alone(Some(Detail::Uncacheable)).await,
            None => {}
        }
        let Ok(runtime) = Handle::try_current() else {
            return self.alone(Some(Detail::Busy)).await;
        };
        if reader.method == Method::HEAD {
            return self.head().await;
        }
        if reader.facts.authorization {
            // Its answer may be for this viewer only; nobody waits to find out.
            return match reader.edge.fills.lead_alone() {
                Some(lead) => self.lead(lead, &runtime).await,
                None => self.alone(Some(Detail::Busy)).await,
            };
        }
        let deadline = reader.deadline();
        let mut wish = Wish::default();
        let mut rejoins = 0;
        loop {
            wish.takes = self.reader.takes();
            match self.reader.edge.fills.join_or_lead(&self.reader.fill_key, &wish) {
                Turn::Lead(lead) => return self.lead(lead, &runtime).await,
                Turn::Busy => return self.alone(Some(Detail::Busy)).await,
                Turn::Exhausted => return Ok(self.reader.no_answer()),
                Turn::Follow(participant) => {
                    let chain = participant.chain();
                    match self.reader.wait(participant, deadline, &mut rejoins).await {
                        Waited::Answered(response) => return Ok(response),
                        Waited::Alone(detail) => return self.alone(Some(detail)).await,
                        Waited::Elsewhere => wish.retry = None,
                        Waited::Failed => {
                            wish.retry = Some((chain, self.reader.policy.limits.follower_retries));
                        }
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
        let vary = Some(stored.head.vary.clone());
        self.reader.take(Ask { stored: Some(stored), ..Ask::about_nothing(ForwardReason::Stale, vary) });
        let wish = Wish { takes: self.reader.takes(), background: true, ..Wish::default() };
        if let Turn::Lead(lead) = self.reader.edge.fills.join_or_lead(&self.reader.fill_key, &wish) {
            match self.reader.look_again() {
                Some(stored) => lead.found(stored),
                // The origin's answer is for the store alone.
                None => drop(self.exchange(lead, &runtime)),
            }
        }
    }

    /// Asks the origin, for everyone who wants this key.
    async fn lead(mut self, lead: Lead, runtime: &Handle) -> Result<Response<Body<R>>, S::Error> {
        if let Some(stored) = self.reader.look_again() {
            lead.found(Arc::clone(&stored));
            let outcome = Use::Fresh.outcome(&stored, self.reader.edge.clock.elapsed());
            return Ok(self.reader.answer_stored(&stored, outcome));
        }
        self.ask_origin(lead, runtime).await
    }

    async fn ask_origin(self, lead: Lead, runtime: &Handle) -> Result<Response<Body<R>>, S::Error> {
        let participant = lead.participate();
        let (told, reader) = self.exchange(lead, runtime);
        let outcome = Outcome::forward(reader.reason);
        match told.await {
            Ok(LeaderAnswer::Shared(own)) => match participant.answer().await {
                Answer::Flowing { head, length } => {
                    let outcome = Outcome { stored: true, ..outcome };
                    let mut response = reader.answer_flowing(&head, length, participant, outcome);
                    response.headers_mut().extend(own);
                    Ok(response)
                }
                Answer::Stored(stored) => Ok(reader.answer_stored(&stored, outcome)),
                Answer::Unshared(_) => Ok(reader.no_answer()),
            },
            Ok(LeaderAnswer::SharedPart(part, own)) => match participant.answer().await {
                Answer::Flowing { head, .. } => {
                    let outcome = Outcome { stored: true, ..outcome };
                    let mut response = reader.answer_part(&head, participant, &part, outcome);
                    response.headers_mut().extend(own);
                    Ok(response)
                }
                _ => Ok(reader.no_answer()),
            },
            Ok(LeaderAnswer::Refreshed(stored, own)) => {
                let outcome = Outcome { fwd_status: Some(StatusCode::NOT_MODIFIED), stored: true, ..outcome };
                let mut response = reader.answer_stored(&stored, outcome);
                response.headers_mut().extend(own);
                Ok(response)
            }
            Ok(LeaderAnswer::Own(response)) => match reader.stand_in(Failure::Status(response.status())) {
                Some(stale) => Ok(stale),
                None => Ok(reader.answer_own(response, !reader.ranged, outcome)),
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
        key::spell_authority(&mut parts, &reader.key);
        parts.method = Method::GET;
        let base = reader.make_conditional(&mut parts.headers);
        sweep::start_if_pending(&reader.edge);
        let mut recorder = reader.recorder(lead).about(reader.stored.clone(), base);
        if reader.ranged
            && let Some(range) = reader.headers.get(RANGE)
        {
            parts.headers.insert(RANGE, range.clone());
            recorder = recorder.ranged();
        }
        let request = Request::from_parts(parts, body);
        let exchange = Exchange { recorder, origin, request };
        (spawn(exchange, runtime), reader)
    }

    /// A range of something too large to be stored whole: that part is fetched, and stored as what it is.
    async fn part(mut self) -> Result<Response<Body<R>>, S::Error> {
        let (Ok(runtime), Some(lead)) = (Handle::try_current(), self.reader.edge.fills.lead_alone()) else {
            return self.alone(Some(Detail::Busy)).await;
        };
        self.reader.ranged = true;
        self.ask_origin(lead, &runtime).await
    }

    /// HEAD: a fill under way knows the head; else the origin is asked for just that.
    async fn head(mut self) -> Result<Response<Body<R>>, S::Error> {
        if let Some(participant) = self.reader.edge.fills.join(&self.reader.fill_key, &self.reader.takes()) {
            let deadline = self.reader.deadline();
            if let Waited::Answered(response) = self.reader.wait(participant, deadline, &mut 0).await {
                return Ok(response);
            }
        }
        // Without the viewer's conditions, and without a range, which HEAD has none of (RFC 9110 §14.2): the answer
        // then speaks of the whole object, and of the stored GET.
        let lead = self.reader.stored.as_ref().and_then(|_| self.reader.edge.fills.lead_alone());
        let recorder = lead.and_then(|lead| {
            // What was invalidated before the lead began must not come back (invariant 4).
            if let Some(fresh) = self.reader.look_again() {
                self.reader.stored = Some(fresh);
            }
            let stored = self.reader.stored.clone()?;
            Some(self.reader.recorder(lead).about(Some(stored), None))
        });
        self.forward(None, Some(recorder)).await
    }

    /// Forwards the request as the viewer sent it. The answer is for this viewer and is not stored.
    async fn alone(self, detail: Option<Detail>) -> Result<Response<Body<R>>, S::Error> {
        self.forward(detail, None).await
    }

    /// Forwards the request. A HEAD goes `reduced`, without what the viewer's copy of the answer has to be fitted to, so
    /// that the answer can be recorded.
    async fn forward(
        self,
        detail: Option<Detail>,
        reduced: Option<Option<Recorder>>,
    ) -> Result<Response<Body<R>>, S::Error> {
        let Self { origin, mut parts, body, reader } = self;
        parts.headers = reader.headers.clone();
        if reduced.is_some() {
            headers::prepare_fill(&mut parts.headers);
            key::spell_authority(&mut parts, &reader.key);
        }
        normal::rewrite(&mut parts.headers, reader.policy.normalise);
        let outcome = Outcome { detail, ..Outcome::forward(reader.reason) };
        let asked = reader.edge.clock.elapsed();
        match origin.oneshot(Request::from_parts(parts, body)).await {
            Ok(response) => {
                if let Some(stale) = reader.stand_in(Failure::Status(response.status())) {
                    return Ok(stale);
                }
                if detail == Some(Detail::Uncacheable) && reader.is_storable(&response) {
                    reader.edge.memos.forget(&reader.fill_key);
                }
                let was_reduced = reduced.is_some();
                let (head, body) = response.into_parts();
                if let Some(Some(recorder)) = reduced {
                    recorder.head_answered(&head, &reader.headers, asked);
                }
                Ok(reader.answer_own(Response::from_parts(head, body), was_reduced, outcome))
            }
            Err(error) => reader.stand_in(Failure::Disconnected).ok_or(error),
        }
    }
}

impl Reader {
    fn take(&mut self, ask: Ask) {
        self.reason = ask.reason;
        self.stored = ask.stored;
        self.others = ask.others;
        if let Some(vary) = ask.vary {
            self.vary_by(&vary);
        }
    }

    fn vary_by(&mut self, vary: &crate::semantics::vary::Vary) {
        let mut fingerprint = Vec::new();
        vary.fingerprint(&self.headers, &mut fingerprint);
        self.fill_key = self.key.for_variant(&fingerprint);
    }

    /// Takes note of what the origin answers.
    fn recorder(&self, lead: Lead) -> Recorder {
        let (edge, policy) = (Arc::clone(&self.edge), Arc::clone(&self.policy));
        Recorder::new(lead, edge, policy, self.key.clone(), self.fill_key.clone())
    }

    /// Makes a fill's request conditional on what is stored, and returns that. Where nothing is stored for the request
    /// itself, the newest response to another request of the key may turn out to be for this one too (RFC 9111 §4.3.1).
    fn make_conditional(&self, request: &mut HeaderMap) -> Option<Arc<Stored>> {
        if let Some(stored) = &self.stored {
            return validation::make_conditional(&stored.head.headers, request).then(|| Arc::clone(stored));
        }
        let tagged =
            |other: &&Arc<Stored>| other.is_whole() && validation::has_strong_tag(&other.head.headers);
        let other = self.others.iter().find(tagged)?;
        validation::make_conditional(&other.head.headers, request);
        // A date does not tell which of several responses it is about.
        request.remove(IF_MODIFIED_SINCE);
        Some(Arc::clone(other))
    }

    /// Whether a part of the answer can be asked for and stored.
    fn may_have_part(&self) -> bool {
        let plain = !self.facts.conditional && !self.facts.authorization;
        self.method == Method::GET && self.facts.range && plain && range::is_single(&self.headers)
    }

    /// Looks once more when the lead is won: another fill may have ended meanwhile. A fresh response answers; what else
    /// is stored is what the fill revalidates: nothing that was invalidated before the fill began (invariant 4).
    fn look_again(&mut self) -> Option<Arc<Stored>> {
        let look = self.edge.look(self.query(), self.edge.clock.elapsed());
        (self.stored, self.others) = match look {
            Look::Answer { stored, use_: Use::Fresh } => return Some(stored),
            Look::Answer { stored, .. } => (Some(stored).filter(|stored| stored.is_whole()), Vec::new()),
            Look::Ask(ask) => (ask.stored, ask.others),
            Look::Unsatisfiable => (None, Vec::new()),
        };
        None
    }

    /// When this request has waited long enough for another's fill.
    fn deadline(&self) -> Instant {
        Instant::now() + self.policy.limits.follower_wait.min(LONGEST_WAIT)
    }

    /// What this request takes of an answer that has begun to come.
    fn takes(&self) -> Takes {
        Takes { control: self.control, now: self.edge.clock.elapsed() }
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
                Waited::Elsewhere
            }
            Answer::Flowing { .. } | Answer::Stored(_) => Waited::Alone(Detail::Uncacheable),
            Answer::Unshared(Unshared::Private) => Waited::Alone(Detail::Uncacheable),
            Answer::Unshared(Unshared::Refused(status)) => match self.stand_in(Failure::Status(status)) {
                Some(stale) => Waited::Answered(stale),
                None => Waited::Alone(Detail::OriginError),
            },
            Answer::Unshared(Unshared::Failed) => match self.stand_in(Failure::Disconnected) {
                Some(stale) => Waited::Answered(stale),
                None => Waited::Failed,
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

    fn answer_part<R>(
        &self,
        head: &Head,
        participant: Participant,
        part: &Part,
        outcome: Outcome,
    ) -> Response<Body<R>> {
        self.count(&outcome);
        let now = self.edge.clock.elapsed();
        answer::part(&self.edge, &self.policy, head, Source::Fill(participant), part, outcome, now)
    }

    fn answer_stored<R>(&self, stored: &Arc<Stored>, outcome: Outcome) -> Response<Body<R>> {
        self.count(&outcome);
        let now = self.edge.clock.elapsed();
        let source = Source::Stored(Arc::clone(stored));
        let length = Some(stored.total());
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
        let outcome = Outcome { fwd_status, ttl: Some(stored.ttl(now)), ..Outcome::forward(self.reason) };
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
