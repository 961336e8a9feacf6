//! What does a write make invalid? (RFC 9111 §4.4)

use http::{HeaderMap, Method, StatusCode, Uri};

/// Whether `method` is known to leave the origin's state alone (RFC 9110 §9.2.1). Unknown methods are not.
pub fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    ) || method.as_str() == "QUERY"
}

/// Whether this answer to an unsafe method says that it worked, so that stored responses are invalid.
pub fn invalidates(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Other URIs of the same origin that an answer to a write names: its `Location` and `Content-Location`, resolved
/// against `target`, which is absolute. Each is absolute again.
pub fn also_invalidated(target: &Uri, response: &HeaderMap) -> Vec<Uri> {
    let _ = (target, response);
    todo!()
}
