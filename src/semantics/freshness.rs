//! How long a response lives, and how old it is (RFC 9111 §4.2, RFC 5861).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::directives::ResponseCacheControl;
use crate::policy::CachePolicy;

/// Where a lifetime came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Source {
    SMaxAge,
    MaxAge,
    Expires,
    Heuristic,
    /// [`Ttl::default`](crate::Ttl::default) or [`CachePolicy::error_ttl`].
    Policy,
    /// Nothing gives a lifetime: stale from the start.
    None,
}

/// Everything about a stored response's time that can be known when it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// RFC 9111 §4.2.1, within the policy's bounds.
    pub lifetime: Duration,
    /// Where `lifetime` came from.
    pub source: Source,
    /// `corrected_initial_age` of RFC 9111 §4.2.3.
    pub initial_age: Duration,
    /// Unqualified `no-cache`: never used without asking the origin.
    pub always_validate: bool,
    /// How long past its lifetime it may be served while a fill refreshes it. Zero where stale is forbidden.
    pub while_revalidate: Duration,
    /// How long past its lifetime it may stand in for an error answer. Zero where stale is forbidden.
    pub if_error: Duration,
    /// How long past its lifetime it may be served when the origin cannot be reached. Zero where stale is forbidden.
    pub if_disconnected: Duration,
    /// The origin forbids stale answers even to a request that would take one.
    pub stale_forbidden: bool,
}

/// When a response came.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// `response_time` of RFC 9111 §4.2.3, by the wall clock.
    pub at: SystemTime,
    /// `response_delay`: the time since the request was sent.
    pub delay: Duration,
}

/// Works out the terms on which a response is stored.
pub fn terms(
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseCacheControl,
    policy: &CachePolicy,
    received: Received,
) -> Terms {
    let _ = (status, headers, control, policy, received);
    todo!()
}

impl Terms {
    /// `current_age` of RFC 9111 §4.2.3, for a response that has been stored for `resident`.
    pub fn age(&self, resident: Duration) -> Duration {
        self.initial_age.saturating_add(resident)
    }
}

/// Reads a date as RFC 9110 §5.6.7 asks; `None` for anything that is not one. For `Expires` that means
/// "already expired" (RFC 9111 §5.3).
pub fn parse_date(value: &http::HeaderValue) -> Option<SystemTime> {
    let _ = value;
    todo!()
}
