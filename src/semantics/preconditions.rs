//! What do the viewer's own conditions come to, against a response at hand? (RFC 9110 §13, RFC 9111 §4.3.2)

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::freshness::parse_date;
use super::headers::only_line;
use super::validation::EntityTag;

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
    // RFC 9110 §15.4.5: a 304 stands for a 200. A 203 is a 200 that was changed on its way (§15.3.4). No other
    // answer has content that a viewer could keep and ask about.
    if !matches!(status, StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION) {
        return Verdict::Proceed;
    }
    // RFC 9110 §13.2.2: `If-None-Match` decides alone, even if nobody can read it.
    let not_modified = if request.contains_key(header::IF_NONE_MATCH) {
        request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|line| names_current(line, response.get(header::ETAG)))
    } else {
        unmodified_since(request, response, received)
    };
    if not_modified { Verdict::NotModified } else { Verdict::Proceed }
}

/// Whether a line of `If-None-Match` names the response at hand, by weak comparison (RFC 9110 §13.1.2).
fn names_current(line: &HeaderValue, current: Option<&HeaderValue>) -> bool {
    let list = line.as_bytes().trim_ascii();
    if list == b"*" {
        return true;
    }
    let Some(current) = current.filter(|current| !current.is_empty()) else {
        return false;
    };
    // Whoever sends back what it was sent has this response, be it an entity tag or an origin's idea of one.
    if list == current.as_bytes() {
        return true;
    }
    EntityTag::parse(current).is_some_and(|current| entity_tags(list).any(|tag| tag.weak_eq(&current)))
}

/// The entity tags of a list. What is not one is passed over, up to the next comma.
pub(crate) fn entity_tags(mut list: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    std::iter::from_fn(move || {
        loop {
            let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
            list = &list[start..];
            let tag = EntityTag::split_first(list);
            if let Some((_, rest)) = tag {
                list = rest;
            }
            let end = list.iter().position(|&byte| byte == b',').unwrap_or(list.len());
            let is_whole = list[..end].trim_ascii().is_empty();
            list = &list[end..];
            if let Some((tag, _)) = tag
                && is_whole
            {
                return Some(tag);
            }
        }
    })
}

/// Evaluates `If-Modified-Since` (RFC 9110 §13.1.3, RFC 9111 §4.3.2).
fn unmodified_since(request: &HeaderMap, response: &HeaderMap, received: SystemTime) -> bool {
    let Some(condition) = only_line(request, &header::IF_MODIFIED_SINCE) else {
        return false;
    };
    let modified = response.get(header::LAST_MODIFIED);
    let Some(since) = parse_date(condition) else {
        return false;
    };
    // Viewers usually send back what they were sent.
    if modified == Some(condition) {
        return true;
    }
    match modified.or_else(|| response.get(header::DATE)) {
        // A date nobody can read is no ground to say that nothing changed.
        Some(value) => parse_date(value).is_some_and(|modified| modified <= since),
        // A condition has whole seconds: what came within the second it names counts as come by then.
        None => since.checked_add(Duration::from_secs(1)).is_some_and(|end| received < end),
    }
}

/// The fields a 304 carries, out of those the 200 would have had (RFC 9110 §15.4.5).
///
/// What describes the content is removed: the viewer has it with its copy. What is about this answer, or about how
/// the copy may be used now, stays: caching fields, cookies, CORS and security policies. `Last-Modified` stays only
/// if there is no `ETag` to tell which copy is meant.
pub fn not_modified_fields(response: &mut HeaderMap) {
    // Most are not there: looking at the names that are costs less than looking for each of these.
    let content: SmallVec<[HeaderName; 4]> =
        response.keys().filter(|name| describes_content(name)).cloned().collect();
    for name in content {
        response.remove(name);
    }
    if response.contains_key(header::ETAG) {
        response.remove(header::LAST_MODIFIED);
    }
}

