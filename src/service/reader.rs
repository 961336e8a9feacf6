//! What stays of a request when its parts have gone to the origin: enough to wait for a fill, and to make the viewer's answer
//! out of whatever comes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, IF_MODIFIED_SINCE};
use http::{Extensions, HeaderMap, Method, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Supply, View};
use crate::body::{Body, Source};
use crate::edge::EdgeInner;
use crate::fill::{Answer, Lead, Part, Participant, Recorder, Takes, Unshared};
use crate::key::KeyBuf;
use crate::lookup::{Ask, Look, Query, Use};
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::reuse::Failure;
use crate::semantics::vary::Vary;
use crate::semantics::{range, slices, validation};
use crate::slices::{Asks, Sliced, Slicing};
use crate::store::{Head, Stored};

/// How often a request that waited for another variant looks for the fill of its own.
const REJOINS: u8 = 3;
/// No viewer waits longer than this, whatever the policy says.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// Everything about the request that stays when its parts have gone to the origin.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) edge: Arc<EdgeInner>,
    pub(super) policy: Arc<CachePolicy>,
    pub(super) key: KeyBuf,
    /// The key of the fill: that of a variant, where it is known what the responses vary by.
    pub(super) fill_key: KeyBuf,
    pub(super) method: Method,
    /// The request's fields as the viewer sent them.
    pub(super) headers: HeaderMap,
    pub(super) facts: Facts,
    pub(super) control: RequestCacheControl,
    pub(super) reason: ForwardReason,
    /// What is stored for the request and may have to stand in.
    pub(super) stored: Option<Arc<Stored>>,
    /// What is stored for other requests of the key. It may turn out to be for this one too.
    pub(super) others: Vec<Arc<Stored>>,
    /// The origin is asked for the viewer's range and no more.
    pub(super) ranged: bool,
    /// How slices are got, and where. `None` under a policy that has none.
    pub(super) slices: Option<(Arc<dyn Asks>, Handle)>,
    /// The request has been counted: another answer takes the place of one that nobody got.
    pub(super) is_counted: bool,
}

/// What waiting for another request's fill came to.
pub(super) enum Waited<R> {
    Answered(Response<Body<R>>),
    /// The answer is for others; there may be one for this request under another key.
    Elsewhere,
    /// The origin failed the one who asked it.
    Failed,
    Alone(Detail),
}

impl Reader {
    pub(super) fn take(&mut self, ask: Ask) {
        self.reason = ask.reason;
        self.stored = ask.stored;
        self.others = ask.others;
        if let Some(vary) = ask.vary {
            self.vary_by(&vary);
        }
    }

    pub(super) fn vary_by(&mut self, vary: &Vary) {
        let mut fingerprint = Vec::new();
        vary.fingerprint(&self.headers, &mut fingerprint);
        self.fill_key = self.key.for_variant(&fingerprint);
    }

    /// Takes note of what the origin answers.
    pub(super) fn recorder(&self, lead: Lead) -> Box<Recorder> {
        let (edge, policy) = (Arc::clone(&self.edge), Arc::clone(&self.policy));
        Recorder::new(lead, edge, policy, self.key.clone(), self.fill_key.clone())
    }

    /// Makes a fill's request conditional on what is stored, and returns that. Where nothing is stored for the request
    /// itself, the newest response to another request of the key may turn out to be for this one too (RFC 9111 §4.3.1).
    pub(super) fn make_conditional(&self, request: &mut HeaderMap) -> Option<Arc<Stored>> {
        if let Some(stored) = &self.stored {
            return validation::make_conditional(&stored.head.validators(), request)
                .then(|| Arc::clone(stored));
        }
        let nameable = |other: &&Arc<Stored>| {
            let fields = &other.head.validators();
            // nginx and others answer 304 whatever the coding, for one entity tag: a viewer who takes a compressed answer
            // would get the plain one.
            other.is_whole() && validation::has_strong_tag(fields) && !other.head.vary.names(&ACCEPT_ENCODING)
        };
        let other = self.others.iter().find(nameable)?;
        validation::make_conditional(&other.head.validators(), request);
        // A date does not tell which of several responses it is about.
        request.remove(IF_MODIFIED_SINCE);
        Some(Arc::clone(other))
    }

    /// Whether a part of the answer can be asked for and stored.
    pub(super) fn may_have_part(&self) -> bool {
        let plain = !self.facts.conditional && !self.facts.authorization;
        self.method == Method::GET && self.facts.range && plain && range::is_single(&self.headers)
    }

    /// Looks once more when the lead is won: another fill may have ended meanwhile. A fresh response answers; what else
    /// is stored is what the fill revalidates: nothing that was invalidated before the fill began (invariant 4). Either may
    /// be in slices, whatever the rules here say.
    pub(super) fn look_again(&mut self) -> Option<Arc<Stored>> {
        let now = self.edge.clock.elapsed();
        let look = self.edge.look(self.query(), now, self.edge.contact.trust(now));
        (self.stored, self.others) = match look {
            Look::Answer { stored, use_: Use::Fresh, .. } => return Some(stored),
            Look::Answer { stored, .. } => (Some(stored).filter(|stored| stored.is_whole()), Vec::new()),
            Look::Ask(ask) => (ask.stored, ask.others),
            Look::Unsatisfiable => (None, Vec::new()),
        };
        None
    }

