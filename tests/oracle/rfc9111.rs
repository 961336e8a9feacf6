//! Storing, lifetime, age and reuse, clause by clause (RFC 9111 §3, §4, §5.2.1; RFC 5861), under the default policy.
//!
//! Times are nanoseconds: since 1970, or of a span.

use tower_edge::semantics::storable::NotStored;

use super::directives::{Directives, MANY_SECONDS, Scope, delta_seconds};
use super::fields::{Fields, date, trim};
use super::vary;

pub(crate) const SECOND: i128 = 1_000_000_000;

/// The default policy, and decisions that are no part of it.
mod decided {
    use super::SECOND;

    pub(crate) const LONGEST_LIFETIME: i128 = 31_536_000 * SECOND;
    /// RFC 9111 §4.2.2 suggests it.
    pub(crate) const HEURISTIC_PERCENT: i128 = 10;
    pub(crate) const LONGEST_HEURISTIC: i128 = 86_400 * SECOND;
    pub(crate) const STALE_WHILE_REVALIDATE: i128 = 0;
    pub(crate) const STALE_IF_ERROR: i128 = 0;
    /// RFC 9111 §4.2.4: a disconnected cache may serve stale responses.
    pub(crate) const STALE_IF_DISCONNECTED: i128 = 3600 * SECOND;
    pub(crate) const HEAD_FIELDS: usize = 128;
    pub(crate) const HEAD_SIZE: usize = 32 * 1024;
    /// RFC 9110 §9.3.3 would allow POST.
    pub(crate) const STORED_METHODS: [&str; 1] = ["GET"];
    /// RFC 9111 §3.3 would allow 206.
    pub(crate) const PARTS_ARE_STORED: bool = false;
    /// RFC 9110 §15: values above 599 are invalid, and taken for server errors.
    pub(crate) const LAST_STATUS: u16 = 999;
    /// Left out of a stored response, these change what its body means.
    pub(crate) const INDISPENSABLE: [&str; 3] = ["content-encoding", "content-type", "vary"];
}

/// An exchange with the origin.
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    pub(crate) status: u16,
    pub(crate) request: &'a Fields,
    pub(crate) response: &'a Fields,
    /// The `Cache-Control` of `response`.
    pub(crate) control: Directives,
    /// `response_time`.
    pub(crate) received: i128,
    /// `response_delay`.
    pub(crate) delay: i128,
    pub(crate) length: Option<u64>,
    pub(crate) max_length: u64,
}

