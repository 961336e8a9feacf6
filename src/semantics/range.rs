//! Which bytes did the viewer ask for? (RFC 9110 §14, §13.1.5)

use std::ops::Range;
use std::time::Duration;

use http::HeaderMap;
use http::header;
use smallvec::{SmallVec, smallvec};

use super::freshness::parse_date;
use super::headers::only_line;
use super::validation::EntityTag;

/// What a `Range` field comes to, for a representation of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// No range, one that is to be ignored, or an `If-Range` that does not hold: the whole body, 200.
    Whole,
    /// These ranges, ascending and not overlapping: 206. Never empty.
    Parts(SmallVec<[Range<u64>; 1]>),
    /// No range can be satisfied: 416.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` of a GET against the response that would answer it with 200.
///
/// Requests that only make work are answered whole, as RFC 9110 §14.2 and §17.15 allow: more than `max_ranges`,
/// ranges that overlap or do not ascend.
pub fn select(request: &HeaderMap, response: &HeaderMap, length: u64, max_ranges: usize) -> Selection {
    match only_line(request, &header::RANGE) {
        Some(range) if holds(request, response) => {
            select_ranges(range.as_bytes(), length, max_ranges).unwrap_or(Selection::Whole)
        }
        _ => Selection::Whole,
    }
}

/// Whether `If-Range`, if there is one, names the response at hand (RFC 9110 §13.1.5).
fn holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    if !request.contains_key(header::IF_RANGE) {
        return true;
    }
    let Some(condition) = only_line(request, &header::IF_RANGE) else {
        return false;
    };
    if let Some(tag) = EntityTag::parse(condition) {
        return response
            .get(header::ETAG)
            .and_then(EntityTag::parse)
            .is_some_and(|current| current.strong_eq(&tag));
    }
    let date = |name| response.get(name).and_then(parse_date);
    let (Some(condition), Some(modified)) = (parse_date(condition), date(header::LAST_MODIFIED)) else {
        return false;
    };
    // RFC 9110 §8.8.2.2: within the second of its last change a response may have changed once more.
    let is_strong = date(header::DATE)
        .and_then(|date| date.duration_since(modified).ok())
        .is_some_and(|since| since >= Duration::from_secs(1));
    is_strong && condition == modified
}

/// Reads a `Range` value (RFC 9110 §14.1.2). `None` when it is to be ignored.
fn select_ranges(value: &[u8], length: u64, max_ranges: usize) -> Option<Selection> {
    let equals = value.iter().position(|&byte| byte == b'=')?;
    if !value[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut parts: SmallVec<[Range<u64>; 1]> = smallvec![];
    let mut count = 0_usize;
    for spec in value[equals + 1..].split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if spec.is_empty() {
            continue;
        }
        count += 1;
        if count > max_ranges {
            return None;
        }
        match parse_spec(spec)? {
            // The end of nothing can be had, but `Content-Range` has no way to say so: 200 says it.
            Spec::Suffix(1..) if length == 0 => return None,
            spec => {
                let Some(part) = spec.within(length) else { continue };
                if parts.last().is_some_and(|previous| part.start < previous.end) {
                    return None;
                }
                parts.push(part);
            }
        }
    }
    match (count, parts.is_empty()) {
        (0, _) => None,
        (_, true) => Some(Selection::Unsatisfiable),
        (_, false) => Some(Selection::Parts(parts)),
    }
}

/// One member of a `Range` field. Positions too big for a `u64` are past any end, as is `u64::MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spec {
    From(u64),
    FromTo(u64, u64),
    Suffix(u64),
}

