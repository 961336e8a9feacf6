//! May this stored response answer this request? (RFC 9111 §4, §4.2.4, §5.2.1)

use std::time::Duration;

use http::StatusCode;

use super::directives::RequestCacheControl;
use super::freshness::Terms;
use crate::outcome::ForwardReason;

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It answers the request.
    Fresh,
    /// It is stale and answers the request all the same.
    Stale(StaleUse),
    /// The origin is asked first.
    Validate(ForwardReason),
    /// It may not be used, and the request forbids asking: 504 (RFC 9111 §5.2.1.7).
    Unsatisfiable,
}

/// Why a stale response may answer without asking first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleUse {
    /// A fill refreshes it meanwhile (RFC 5861 §3).
    WhileRevalidate,
    /// The request takes stale answers (RFC 9111 §5.2.1.2).
    MaxStale,
}

/// How the origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered with this status.
    Status(StatusCode),
    /// It did not answer.
    Disconnected,
}

/// Decides what a stored response of this `age` is good for.
///
/// `immutable` plays no part: a fresh response is validated only where the request asks for it, and RFC 8246 §2.1 leaves
/// that to the viewer's cache, which knows of the directive.
pub fn reuse(terms: &Terms, age: Duration, request: &RequestCacheControl) -> Reuse {
    let fresh = terms.is_fresh(age);
    if accepts_age(terms, age, request) {
        if fresh {
            return Reuse::Fresh;
        }
        if let Some(stale) = stale_use(terms, age, request) {
            return Reuse::Stale(stale);
        }
    }
    if request.only_if_cached {
        Reuse::Unsatisfiable
    } else if fresh {
        Reuse::Validate(ForwardReason::Request)
    } else {
        Reuse::Validate(ForwardReason::Stale)
    }
}

/// Whether the request takes a response of this age, leaving aside whether it takes a stale one.
fn accepts_age(terms: &Terms, age: Duration, request: &RequestCacheControl) -> bool {
    // RFC 9111 §5.2.1.1. Zero is how browsers spell "reload": they mean it for a response that came just now, too.
    let young = request.max_age.is_none_or(|max_age| age <= max_age && !max_age.is_zero());
    // RFC 9111 §5.2.1.3.
    let lasts = request
        .min_fresh
        .is_none_or(|min_fresh| age.checked_add(min_fresh).is_some_and(|age| age <= terms.lifetime));
    // RFC 9111 §5.2.1.4.
    young && lasts && !request.no_cache
}

fn stale_use(terms: &Terms, age: Duration, request: &RequestCacheControl) -> Option<StaleUse> {
    let staleness = terms.staleness(age);
    // RFC 9111 §5.2.1.2: staler than this the request does not want it.
    let accepted = request.max_stale.is_some_and(|max_stale| staleness <= max_stale);
    // RFC 9111 §5.2.1.1: with max-age and no max-stale it wants no stale response at all.
    let unasked = request.max_stale.is_none() && request.max_age.is_none();
    if staleness < terms.while_revalidate && (accepted || unasked) {
        Some(StaleUse::WhileRevalidate)
    } else if accepted && !terms.stale_forbidden {
        Some(StaleUse::MaxStale)
    } else {
        None
    }
}

