//! Which fields travel, and which stay on their connection? (RFC 9110 §7.6.1, RFC 9111 §3.1)

use http::HeaderMap;
use http::header::HeaderName;

/// Whether a field is about one connection only.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    let _ = name;
    todo!()
}

/// Removes hop-by-hop fields and those `Connection` nominates, except the ones it may not nominate away:
/// `Host`, `Content-Length`, `Authorization`, `Cookie`, `Cache-Control`, `Vary`, `Set-Cookie` and the forwarding fields.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let _ = headers;
    todo!()
}

/// Makes a viewer's request head fit for a fill, whose answer is for everyone: no conditions, no range, no
/// expectation, no body, no hop-by-hop fields.
pub fn prepare_fill(headers: &mut HeaderMap) {
    let _ = headers;
    todo!()
}