impl Exchange<'_> {
    /// RFC 9110 §6.6.1: without a date, the time of receipt. Decision: one that cannot be read is none.
    fn date(&self) -> i128 {
        self.response.first("date").and_then(date).unwrap_or(self.received)
    }

    /// §3, and what else keeps a response out. Every reason against it; it is stored if there is none.
    pub(crate) fn not_stored(&self) -> Vec<NotStored> {
        let control = &self.control;
        let mut against = Vec::new();
        let mut requires = |holds: bool, reason| {
            if !holds {
                against.push(reason);
            }
        };

        // "the request method is understood by the cache"
        requires(decided::STORED_METHODS.contains(&self.method), NotStored::Method);
        // "the response status code is final"
        requires((200..=decided::LAST_STATUS).contains(&self.status), NotStored::Status);
        // "if the response status code is 206 or 304, or the must-understand cache directive is present: the cache
        // understands the response status code"; a 304 has no content of its own to store.
        requires(self.status != 206 || decided::PARTS_ARE_STORED, NotStored::Partial);
        requires(self.status != 304, NotStored::Status);
        requires(!control.permits("must-understand") || understood(self.status), NotStored::Status);
        // "the no-store cache directive is not present in the response"
        requires(!self.no_store(control), NotStored::NoStore);
        // "if the cache is shared: the private response directive is either not present or allows a shared cache to
        // store a modified response"
        requires(control.scope("private") != Scope::Whole, NotStored::Private);
        // "if the cache is shared: the Authorization header field is not present in the request or a response
        // directive is present that explicitly allows shared caching (see Section 3.5)"
        let shared = control.permits("public")
            || control.lifetime("s-maxage").is_some()
            || control.forbids("must-revalidate");
        requires(!self.request.has("authorization") || shared, NotStored::Authorization);
        // "the response contains at least one of the following"
        let one_of_them = control.permits("public")
            || self.response.has("expires")
            || control.lifetime("max-age").is_some()
            || control.lifetime("s-maxage").is_some()
            || heuristically_cacheable(self.status);
        requires(one_of_them, NotStored::Status);
        // §5.2.1.5
        requires(!Directives::of(self.request, "cache-control").forbids("no-store"), NotStored::NoStore);
        // §4.1: "*" always fails to match; §4: nothing then lets the response be reused.
        requires(vary::names(self.response).is_some(), NotStored::Vary);

        self.decided_against(control, &mut requires);
        against
    }

    /// Beyond what the RFC asks.
    fn decided_against(&self, control: &Directives, requires: &mut impl FnMut(bool, NotStored)) {
        let validator = self.response.has("etag")
            || self.response.first("last-modified").is_some_and(|value| date(value).is_some());
        // §5.2.2.4: it cannot be used without validation.
        requires(control.scope("no-cache") != Scope::Whole || validator, NotStored::NoCache);

        let named = |directive: &str, name: &str| match control.scope(directive) {
            Scope::Named(names) => names.iter().any(|own| own == name),
            _ => false,
        };
        for name in decided::INDISPENSABLE {
            requires(!named("private", name), NotStored::Private);
            requires(!named("no-cache", name), NotStored::NoCache);
        }
        // §7.3
        let stripped = named("private", "set-cookie") || named("no-cache", "set-cookie");
        requires(!self.response.has("set-cookie") || stripped, NotStored::SetCookie);

        let media_type =
            self.response.first("content-type").map(|value| value.split(';').next().unwrap_or(value));
        let event_stream = media_type.is_some_and(|own| trim(own).eq_ignore_ascii_case("text/event-stream"));
        requires(!event_stream, NotStored::EventStream);

        // Fresh, or to be validated, or to be used stale by one of RFC 5861's directives.
        let age = self.initial_age();
        let lifetime = self.lifetime();
        let window = self.stale_while_revalidate().max(self.stale_if_error());
        let usable =
            self.fresh(age) || validator || lifetime.is_some_and(|lifetime| (age - lifetime).max(0) < window);
        requires(usable, NotStored::NoFreshness);

        let head: usize =
            self.response.0.iter().map(|(name, value)| name.len() + value.chars().count()).sum();
        requires(
            self.response.0.len() <= decided::HEAD_FIELDS && head <= decided::HEAD_SIZE,
            NotStored::HeadTooLarge,
        );

        // RFC 9110 §8.6, RFC 9112 §6.3: one valid length, and the body's.
        let stated: Vec<Option<u64>> = self
            .response
            .lines("content-length")
            .iter()
            .map(|line| line.chars().all(|char| char.is_ascii_digit()).then(|| line.parse().ok())?)
            .collect();
        let known = stated.first().copied().flatten();
        let agreed = stated.iter().all(|length| length.is_some() && *length == known);
        let kept = self.length.is_none_or(|length| known.is_none_or(|known| known == length));
        requires(agreed && kept, NotStored::ContentLength);
        let length = known.or(self.length);
        requires(length.is_none_or(|length| length <= self.max_length), NotStored::BodyTooLarge);
    }

    /// §5.2.2.3: "caches that implement the requirements for the status code ignore the no-store directive".
    fn no_store(&self, control: &Directives) -> bool {
        let ignored = control.permits("must-understand") && understood(self.status);
        control.forbids("no-store") && !ignored
    }

    /// §4.2.1. `None` when neither the origin nor a heuristic gives one.
    pub(crate) fn lifetime(&self) -> Option<i128> {
        let control = &self.control;
        let expires = self.response.lines("expires");
        let lifetime = if let Some(seconds) = control.lifetime("s-maxage") {
            seconds * SECOND
        } else if let Some(seconds) = control.lifetime("max-age") {
            seconds * SECOND
        } else if let Some(first) = expires.first() {
            let all_the_same = expires.iter().all(|line| date(line) == date(first));
            match date(first) {
                // "either the first occurrence should be used or the response should be considered stale": stale.
                Some(expires) if all_the_same => (expires - self.date()).clamp(0, MANY_SECONDS * SECOND),
                // §5.3: an invalid date, "especially the value 0", is in the past.
                _ => 0,
            }
        } else {
            self.heuristic(control)?
        };
        Some(lifetime.min(decided::LONGEST_LIFETIME))
    }

    /// §4.2.2
    fn heuristic(&self, control: &Directives) -> Option<i128> {
        if !(control.permits("public") || heuristically_cacheable(self.status)) {
            return None;
        }
        let unchanged = self.date() - date(self.response.first("last-modified")?)?;
        // In whole seconds.
        let guess = unchanged / SECOND * decided::HEURISTIC_PERCENT / 100 * SECOND;
        (unchanged >= 0).then_some(guess.min(decided::LONGEST_HEURISTIC))
    }

    /// §4.2.3
    pub(crate) fn initial_age(&self) -> i128 {
        // §5.1: the first member of a list; ignored if invalid.
        let age_value =
            self.response.first("age").and_then(|line| delta_seconds(trim(line.split(',').next()?)));
        // Decision: in whole seconds, as Date is.
        let apparent_age = (self.received - self.date()).max(0) / SECOND * SECOND;
        let corrected_age_value = age_value.unwrap_or(0) * SECOND + self.delay;
        apparent_age.max(corrected_age_value).min(MANY_SECONDS * SECOND)
    }

    /// §4.2: `response_is_fresh`, and §5.2.2.4.
    pub(crate) fn fresh(&self, age: i128) -> bool {
        !self.always_validate() && self.lifetime().unwrap_or(0) > age
    }

    pub(crate) fn staleness(&self, age: i128) -> i128 {
        (age - self.lifetime().unwrap_or(0)).max(0)
    }

    pub(crate) fn always_validate(&self) -> bool {
        self.control.scope("no-cache") == Scope::Whole
    }

    /// §4.2.4: "prohibited by an explicit in-protocol directive". Whether a window the response names itself is
    /// prohibited too: s-maxage implies proxy-revalidate (§5.2.2.10), but beside it the window is the more exact word.
    pub(crate) fn stale_prohibited(&self, by_window: bool) -> bool {
        let control = &self.control;
        control.forbids("must-revalidate")
            || control.forbids("proxy-revalidate")
            || self.always_validate()
            || !by_window && control.lifetime("s-maxage").is_some()
    }

    fn window(&self, directive: &str, policy: i128) -> i128 {
        match self.control.window(directive) {
            _ if self.stale_prohibited(true) => 0,
            Some(seconds) => seconds * SECOND,
            // Decision: an error answer does not stand in for an error.
            None if self.stale_prohibited(false) || self.status >= 500 => 0,
            None => policy,
        }
    }

    /// RFC 5861 §3
    pub(crate) fn stale_while_revalidate(&self) -> i128 {
        self.window("stale-while-revalidate", decided::STALE_WHILE_REVALIDATE)
    }

    /// RFC 5861 §4
    pub(crate) fn stale_if_error(&self) -> i128 {
        self.window("stale-if-error", decided::STALE_IF_ERROR)
    }

    /// RFC 9111 §4.2.4; RFC 5861 §4: an error is also not to be reached.
    pub(crate) fn stale_if_disconnected(&self) -> i128 {
        self.window("stale-if-error", decided::STALE_IF_DISCONNECTED)
    }
}

/// RFC 9110 §15.1; 206 is left out by a cache that does not store parts.
fn heuristically_cacheable(status: u16) -> bool {
    [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status)
        && (status != 206 || decided::PARTS_ARE_STORED)
}

/// The final statuses RFC 9110 §15 defines and this cache does justice to: not 206 and 304, which it does not store, nor
/// the reserved 305, 306, 402 (which is, and asks nothing) and 418.
fn understood(status: u16) -> bool {
    let defined: [&[u16]; 4] = [
        &[200, 201, 202, 203, 204, 205],
        &[300, 301, 302, 303, 307, 308],
        &[
            400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421,
            422, 426,
        ],
        &[500, 501, 502, 503, 504, 505],
    ];
    defined.iter().any(|class| class.contains(&status))
}