/// Whether a stored response may stand in for the origin's failure (RFC 5861 §4, RFC 9111 §4.2.4).
///
/// A request's `no-cache` is respected: it wants no answer that was not validated (RFC 9111 §5.2.1.4). Its `max-age`
/// and `min-fresh` are preferences that RFC 5861 §4 sets aside ("regardless of other freshness information"): a
/// viewer who reloads is better off with the last good response than with the error. For the same reason a response
/// that is still fresh, and was only to be validated because the request wished so, stands in for an origin that
/// cannot be reached.
pub fn stands_in(
    terms: &Terms,
    age: Duration,
    request: &RequestCacheControl,
    failure: Failure,
    error_statuses: &[StatusCode],
) -> bool {
    if terms.always_validate || request.no_cache {
        return false;
    }
    let by_terms = match failure {
        Failure::Status(status) if !error_statuses.contains(&status) => return false,
        Failure::Status(_) => terms.if_error,
        Failure::Disconnected if terms.is_fresh(age) => return true,
        Failure::Disconnected => terms.if_disconnected.max(terms.if_error),
    };
    let by_request = request.stale_if_error.filter(|_| !terms.stale_forbidden);
    // RFC 5861 §4: the window opens when the response becomes stale.
    terms.staleness(age) < by_terms.max(by_request.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::freshness::Source;
    use super::*;
    use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};

    const STALE: Reuse = Reuse::Validate(ForwardReason::Stale);
    const REQUEST: Reuse = Reuse::Validate(ForwardReason::Request);
    const REFRESHED: Reuse = Reuse::Stale(StaleUse::WhileRevalidate);
    const ACCEPTED: Reuse = Reuse::Stale(StaleUse::MaxStale);

    /// A lifetime of 100 s and no window.
    fn plain() -> Terms {
        Terms {
            lifetime: Duration::from_secs(100),
            source: Source::MaxAge,
            initial_age: Duration::ZERO,
            always_validate: false,
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            if_disconnected: Duration::ZERO,
            stale_forbidden: false,
        }
    }

    /// The same with 10 s while revalidating, 20 s on errors and 30 s when disconnected.
    fn windows() -> Terms {
        Terms {
            while_revalidate: Duration::from_secs(10),
            if_error: Duration::from_secs(20),
            if_disconnected: Duration::from_secs(30),
            ..plain()
        }
    }

    /// What `must-revalidate` or `s-maxage` makes of it.
    fn forbidden() -> Terms {
        Terms { stale_forbidden: true, ..plain() }
    }

    /// What `no-cache` makes of it.
    fn no_cache() -> Terms {
        Terms { always_validate: true, ..forbidden() }
    }

    fn request(value: &str) -> RequestCacheControl {
        let value = HeaderValue::from_str(value).unwrap();
        RequestCacheControl::parse(&HeaderMap::from_iter([(CACHE_CONTROL, value)]))
    }

    #[test]
    fn a_response_is_reused_while_terms_and_request_allow() {
        // RFC 9111 §4.2, §5.2.1; RFC 5861 §3.
        let explicit = || Terms { stale_forbidden: true, ..windows() };
        let table: &[(Terms, u64, &str, Reuse)] = &[
            (plain(), 0, "", Reuse::Fresh),
            (plain(), 99, "", Reuse::Fresh),
            (plain(), 100, "", STALE),
            (Terms { lifetime: Duration::ZERO, ..plain() }, 0, "", STALE),
            (no_cache(), 0, "", STALE),
            (no_cache(), 0, "max-stale", STALE),
            // §5.2.1.4
            (plain(), 0, "no-cache", REQUEST),
            (plain(), 100, "no-cache", STALE),
            (plain(), 100, "no-cache, max-stale", STALE),
            // §5.2.1.1
            (plain(), 0, "max-age=0", REQUEST),
            (plain(), 0, "max-age=x", REQUEST),
            (plain(), 50, "max-age=50", Reuse::Fresh),
            (plain(), 51, "max-age=50", REQUEST),
            (plain(), 101, "max-age=50", STALE),
            (plain(), 101, "max-age=500", STALE),
            (plain(), 101, "max-age=500, max-stale", ACCEPTED),
            // §5.2.1.3
            (plain(), 50, "min-fresh=50", Reuse::Fresh),
            (plain(), 51, "min-fresh=50", REQUEST),
            (plain(), 101, "min-fresh=0, max-stale", STALE),
            // §5.2.1.2
            (plain(), 110, "max-stale=10", ACCEPTED),
            (plain(), 111, "max-stale=10", STALE),
            (plain(), 9999, "max-stale", ACCEPTED),
            (plain(), 101, "max-stale=x", STALE),
            (forbidden(), 101, "max-stale", STALE),
            // RFC 5861 §3
            (windows(), 109, "", REFRESHED),
            (windows(), 110, "", STALE),
            (windows(), 109, "no-cache", STALE),
            (windows(), 109, "max-age=0", STALE),
            (windows(), 109, "max-age=500", STALE),
            (windows(), 109, "min-fresh=1", STALE),
            (windows(), 105, "max-stale=5", REFRESHED),
            (windows(), 106, "max-stale=5", STALE),
            (windows(), 115, "max-stale=50", ACCEPTED),
            (windows(), 105, "max-age=500, max-stale=5", REFRESHED),
            (explicit(), 109, "", REFRESHED),
            (explicit(), 115, "max-stale=50", STALE),
            // §5.2.1.7
            (plain(), 0, "only-if-cached", Reuse::Fresh),
            (plain(), 0, "only-if-cached, no-cache", Reuse::Unsatisfiable),
            (plain(), 100, "only-if-cached", Reuse::Unsatisfiable),
            (plain(), 100, "only-if-cached, max-stale", ACCEPTED),
            (windows(), 109, "only-if-cached", REFRESHED),
        ];
        for (terms, age, value, expected) in table {
            let reuse = reuse(terms, Duration::from_secs(*age), &request(value));
            assert_eq!(reuse, *expected, "age {age}, {value:?}, {terms:?}");
        }
    }

    #[test]
    fn a_response_stands_in_for_a_failure_within_its_window() {
        // RFC 5861 §4, RFC 9111 §4.2.4.
        let status = |status| Failure::Status(StatusCode::from_u16(status).unwrap());
        let gone = Failure::Disconnected;
        let table: &[(Terms, u64, &str, Failure, bool)] = &[
            (windows(), 119, "", status(503), true),
            (windows(), 120, "", status(503), false),
            (windows(), 119, "", status(500), false),
            (windows(), 119, "", status(404), false),
            (windows(), 129, "", gone, true),
            (windows(), 130, "", gone, false),
            (Terms { if_error: Duration::from_secs(50), ..windows() }, 149, "", gone, true),
            (plain(), 101, "", gone, false),
            (plain(), 100, "", status(503), false),
            // A fresh response that the request wanted validated.
            (plain(), 50, "max-age=0", gone, true),
            (forbidden(), 50, "max-age=0", gone, true),
            (plain(), 50, "max-age=0", status(503), false),
            (windows(), 50, "max-age=0", status(503), true),
            (windows(), 119, "max-age=0", status(503), true),
            (windows(), 119, "min-fresh=5", status(503), true),
            (plain(), 50, "no-cache", gone, false),
            (windows(), 119, "no-cache", status(503), false),
            (no_cache(), 50, "", gone, false),
            // The request's own window adds to the terms' and never takes away.
            (plain(), 140, "stale-if-error=50", status(503), true),
            (plain(), 150, "stale-if-error=50", status(503), false),
            (plain(), 140, "stale-if-error=50", status(404), false),
            (plain(), 140, "stale-if-error=50", gone, true),
            (windows(), 119, "stale-if-error=5", status(503), true),
            (forbidden(), 101, "stale-if-error=50", status(503), false),
            (forbidden(), 101, "stale-if-error=50", gone, false),
        ];
        for (terms, age, value, failure, expected) in table {
            let age = Duration::from_secs(*age);
            let errors = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
            let stands_in = stands_in(terms, age, &request(value), *failure, &errors);
            assert_eq!(stands_in, *expected, "{age:?}, {value:?}, {failure:?}, {terms:?}");
        }
    }

    #[test]
    fn remote_numbers_do_not_overflow() {
        let request =
            request("min-fresh=99999999999, max-stale, max-age=99999999999, stale-if-error=99999999999");
        assert_eq!(reuse(&plain(), Duration::MAX, &request), STALE);
        assert!(!stands_in(&plain(), Duration::MAX, &request, Failure::Disconnected, &[]));
    }
}
