//! Is what a PUT sent what a GET would get now? (RFC 9110 §9.3.4)

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, StatusCode};

use super::freshness::parse_date;
use super::headers::only_line;
use super::labels::CACHE_GROUPS;
use super::validation::EntityTag;
use crate::policy::CachePolicy;

/// What of a request describes the representation it carries (RFC 9110 §8), and how it is to be shown.
const FROM_REQUEST: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION];
/// What of an answer is about the representation that was saved, and how long and by which names it may be kept.
const FROM_ANSWER: [HeaderName; 6] = [ETAG, LAST_MODIFIED, DATE, CACHE_CONTROL, EXPIRES, CACHE_GROUPS];

/// Why it cannot be said that a GET would get what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotSaved {
    /// The answer is none that says that the target has a new representation.
    Status,
    /// Only a part was sent (RFC 9110 §14.5).
    Partial,
    /// What was sent is framed in a way that its recipient takes off, as S3 does with `aws-chunked`, and sends a validator of what
    /// is left.
    Framed,
    /// The answer has no validator, which alone says that nothing was changed on the way in.
    NoValidator,
    /// The validator may be that of the answer's own content: frameworks make weak entity tags of whatever they send.
    TagOfAnswer,
    /// A GET's answer would depend on its request, and there is no telling how.
    Varies,
}

/// The fields of the representation that a PUT left at its target, out of those of its request and of the answer.
///
/// RFC 9110 §9.3.4: an origin may send a validator in a successful answer to PUT only if it saved what was sent without
/// changing it. `has_content` says whether the answer has content of its own.
///
/// # Errors
/// The first reason found to doubt it.
pub fn saved(
    request: &HeaderMap,
    status: StatusCode,
    answer: &HeaderMap,
    has_content: bool,
    policy: &CachePolicy,
) -> Result<HeaderMap, NotSaved> {
    if !matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT) {
        return Err(NotSaved::Status);
    }
    if request.contains_key(CONTENT_RANGE) {
        return Err(NotSaved::Partial);
    }
    let codings =
        request.get_all(CONTENT_ENCODING).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if codings.into_iter().any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked")) {
        return Err(NotSaved::Framed);
    }
    if answer.contains_key(VARY) {
        return Err(NotSaved::Varies);
    }
    let dated = only_line(answer, &LAST_MODIFIED).is_some_and(|date| parse_date(date).is_some());
    match only_line(answer, &ETAG).and_then(EntityTag::parse) {
        Some(tag) if !tag.weak => {}
        _ if dated => {}
        Some(_) if has_content => return Err(NotSaved::TagOfAnswer),
        Some(_) => {}
        None => return Err(NotSaved::NoValidator),
    }
    let mut fields = HeaderMap::with_capacity(16);
    copy(request, &FROM_REQUEST, &mut fields);
    copy(answer, &FROM_ANSWER, &mut fields);
    copy(answer, &policy.targeted.fields, &mut fields);
    copy(answer, policy.tags.0.iter().map(|field| &field.name), &mut fields);
    Ok(fields)
}

fn copy<'a>(from: &HeaderMap, names: impl IntoIterator<Item = &'a HeaderName>, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Lines, map};
    use super::*;

    fn decide(request: Lines, status: u16, answer: Lines, has_content: bool) -> Result<HeaderMap, NotSaved> {
        let status = StatusCode::from_u16(status).unwrap();
        saved(&map(request), status, &map(answer), has_content, &CachePolicy::default())
    }

    #[test]
    fn only_a_validator_proves_that_nothing_was_changed() {
        const STRONG: Lines = &[("etag", "\"v\"")];
        const WEAK: Lines = &[("etag", "W/\"v\"")];
        const DATE: Lines = &[("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")];
        for (request, status, answer, has_content, expected) in [
            (&[][..], 200, STRONG, false, Ok(())),
            (&[], 201, STRONG, true, Ok(())),
            (&[], 204, STRONG, false, Ok(())),
            (&[], 204, WEAK, false, Ok(())),
            (&[], 200, WEAK, true, Err(NotSaved::TagOfAnswer)),
            (&[], 204, DATE, false, Ok(())),
            (&[], 200, DATE, true, Ok(())),
            (
                &[],
                200,
                &[("etag", "W/\"v\""), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")],
                true,
                Ok(()),
            ),
            (&[], 204, &[], false, Err(NotSaved::NoValidator)),
            (&[], 204, &[("last-modified", "yesterday")], false, Err(NotSaved::NoValidator)),
            (&[], 204, &[("etag", "v")], false, Err(NotSaved::NoValidator)),
            (&[], 204, &[("etag", "\"a\""), ("etag", "\"b\"")], false, Err(NotSaved::NoValidator)),
            (&[], 202, STRONG, false, Err(NotSaved::Status)),
            (&[], 205, STRONG, false, Err(NotSaved::Status)),
            (&[], 303, STRONG, false, Err(NotSaved::Status)),
            (&[("content-range", "bytes 0-1/2")], 204, STRONG, false, Err(NotSaved::Partial)),
            (&[("content-encoding", "gzip, AWS-chunked")], 200, STRONG, false, Err(NotSaved::Framed)),
            (&[("content-encoding", "gzip")], 200, STRONG, false, Ok(())),
            (&[], 204, &[("etag", "\"v\""), ("vary", "origin")], false, Err(NotSaved::Varies)),
        ] {
            let decided = decide(request, status, answer, has_content).map(drop);
            assert_eq!(decided, expected, "{status} {answer:?} {has_content}");
        }
    }

    #[test]
    fn the_representation_has_the_requests_description_and_the_answers_validators() {
        let fields = decide(
            &[
                ("content-type", "text/css"),
                ("content-encoding", "gzip"),
                ("content-length", "5"),
                ("cache-control", "no-cache"),
                ("cookie", "s=1"),
                ("etag", "\"a claim\""),
            ],
            201,
            &[
                ("content-type", "text/plain"),
                ("content-length", "2"),
                ("etag", "\"v\""),
                ("cache-control", "max-age=5"),
                ("cache-tag", "a"),
                ("cdn-cache-control", "max-age=9"),
                ("location", "/a"),
                ("set-cookie", "s=2"),
            ],
            true,
        );
        let expected = map(&[
            ("content-type", "text/css"),
            ("content-encoding", "gzip"),
            ("etag", "\"v\""),
            ("cache-control", "max-age=5"),
            ("cdn-cache-control", "max-age=9"),
            ("cache-tag", "a"),
        ]);
        assert_eq!(fields, Ok(expected));
    }
}
