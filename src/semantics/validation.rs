//! How a stored response is revalidated, and what a 304 changes (RFC 9111 §4.3, §3.2; RFC 9110 §8.8).

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::headers::{only_line, strip_hop_by_hop};

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
        let (tag, rest) = Self::split_first(value.as_bytes().trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the entity tag that `list` begins with, and returns what follows it.
    ///
    /// White space between the quotes is not in the grammar, but it is in use and does no harm.
    pub(super) fn split_first(list: &'a [u8]) -> Option<(Self, &'a [u8])> {
        // RFC 9110 §8.8.3: the prefix is case-sensitive.
        let (weak, quoted) = match list.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, list),
        };
        let quoted = quoted.strip_prefix(b"\"")?;
        let end = quoted.iter().position(|&byte| byte == b'"')?;
        let opaque = &quoted[..end];
        Some((Self { weak, opaque }, &quoted[end + 1..]))
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
///
/// Both values go as the origin sent them: it knows its own spelling best. Conditions the request had are removed in
/// any case, since its sender's copy is not ours.
pub fn make_conditional(stored: &HeaderMap, request: &mut HeaderMap) -> bool {
    let mut conditional = false;
    for (validator, condition) in
        [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)]
    {
        request.remove(&condition);
        if let Some(value) = stored.get(validator).filter(|value| !value.is_empty()) {
            request.insert(condition, value.clone());
            conditional = true;
        }
    }
    conditional
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
    let both = |name: HeaderName| (stored.get(&name), not_modified.get(&name));
    let dates = match both(header::LAST_MODIFIED) {
        (_, None) => None,
        (ours, theirs) => Some(ours == theirs),
    };
    let (ours, theirs) = both(header::ETAG);
    let Some(theirs) = theirs else {
        // Without any validator it answers the conditions it was asked with, and those were ours.
        return if dates == Some(false) { Freshens::No } else { Freshens::Weak };
    };
    match (ours.and_then(EntityTag::parse), EntityTag::parse(theirs)) {
        (Some(ours), Some(theirs)) if ours.strong_eq(&theirs) => Freshens::Strong,
        (Some(ours), Some(theirs)) if !ours.weak_eq(&theirs) => Freshens::No,
        (Some(_), Some(theirs)) if theirs.weak => Freshens::Weak,
        // An origin that sends an unquoted tag once sends it again.
        (None, None) if ours == Some(theirs) => Freshens::Weak,
        // A tag we cannot compare, or a strong one where ours is weak, as from an origin that compresses a 200 and
        // weakens its tag, but does not touch the 304. The date decides.
        _ if dates == Some(true) => Freshens::Weak,
        _ => Freshens::No,
    }
}

/// Whether a response says which one it is about.
pub fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(header::ETAG) || response.contains_key(header::LAST_MODIFIED)
}

/// Whether a response has a strong entity tag, by which its parts can be told from those of another.
pub fn has_strong_tag(response: &HeaderMap) -> bool {
    same_strong_tag(response, response)
}

/// Whether two responses have the same strong entity tag, so that their parts belong together (RFC 9111 §3.4).
pub fn same_strong_tag(one: &HeaderMap, other: &HeaderMap) -> bool {
    let tag = |fields| only_line(fields, &header::ETAG).and_then(EntityTag::parse);
    match (tag(one), tag(other)) {
        (Some(one), Some(other)) => one.strong_eq(&other),
        _ => false,
    }
}

/// Whether the answer to a HEAD describes the stored response: the validators and the length it states are the same
/// (RFC 9111 §4.3.5).
pub fn describes(stored: &HeaderMap, head: &HeaderMap) -> bool {
    [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH]
        .iter()
        .all(|name| head.get(name).is_none_or(|value| stored.get(name) == Some(value)))
}

