//! Dates, `Age`, and the times made of them (RFC 9110 §5.6.7, RFC 9111 §4.2). Every line is tried as a date.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode};
use tower_edge::CachePolicy;
use tower_edge::semantics::directives::ResponseCacheControl;
use tower_edge::semantics::freshness::{Received, parse_date, terms};
use tower_edge::semantics::preconditions;

use super::value;

pub fn run(data: &[u8]) {
    for line in super::lines(data) {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            a_date_reads_the_same_however_spelt(&line);
        }
    }
    let [response, request] = super::sections(data);
    times_are_bounded(&response);
    let _ = preconditions::evaluate(&request, StatusCode::OK, &response, UNIX_EPOCH);
}

fn a_date_reads_the_same_however_spelt(line: &HeaderValue) {
    let date = parse_date(line);
    assert_eq!(parse_date(&value(line.as_bytes().to_ascii_uppercase())), date);
    assert_eq!(parse_date(&value(line.as_bytes().to_ascii_lowercase())), date);
    let Some(date) = date else { return };
    // The leap second of the last year there is would be in the next one.
    if date < UNIX_EPOCH + Duration::from_secs(253_402_300_800) {
        assert_eq!(parse_date(&value(httpdate::fmt_http_date(date))), Some(date));
    }
    let strict = line.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    assert!(strict.is_none_or(|strict| strict == date), "{line:?}: {strict:?} {date:?}");
}

fn times_are_bounded(response: &HeaderMap) {
    let policy = CachePolicy::default();
    let control = ResponseCacheControl::parse(response);
    for (at, delay) in [(0, 0), (1_800_000_000, 1), (1 << 40, u64::MAX)] {
        let received =
            Received { at: UNIX_EPOCH + Duration::from_secs(at), delay: Duration::from_secs(delay) };
        let terms = terms(StatusCode::OK, response, &control, &policy, received);
        assert!(terms.lifetime <= policy.ttl.max);
        assert!(terms.initial_age <= Duration::from_secs(1 << 31));
        assert!(terms.initial_age >= Duration::from_secs(delay.min(1 << 31)), "RFC 9111 §4.2.3");
        let age = terms.age(Duration::MAX);
        assert!(!terms.is_fresh(age) && terms.staleness(age) <= age);
        assert!(
            terms.is_fresh(terms.age(Duration::ZERO))
                || terms.lifetime <= terms.initial_age
                || terms.always_validate
        );
    }
}
