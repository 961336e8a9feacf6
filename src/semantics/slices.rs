//! Which slices does a request need, and which belong to one object? (RFC 9110 §14, RFC 9111 §3.3, §3.4)
//!
//! An object of known length is cut into slices of one size, counted from 0; the last may be shorter. Slices are put
//! together only if their validators say that they are of one object.

use std::ops::Range;
use std::time::Duration;

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::freshness::parse_date;
use super::headers::only_line;
use super::part;
use super::range::{self, Spec};
use super::validation::{EntityTag, has_strong_tag, same_strong_tag};

/// The bytes of a slice of an object `total` bytes long.
pub fn bytes_of(index: u64, size: u64, total: u64) -> Range<u64> {
    let start = index.saturating_mul(size).min(total);
    start..start.saturating_add(size).min(total)
}

/// The slice to ask for first when nothing is known of an object, as the bytes of one of unbounded length: the one with
/// the first byte of the first range. The end of an object is known when its beginning is there. `None` if the request
/// has no range that can be read, and so is for the whole.
pub fn first_wanted(request: &HeaderMap, size: u64) -> Option<Range<u64>> {
    let first = match range::first_spec(request)? {
        Spec::From(first) | Spec::FromTo(first, _) => first,
        Spec::Suffix(_) => 0,
    };
    Some(bytes_of(first / size.max(1), size, u64::MAX))
}

/// `Range: bytes=first-last`.
pub fn range_field(bytes: &Range<u64>) -> HeaderValue {
    let text = format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1));
    HeaderValue::try_from(text).expect("made here, of visible ASCII")
}

/// Whether the origin says that it serves ranges of this response (RFC 9110 §14.3).
pub fn takes_ranges(response: &HeaderMap) -> bool {
    let lines = response.get_all(ACCEPT_RANGES).iter();
    let mut units = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    units.any(|unit| unit.trim_ascii().eq_ignore_ascii_case(b"bytes"))
}

/// Whether slices of this response can be told from those of another: by a strong entity tag or, failing that, a
/// `Last-Modified` that is no longer in its last second (RFC 9110 §8.8.2.2).
pub fn can_be_told_apart(response: &HeaderMap) -> bool {
    let date = |name| only_line(response, &name).and_then(parse_date);
    has_strong_tag(response)
        || match (date(LAST_MODIFIED), date(DATE)) {
            (Some(modified), Some(date)) => {
                date.duration_since(modified).is_ok_and(|since| since >= Duration::from_secs(1))
            }
            _ => false,
        }
}

/// Whether a slice is of the same object as the stored head (RFC 9111 §3.4). Their lengths have been compared.
fn belongs(whole: &HeaderMap, slice: &HeaderMap) -> bool {
    if has_strong_tag(whole) {
        return same_strong_tag(whole, slice);
    }
    let tag = |fields| only_line(fields, &ETAG).and_then(EntityTag::parse);
    let same_tag = match (tag(whole), tag(slice)) {
        (Some(one), Some(other)) => one.weak_eq(&other),
        (None, None) => true,
        _ => false,
    };
    let same = |name| whole.get(&name) == slice.get(&name);
    same_tag && whole.contains_key(LAST_MODIFIED) && same(LAST_MODIFIED) && same(CONTENT_ENCODING)
}

/// What an origin's answer is, to a request for one slice of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The slice.
    Slice,
    /// The object is another by now, gone, or no longer served in ranges.
    Changed,
    /// Nothing that says anything about the object.
    Refused,
}

/// Judges the answer to a request for the bytes `asked` of an object of `total` bytes, whose stored head has the fields
/// `whole`.
pub fn judge(
    whole: &HeaderMap,
    total: u64,
    asked: &Range<u64>,
    status: StatusCode,
    answer: &HeaderMap,
) -> Answer {
    match status.as_u16() {
        206 => match part::parse_content_range(answer) {
            Some((_, length)) if length != total => Answer::Changed,
            Some((bytes, _)) if bytes == *asked => {
                if belongs(whole, answer) {
                    Answer::Slice
                } else {
                    Answer::Changed
                }
            }
            _ => Answer::Refused,
        },
        200..=399 | 404 | 410 | 412 | 416 => Answer::Changed,
        _ => Answer::Refused,
    }
}

/// Whether an answer to a request for a slice of something unknown may be one that the whole would have got, so that it is
/// for everyone: a redirect, or that there is nothing.
pub fn is_about_the_whole(status: StatusCode) -> bool {
    status == StatusCode::OK || matches!(status.as_u16(), 300..=399 | 404 | 410)
}

#[cfg(test)]
mod tests {
    use http::header::RANGE;

    use super::super::fixtures::{MONDAY, TUESDAY, map};
    use super::*;

    type Lines<'a> = &'a [(&'static str, &'static str)];

    #[test]
    fn slices_cover_an_object_and_no_more() {
        for (index, total, bytes) in
            [(0, 25, 0..10), (1, 25, 10..20), (2, 25, 20..25), (3, 25, 25..25), (0, 0, 0..0), (1, 20, 10..20)]
        {
            assert_eq!(bytes_of(index, 10, total), bytes, "{index} of {total}");
        }
        assert_eq!(bytes_of(u64::MAX, 10, u64::MAX), u64::MAX..u64::MAX);
    }

