//! Which statuses may be cached without being told to, and which are understood? (RFC 9110 §15, RFC 9111 §3)

use http::StatusCode;

/// RFC 9110 §15.1: what a cache may keep on its own account. 206 is missing: a part is judged as the 200 it is a
/// part of.
pub(super) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The final statuses of RFC 9110 §15 that this cache does everything for that their caching asks, in the sense of
/// RFC 9111 §3 and must-understand.
pub(super) fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// Whether a status reports a failure of the server. RFC 9110 §15 has statuses from 600 on, which nobody should send,
/// taken for one.
pub(crate) fn is_server_error(status: StatusCode) -> bool {
    status.as_u16() >= 500
}
