//! A read that the store cannot answer: it joins the fill of its key, or leads it, or goes alone.

use std::panic::resume_unwind;
use std::sync::Arc;

use http::header::RANGE;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio::runtime::Handle;
use tower::ServiceExt;

use super::ahead::Ahead;
use super::reader::{Reader, Waited};
use crate::behind::Origin;
use crate::body::Body;
use crate::contact::Trust;
use crate::edge::EdgeInner;
use crate::fill::{After, Answer, Exchange, Lead, LeaderAnswer, Recorder, Turn, Wish, spawn};
use crate::invalidation::sweep;
use crate::key::{self, KeyBuf};
use crate::lookup::{Ask, Use};
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::reuse::Failure;
use crate::semantics::{headers, normal, slices};
use crate::store::{Stored, Uncacheable};
use crate::upload::RequestBody;

/// A request on its way to the origin. In a box, since each step of its walk would hold a copy of it: a reader that waits has
/// one.
pub(super) struct Miss<S, B> {
    pub(super) origin: S,
    pub(super) parts: Parts,
    pub(super) body: RequestBody<B>,
    pub(super) reader: Reader,
    /// What is done when the origin has been asked.
    pub(super) after: After,
}

impl<S, B> Miss<S, B> {
    #[allow(clippy::too_many_arguments, reason = "it takes over everything the walk has found out")]
    pub(super) fn new(
        edge: &Arc<EdgeInner>,
        policy: &Arc<CachePolicy>,
        key: KeyBuf,
        origin: S,
        mut parts: Parts,
        body: RequestBody<B>,
        facts: Facts,
        control: RequestCacheControl,
    ) -> Box<Self> {
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
            slices: None,
            is_counted: false,
        };
        Box::new(Self { origin, parts, body, reader, after: None })
    }
}

