//! What the demonstration's pages are made of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A document with validators, so that it can be asked for conditionally.
pub(super) struct Document {
    pub(super) media_type: &'static str,
    pub(super) cache_control: &'static str,
    pub(super) modified: SystemTime,
    pub(super) content: &'static [u8],
}

impl Document {
    /// The document, or a 304 if the request names its entity tag (RFC 9110 §13.1.2).
    pub(super) fn answer(self, request: &HeaderMap) -> Response {
        let mut hasher = DefaultHasher::new();
        self.content.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|tags| tags == "*" || tags.to_str().is_ok_and(|tags| tags.contains(&tag)));
        let head = [
            (header::CACHE_CONTROL, self.cache_control.to_owned()),
            (header::ETAG, tag),
            (header::LAST_MODIFIED, httpdate::fmt_http_date(self.modified)),
        ];
        if known {
            return (StatusCode::NOT_MODIFIED, head).into_response();
        }
        (head, [(header::CONTENT_TYPE, self.media_type)], self.content).into_response()
    }
}

/// The language a viewer names first, of those there are; and its greeting.
pub(super) fn greeting(request: &HeaderMap) -> (&'static str, &'static str) {
    let wanted =
        request.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match wanted.get(..2) {
        Some("de") => ("de", "Guten Tag!\n"),
        Some("fr") => ("fr", "Bonjour !\n"),
        _ => ("en", "Hello!\n"),
    }
}

/// The number in a viewer's cookie.
pub(super) fn visitor(request: &HeaderMap) -> Option<u32> {
    request
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("visitor=")?.parse().ok())
}

/// A number for a new viewer. It tells viewers apart and protects nothing.
pub(super) fn new_visitor() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
}
