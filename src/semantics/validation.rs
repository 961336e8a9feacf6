//! How a stored response is revalidated, and what a 304 changes (RFC 9111 §4.3, §3.2; RFC 9110 §8.8).

use http::HeaderMap;
use http::header::HeaderValue;

/// An entity tag (RFC 9110 §8.8.3), borrowed from its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Whether it has the prefix `W/`.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads a field that holds one entity tag.
    pub fn parse(value: &'a HeaderValue) -> Option<Self> {
        let _ = value;
        todo!()
    }

    /// Both strong and the same (RFC 9110 §8.8.3.2).
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The same, whether weak or not.
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// Puts `If-None-Match` and `If-Modified-Since` for a stored response into a fill's request
/// (RFC 9111 §4.3.1). False when the stored response has no validator, and nothing was put.
pub fn make_conditional(stored: &HeaderMap, request: &mut HeaderMap) -> bool {
    let _ = (stored, request);
    todo!()
}

/// What a 304 says about one stored response (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshens {
    /// It has a strong validator, and the stored response has the same.
    Strong,
    /// It has only a weak validator that matches, or none at all.
    Weak,
    /// It speaks of another response.
    No,
}

/// Whether a 304 with these fields can freshen a stored response with those.
pub fn freshens(stored: &HeaderMap, not_modified: &HeaderMap) -> Freshens {
    let _ = (stored, not_modified);
    todo!()
}

/// The stored fields after a 304 (RFC 9111 §3.2, §4.3.4): every field it brings replaces all stored lines of that
/// name, except those the stored body depends on.
pub fn freshen(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let _ = (stored, not_modified);
    todo!()
}
