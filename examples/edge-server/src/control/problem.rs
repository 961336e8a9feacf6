//! What went wrong, for whoever asked (RFC 9457).

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use tower_edge::{InvalidateError, ScopeError};

use crate::api;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    pointer: Option<String>,
    position: Option<usize>,
    /// What the status asks for beside the body.
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), pointer: None, position: None, header: None }
    }

    /// A value of the body that is none, such as `paths[2]`.
    pub(super) fn at(place: &str, detail: &str) -> Self {
        let pointer = place.replace('[', "/").replace(']', "");
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{place}: {detail}"));
        Self { pointer: Some(format!("#/{pointer}")), ..problem }
    }

    /// The same, with the byte where it goes wrong.
    pub(super) fn scope(place: &str, error: &ScopeError) -> Self {
        Self { position: Some(error.position()), ..Self::at(place, &error.to_string()) }
    }

    /// A value of the query that is none.
    pub(super) fn query(name: &str, error: &ScopeError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("the query: {name}: {error}"))
    }

    /// Why an invalidation of so many paths and wildcards was not made.
    pub(super) fn not_made(error: InvalidateError, paths: u64, wildcards: u64) -> Self {
        let detail = error.to_string();
        let over = match error {
            InvalidateError::TooManyPaths { limit, .. } => paths > limit,
            InvalidateError::TooManyWildcards { limit, .. } => wildcards > limit,
            // Until the month is over, or somebody pays more: not a matter of trying again soon.
            InvalidateError::OverBudget { .. } => return Self::new(StatusCode::PAYMENT_REQUIRED, detail),
            _ => true,
        };
        if over {
            // It will never be made.
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        }
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).with(RETRY_AFTER, "1")
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, pointer, position, header } = self;
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        let problem = api::Problem { title, status: status.as_u16(), detail, pointer, position };
        let mut response = (status, axum::Json(problem)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_limit_it_says_whether_to_try_again() {
        let too_many = InvalidateError::TooManyPaths { in_progress: 2_999, limit: 3_000 };
        let wildcards = InvalidateError::TooManyWildcards { in_progress: 0, limit: 15 };
        let budget = InvalidateError::OverBudget { amount: 2, budget: 1 };
        for (error, paths, wildcards, status, retry) in [
            (too_many, 2, 0, 429, true),
            (too_many, 3_001, 0, 422, false),
            (wildcards, 16, 16, 422, false),
            (budget, 1, 0, 402, false),
            (InvalidateError::Empty, 0, 0, 422, false),
        ] {
            let answer = Problem::not_made(error, paths, wildcards).into_response();
            assert_eq!(answer.status().as_u16(), status, "{error}");
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), retry, "{error}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }

    #[test]
    fn a_place_is_a_pointer_too() {
        assert_eq!(Problem::at("paths[2]", "wrong").pointer.as_deref(), Some("#/paths/2"));
        assert_eq!(Problem::at("host", "wrong").pointer.as_deref(), Some("#/host"));
    }
}
