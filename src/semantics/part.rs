//! Which bytes does an answer have, and of how many? (RFC 9110 §14.4, §14.6, §15.3.7)

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::headers::only_line;
use super::range::parse_position;

/// `Content-Range: bytes first-last/length`.
pub fn content_range(range: &Range<u64>, length: u64) -> HeaderValue {
    HeaderValue::from_bytes(&spell(range, length)).expect("made here, of visible ASCII")
}

/// The values of `Content-Range` and `Content-Length` of an answer with one part, in one allocation.
pub fn part_fields(range: &Range<u64>, length: u64) -> (HeaderValue, HeaderValue) {
    let mut text = spell(range, length);
    let end = text.len();
    text.extend_from_slice(itoa::Buffer::new().format(range.end.saturating_sub(range.start)).as_bytes());
    let text = Bytes::from_owner(text);
    let value = |bytes| HeaderValue::from_maybe_shared(bytes).expect("made here, of visible ASCII");
    (value(text.slice(..end)), value(text.slice(end..)))
}

/// By `format!` it takes thrice as long, and every part has one.
fn spell(range: &Range<u64>, length: u64) -> SmallVec<[u8; 64]> {
    let mut value = SmallVec::new();
    let mut digits = itoa::Buffer::new();
    value.extend_from_slice(b"bytes ");
    value.extend_from_slice(digits.format(range.start).as_bytes());
    value.push(b'-');
    value.extend_from_slice(digits.format(range.end.saturating_sub(1)).as_bytes());
    value.push(b'/');
    value.extend_from_slice(digits.format(length).as_bytes());
    value
}

/// `Content-Range: bytes */length`, for a 416.
pub fn unsatisfied_range(length: u64) -> HeaderValue {
    ascii(format!("bytes */{length}"))
}

/// Reads `Content-Range: bytes first-last/length` (RFC 9110 §14.4): the range and the length of the whole. `None` for
/// anything else, an unknown length included.
pub fn parse_content_range(response: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let value = only_line(response, &header::CONTENT_RANGE)?.as_bytes();
    let (unit, value) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let slash = value.iter().position(|&byte| byte == b'/')?;
    let dash = value.iter().position(|&byte| byte == b'-')?;
    let first = parse_position(value.get(..dash)?)?;
    let last = parse_position(value.get(dash + 1..slash)?)?;
    let length = parse_position(&value[slash + 1..])?;
    (first <= last && last < length).then(|| (first..last + 1, length))
}

/// Takes out the digests of a message's content: that of a part is another than that of the whole. One of the
/// representation, such as `Repr-Digest`, is the same for both (RFC 9530 §2, §3; RFC 1864).
pub fn drop_content_digests(response: &mut HeaderMap) {
    let is_digest = |name: &&HeaderName| matches!(name.as_str(), "content-digest" | "content-md5");
    while let Some(name) = response.keys().find(is_digest).cloned() {
        response.remove(name);
    }
}

/// The frame of a `multipart/byteranges` body (RFC 9110 §14.6).
#[derive(Clone, Debug)]
pub struct Multipart {
    /// The value of `Content-Type`.
    pub content_type: HeaderValue,
    /// What stands before each part's bytes: delimiter and part header.
    pub openings: Vec<Bytes>,
    /// What stands after the last part.
    pub closing: Bytes,
    /// The length of the whole body, parts included.
    pub length: u64,
}

/// Frames `parts` of a representation of `content_type`. `seed` makes the boundary; it should not be guessable
/// from the content.
pub fn multipart(
    parts: &[Range<u64>],
    length: u64,
    content_type: Option<&HeaderValue>,
    seed: u64,
) -> Multipart {
    let boundary = format!("{seed:016x}");
    let openings: Vec<Bytes> = parts
        .iter()
        .enumerate()
        .map(|(position, part)| opening(&boundary, position == 0, content_type, &content_range(part, length)))
        .collect();
    let closing = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let framing = openings.iter().chain([&closing]).map(|frame| frame.len() as u64);
    let content = parts.iter().map(|part| part.end.saturating_sub(part.start));
    Multipart {
        content_type: ascii(format!("multipart/byteranges; boundary={boundary}")),
        length: framing.chain(content).fold(0, u64::saturating_add),
        openings,
        closing,
    }
}

