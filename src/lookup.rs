//! What the store has for a request, and what that is good for.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::edge::EdgeInner;
use crate::key::KeyBuf;
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::policy::{Authorization, CachePolicy};
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
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
    /// Answer it from the store.
    Answer { stored: Arc<Stored>, use_: Use },
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
    /// By what the key's newest response varies.
    pub(crate) vary: Option<Vary>,
}

impl EdgeInner {
    pub(crate) fn look(&self, query: Query<'_>, now: Duration) -> Look {
        if query.facts.authorization && query.policy.authorization == Authorization::Bypass {
            return Look::Ask(Ask { reason: ForwardReason::Bypass, stored: None, vary: None });
        }
        let Some(slot) = self.store.get(query.key) else {
            return ask(query, ForwardReason::UriMiss, None, None);
        };
        let stored = match slot.select(query.key.as_bytes(), query.headers, &self.log) {
            Selected::Variant(stored) => stored,
            Selected::Other(vary) => return ask(query, ForwardReason::VaryMiss, None, Some(vary)),
            Selected::Nothing => return ask(query, ForwardReason::UriMiss, None, None),
        };
        let head = &stored.head;
        let use_ = match reuse::reuse(&head.terms, head.age(now), query.control) {
            Reuse::Fresh => Use::Fresh,
            Reuse::Stale(StaleUse::WhileRevalidate) => {
                Use::Stale { detail: Detail::StaleWhileRevalidate, refresh: !stored.is_put_off(now) }
            }
            Reuse::Stale(StaleUse::MaxStale) => Use::Stale { detail: Detail::MaxStale, refresh: false },
            // The origin failed a moment ago: it is not asked again before it had time to recover.
            Reuse::Validate(_)
                if stored.is_put_off(now) && self.stands_in(query, &stored, Failure::Disconnected, now) =>
            {
                Use::Stale { detail: Detail::StaleIfError, refresh: false }
            }
            Reuse::Validate(reason) => {
                let vary = Some(head.vary.clone()).filter(|vary| !vary.is_empty());
                return ask(query, reason, Some(stored), vary);
            }
            Reuse::Unsatisfiable => return Look::Unsatisfiable,
        };
        Look::Answer { stored, use_ }
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
        self.log.is_current(query.key.as_bytes(), &stored.stamp)
            && reuse::stands_in(&head.terms, head.age(now), query.control, failure, statuses)
    }
}

fn ask(query: Query<'_>, reason: ForwardReason, stored: Option<Arc<Stored>>, vary: Option<Vary>) -> Look {
    if query.control.only_if_cached {
        return Look::Unsatisfiable;
    }
    Look::Ask(Ask { reason, stored, vary: vary.filter(|vary| !vary.is_empty()) })
}

impl Use {
    pub(crate) fn outcome(self, stored: &Stored, now: Duration) -> Outcome {
        let hit = Outcome::hit(stored.head.ttl(now));
        match self {
            Self::Fresh => hit,
            Self::Stale { detail, .. } => hit.because(detail),
        }
    }
}