impl Spec {
    /// The bytes there are of it; `None` when there are none.
    fn within(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..length,
            Self::FromTo(first, last) => first..last.saturating_add(1).min(length),
            Self::Suffix(suffix) => length.saturating_sub(suffix)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// `None` when the member, and so the field, is invalid.
fn parse_spec(spec: &[u8]) -> Option<Spec> {
    let dash = spec.iter().position(|&byte| byte == b'-')?;
    match (&spec[..dash], &spec[dash + 1..]) {
        (b"", suffix) => Some(Spec::Suffix(parse_position(suffix)?)),
        (first, b"") => Some(Spec::From(parse_position(first)?)),
        (first, last) => {
            let (first, last) = (parse_position(first)?, parse_position(last)?);
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

pub(super) fn parse_position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |position, digit| {
        digit.is_ascii_digit().then(|| position.saturating_mul(10).saturating_add(u64::from(*digit - b'0')))
    })
}

/// Whether a request asks for one range, whatever the representation: one that an origin answers with one part.
pub fn is_single(request: &HeaderMap) -> bool {
    !request.contains_key(header::IF_RANGE) && only_spec(request).is_some()
}

/// The one range a request asks for, if it is one; `If-Range` is not looked at.
pub(crate) fn only_spec(request: &HeaderMap) -> Option<Spec> {
    let (unit, spec) = only_line(request, &header::RANGE)?.as_bytes().split_at_checked(6)?;
    (unit.eq_ignore_ascii_case(b"bytes=") && !spec.contains(&b',')).then(|| parse_spec(spec.trim_ascii()))?
}

/// Whether a request asks for the end of a representation.
pub(crate) fn is_suffix(request: &HeaderMap) -> bool {
    matches!(only_spec(request), Some(Spec::Suffix(_)))
}

/// The first range a request asks for, if it can be read; `If-Range` is not looked at.
pub(crate) fn first_spec(request: &HeaderMap) -> Option<Spec> {
    let (unit, specs) = only_line(request, &header::RANGE)?.as_bytes().split_at_checked(6)?;
    let mut specs = specs.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let first = specs.find(|spec| !spec.is_empty())?;
    unit.eq_ignore_ascii_case(b"bytes=").then(|| parse_spec(first))?
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Lines, MONDAY, map};
    use super::*;
    use http::header::HeaderValue;

    const MONDAY_RFC850: &str = "Monday, 06-Nov-23 08:00:00 GMT";
    const A_SECOND_LATER: &str = "Mon, 06 Nov 2023 08:00:01 GMT";

    fn parts(ranges: &[Range<u64>]) -> Selection {
        Selection::Parts(ranges.iter().cloned().collect())
    }

    fn part(range: Range<u64>) -> Selection {
        parts(&[range])
    }

    fn selected(range: &'static str, length: u64) -> Selection {
        let request = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        select(&request, &HeaderMap::new(), length, 4)
    }

    #[test]
    fn one_range_is_cut_from_what_there_is() {
        // RFC 9110 §14.1.2: the field, the range of ten bytes.
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-4", 0..5),
            ("bytes=5-9", 5..10),
            ("bytes=5-", 5..10),
            ("bytes=0-", 0..10),
            ("bytes=9-100", 9..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-11", 0..10),
            ("BYTES=0-4", 0..5),
            ("bytes= 0-4 ", 0..5),
            ("bytes=,0-4,,", 0..5),
            ("bytes=00-04", 0..5),
            ("bytes=0-99999999999999999999999999", 0..10),
            ("bytes=0-18446744073709551615", 0..10),
            ("bytes=-99999999999999999999999999", 0..10),
        ] {
            let selection = selected(range, 10);
            assert_eq!(selection, part(expected), "{range}");
            let Selection::Parts(parts) = selection else { unreachable!() };
            assert!(!parts.spilled(), "{range} allocates");
        }
    }

    #[test]
    fn several_ranges_are_served_if_ascending_and_apart() {
        // RFC 9110 §14.2, §17.15
        for (range, expected) in [
            ("bytes=0-0,9-9", parts(&[0..1, 9..10])),
            ("bytes=0-4 , 5-9", parts(&[0..5, 5..10])),
            ("bytes=0-0,-1", parts(&[0..1, 9..10])),
            ("bytes=0-0,2-2,4-4,6-", parts(&[0..1, 2..3, 4..5, 6..10])),
            // What cannot be satisfied is left out.
            ("bytes=0-0,10-,-0", part(0..1)),
            ("bytes=10-,0-0", part(0..1)),
            // Not worth it: descending, overlapping, too many.
            ("bytes=9-9,0-0", Selection::Whole),
            ("bytes=-1,0-0", Selection::Whole),
            ("bytes=0-4,4-9", Selection::Whole),
            ("bytes=0-,-5", Selection::Whole),
            ("bytes=0-0,0-0", Selection::Whole),
            ("bytes=0-0,1-1,2-2,3-3,4-4", Selection::Whole),
            ("bytes=10-,11-,12-,13-,14-", Selection::Whole),
        ] {
            assert_eq!(selected(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn what_is_not_a_byte_range_is_ignored() {
        // RFC 9110 §14.2
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-0",
            "bytes=0-0,1-0",
            "bytes=0-0,x",
            "bytes=+0-1",
            "bytes=0--1",
            "bytes=--1",
            "bytes=0 - 1",
            "bytes =0-1",
            "bytes:0-1",
            "items=0-1",
            "bytes=0-1;x",
        ] {
            assert_eq!(selected(range, 10), Selection::Whole, "{range}");
        }
        let twice: Lines = &[("range", "bytes=0-0"), ("range", "bytes=1-1")];
        assert_eq!(select(&map(twice), &HeaderMap::new(), 10, 4), Selection::Whole);
        assert_eq!(select(&HeaderMap::new(), &HeaderMap::new(), 10, 4), Selection::Whole);
    }

    #[test]
    fn ranges_past_the_end_cannot_be_satisfied() {
        // RFC 9110 §14.1.2: the field, the length, what is selected.
        for (range, length, expected) in [
            ("bytes=10-", 10, Selection::Unsatisfiable),
            ("bytes=10-20,-0", 10, Selection::Unsatisfiable),
            ("bytes=-0", 10, Selection::Unsatisfiable),
            ("bytes=99999999999999999999999999-", 10, Selection::Unsatisfiable),
            ("bytes=18446744073709551615-", u64::MAX, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=0-0", 0, Selection::Unsatisfiable),
            ("bytes=-0", 0, Selection::Unsatisfiable),
            ("bytes=-1", 0, Selection::Whole),
            ("bytes=-1,1-0", 0, Selection::Whole),
        ] {
            assert_eq!(selected(range, length), expected, "{range} of {length}");
        }
    }

    #[test]
    fn no_range_is_served_where_none_is_allowed() {
        let request = map(&[("range", "bytes=0-0")]);
        assert_eq!(select(&request, &HeaderMap::new(), 10, 0), Selection::Whole);
    }

    #[test]
    fn if_range_holds_for_the_same_strong_validator_only() {
        // RFC 9110 §13.1.5, §8.8.2.2: the condition, the response, whether the range is served.
        let dated: Lines = &[("last-modified", MONDAY), ("date", A_SECOND_LATER)];
        let cases: &[(&'static str, Lines, bool)] = &[
            ("\"a\"", &[("etag", "\"a\"")], true),
            ("\"a\"", &[("etag", "\"b\"")], false),
            ("\"a\"", &[("etag", "W/\"a\"")], false),
            ("W/\"a\"", &[("etag", "\"a\"")], false),
            ("W/\"a\"", &[("etag", "W/\"a\"")], false),
            ("\"a\"", &[], false),
            ("\"a\", \"b\"", &[("etag", "\"a\"")], false),
            ("*", &[("etag", "\"a\"")], false),
            ("a", &[("etag", "a")], false),
            ("", &[("etag", "")], false),
            (MONDAY, dated, true),
            (MONDAY_RFC850, dated, true),
            (A_SECOND_LATER, dated, false),
            (MONDAY, &[("last-modified", MONDAY), ("date", MONDAY)], false),
            (MONDAY, &[("last-modified", A_SECOND_LATER), ("date", MONDAY)], false),
            (MONDAY, &[("last-modified", MONDAY)], false),
            (MONDAY, &[("date", A_SECOND_LATER)], false),
        ];
        for &(condition, response, expected) in cases {
            let request = HeaderMap::from_iter([
                (header::RANGE, HeaderValue::from_static("bytes=0-0")),
                (header::IF_RANGE, HeaderValue::from_static(condition)),
            ]);
            let selection = select(&request, &map(response), 10, 4);
            let expected = if expected { part(0..1) } else { Selection::Whole };
            assert_eq!(selection, expected, "{condition} {response:?}");
        }
    }

    #[test]
    fn if_range_alone_means_nothing_and_twice_does_not_hold() {
        let response = map(&[("etag", "\"a\"")]);
        let alone = map(&[("if-range", "\"a\"")]);
        assert_eq!(select(&alone, &response, 10, 4), Selection::Whole);
        let twice = map(&[("range", "bytes=10-"), ("if-range", "\"a\""), ("if-range", "\"a\"")]);
        assert_eq!(select(&twice, &response, 10, 4), Selection::Whole);
    }

    #[test]
    fn one_range_is_told_from_several() {
        for (value, single) in [
            ("bytes=0-4", true),
            ("bytes=-4", true),
            ("bytes=4-", true),
            ("bytes=0-4,6-7", false),
            ("bytes=", false),
            ("items=0-4", false),
            ("bytes=b-a", false),
        ] {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(value))]);
            assert_eq!(is_single(&headers), single, "{value}");
        }
        assert!(!is_single(&map(&[("range", "bytes=0-4"), ("if-range", "\"a\"")])));
    }
}