fn opening(
    boundary: &str,
    is_first: bool,
    content_type: Option<&HeaderValue>,
    content_range: &HeaderValue,
) -> Bytes {
    let mut opening = Vec::with_capacity(128);
    // RFC 2046 §5.1.1: the line break before a delimiter belongs to it. The first one needs none.
    if !is_first {
        opening.extend_from_slice(b"\r\n");
    }
    opening.extend_from_slice(b"--");
    opening.extend_from_slice(boundary.as_bytes());
    if let Some(content_type) = content_type {
        opening.extend_from_slice(b"\r\nContent-Type: ");
        opening.extend_from_slice(content_type.as_bytes());
    }
    opening.extend_from_slice(b"\r\nContent-Range: ");
    opening.extend_from_slice(content_range.as_bytes());
    opening.extend_from_slice(b"\r\n\r\n");
    opening.into()
}

fn ascii(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("made here, of visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_names_the_last_byte() {
        // RFC 9110 §14.4
        assert_eq!(content_range(&(0..500), 1234), "bytes 0-499/1234");
        assert_eq!(content_range(&(1233..1234), 1234), "bytes 1233-1233/1234");
        assert_eq!(unsatisfied_range(47022), "bytes */47022");
        let (range, length) = part_fields(&(u64::MAX - 9..u64::MAX), u64::MAX);
        assert_eq!(range, "bytes 18446744073709551606-18446744073709551614/18446744073709551615");
        assert_eq!(length, "9");
    }

    #[test]
    fn a_content_range_is_read_or_refused() {
        // RFC 9110 §14.4
        for (value, read) in [
            ("bytes 0-4/10", Some((0..5, 10))),
            ("BYTES 9-9/10", Some((9..10, 10))),
            ("bytes 0-4/*", None),
            ("bytes */10", None),
            ("bytes 5-4/10", None),
            ("bytes 4-10/10", None),
            ("bytes 4/10", None),
            ("bytes -4/10", None),
            ("items 0-4/10", None),
            ("bytes 0-18446744073709551615/18446744073709551615", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, HeaderValue::from_static(value))]);
            assert_eq!(parse_content_range(&headers), read, "{value}");
        }
    }

    #[test]
    fn the_length_of_a_multipart_body_is_what_is_sent() {
        // RFC 9110 §14.6
        let content = b"0123456789";
        let html = HeaderValue::from_static("text/html");
        for (content_type, expected) in [
            (
                Some(&html),
                "--00000000000000ff\r\nContent-Type: text/html\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                 \r\n--00000000000000ff\r\nContent-Type: text/html\r\nContent-Range: bytes 9-9/10\r\n\r\n9\
                 \r\n--00000000000000ff--\r\n",
            ),
            (
                None,
                "--00000000000000ff\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                 \r\n--00000000000000ff\r\nContent-Range: bytes 9-9/10\r\n\r\n9\
                 \r\n--00000000000000ff--\r\n",
            ),
        ] {
            let parts = [0..2, 9..10];
            let frame = multipart(&parts, 10, content_type, 255);
            assert_eq!(frame.content_type, "multipart/byteranges; boundary=00000000000000ff");
            let mut body = Vec::new();
            for (opening, part) in frame.openings.iter().zip(&parts) {
                body.extend_from_slice(opening);
                body.extend_from_slice(&content[part.start as usize..part.end as usize]);
            }
            body.extend_from_slice(&frame.closing);
            assert_eq!(String::from_utf8(body).unwrap(), expected);
            assert_eq!(frame.length, expected.len() as u64);
        }
    }
}