/// The stored fields after a 304 (RFC 9111 §3.2, §4.3.4): every field it brings replaces all stored lines of that
/// name, except those the stored body depends on.
///
/// `Age` and `Date` are about a message, not about what it carries, and so come from the 304 alone: an `Age` it does
/// not have was that of the older answer (§4.2.3). A 304 without a `Date` gets one on receipt, like any response.
pub fn freshen(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut update = not_modified.clone();
    strip_hop_by_hop(&mut update);
    let mut fresh = stored.clone();
    fresh.remove(header::AGE);
    fresh.remove(header::DATE);
    for name in update.keys().filter(|name| !describes_stored_body(name)) {
        let mut lines = update.get_all(name).iter();
        if let Some(first) = lines.next() {
            fresh.insert(name, first.clone());
        }
        for line in lines {
            fresh.append(name, line.clone());
        }
    }
    fresh
}

/// Fields that go with the stored bytes (RFC 9111 §3.2). `Content-Type` is not among them: the bytes are kept as they
/// came, so that a corrected type applies to them. `ETag` is: the tag of a 304 that freshens differs at
/// most in strength, and strength is a promise about the bytes it came with.
fn describes_stored_body(name: &HeaderName) -> bool {
    const DESCRIBING: [HeaderName; 8] = [
        header::ETAG,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
    ];
    DESCRIBING.contains(name)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Lines, MONDAY, TUESDAY, map};
    use super::*;

    #[test]
    fn entity_tags_are_read_as_written() {
        // RFC 9110 §8.8.3
        for (value, expected) in [
            ("\"\"", Some((false, ""))),
            ("\"a\"", Some((false, "a"))),
            ("W/\"a\"", Some((true, "a"))),
            ("\"a,b\"", Some((false, "a,b"))),
            ("\"W/\"", Some((false, "W/"))),
            ("w/\"a\"", None),
            ("W\"a\"", None),
            ("W/ \"a\"", None),
            ("a", None),
            ("\"", None),
            ("\"a", None),
            ("\"a\"b", None),
            ("\"a\", \"b\"", None),
            ("*", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(value);
            let expected = expected.map(|(weak, opaque)| EntityTag { weak, opaque: opaque.as_bytes() });
            assert_eq!(EntityTag::parse(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn obsolete_text_is_part_of_a_tag() {
        let value = HeaderValue::from_bytes(b"\"\xfc\"").unwrap();
        assert_eq!(EntityTag::parse(&value).unwrap().opaque, b"\xfc");
    }

    #[test]
    fn comparison_follows_the_table() {
        // RFC 9110 §8.8.3.2
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let (one, other) = (HeaderValue::from_static(one), HeaderValue::from_static(other));
            let (one, other) = (EntityTag::parse(&one).unwrap(), EntityTag::parse(&other).unwrap());
            assert_eq!(one.strong_eq(&other), strong);
            assert_eq!(other.strong_eq(&one), strong);
            assert_eq!(one.weak_eq(&other), weak);
            assert_eq!(other.weak_eq(&one), weak);
        }
    }

    #[test]
    fn a_fill_asks_with_the_stored_validators_only() {
        // RFC 9111 §4.3.1
        let cases: &[(Lines, Lines, bool)] = &[
            (&[], &[], false),
            (&[("etag", "")], &[], false),
            (&[("etag", "W/\"a\"")], &[("if-none-match", "W/\"a\"")], true),
            (&[("etag", "a")], &[("if-none-match", "a")], true),
            (&[("last-modified", MONDAY)], &[("if-modified-since", MONDAY)], true),
            (
                &[("etag", "\"a\""), ("last-modified", MONDAY)],
                &[("if-none-match", "\"a\""), ("if-modified-since", MONDAY)],
                true,
            ),
        ];
        for &(stored, expected, conditional) in cases {
            let mut request = map(&[
                ("if-none-match", "\"theirs\""),
                ("if-none-match", "*"),
                ("if-modified-since", TUESDAY),
            ]);
            assert_eq!(make_conditional(&map(stored), &mut request), conditional, "{stored:?}");
            assert_eq!(request, map(expected), "{stored:?}");
        }
    }

    #[test]
    fn a_304_freshens_what_its_validators_name() {
        // RFC 9111 §4.3.4: stored, the 304, what it says.
        let cases: &[(Lines, Lines, Freshens)] = &[
            (&[("etag", "\"a\"")], &[("etag", "\"a\"")], Freshens::Strong),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], Freshens::No),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], Freshens::Weak),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], Freshens::Weak),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"b\"")], Freshens::No),
            // A strong validator that the stored response does not have.
            (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], Freshens::No),
            (
                &[("etag", "W/\"a\""), ("last-modified", MONDAY)],
                &[("etag", "\"a\""), ("last-modified", MONDAY)],
                Freshens::Weak,
            ),
            (
                &[("etag", "\"a\""), ("last-modified", MONDAY)],
                &[("etag", "\"b\""), ("last-modified", MONDAY)],
                Freshens::No,
            ),
            (&[], &[("etag", "\"a\"")], Freshens::No),
            (&[("etag", "a")], &[("etag", "a")], Freshens::Weak),
            (&[("etag", "a")], &[("etag", "b")], Freshens::No),
            (&[("last-modified", MONDAY)], &[("last-modified", MONDAY)], Freshens::Weak),
            (&[("last-modified", MONDAY)], &[("last-modified", TUESDAY)], Freshens::No),
            (&[("etag", "\"a\"")], &[("last-modified", TUESDAY)], Freshens::No),
            (&[("etag", "\"a\"")], &[], Freshens::Weak),
            (&[("last-modified", MONDAY)], &[], Freshens::Weak),
            (&[], &[], Freshens::Weak),
        ];
        for &(stored, not_modified, expected) in cases {
            assert_eq!(freshens(&map(stored), &map(not_modified)), expected, "{stored:?} {not_modified:?}");
        }
    }

    #[test]
    fn a_304_replaces_what_it_brings_and_keeps_the_rest() {
        // RFC 9111 §3.2: stored, the 304, the result.
        let cases: &[(Lines, Lines, Lines)] = &[
            (&[("a", "1")], &[("b", "2")], &[("a", "1"), ("b", "2")]),
            (&[("a", "1")], &[("a", "2")], &[("a", "2")]),
            (
                &[("a", "1"), ("a", "2"), ("b", "1")],
                &[("a", "4"), ("a", "3")],
                &[("a", "4"), ("a", "3"), ("b", "1")],
            ),
            (
                &[("cache-control", "max-age=1"), ("expires", MONDAY)],
                &[("cache-control", "max-age=60")],
                &[("cache-control", "max-age=60"), ("expires", MONDAY)],
            ),
            (
                &[("content-type", "text/plain")],
                &[("content-type", "text/plain;charset=utf-8")],
                &[("content-type", "text/plain;charset=utf-8")],
            ),
            // The stored body is what it was.
            (
                &[("content-length", "5"), ("content-encoding", "gzip"), ("etag", "\"a\"")],
                &[
                    ("content-length", "0"),
                    ("content-encoding", "br"),
                    ("content-range", "bytes 0-1/2"),
                    ("content-md5", "x"),
                ],
                &[("content-length", "5"), ("content-encoding", "gzip"), ("etag", "\"a\"")],
            ),
            // The exchange is another.
            (&[("age", "50"), ("date", MONDAY)], &[("date", TUESDAY)], &[("date", TUESDAY)]),
            (&[("age", "50"), ("date", MONDAY)], &[("age", "3")], &[("age", "3")]),
            // RFC 9111 §3.1
            (
                &[("a", "1")],
                &[
                    ("connection", "a, close"),
                    ("a", "2"),
                    ("keep-alive", "timeout=5"),
                    ("transfer-encoding", "chunked"),
                ],
                &[("a", "1")],
            ),
        ];
        for &(stored, not_modified, expected) in cases {
            assert_eq!(
                freshen(&map(stored), &map(not_modified)),
                map(expected),
                "{stored:?} {not_modified:?}"
            );
        }
    }

    #[test]
    fn a_weak_match_neither_weakens_nor_strengthens_the_stored_tag() {
        for (stored, update) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "\"a\"")] {
            let stored = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static(stored))]);
            let update = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static(update))]);
            assert_eq!(freshen(&stored, &update), stored);
        }
    }
}
