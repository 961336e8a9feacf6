//! `Cache-Control` and `Pragma` (RFC 9111 §5.2, §5.4).

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, StatusCode};
use tower_edge::semantics::directives::{Fields, RequestCacheControl, ResponseCacheControl};

use super::value;

pub fn run(data: &[u8]) {
    let [headers] = super::sections(data);
    let response = ResponseCacheControl::parse(&headers);
    let request = RequestCacheControl::parse(&headers);
    numbers_are_bounded(&response, &request);
    case_does_not_count(&headers, &response, &request);
    what_was_read_reads_the_same(&headers, &response);
    more_can_only_restrict(&headers, &response, &request);
    let _ = response.no_store_holds(StatusCode::OK);
}

fn numbers_are_bounded(response: &ResponseCacheControl, request: &RequestCacheControl) {
    // RFC 9111 §1.2.2
    let bound = Duration::from_secs(1 << 31);
    let numbers = [
        response.max_age,
        response.s_maxage,
        response.stale_while_revalidate,
        response.stale_if_error,
        request.max_age,
        request.max_stale.filter(|any| *any != Duration::MAX),
        request.min_fresh,
        request.stale_if_error,
    ];
    for number in numbers.into_iter().flatten() {
        assert!(number <= bound && number.subsec_nanos() == 0, "{number:?}");
    }
}

fn case_does_not_count(headers: &HeaderMap, response: &ResponseCacheControl, request: &RequestCacheControl) {
    let mut upper = HeaderMap::new();
    for name in [CACHE_CONTROL, PRAGMA] {
        for line in headers.get_all(&name) {
            upper.append(&name, value(line.as_bytes().to_ascii_uppercase()));
        }
    }
    assert_eq!(ResponseCacheControl::parse(&upper), *response);
    assert_eq!(RequestCacheControl::parse(&upper), *request);
}

/// Spells the directives as RFC 9111 has them, and reads that.
fn what_was_read_reads_the_same(headers: &HeaderMap, response: &ResponseCacheControl) {
    let mut members: Vec<String> = Vec::new();
    for (name, seconds) in [
        ("max-age", response.max_age),
        ("s-maxage", response.s_maxage),
        ("stale-while-revalidate", response.stale_while_revalidate),
        ("stale-if-error", response.stale_if_error),
    ] {
        members.extend(seconds.map(|seconds| format!("{name}={}", seconds.as_secs())));
    }
    for (name, holds) in [
        ("no-store", response.no_store),
        ("public", response.public),
        ("must-revalidate", response.must_revalidate),
        ("proxy-revalidate", response.proxy_revalidate),
        ("must-understand", response.must_understand),
        ("no-transform", response.no_transform),
        ("immutable", response.immutable),
    ] {
        members.extend(holds.then(|| name.to_owned()));
    }
    for (name, fields) in [("private", &response.private), ("no-cache", &response.no_cache)] {
        members.extend(fields.as_ref().map(|fields| match fields {
            Fields::All => name.to_owned(),
            Fields::Named(names) => {
                assert!(!names.is_empty());
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                format!("{name}=\"{}\"", names.join(", "))
            }
        }));
    }
    let canonical = HeaderMap::from_iter([(CACHE_CONTROL, value(members.join(", ")))]);
    assert_eq!(ResponseCacheControl::parse(&canonical), *response, "{headers:?}");
}

/// What stands on another line takes no restriction away.
fn more_can_only_restrict(
    headers: &HeaderMap,
    response: &ResponseCacheControl,
    request: &RequestCacheControl,
) {
    let mut more = headers.clone();
    more.append(CACHE_CONTROL, value("no-store, max-age=1, s-maxage=1, private, no-cache"));
    let restricted = ResponseCacheControl::parse(&more);
    assert!(restricted.no_store);
    assert_eq!((&restricted.private, &restricted.no_cache), (&Some(Fields::All), &Some(Fields::All)));
    assert!(restricted.max_age <= Some(Duration::from_secs(1)));
    assert!(restricted.s_maxage <= Some(Duration::from_secs(1)));
    assert_eq!(restricted.public, response.public);
    assert_eq!(restricted.must_revalidate, response.must_revalidate);

    let asked = RequestCacheControl::parse(&more);
    assert!(asked.no_store && asked.no_cache);
    assert!(!request.only_if_cached || asked.only_if_cached);
}
