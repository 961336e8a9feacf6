//! Which bytes did the viewer ask for? (RFC 9110 §14, §13.1.5)

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderValue;
use smallvec::SmallVec;

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
pub fn select(request: &HeaderMap, response: &HeaderMap, length: u64, max_ranges: usize) -> Selection {
    let _ = (request, response, length, max_ranges);
    todo!()
}

/// `Content-Range: bytes first-last/length`.
pub fn content_range(range: &Range<u64>, length: u64) -> HeaderValue {
    let _ = (range, length);
    todo!()
}

/// `Content-Range: bytes */length`, for a 416.
pub fn unsatisfied_range(length: u64) -> HeaderValue {
    let _ = length;
    todo!()
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
    let _ = (parts, length, content_type, seed);
    todo!()
}
