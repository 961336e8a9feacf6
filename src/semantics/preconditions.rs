//! What do the viewer's own conditions come to, against a response at hand? (RFC 9110 §13, RFC 9111 §4.3.2)

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};

/// What becomes of a conditional GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The response is sent, whole or in ranges.
    Proceed,
    /// The viewer's copy is good: 304.
    NotModified,
}

/// Evaluates `If-None-Match` or, where there is none, `If-Modified-Since`.
///
/// `received` is when the response came, for one with neither `Last-Modified` nor `Date`. `If-Match` and
/// `If-Unmodified-Since` are the origin's business.
pub fn evaluate(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    received: SystemTime,
) -> Verdict {
    let _ = (request, status, response, received);
    todo!()
}

/// The fields a 304 carries, out of those the 200 would have had (RFC 9110 §15.4.5).
pub fn not_modified_fields(response: &mut HeaderMap) {
    let _ = response;
    todo!()
}
