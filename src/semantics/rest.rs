//! Which answer goes on with a body that broke off? (RFC 9110 §13.1.5, §14, §15.3.7.3)
//!
//! Bytes of one length under one strong entity tag are the same bytes, whoever sends them.

use std::ops::Range;

use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::headers::only_line;
use super::length::content_length;
use super::part::parse_content_range;
use super::slices::range_field;
use super::validation::EntityTag;

/// So much of an answer that begins before what is wanted is read for nothing.
const FOR_NOTHING: u64 = 64 << 20;

/// The bytes that a head has promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The strong entity tag of the whole.
    tag: HeaderValue,
    coding: Option<HeaderValue>,
    /// Which of the whole, of `total` bytes.
    bytes: Range<u64>,
    total: u64,
}

impl Promise {
    /// What the head of an answer to GET promises, if somebody else could keep it: 200 or one part, of a known length and
    /// with a strong entity tag. `length` is what is known of the body besides.
    pub fn of(status: StatusCode, fields: &HeaderMap, length: Option<u64>) -> Option<Self> {
        let tag = only_line(fields, &ETAG)?;
        EntityTag::parse(tag).filter(|tag| !tag.weak)?;
        let (bytes, total) = bytes(status, fields, length)?;
        let coding = coding(fields)?.cloned();
        (!bytes.is_empty()).then(|| Self { tag: tag.clone(), coding, bytes, total })
    }

    /// The bytes of the whole that are promised.
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }

    /// Makes the request that was answered one for these bytes of the same representation.
    ///
    /// Its own conditions are met. `If-Range` and not `If-Match` says ours: caches leave the latter to the origin (RFC 9111
    /// §4.3.2), and may have what is wanted.
    pub fn ask_for(&self, bytes: &Range<u64>, request: &mut HeaderMap) {
        for condition in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            request.remove(condition);
        }
        request.insert(RANGE, range_field(bytes));
        request.insert(IF_RANGE, self.tag.clone());
    }

    /// Which bytes of the same representation the answer to that has, if `wanted` are there: just these, or all there
    /// are from an origin without ranges, if there are not too many before them.
    pub fn kept_by(
        &self,
        wanted: &Range<u64>,
        status: StatusCode,
        fields: &HeaderMap,
        length: Option<u64>,
    ) -> Option<Range<u64>> {
        let (tag, own) = (EntityTag::parse(only_line(fields, &ETAG)?)?, EntityTag::parse(&self.tag)?);
        let coding = coding(fields)?;
        let (bytes, total) = bytes(status, fields, length)?;
        let has_them = match status {
            StatusCode::OK => wanted.start <= FOR_NOTHING && coding == self.coding.as_ref(),
            // RFC 9110 §15.3.7: who asks with `If-Range` may be told no more than the tag.
            _ => bytes == *wanted && coding.is_none_or(|coding| Some(coding) == self.coding.as_ref()),
        };
        (tag.strong_eq(&own) && total == self.total && has_them).then_some(bytes)
    }
}

/// The bytes that an answer has, and how many the whole has.
fn bytes(status: StatusCode, fields: &HeaderMap, length: Option<u64>) -> Option<(Range<u64>, u64)> {
    let stated = content_length(fields).ok()?;
    let (bytes, total) = match status {
        StatusCode::OK => {
            let total = stated.or(length)?;
            (0..total, total)
        }
        StatusCode::PARTIAL_CONTENT if !is_multipart(fields) => parse_content_range(fields)?,
        _ => return None,
    };
    let is_theirs = |length: Option<u64>| length.is_none_or(|length| length == bytes.end - bytes.start);
    (is_theirs(stated) && is_theirs(length)).then_some((bytes, total))
}

fn is_multipart(fields: &HeaderMap) -> bool {
    const MULTIPART: &[u8] = b"multipart/byteranges";
    fields.get_all(CONTENT_TYPE).iter().any(|value| {
        value.as_bytes().get(..MULTIPART.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(MULTIPART))
    })
}

/// How the bytes are coded, which some origins do without another tag. `None` if that is in several lines.
fn coding(fields: &HeaderMap) -> Option<Option<&HeaderValue>> {
    match only_line(fields, &CONTENT_ENCODING) {
        None if fields.contains_key(CONTENT_ENCODING) => None,
        coding => Some(coding),
    }
}

#[cfg(test)]
mod tests {

    use super::super::fixtures::map;
    use super::*;

    type Lines<'a> = &'a [(&'static str, &'static str)];

    const TAG: (&str, &str) = ("etag", "\"a\"");
    const GZIP: (&str, &str) = ("content-encoding", "gzip");

    fn promise(status: u16, lines: Lines<'_>, length: Option<u64>) -> Option<Promise> {
        Promise::of(StatusCode::from_u16(status).unwrap(), &map(lines), length)
    }

