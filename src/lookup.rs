//! What the store has for a request, and what that is good for.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::contact::Trust;
use crate::edge::EdgeInner;
use crate::key::KeyBuf;
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::{Authorization, CachePolicy};
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::range::{self, Selection};
use crate::semantics::reuse::{self, Failure, Reuse, StaleUse};
use crate::semantics::vary::Vary;
use crate::store::{Selected, Stored};

/// A request, as far as the store is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) key: &'a KeyBuf,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) facts: &'a Facts,
    pub(crate) control: &'a RequestCacheControl,
    pub(crate) policy: &'a CachePolicy,
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Look {
    /// Answer it from the store. `age` is what it is judged by.
    Answer { stored: Arc<Stored>, age: Duration, use_: Use },
    /// Ask the origin.
    Ask(Ask),
    /// It wants a stored response, and there is none to be had: 504.
    Unsatisfiable,
}

/// On what grounds a stored response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Fresh,
    /// Stale; to be refreshed meanwhile, if `refresh` says so.
    Stale {
        detail: Detail,
        refresh: bool,
    },
}

/// Why the origin is asked, and about what.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) reason: ForwardReason,
    /// What is stored for the request and cannot be used as it is.
    pub(crate) stored: Option<Arc<Stored>>,
    /// What is stored for other requests of the key.
    pub(crate) others: Vec<Arc<Stored>>,
    /// By what the key's newest response varies.
    pub(crate) vary: Option<Vary>,
}

impl EdgeInner {
    pub(crate) fn look(&self, query: Query<'_>, now: Duration, trust: Trust) -> Look {
        if query.facts.authorization && query.policy.authorization == Authorization::Bypass {
            return Look::Ask(Ask::about_nothing(ForwardReason::Bypass, None));
        }
        let Some(slot) = self.store.get(query.key) else {
            return ask(query, Ask::about_nothing(ForwardReason::UriMiss, None));
        };
        let stored = match slot.select(query.key.as_bytes(), query.headers, &self.log) {
            Selected::Variant(stored) => stored,
            Selected::Other(mut others) => {
                let vary = others.first().map(|newest| newest.head.vary.clone());
                // The origin is asked which of them is for this request, too. A part would be no answer.
                others.retain(|other| other.is_whole());
                return ask(query, Ask { others, ..Ask::about_nothing(ForwardReason::VaryMiss, vary) });
            }
            Selected::Nothing => return ask(query, Ask::about_nothing(ForwardReason::UriMiss, None)),
        };
        let head = &stored.head;
        if !stored.is_whole() && !covers(query, &stored) {
            return ask(query, Ask::about_nothing(ForwardReason::Partial, Some(head.vary.clone())));
        }
        let age = stored.age(now);
        let reuse = match reuse::reuse(&head.terms, age, query.control) {
            // In the background the whole would be fetched, which is too large to be stored.
            Reuse::Stale(StaleUse::WhileRevalidate) if !stored.is_whole() => {
                Reuse::Validate(ForwardReason::Stale)
            }
            // Another edge would take it for fresh: its age does not tell.
            Reuse::Stale(_) if self.for_edges && stored.stamp.stale_since().is_some() => {
                Reuse::Validate(ForwardReason::Stale)
            }
            // Without contact with the log it may have been invalidated.
            Reuse::Fresh | Reuse::Stale(_) if trust != Trust::Full => Reuse::Validate(ForwardReason::Stale),
            reuse => reuse,
        };
        let use_ = match reuse {
            Reuse::Fresh => Use::Fresh,
            Reuse::Stale(StaleUse::WhileRevalidate) => {
                Use::Stale { detail: Detail::StaleWhileRevalidate, refresh: stored.put_off_by(now).is_none() }
            }
            Reuse::Stale(StaleUse::MaxStale) => Use::Stale { detail: Detail::MaxStale, refresh: false },
            // The origin failed a moment ago: it is not asked again before it had time to recover.
            Reuse::Validate(_)
                if stored
                    .put_off_by(now)
                    .is_some_and(|failure| self.stands_in(query, &stored, failure, now)) =>
            {
                Use::Stale { detail: Detail::StaleIfError, refresh: false }
            }
            Reuse::Validate(reason) => {
                let vary = Some(head.vary.clone());
                // A part is not revalidated: the origin's next part, under the same entity tag, does as much.
                let whole = stored.is_whole();
                return ask(
                    query,
                    Ask { stored: Some(stored).filter(|_| whole), ..Ask::about_nothing(reason, vary) },
                );
            }
            Reuse::Unsatisfiable => return Look::Unsatisfiable,
        };
        Look::Answer { stored, age, use_ }
    }

    /// Whether a stored response may be served in place of the origin's failure.
    pub(crate) fn stands_in(
        &self,
        query: Query<'_>,
        stored: &Stored,
        failure: Failure,
        now: Duration,
    ) -> bool {
        let head = &stored.head;
        let statuses = &query.policy.stale.error_statuses;
        self.contact.trust(now) == Trust::Full
            && self.log.is_current(stored.subject(query.key.as_bytes()))
            && !(self.for_edges && stored.stamp.stale_since().is_some())
            && reuse::stands_in(&head.terms, stored.age(now), query.control, failure, statuses)
    }
}

/// Whether a stored part holds all that a request asks for (RFC 9111 §3.3).
fn covers(query: Query<'_>, stored: &Stored) -> bool {
    if !query.facts.range {
        return false;
    }
    let here = stored.range();
    let max_ranges = query.policy.limits.ranges;
    match range::select(query.headers, &stored.head.validators(), stored.total(), max_ranges) {
        Selection::Parts(parts) => parts.iter().all(|part| here.start <= part.start && part.end <= here.end),
        Selection::Unsatisfiable => true,
        Selection::Whole => false,
    }
}

fn ask(query: Query<'_>, ask: Ask) -> Look {
    if query.control.only_if_cached { Look::Unsatisfiable } else { Look::Ask(ask) }
}

impl Ask {
    pub(crate) fn about_nothing(reason: ForwardReason, vary: Option<Vary>) -> Self {
        let vary = vary.filter(|vary| !vary.is_empty());
        Self { reason, stored: None, others: Vec::new(), vary }
    }
}

impl Use {
    /// The outcome of an answer with what is stored, at an [age](Stored::age).
    pub(crate) fn outcome(self, stored: &Stored, age: Duration) -> Outcome {
        let hit = Outcome::hit(stored.ttl_at(age));
        match self {
            Self::Fresh => hit,
            Self::Stale { detail, .. } => hit.because(detail),
        }
    }
}
