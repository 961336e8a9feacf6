//! Entity tags: a stored response, a viewer's request, a 304 (RFC 9110 §8.8.3, §13.1.2; RFC 9111 §4.3).

use std::time::UNIX_EPOCH;

use http::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use tower_edge::semantics::headers::{is_hop_by_hop, prepare_fill};
use tower_edge::semantics::preconditions::{Verdict, evaluate, not_modified_fields};
use tower_edge::semantics::validation::{EntityTag, Freshens, freshen, freshens, make_conditional};

use super::value;

pub fn run(data: &[u8]) {
    let [stored, request, not_modified] = super::sections(data);
    let all: Vec<&HeaderValue> =
        [&stored, &request, &not_modified].into_iter().flat_map(HeaderMap::values).collect();
    for one in &all {
        a_tag_reads_the_same(one);
        for other in &all {
            comparisons_agree(one, other);
        }
    }
    viewers_conditions(&request, &stored);
    validation(&stored, &request, &not_modified);
}

fn a_tag_reads_the_same(text: &HeaderValue) {
    let Some(tag) = EntityTag::parse(text) else { return };
    let prefix = if tag.weak { &b"W/"[..] } else { b"" };
    let spelt = value([prefix, b"\"", tag.opaque, b"\""].concat());
    assert_eq!(EntityTag::parse(&spelt), Some(tag));
}

fn comparisons_agree(one: &HeaderValue, other: &HeaderValue) {
    let (Some(one), Some(other)) = (EntityTag::parse(one), EntityTag::parse(other)) else { return };
    assert_eq!(one.weak_eq(&other), other.weak_eq(&one));
    assert_eq!(one.strong_eq(&other), other.strong_eq(&one));
    assert!(one.weak_eq(&other) || !one.strong_eq(&other), "strong implies weak");
    assert!(one.weak_eq(&one) && one.strong_eq(&one) != one.weak);
}

fn viewers_conditions(request: &HeaderMap, stored: &HeaderMap) {
    let evaluated = |request: &HeaderMap| evaluate(request, StatusCode::OK, stored, UNIX_EPOCH);
    assert_eq!(evaluate(request, StatusCode::NOT_FOUND, stored, UNIX_EPOCH), Verdict::Proceed);
    let mut more = request.clone();
    if let Some(tag) = stored.get(ETAG).filter(|tag| EntityTag::parse(tag).is_some()) {
        more.append(IF_NONE_MATCH, tag.clone());
        assert_eq!(evaluated(&more), Verdict::NotModified, "who has it gets 304");
    }
    more.append(IF_NONE_MATCH, value("*"));
    assert_eq!(evaluated(&more), Verdict::NotModified);

    let mut fields = stored.clone();
    not_modified_fields(&mut fields);
    assert!(!fields.contains_key(CONTENT_LENGTH) && fields.get(ETAG) == stored.get(ETAG));
}

fn validation(stored: &HeaderMap, request: &HeaderMap, not_modified: &HeaderMap) {
    let mut fill = request.clone();
    prepare_fill(&mut fill);
    assert!(!fill.contains_key(IF_NONE_MATCH) && !fill.keys().any(is_hop_by_hop));
    let conditional = make_conditional(stored, &mut fill);
    // RFC 9111 §4.3.1: a cache's own question is answered from its own response.
    if conditional
        && fill.contains_key(IF_NONE_MATCH)
        && stored.get(ETAG).is_some_and(|tag| EntityTag::parse(tag).is_some())
    {
        assert_eq!(evaluate(&fill, StatusCode::OK, stored, UNIX_EPOCH), Verdict::NotModified);
    }

    let tag = |headers: &HeaderMap| {
        headers.get(ETAG).and_then(EntityTag::parse).map(|tag| (tag.weak, tag.opaque.to_vec()))
    };
    match freshens(stored, not_modified) {
        Freshens::Strong => {
            assert!(tag(stored).is_some_and(|(weak, _)| !weak));
            assert_eq!(tag(stored), tag(not_modified));
        }
        Freshens::Weak | Freshens::No => {}
    }
    assert_ne!(freshens(stored, &HeaderMap::new()), Freshens::No, "a 304 without validators answers ours");
    let fresh = freshen(stored, not_modified);
    for kept in [CONTENT_LENGTH, ETAG] {
        assert!(
            fresh.get_all(&kept).iter().eq(stored.get_all(&kept).iter()),
            "{kept} goes with the stored body"
        );
    }
    assert_eq!(freshen(&fresh, not_modified), fresh, "the same 304 changes nothing more");
}
