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
pub fn reuse(terms: &Terms, age: Duration, request: &RequestCacheControl) -> Reuse {
    let _ = (terms, age, request);
    todo!()
}

/// Whether a stored response may stand in for the origin's failure (RFC 5861 §4, RFC 9111 §4.2.4).
pub fn stands_in(
    terms: &Terms,
    age: Duration,
    request: &RequestCacheControl,
    failure: Failure,
    error_statuses: &[StatusCode],
) -> bool {
    let _ = (terms, age, request, failure, error_statuses);
    todo!()
}