fn describes_content(name: &HeaderName) -> bool {
    match *name {
        header::CONTENT_TYPE
        | header::CONTENT_ENCODING
        | header::CONTENT_LANGUAGE
        | header::CONTENT_LENGTH
        | header::CONTENT_RANGE
        | header::ACCEPT_RANGES => true,
        _ => matches!(name.as_str(), "content-md5" | "content-digest" | "repr-digest" | "digest"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Lines, MONDAY, TUESDAY, WEDNESDAY, map};
    use super::*;

    const MONDAY_RFC850: &str = "Monday, 06-Nov-23 08:00:00 GMT";

    fn date(text: &'static str) -> SystemTime {
        parse_date(&HeaderValue::from_static(text)).unwrap()
    }

    /// Whether a 304 answers `request`, for a response that came on Tuesday.
    fn not_modified(request: Lines, status: StatusCode, response: Lines) -> bool {
        evaluate(&map(request), status, &map(response), date(TUESDAY)) == Verdict::NotModified
    }

    #[test]
    fn if_none_match_finds_the_current_tag_by_weak_comparison() {
        // RFC 9110 §13.1.2: the condition, the current tag, whether it is named.
        for (condition, current, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("W/\"a\"", "W/\"a\"", true),
            ("\"a\", \"b\", \"c\"", "\"a\"", true),
            ("\"a\", \"b\", \"c\"", "\"b\"", true),
            ("\"a\",\"b\",W/\"c\"", "\"c\"", true),
            (",, \"a\" ,, \t\"b\",", "\"b\"", true),
            ("\"a,b\"", "\"a,b\"", true),
            ("\"x\", \"a,b\"", "\"a,b\"", true),
            ("\"x,\", \"a\"", "\"a\"", true),
            ("\"a,b\"", "\"a\"", false),
            ("\"x, \\\"a\\\"\"", "\"a\"", false),
            ("\"\"", "\"\"", true),
            ("*", "\"a\"", true),
            (" * ", "\"a\"", true),
            // Malformed members are passed over, good ones still count.
            ("", "\"a\"", false),
            ("a", "\"a\"", false),
            ("w/\"a\"", "\"a\"", false),
            ("\"a", "\"a\"", false),
            ("\"a\"b", "\"a\"", false),
            ("\"a\" \"b\"", "\"b\"", false),
            ("b, \"a\"", "\"a\"", true),
            ("\"x\"y, \"a\"", "\"a\"", true),
            ("*, \"b\"", "\"a\"", false),
            // What is sent back as it came is known, well-formed or not.
            ("a", "a", true),
            ("w/\"a\"", "w/\"a\"", true),
            ("\"a\"", "a", false),
            ("", "", false),
        ] {
            let request =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(condition))]);
            let response = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static(current))]);
            let verdict = evaluate(&request, StatusCode::OK, &response, date(TUESDAY));
            assert_eq!(verdict == Verdict::NotModified, expected, "{condition} {current}");
        }
    }

    #[test]
    fn every_line_of_if_none_match_counts() {
        let request = &[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")];
        for (etag, expected) in [("\"a\"", true), ("\"b\"", true), ("\"c\"", false)] {
            let response = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static(etag))]);
            let verdict = evaluate(&map(request), StatusCode::OK, &response, date(TUESDAY));
            assert_eq!(verdict == Verdict::NotModified, expected, "{etag}");
        }
    }

    #[test]
    fn if_none_match_decides_alone() {
        // RFC 9110 §13.2.2: the request, the response, whether a 304 answers.
        let response: Lines = &[("etag", "\"a\""), ("last-modified", MONDAY)];
        let cases: &[(Lines, Lines, bool)] = &[
            (&[("if-none-match", "\"b\""), ("if-modified-since", TUESDAY)], response, false),
            (&[("if-none-match", "garbage"), ("if-modified-since", TUESDAY)], response, false),
            (&[("if-none-match", "\"a\""), ("if-modified-since", "garbage")], response, true),
            (
                &[("if-none-match", "\"a\""), ("if-modified-since", MONDAY)],
                &[("last-modified", MONDAY)],
                false,
            ),
            (&[("if-none-match", "*")], &[], true),
            (&[], response, false),
        ];
        for &(request, response, expected) in cases {
            assert_eq!(not_modified(request, StatusCode::OK, response), expected, "{request:?}");
        }
    }

    #[test]
    fn if_modified_since_asks_last_modified_then_date_then_receipt() {
        // RFC 9110 §13.1.3, RFC 9111 §4.3.2: the condition, the response, whether a 304 answers.
        let cases: &[(&'static str, Lines, bool)] = &[
            (MONDAY, &[("last-modified", MONDAY)], true),
            (MONDAY_RFC850, &[("last-modified", MONDAY)], true),
            (TUESDAY, &[("last-modified", MONDAY)], true),
            (MONDAY, &[("last-modified", TUESDAY)], false),
            (TUESDAY, &[("last-modified", MONDAY), ("date", WEDNESDAY)], true),
            (MONDAY, &[("date", TUESDAY)], false),
            (WEDNESDAY, &[("date", TUESDAY)], true),
            (MONDAY, &[], false),
            (TUESDAY, &[], true),
            (WEDNESDAY, &[], true),
            (WEDNESDAY, &[("last-modified", "garbage"), ("date", MONDAY)], false),
            ("garbage", &[("last-modified", MONDAY)], false),
            ("garbage", &[("last-modified", "garbage")], false),
            ("", &[], false),
        ];
        for &(condition, response, expected) in cases {
            let request =
                HeaderMap::from_iter([(header::IF_MODIFIED_SINCE, HeaderValue::from_static(condition))]);
            let verdict = evaluate(&request, StatusCode::OK, &map(response), date(TUESDAY));
            assert_eq!(verdict == Verdict::NotModified, expected, "{condition} {response:?}");
        }
        let twice: Lines = &[("if-modified-since", TUESDAY), ("if-modified-since", TUESDAY)];
        assert!(!not_modified(twice, StatusCode::OK, &[("last-modified", MONDAY)]));
    }

    #[test]
    fn receipt_counts_in_whole_seconds() {
        let request = map(&[("if-modified-since", TUESDAY)]);
        for (after, expected) in [(0, true), (999, true), (1000, false)] {
            let received = date(TUESDAY) + Duration::from_millis(after);
            let verdict = evaluate(&request, StatusCode::OK, &HeaderMap::new(), received);
            assert_eq!(verdict == Verdict::NotModified, expected, "{after} ms after");
        }
    }

    #[test]
    fn conditions_hold_only_where_a_304_stands_for_content() {
        // RFC 9110 §13.2.1, §15.4.5
        let response: Lines = &[("etag", "\"a\""), ("last-modified", MONDAY)];
        for (status, expected) in [
            (200, true),
            (203, true),
            (204, false),
            (206, false),
            (301, false),
            (304, false),
            (404, false),
            (410, false),
            (500, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let etag: Lines = &[("if-none-match", "\"a\"")];
            assert_eq!(not_modified(etag, status, response), expected, "{status}");
            let any: Lines = &[("if-none-match", "*")];
            assert_eq!(not_modified(any, status, response), expected, "{status}");
            let since: Lines = &[("if-modified-since", MONDAY)];
            assert_eq!(not_modified(since, status, response), expected, "{status}");
        }
    }

    #[test]
    fn the_origin_s_conditions_are_left_to_it() {
        let request: Lines = &[("if-match", "\"b\""), ("if-unmodified-since", MONDAY)];
        let response: Lines = &[("etag", "\"a\""), ("last-modified", TUESDAY)];
        assert!(!not_modified(request, StatusCode::OK, response));
    }

    #[test]
    fn a_304_does_not_describe_content() {
        // RFC 9110 §15.4.5
        let kept: Lines = &[
            ("cache-control", "max-age=60"),
            ("content-location", "/a"),
            ("date", MONDAY),
            ("etag", "\"a\""),
            ("expires", TUESDAY),
            ("vary", "accept"),
            ("age", "1"),
            ("cache-status", "edge; hit"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "default-src 'self'"),
        ];
        let mut response = map(kept);
        response.extend(map(&[
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("content-length", "5"),
            ("content-range", "bytes 0-4/5"),
            ("accept-ranges", "bytes"),
            ("last-modified", MONDAY),
        ]));
        not_modified_fields(&mut response);
        assert_eq!(response, map(kept));
    }

    #[test]
    fn last_modified_stands_in_for_a_missing_tag() {
        let mut response = map(&[("last-modified", MONDAY), ("content-length", "5")]);
        not_modified_fields(&mut response);
        assert_eq!(response, map(&[("last-modified", MONDAY)]));
    }
}