    /// When this request has waited long enough for another's fill.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.policy.limits.follower_wait.min(LONGEST_WAIT)
    }

    /// What this request takes of an answer that has begun to come.
    pub(super) fn takes(&self) -> Takes {
        Takes { control: self.control, now: self.edge.clock.elapsed() }
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query {
            key: &self.key,
            headers: &self.headers,
            facts: &self.facts,
            control: &self.control,
            policy: &self.policy,
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { method: &self.method, headers: &self.headers, facts: &self.facts, policy: &self.policy }
    }

    /// Waits for the head of a fill that another request leads.
    pub(super) async fn wait<R>(
        &mut self,
        participant: Participant,
        deadline: Instant,
        rejoins: &mut u8,
    ) -> Waited<R> {
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
            Answer::Stored(stored)
                if stored.head.joinable
                    && stored.head.vary.matches(&self.headers)
                    && self.can_read(&stored) =>
            {
                Waited::Answered(self.answer_stored(&stored, outcome))
            }
            // The answer is for other requests: those like this one share a fill of their own.
            Answer::Flowing { head, .. } if head.joinable && *rejoins < REJOINS => {
                *rejoins += 1;
                self.vary_by(&head.vary);
                Waited::Elsewhere
            }
            Answer::Flowing { .. } | Answer::Stored(_) => Waited::Alone(Detail::Uncacheable),
            Answer::Unshared(Unshared::Private | Unshared::Changed) => Waited::Alone(Detail::Uncacheable),
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

    pub(super) fn answer_flowing<R>(
        &self,
        head: &Head,
        length: Option<u64>,
        participant: Participant,
        outcome: Outcome,
    ) -> Response<Body<R>> {
        self.count(&outcome);
        let now = self.edge.clock.elapsed();
        let supply = Supply::Source(Source::Fill(participant));
        answer::shared(&self.edge, head, supply, length, self.view(), outcome, now, Extensions::new())
    }

    pub(super) fn answer_part<R>(
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

    pub(super) fn answer_stored<R>(&self, stored: &Arc<Stored>, outcome: Outcome) -> Response<Body<R>> {
        self.count(&outcome);
        let now = self.edge.clock.elapsed();
        let supply = Supply::Source(self.source(stored));
        let length = Some(stored.total());
        answer::shared(&self.edge, &stored.head, supply, length, self.view(), outcome, now, Extensions::new())
    }

    fn source(&self, stored: &Arc<Stored>) -> Source {
        match &self.slices {
            Some((asks, runtime)) if stored.is_sliced() => Source::Sliced(Box::new(Sliced::new(Slicing {
                edge: Arc::clone(&self.edge),
                policy: Arc::clone(&self.policy),
                key: self.key.clone(),
                stored: Arc::clone(stored),
                asks: Arc::clone(asks),
                runtime: runtime.clone(),
                headers: self.headers.clone(),
            }))),
            _ => Source::Stored(Arc::clone(stored)),
        }
    }

    /// Whether the body of what is stored can be had.
    pub(super) fn can_read(&self, stored: &Stored) -> bool {
        !stored.is_sliced() || self.slices.is_some()
    }

    /// The slice to ask the origin for, where the whole would be more than is needed: of something unknown, the one with the
    /// first byte of the viewer's range; of an object in slices that is only to be refreshed, the first.
    pub(super) fn probe(&self, background: bool) -> Option<Range<u64>> {
        let size = self.policy.slices?.size;
        let before = self.stored.as_deref();
        if self.ranged || self.method != Method::GET || before.is_some_and(|stored| !stored.is_sliced()) {
            return None;
        }
        match before {
            Some(_) if background => Some(0..size),
            _ => slices::first_wanted(&self.headers, size),
        }
    }

    /// Whether the origin has lately said that a slice got with credentials is not for everyone.
    pub(super) fn gets_no_slice(&self, now: Duration) -> bool {
        self.facts.authorization
            && self.stored.is_none()
            && self.probe(false).is_some()
            && self.edge.memos.look(&self.fill_key.for_credentials(), now, &self.edge.log).is_some()
    }

    /// Whether an answer with this status, to the request for a slice, is what the viewer's own would have.
    pub(super) fn takes_of_probe(&self, status: StatusCode) -> bool {
        match status {
            StatusCode::PARTIAL_CONTENT => false,
            // What lies beyond the end for the slice does so for the range, if nothing else decides.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                !self.facts.conditional && range::is_single(&self.headers) && !range::is_suffix(&self.headers)
            }
            _ => true,
        }
    }

    pub(super) fn answer_own<R: http_body::Body>(
        &self,
        response: Response<R>,
        reduced: bool,
        outcome: Outcome,
    ) -> Response<Body<R>> {
        self.count(&outcome);
        answer::own(&self.edge, response, self.view(), reduced, outcome)
    }

    /// The stale response, where it may stand in for the origin's failure.
    pub(super) fn stand_in<R>(&self, failure: Failure) -> Option<Response<Body<R>>> {
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

    /// What the viewer gets for want of an answer: the stale response, or why there is none.
    pub(super) fn instead_of<R, E>(&self, error: E) -> Result<Response<Body<R>>, E> {
        self.stand_in(Failure::Disconnected).ok_or_else(|| {
            self.count(&Outcome::forward(self.reason));
            error
        })
    }

    /// The origin has failed everyone who tried.
    pub(super) fn no_answer<R>(&self) -> Response<Body<R>> {
        let outcome =
            Outcome { collapsed: true, ..Outcome::forward(self.reason) }.because(Detail::OriginError);
        self.count(&outcome);
        answer::made_up(&self.edge, StatusCode::BAD_GATEWAY, outcome)
    }

    /// Whether an answer to this request would be stored, were it led by one.
    pub(super) fn is_storable<R: http_body::Body>(&self, response: &Response<R>) -> bool {
        crate::fill::would_store(&self.edge, &self.policy, &self.headers, response)
    }

    pub(super) fn count(&self, outcome: &Outcome) {
        if !self.is_counted {
            self.edge.counters.answered(outcome);
        }
    }
}
