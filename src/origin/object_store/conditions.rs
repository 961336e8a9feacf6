//! Do the conditions of a request hold? (RFC 9110 §13)
//!
//! They are evaluated here, on what the store says the object is now: not every store looks at them, those that do
//! compare in ways of their own, and of a 304 nothing but the status comes through. A write is then sent on condition
//! that the object is still that one, which the store alone can tell.

use std::time::{Duration, SystemTime};

use http::header::{
    CACHE_CONTROL, ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED,
};
use http::{HeaderMap, StatusCode};

use super::refusal::Refusal;
use crate::semantics::freshness::parse_date;
use crate::semantics::headers::only_line;
use crate::semantics::preconditions::{self, Verdict, entity_tags};
use crate::semantics::validation::EntityTag;

/// Whether a read is conditional.
pub(super) fn on_read(request: &HeaderMap) -> bool {
    on_write(request) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Whether a write is conditional.
pub(super) fn on_write(request: &HeaderMap) -> bool {
    [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH].iter().any(|name| request.contains_key(name))
}

/// Whether a write is to go on only where nothing is, and the store can tell that by itself.
pub(super) fn only_new(request: &HeaderMap) -> bool {
    let is_alone = !request.contains_key(IF_MATCH) && !request.contains_key(IF_UNMODIFIED_SINCE);
    is_alone && only_line(request, &IF_NONE_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() == b"*")
}

/// What becomes of a GET or HEAD of the object with these fields.
pub(super) fn read(request: &HeaderMap, object: &HeaderMap) -> Result<Verdict, Refusal> {
    if !still(request, Some(object)) {
        return Err(Refusal::Condition);
    }
    // The object came at no time, so none is before a date: without `Last-Modified`, it has changed.
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    Ok(preconditions::evaluate(request, StatusCode::OK, object, received))
}

/// Whether a PUT or DELETE may be carried out, on the object with these fields or on none.
pub(super) fn write(request: &HeaderMap, object: Option<&HeaderMap>) -> Result<(), Refusal> {
    let none_match = match object {
        Some(object) if request.contains_key(IF_NONE_MATCH) => read(request, object)? == Verdict::Proceed,
        _ => true,
    };
    if still(request, object) && none_match { Ok(()) } else { Err(Refusal::Condition) }
}

/// Evaluates `If-Match` or, where there is none, `If-Unmodified-Since` (RFC 9110 §13.1.1, §13.1.4).
fn still(request: &HeaderMap, object: Option<&HeaderMap>) -> bool {
    if request.contains_key(IF_MATCH) {
        let Some(object) = object else { return false };
        let current = object.get(ETAG).and_then(EntityTag::parse);
        return request.get_all(IF_MATCH).iter().any(|line| {
            line.as_bytes().trim_ascii() == b"*"
                || current
                    .is_some_and(|current| entity_tags(line.as_bytes()).any(|tag| tag.strong_eq(&current)))
        });
    }
    let since = only_line(request, &IF_UNMODIFIED_SINCE).and_then(parse_date);
    let modified = object.and_then(|object| object.get(LAST_MODIFIED)).and_then(parse_date);
    match (since, modified) {
        (Some(since), Some(modified)) => modified <= since,
        // RFC 9110 §13.1.4: not a date, or none to compare it with: ignored.
        _ => true,
    }
}

/// The fields of a 304, out of those the 200 would have had. Unlike a cache, an origin repeats what guides a cache's update:
/// RFC 9110 §15.4.5.
pub(super) fn not_modified_fields(object: &mut HeaderMap) {
    const KEPT: [HeaderName; 4] = [CACHE_CONTROL, HeaderName::from_static("cache-tag"), ETAG, LAST_MODIFIED];
    let kept = KEPT.into_iter().filter_map(|name| object.remove(&name).map(|value| (name, value)));
    *object = kept.collect();
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::semantics::fixtures::{Lines, MONDAY, TUESDAY, WEDNESDAY, map};

    const OBJECT: Lines = &[("etag", "\"a\""), ("last-modified", TUESDAY)];

    #[test]
    fn conditions_are_taken_in_the_order_of_the_rfc() {
        // RFC 9110 §13.2.2: the request, the status of the answer to a GET and to a PUT.
        let cases: &[(Lines, u16, u16)] = &[
            (&[], 200, 200),
            (&[("if-match", "\"a\"")], 200, 200),
            (&[("if-match", "\"b\", \"a\"")], 200, 200),
            (&[("if-match", "*")], 200, 200),
            (&[("if-match", "\"b\"")], 412, 412),
            (&[("if-match", "W/\"a\"")], 412, 412),
            (&[("if-match", "a")], 412, 412),
            (&[("if-unmodified-since", TUESDAY)], 200, 200),
            (&[("if-unmodified-since", WEDNESDAY)], 200, 200),
            (&[("if-unmodified-since", MONDAY)], 412, 412),
            (&[("if-unmodified-since", "yesterday")], 200, 200),
            (&[("if-match", "\"a\""), ("if-unmodified-since", MONDAY)], 200, 200),
            (&[("if-none-match", "\"a\"")], 304, 412),
            (&[("if-none-match", "W/\"a\"")], 304, 412),
            (&[("if-none-match", "*")], 304, 412),
            (&[("if-none-match", "\"b\"")], 200, 200),
            (&[("if-modified-since", TUESDAY)], 304, 200),
            (&[("if-modified-since", MONDAY)], 200, 200),
            (&[("if-none-match", "\"b\""), ("if-modified-since", TUESDAY)], 200, 200),
            (&[("if-none-match", "\"b\""), ("if-match", "\"b\"")], 412, 412),
            (&[("if-none-match", "\"a\""), ("if-match", "\"a\"")], 304, 412),
        ];
        for &(request, get, put) in cases {
            let (request, object) = (map(request), map(OBJECT));
            let read = match read(&request, &object) {
                Ok(Verdict::Proceed) => 200,
                Ok(Verdict::NotModified) => 304,
                Err(refusal) => refusal.status().as_u16(),
            };
            let write =
                write(&request, Some(&object)).map_or_else(|refusal| refusal.status().as_u16(), |()| 200);
            assert_eq!((read, write), (get, put), "{request:?}");
        }
    }

    #[test]
    fn where_nothing_is_only_a_new_object_may_be_written() {
        let cases: &[(Lines, bool)] = &[
            (&[("if-none-match", "*")], true),
            (&[("if-none-match", "\"a\"")], true),
            (&[("if-match", "*")], false),
            (&[("if-match", "\"a\"")], false),
            (&[("if-unmodified-since", MONDAY)], true),
        ];
        for &(request, expected) in cases {
            assert_eq!(write(&map(request), None).is_ok(), expected, "{request:?}");
        }
    }

    #[test]
    fn without_validators_nothing_is_unmodified() {
        for request in [&[("if-modified-since", WEDNESDAY)][..], &[("if-none-match", "\"a\"")]] {
            assert_eq!(read(&map(request), &HeaderMap::new()), Ok(Verdict::Proceed));
        }
    }

    #[test]
    fn a_304_repeats_what_a_cache_is_updated_from() {
        let mut object = map(OBJECT);
        object.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        object.insert("cache-tag", HeaderValue::from_static("news"));
        let expected = object.clone();
        object.insert("content-type", HeaderValue::from_static("text/html"));
        object.insert("x-amz-meta-a", HeaderValue::from_static("b"));
        not_modified_fields(&mut object);
        assert_eq!(object, expected);
    }
}