impl<S, B> Miss<S, B>
where
    S: Origin<B>,
    B: http_body::Body + Send + 'static,
{
    pub(super) async fn run(self: Box<Self>, ask: Ask) -> Result<Response<Body<S::Body>>, S::Error> {
        let mut found = ask.stored.iter().chain(&ask.others);
        if self.reader.policy.slices.is_some() || found.any(|stored| stored.is_sliced()) {
            return Box::pin(self.run_sliced(ask)).await;
        }
        self.walk(ask).await
    }

    pub(super) async fn walk(mut self: Box<Self>, ask: Ask) -> Result<Response<Body<S::Body>>, S::Error> {
        self.reader.take(ask);
        let reader = &self.reader;
        if reader.reason == ForwardReason::Bypass || reader.control.no_store {
            return self.alone(None).await;
        }
        let now = reader.edge.clock.elapsed();
        match reader.edge.memos.look(&reader.fill_key, now, &reader.edge.log) {
            Some(Uncacheable::TooLarge) if reader.may_have_part() => return self.part().await,
            Some(_) => return self.alone(Some(Detail::Uncacheable)).await,
            None if reader.gets_no_slice(now) => return self.alone(Some(Detail::Uncacheable)).await,
            None => {}
        }
        let Ok(runtime) = Handle::try_current() else {
            return self.alone(Some(Detail::Busy)).await;
        };
        if reader.method == Method::HEAD {
            return self.head().await;
        }
        // Its answer may be for this viewer only; nobody waits to find out. And without contact a fill under way may have begun
        // before something that is not known here.
        if reader.facts.authorization || reader.edge.contact.trust(now) != Trust::Full {
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
    pub(super) fn refresh(mut self: Box<Self>, stored: Arc<Stored>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let vary = Some(stored.head.vary.clone());
        self.reader.take(Ask { stored: Some(stored), ..Ask::about_nothing(ForwardReason::Stale, vary) });
        self.after = Ahead::of(&self.reader, &self.origin, &self.parts).map(Ahead::after_fill);
        self.in_background(&runtime);
    }

    /// Asks the origin for what nobody waits for, if that is worth while, and says whether it does.
    pub(super) fn ahead(mut self: Box<Self>, ask: Ask, after: impl FnOnce() + Send + 'static) -> bool {
        self.reader.take(ask);
        let reader = &self.reader;
        let now = reader.edge.clock.elapsed();
        let is_shareable = reader.reason != ForwardReason::Bypass
            && reader.edge.memos.look(&reader.fill_key, now, &reader.edge.log).is_none();
        self.after = Some(Box::new(after));
        is_shareable && Handle::try_current().is_ok_and(|runtime| self.in_background(&runtime))
    }

    /// Leads a fill without waiting for it, if there is none.
    fn in_background(mut self: Box<Self>, runtime: &Handle) -> bool {
        let wish = Wish { takes: self.reader.takes(), background: true, ..Wish::default() };
        if let Turn::Lead(lead) = self.reader.edge.fills.join_or_lead(&self.reader.fill_key, &wish) {
            match self.reader.look_again() {
                Some(stored) => lead.found(stored),
                // The origin's answer is for the store alone.
                None => {
                    drop(self.exchange(lead, runtime, true));
                    return true;
                }
            }
        }
        false
    }

    /// Asks the origin, for everyone who wants this key.
    async fn lead(
        mut self: Box<Self>,
        lead: Lead,
        runtime: &Handle,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        let fresh = self.reader.look_again();
        let mut found = fresh.iter().chain(&self.reader.stored).chain(&self.reader.others);
        if found.all(|stored| self.reader.can_read(stored)) {
            return self.answer_or_ask(fresh, lead, runtime).await;
        }
        // Rules with slices, over the same store, have put it there since the walk began.
        self.learns_slices_in(runtime.clone());
        let again = self.again();
        let response = Box::pin(self.answer_or_ask(fresh, lead, runtime)).await?;
        Box::pin(again.begun(response)).await
    }

    async fn answer_or_ask(
        self: Box<Self>,
        fresh: Option<Arc<Stored>>,
        lead: Lead,
        runtime: &Handle,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        let Some(stored) = fresh else { return self.ask_origin(lead, runtime).await };
        lead.found(Arc::clone(&stored));
        let outcome = Use::Fresh.outcome(&stored, self.reader.edge.clock.elapsed());
        Ok(self.reader.answer_stored(&stored, outcome))
    }

    async fn ask_origin(
        mut self: Box<Self>,
        lead: Lead,
        runtime: &Handle,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        self.after = Ahead::of(&self.reader, &self.origin, &self.parts).map(Ahead::after_fill);
        let participant = lead.participate();
        let again = self.reader.probe(false).map(|_| self.again());
        let (told, reader) = self.exchange(lead, runtime, false);
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
            Ok(LeaderAnswer::Sliced(stored, own)) => {
                let mut response = reader.answer_stored(&stored, Outcome { stored: true, ..outcome });
                response.headers_mut().extend(own);
                Ok(response)
            }
            Ok(LeaderAnswer::Refreshed(stored, own)) => {
                // What is handed back as it was has not been stored anew.
                let anew = !reader.stored.as_ref().is_some_and(|before| Arc::ptr_eq(before, &stored));
                let outcome = Outcome { fwd_status: Some(StatusCode::NOT_MODIFIED), stored: anew, ..outcome };
                let mut response = reader.answer_stored(&stored, outcome);
                response.headers_mut().extend(own);
                Ok(response)
            }
            // It is about the slice that the edge asked for, and not about what the viewer did.
            Ok(LeaderAnswer::Own(response))
                if !reader.takes_of_probe(response.status())
                    && let Some(again) = again =>
            {
                Box::pin(again.alone(None)).await
            }
            Ok(LeaderAnswer::Own(response)) => match reader.stand_in(Failure::Status(response.status())) {
                Some(stale) => Ok(stale),
                None => Ok(reader.answer_own(response, !reader.ranged, outcome)),
            },
            Ok(LeaderAnswer::Failed(error)) => reader.instead_of(error),
            Ok(LeaderAnswer::Panicked(panic)) => {
                Ok(reader.instead_of(panic).unwrap_or_else(|panic| resume_unwind(panic)))
            }
            // The task was dropped: the runtime is shutting down.
            Err(_) => Ok(reader.no_answer()),
        }
    }

    /// Starts the exchange with the origin.
    #[allow(clippy::type_complexity, reason = "the receiver's type says what comes")]
    #[allow(clippy::boxed_local, reason = "only what goes to the origin is moved out of the box")]
    fn exchange(
        self: Box<Self>,
        lead: Lead,
        runtime: &Handle,
        background: bool,
    ) -> (tokio::sync::oneshot::Receiver<LeaderAnswer<S::Body, S::Error>>, Reader) {
        let Self { origin, mut parts, reader, after, .. } = *self;
        parts.headers = reader.headers.clone();
        headers::prepare_fill(&mut parts.headers);
        key::spell_authority(&mut parts, &reader.key);
        parts.method = Method::GET;
        let base = reader.make_conditional(&mut parts.headers);
        sweep::start_if_pending(reader.edge.state());
        let mut recorder = reader.recorder(lead);
        recorder.about(reader.stored.clone(), base);
        if reader.ranged
            && let Some(range) = reader.headers.get(RANGE)
        {
            parts.headers.insert(RANGE, range.clone());
            recorder.ranged();
        }
        let mut whole = None;
        if let Some(slice) = reader.probe(background) {
            whole = Some(Box::new(Request::from_parts(parts.clone(), RequestBody::empty())));
            parts.headers.insert(RANGE, slices::range_field(&slice));
            recorder.probing(slice);
        }
        // What the viewer sends is none of everyone's business.
        let request = Request::from_parts(parts, RequestBody::empty());
        let exchange = Exchange { recorder, origin, request, whole };
        (spawn(exchange, after, runtime), reader)
    }

    /// A range of something too large to be stored whole: that part is fetched, and stored as what it is.
    async fn part(mut self: Box<Self>) -> Result<Response<Body<S::Body>>, S::Error> {
        let (Ok(runtime), Some(lead)) = (Handle::try_current(), self.reader.edge.fills.lead_alone()) else {
            return self.alone(Some(Detail::Busy)).await;
        };
        self.reader.ranged = true;
        self.ask_origin(lead, &runtime).await
    }

    /// HEAD: a fill under way knows the head; else the origin is asked for just that.
    async fn head(mut self: Box<Self>) -> Result<Response<Body<S::Body>>, S::Error> {
        let takes = self.reader.takes();
        if self.reader.edge.contact.trust(takes.now) == Trust::Full
            && let Some(participant) = self.reader.edge.fills.join(&self.reader.fill_key, &takes)
        {
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
            let mut recorder = self.reader.recorder(lead);
            recorder.about(Some(stored), None);
            Some(recorder)
        });
        self.forward(None, Some(recorder)).await
    }

    /// Forwards the request as the viewer sent it. The answer is for this viewer and is not stored.
    pub(super) async fn alone(
        self: Box<Self>,
        detail: Option<Detail>,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        self.forward(detail, None).await
    }

    /// Forwards the request. A HEAD goes `reduced`, without what the viewer's copy of the answer has to be fitted to, so
    /// that the answer can be recorded.
    async fn forward(
        self: Box<Self>,
        detail: Option<Detail>,
        reduced: Option<Option<Box<Recorder>>>,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        let reader = &self.reader;
        let exchange = {
            let mut parts = self.parts;
            parts.headers = reader.headers.clone();
            if reduced.is_some() {
                headers::prepare_fill(&mut parts.headers);
                key::spell_authority(&mut parts, &reader.key);
            }
            normal::rewrite(&mut parts.headers, reader.policy.normalise);
            self.origin.oneshot(Request::from_parts(parts, self.body))
        };
        let outcome = Outcome { detail, ..Outcome::forward(reader.reason) };
        let asked = reader.edge.clock.elapsed();
        match exchange.await {
            Ok(response) => {
                if let Some(stale) = reader.stand_in(Failure::Status(response.status())) {
                    return Ok(stale);
                }
                if detail == Some(Detail::Uncacheable) && reader.is_storable(&response) {
                    reader.edge.memos.forget(&reader.fill_key);
                }
                let was_reduced = reduced.is_some();
                let (mut head, body) = response.into_parts();
                if let Some(Some(recorder)) = reduced {
                    recorder.head_answered(&mut head, &reader.headers, asked);
                }
                Ok(reader.answer_own(Response::from_parts(head, body), was_reduced, outcome))
            }
            Err(error) => reader.instead_of(error),
        }
    }
}
