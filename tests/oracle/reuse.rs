//! What a stored response is good for (RFC 9111 §4, §4.2.4, §5.2.1; RFC 5861).

use tower_edge::ForwardReason;
use tower_edge::semantics::reuse::{Reuse, StaleUse};

use super::directives::Directives;
use super::fields::Fields;
use super::rfc9111::{Exchange, SECOND};

/// What the origin came to when it was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Status(u16),
    Disconnected,
}

const ERRORS: [u16; 4] = [500, 502, 503, 504];

/// The request directives of RFC 9111 §5.2.1.
pub(crate) struct Wishes {
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<i128>,
    pub(crate) min_fresh: Option<i128>,
    pub(crate) max_stale: Option<i128>,
    pub(crate) stale_if_error: Option<i128>,
}

impl Wishes {
    pub(crate) fn of(request: &Fields) -> Self {
        let control = Directives::of(request, "cache-control");
        // §5.4: Pragma counts where there is no Cache-Control.
        let pragma = !request.has("cache-control") && Directives::of(request, "pragma").forbids("no-cache");
        let nanoseconds = |seconds: Option<i128>| seconds.map(|seconds| seconds.saturating_mul(SECOND));
        Self {
            no_cache: control.forbids("no-cache") || pragma,
            only_if_cached: control.forbids("only-if-cached"),
            max_age: nanoseconds(control.lifetime("max-age")),
            min_fresh: nanoseconds(control.min_fresh()),
            max_stale: nanoseconds(control.max_stale()),
            stale_if_error: nanoseconds(control.window("stale-if-error")),
        }
    }
}

/// §4: "a cache MUST NOT reuse a stored response unless".
pub(crate) fn reuse(stored: &Exchange<'_>, age: i128, request: &Wishes) -> Reuse {
    let fresh = stored.fresh(age);
    let staleness = stored.staleness(age);

    // §5.2.1.1: "prefers a response whose age is less than or equal". Decision: zero means "ask", whatever the age.
    let young = request.max_age.is_none_or(|max_age| age <= max_age && max_age > 0);
    // §5.2.1.3: "will still be fresh for at least the specified number of seconds".
    let lifetime = stored.lifetime().unwrap_or(0);
    let lasting = request.min_fresh.is_none_or(|min_fresh| lifetime - age >= min_fresh);
    // §5.2.1.4
    let usable = young && lasting && !request.no_cache;

    if usable && fresh {
        return Reuse::Fresh;
    }
    if usable {
        // §5.2.1.2: "no more than the specified number of seconds".
        let accepted = request.max_stale.map(|max_stale| staleness <= max_stale);
        // §5.2.1.1: "Unless the max-stale request directive is also present, the client does not wish to receive a
        // stale response."
        let welcome = accepted.unwrap_or(request.max_age.is_none());
        // RFC 5861 §3: "up to the indicated number of seconds". Decision: to the last of them exclusively.
        if staleness < stored.stale_while_revalidate() && welcome {
            return Reuse::Stale(StaleUse::WhileRevalidate);
        }
        // §4.2.4
        if accepted == Some(true) && !stored.stale_prohibited(false) {
            return Reuse::Stale(StaleUse::MaxStale);
        }
    }
    // §5.2.1.7
    match (request.only_if_cached, fresh) {
        (true, _) => Reuse::Unsatisfiable,
        (false, true) => Reuse::Validate(ForwardReason::Request),
        (false, false) => Reuse::Validate(ForwardReason::Stale),
    }
}

/// RFC 5861 §4, RFC 9111 §4.2.4.
pub(crate) fn stands_in(stored: &Exchange<'_>, age: i128, request: &Wishes, failure: Failure) -> bool {
    if stored.always_validate() || request.no_cache {
        return false;
    }
    let window = match failure {
        Failure::Status(status) if !ERRORS.contains(&status) => return false,
        Failure::Status(_) => stored.stale_if_error(),
        // Decision: what is fresh and was only to be validated is better than an error.
        Failure::Disconnected if stored.fresh(age) => return true,
        Failure::Disconnected => stored.stale_if_error().max(stored.stale_if_disconnected()),
    };
    // RFC 5861 §4: also a request directive. It is no leave to break §4.2.4.
    let asked = if stored.stale_prohibited(false) { 0 } else { request.stale_if_error.unwrap_or(0) };
    stored.staleness(age) < window.max(asked)
}