    #[test]
    fn only_what_can_be_told_apart_and_has_a_length_is_promised() {
        const LENGTH: (&str, &str) = ("content-length", "10");
        const PART: (&str, &str) = ("content-range", "bytes 5-9/20");
        for (status, lines, length, bytes) in [
            (200, &[TAG, LENGTH][..], None, Some((0..10, 10))),
            (200, &[TAG], Some(10), Some((0..10, 10))),
            (200, &[TAG, LENGTH, LENGTH], Some(10), Some((0..10, 10))),
            (200, &[TAG, LENGTH, GZIP], None, Some((0..10, 10))),
            (206, &[TAG, PART], None, Some((5..10, 20))),
            (206, &[TAG, PART, ("content-length", "5")], Some(5), Some((5..10, 20))),
            // Nothing by which the bytes could be told from others.
            (200, &[LENGTH], None, None),
            (200, &[("etag", "W/\"a\""), LENGTH], None, None),
            (200, &[("etag", "a"), LENGTH], None, None),
            (200, &[TAG, ("etag", "\"b\""), LENGTH], None, None),
            (200, &[TAG, LENGTH, GZIP, ("content-encoding", "br")], None, None),
            // No length, or two.
            (200, &[TAG], None, None),
            (200, &[TAG, LENGTH], Some(9), None),
            (200, &[TAG, LENGTH, ("content-length", "9")], None, None),
            (200, &[TAG, ("content-length", "+10")], None, None),
            (206, &[TAG, LENGTH], None, None),
            (206, &[TAG, ("content-range", "bytes 5-9/*")], None, None),
            (206, &[TAG, PART, LENGTH], None, None),
            (206, &[TAG, PART], Some(4), None),
            (206, &[TAG, PART, ("content-type", "Multipart/ByteRanges; boundary=x")], None, None),
            // Nothing to come, and nothing that a GET for the same would get.
            (200, &[TAG, ("content-length", "0")], None, None),
            (404, &[TAG, LENGTH], None, None),
            (203, &[TAG, LENGTH], None, None),
            (304, &[TAG, LENGTH], None, None),
        ] {
            let promise = promise(status, lines, length).map(|promise| (promise.bytes(), promise.total));
            assert_eq!(promise, bytes, "{status} {lines:?} {length:?}");
        }
    }

    #[test]
    fn the_rest_is_asked_for_by_its_range_and_tag_alone() {
        let promise = promise(200, &[TAG], Some(10)).unwrap();
        let mut request = map(&[
            ("accept", "*/*"),
            ("if-none-match", "\"b\""),
            ("if-modified-since", "Mon, 06 Nov 2023 08:00:00 GMT"),
            ("if-match", "*"),
            ("if-unmodified-since", "Mon, 06 Nov 2023 08:00:00 GMT"),
            ("if-range", "\"b\""),
            ("range", "bytes=0-"),
            ("range", "bytes=1-"),
        ]);
        promise.ask_for(&(4..10), &mut request);
        assert_eq!(request, map(&[("accept", "*/*"), ("range", "bytes=4-9"), ("if-range", "\"a\"")]));
    }

    #[test]
    fn the_same_bytes_go_on_and_no_others() {
        const REST: (&str, &str) = ("content-range", "bytes 4-9/10");
        let whole = promise(200, &[TAG], Some(10)).unwrap();
        for (status, lines, length, kept) in [
            (206, &[TAG, REST][..], None, Some(4..10)),
            (206, &[TAG, REST], Some(6), Some(4..10)),
            (206, &[TAG, REST, ("content-type", "text/html")], Some(6), Some(4..10)),
            // An origin without ranges.
            (200, &[TAG, ("content-length", "10")], None, Some(0..10)),
            (200, &[TAG], Some(10), Some(0..10)),
            // Other bytes, or who knows which.
            (206, &[("etag", "\"b\""), REST], None, None),
            (206, &[("etag", "W/\"a\""), REST], None, None),
            (206, &[REST], None, None),
            (206, &[TAG, TAG, REST], None, None),
            (206, &[TAG, REST, GZIP], None, None),
            (200, &[("etag", "\"b\"")], Some(10), None),
            (200, &[TAG], Some(11), None),
            (200, &[TAG], None, None),
            (200, &[TAG, GZIP], Some(10), None),
            // Another part.
            (206, &[TAG, ("content-range", "bytes 3-9/10")], None, None),
            (206, &[TAG, ("content-range", "bytes 5-9/10")], None, None),
            (206, &[TAG, ("content-range", "bytes 4-8/10")], None, None),
            (206, &[TAG, ("content-range", "bytes 4-9/11")], None, None),
            (206, &[TAG, ("content-range", "bytes 4-9/*")], None, None),
            (206, &[TAG], None, None),
            (206, &[TAG, REST], Some(10), None),
            (206, &[TAG, REST, ("content-type", "multipart/byteranges; boundary=x")], None, None),
            // No part.
            (304, &[TAG], None, None),
            (412, &[], None, None),
            (416, &[TAG, ("content-range", "bytes */10")], None, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(whole.kept_by(&(4..10), status, &map(lines), length), kept, "{status} {lines:?}");
        }
    }

    #[test]
    fn a_coding_is_the_same_or_for_a_part_not_said() {
        const REST: (&str, &str) = ("content-range", "bytes 4-9/10");
        let whole = promise(200, &[TAG, GZIP], Some(10)).unwrap();
        for (status, lines, length, kept) in [
            (206, &[TAG, REST, GZIP][..], 6, Some(4..10)),
            (206, &[TAG, REST], 6, Some(4..10)),
            (206, &[TAG, REST, ("content-encoding", "br")], 6, None),
            (206, &[TAG, REST, GZIP, GZIP], 6, None),
            (200, &[TAG, GZIP], 10, Some(0..10)),
            (200, &[TAG], 10, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                whole.kept_by(&(4..10), status, &map(lines), Some(length)),
                kept,
                "{status} {lines:?}"
            );
        }
    }

    #[test]
    fn only_so_much_is_read_for_nothing() {
        let total = FOR_NOTHING * 2;
        let whole = promise(200, &[TAG], Some(total)).unwrap();
        let kept = |start| whole.kept_by(&(start..total), StatusCode::OK, &map(&[TAG]), Some(total));
        assert_eq!(kept(FOR_NOTHING), Some(0..total));
        assert_eq!(kept(FOR_NOTHING + 1), None);
    }
}