    #[test]
    fn the_slice_with_the_first_byte_is_asked_for_first() {
        for (range, wanted) in [
            ("bytes=0-0", Some(0..10)),
            ("bytes=9-30", Some(0..10)),
            ("bytes=10-", Some(10..20)),
            ("bytes=-5", Some(0..10)),
            ("bytes=-25", Some(0..10)),
            ("bytes=35-36,0-1", Some(30..40)),
            ("bytes=,35-36", Some(30..40)),
            ("bytes=x-", None),
            ("bytes=2-1", None),
            ("bytes=", None),
            ("lines=1-2", None),
            ("bytes=99999999999999999999-", Some(18_446_744_073_709_551_610..u64::MAX)),
        ] {
            let request = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
            assert_eq!(first_wanted(&request, 10), wanted, "{range}");
        }
        assert_eq!(first_wanted(&HeaderMap::new(), 10), None);
    }

    #[test]
    fn only_what_has_a_validator_of_its_bytes_is_cut() {
        let cases: &[(Lines<'_>, bool)] = &[
            (&[("etag", "\"a\"")], true),
            (&[("etag", "W/\"a\"")], false),
            (&[], false),
            (&[("last-modified", MONDAY), ("date", TUESDAY)], true),
            (&[("last-modified", MONDAY), ("date", MONDAY)], false),
            (&[("last-modified", MONDAY), ("date", "Mon, 06 Nov 2023 08:00:01 GMT")], true),
            (&[("last-modified", TUESDAY), ("date", MONDAY)], false),
            (&[("last-modified", MONDAY)], false),
            (&[("etag", "W/\"a\""), ("last-modified", MONDAY), ("date", TUESDAY)], true),
        ];
        for &(fields, expected) in cases {
            assert_eq!(can_be_told_apart(&map(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_slice_is_known_by_its_validator_its_place_and_the_length_of_the_whole() {
        const TAGGED: Lines<'_> = &[("etag", "\"a\"")];
        const DATED: Lines<'_> = &[("last-modified", MONDAY), ("content-encoding", "gzip")];
        const WEAK: Lines<'_> = &[("etag", "W/\"a\""), ("last-modified", MONDAY)];
        let here = ("content-range", "bytes 10-19/25");
        let cases: &[(Lines<'_>, u16, Lines<'_>, Answer)] = &[
            (TAGGED, 206, &[here, ("etag", "\"a\"")], Answer::Slice),
            (TAGGED, 206, &[here, ("etag", "\"b\"")], Answer::Changed),
            (TAGGED, 206, &[here, ("etag", "W/\"a\"")], Answer::Changed),
            (TAGGED, 206, &[here], Answer::Changed),
            (TAGGED, 206, &[("content-range", "bytes 10-19/26"), ("etag", "\"a\"")], Answer::Changed),
            (TAGGED, 206, &[("content-range", "bytes 10-18/25"), ("etag", "\"a\"")], Answer::Refused),
            (TAGGED, 206, &[("content-range", "bytes 10-19/*"), ("etag", "\"a\"")], Answer::Refused),
            (TAGGED, 206, &[("etag", "\"a\"")], Answer::Refused),
            (DATED, 206, &[here, DATED[0], DATED[1]], Answer::Slice),
            (DATED, 206, &[here, DATED[0]], Answer::Changed),
            (DATED, 206, &[here, ("last-modified", TUESDAY), DATED[1]], Answer::Changed),
            (DATED, 206, &[here, DATED[0], DATED[1], ("etag", "\"a\"")], Answer::Changed),
            (WEAK, 206, &[here, WEAK[0], WEAK[1]], Answer::Slice),
            (WEAK, 206, &[here, ("etag", "W/\"b\""), WEAK[1]], Answer::Changed),
            (TAGGED, 200, TAGGED, Answer::Changed),
            (TAGGED, 302, &[], Answer::Changed),
            (&[("etag", "W/\"a\"")], 206, &[here, ("etag", "W/\"a\"")], Answer::Changed),
            (TAGGED, 404, &[], Answer::Changed),
            (TAGGED, 410, &[], Answer::Changed),
            (TAGGED, 412, &[], Answer::Changed),
            (TAGGED, 416, &[], Answer::Changed),
            (TAGGED, 403, &[], Answer::Refused),
            (TAGGED, 500, &[], Answer::Refused),
        ];
        for &(whole, status, answer, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(&map(whole), 25, &(10..20), status, &map(answer));
            assert_eq!(judged, expected, "{whole:?} {status} {answer:?}");
        }
    }

    #[test]
    fn what_is_about_the_whole_is_for_everyone() {
        for (status, expected) in [
            (200, true),
            (206, false),
            (302, true),
            (304, true),
            (403, false),
            (404, true),
            (410, true),
            (416, false),
            (503, false),
        ] {
            assert_eq!(is_about_the_whole(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    #[test]
    fn ranges_are_taken_where_the_origin_says_so() {
        for (value, expected) in [("bytes", true), ("Bytes", true), ("none", false), ("lines, bytes", true)] {
            let fields = HeaderMap::from_iter([(ACCEPT_RANGES, HeaderValue::from_static(value))]);
            assert_eq!(takes_ranges(&fields), expected, "{value}");
        }
        assert!(!takes_ranges(&HeaderMap::new()));
    }
}
