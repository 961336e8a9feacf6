//! `tower_edge::semantics` against the RFCs, transcribed slowly and literally, over random messages and times.
//!
//! `TOWER_EDGE_CASES` sets the number of cases of each property.

mod arbitrary;
mod directives;
mod fields;
mod generate;
mod reuse;
mod rfc9110;
mod rfc9111;
#[allow(unreachable_pub)]
#[path = "../../fuzz/targets/mod.rs"]
mod targets;
mod vary;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use proptest::prelude::*;
use tower_edge::semantics::directives::{Fields as Scope, RequestCacheControl, ResponseCacheControl};
use tower_edge::semantics::freshness::{self, Received, Source};
use tower_edge::semantics::preconditions::{self, Verdict};
use tower_edge::semantics::range::{self, Selection};
use tower_edge::semantics::reuse::{Failure, reuse, stands_in};
use tower_edge::semantics::storable::{self, storable};
use tower_edge::semantics::vary::Vary;
use tower_edge::{CachePolicy, Normalise};

use self::directives::Directives;
use self::fields::Fields;
use self::rfc9111::Exchange;

/// The cases of one property. The code is slow where it is not optimized.
const CASES: u32 = if cfg!(debug_assertions) { 5_000 } else { 20_000 };

fn config() -> ProptestConfig {
    config_of(1)
}

/// For a property that takes `cost` times as long as others.
fn config_of(cost: u32) -> ProptestConfig {
    let cases = std::env::var("TOWER_EDGE_CASES").ok();
    let cases = cases.map_or(CASES, |cases| cases.parse().expect("TOWER_EDGE_CASES is a number"));
    ProptestConfig { cases: cases / cost, failure_persistence: None, ..ProptestConfig::default() }
}

fn span(nanoseconds: i128) -> Duration {
    let seconds = u64::try_from(nanoseconds / rfc9111::SECOND).unwrap_or(u64::MAX);
    Duration::new(seconds, u32::try_from(nanoseconds % rfc9111::SECOND).unwrap_or(0))
}

fn moment(nanoseconds: i128) -> SystemTime {
    UNIX_EPOCH + span(nanoseconds)
}

fn nanoseconds(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).expect("a span has fewer bits")
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("three digits")
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn storing_lifetime_age_and_reuse_follow_rfc_9111(
        (method, code, length) in (generate::method(), generate::status(), prop::option::of(prop::sample::select(&[0_u64, 5, 100, 101][..]))),
        (request, response) in (generate::request(), generate::response()),
        later in generate::request(),
        (received, delay, resident) in (generate::moment(), generate::delay(), generate::span()),
        failure in generate::failure(),
    ) {
        const MAX_LENGTH: u64 = 100;
        let policy = CachePolicy::default();
        let expected = Exchange {
            method, status: code, request: &request, response: &response, control: Directives::of(&response, "cache-control"), received, delay, length, max_length: MAX_LENGTH,
        };

        let (request_map, response_map) = (request.to_map(), response.to_map());
        let control = ResponseCacheControl::parse(&response_map);
        let at = Received { at: moment(received), delay: span(delay) };
        let terms = freshness::terms(status(code), &response_map, &control, &policy, at);
        prop_assert_eq!(nanoseconds(terms.lifetime), expected.lifetime().unwrap_or(0), "lifetime");
        prop_assert_eq!(terms.source == Source::None, expected.lifetime().is_none(), "source {:?}", terms.source);
        prop_assert_eq!(nanoseconds(terms.initial_age), expected.initial_age(), "initial age");
        prop_assert_eq!(terms.always_validate, expected.always_validate());
        prop_assert_eq!(terms.stale_forbidden, expected.stale_prohibited(false));
        prop_assert_eq!(nanoseconds(terms.while_revalidate), expected.stale_while_revalidate());
        prop_assert_eq!(nanoseconds(terms.if_error), expected.stale_if_error());
        prop_assert_eq!(nanoseconds(terms.if_disconnected), expected.stale_if_disconnected());

        let decision = storable(&storable::Exchange {
            method: &Method::from_bytes(method.as_bytes()).expect("a token"),
            request: &request_map,
            status: status(code),
            response: &response_map,
            control: &control,
            terms: &terms,
            policy: &policy,
            length,
            max_length: MAX_LENGTH,
        });
        let against = expected.not_stored();
        match decision {
            Ok(_) => prop_assert!(against.is_empty(), "stored in spite of {:?}", against),
            Err(reason) => prop_assert!(against.contains(&reason), "{:?} is none of {:?}", reason, against),
        }

        let age = (expected.initial_age() + resident).min(nanoseconds(Duration::MAX));
        prop_assert_eq!(nanoseconds(terms.age(span(resident))), age);
        prop_assert_eq!(terms.is_fresh(span(age)), expected.fresh(age));
        let wishes = reuse::Wishes::of(&later);
        let later = RequestCacheControl::parse(&later.to_map());
        prop_assert_eq!(reuse(&terms, span(age), &later), reuse::reuse(&expected, age, &wishes));
        let failed = match failure {
            reuse::Failure::Status(code) => Failure::Status(status(code)),
            reuse::Failure::Disconnected => Failure::Disconnected,
        };
        prop_assert_eq!(
            stands_in(&terms, span(age), &later, failed, &policy.stale.error_statuses),
            reuse::stands_in(&expected, age, &wishes, failure)
        );
    }

    #[test]
    fn directives_are_read_by_the_grammar(lines in prop::collection::vec(generate::cache_control(), 0..3)) {
        let fields = Fields(lines.into_iter().map(|line| ("cache-control".to_owned(), line)).collect());
        let (map, expected) = (fields.to_map(), Directives::of(&fields, "cache-control"));
        let seconds = |seconds: Option<i128>| seconds.map(|seconds| match u64::try_from(seconds) {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => Duration::MAX,
        });

        let response = ResponseCacheControl::parse(&map);
        prop_assert_eq!(scope(response.no_cache.as_ref()), expected.scope("no-cache"));
        prop_assert_eq!(scope(response.private.as_ref()), expected.scope("private"));
        let flags = [
            (response.no_store, expected.forbids("no-store")),
            (response.must_revalidate, expected.forbids("must-revalidate")),
            (response.proxy_revalidate, expected.forbids("proxy-revalidate")),
            (response.no_transform, expected.forbids("no-transform")),
            (response.public, expected.permits("public")),
            (response.must_understand, expected.permits("must-understand")),
            // RFC 8246 §2: arguments "have no meaning and MUST be ignored".
            (response.immutable, expected.forbids("immutable")),
        ];
        prop_assert!(flags.iter().all(|(read, expected)| read == expected), "{:?}", response);
        prop_assert_eq!(response.max_age, seconds(expected.lifetime("max-age")));
        prop_assert_eq!(response.s_maxage, seconds(expected.lifetime("s-maxage")));
        prop_assert_eq!(response.stale_while_revalidate, seconds(expected.window("stale-while-revalidate")));
        prop_assert_eq!(response.stale_if_error, seconds(expected.window("stale-if-error")));

        let request = RequestCacheControl::parse(&map);
        let flags = [
            (request.no_store, expected.forbids("no-store")),
            (request.no_cache, expected.forbids("no-cache")),
            (request.only_if_cached, expected.forbids("only-if-cached")),
            (request.no_transform, expected.forbids("no-transform")),
        ];
        prop_assert!(flags.iter().all(|(read, expected)| read == expected), "{:?}", request);
        prop_assert_eq!(request.max_age, seconds(expected.lifetime("max-age")));
        prop_assert_eq!(request.min_fresh, seconds(expected.min_fresh()));
        prop_assert_eq!(request.max_stale, seconds(expected.max_stale()));
        prop_assert_eq!(request.stale_if_error, seconds(expected.window("stale-if-error")));
    }

    #[test]
    fn the_variant_is_selected_as_rfc_9111_4_1_says(
        lines in prop::collection::vec(generate::vary(), 0..3),
        stored in generate::selecting(),
        (other, respelt) in (generate::selecting(), prop::option::of(any::<u64>())),
    ) {
        let presented = respelt.map_or(other, |mask| generate::respelt(&stored, mask));
        let response = Fields(lines.into_iter().map(|line| ("vary".to_owned(), line)).collect());
        let names = vary::names(&response);
        let (stored_map, presented_map) = (stored.to_map(), presented.to_map());
        match Vary::new(&response.to_map(), &stored_map, Normalise::default()) {
            Err(_) => prop_assert_eq!(names, None),
            Ok(vary) => {
                let Some(names) = names else { return Err(TestCaseError::fail("varies by anything")) };
                prop_assert_eq!(vary.is_empty(), names.is_empty());
                prop_assert!(vary.matches(&stored_map), "a response fits its own request");
                let expected = vary::matches(&names, &stored, &presented);
                prop_assert_eq!(vary.matches(&presented_map), expected);
                let (mut one, mut other) = (Vec::new(), Vec::new());
                vary.fingerprint(&stored_map, &mut one);
                vary.fingerprint(&presented_map, &mut other);
                prop_assert_eq!(one == other, expected);
            }
        }
    }

    #[test]
    fn conditions_and_ranges_follow_rfc_9110(
        request in generate::conditional(),
        response in generate::selected(),
        code in generate::status(),
        received in generate::moment(),
        length in prop::sample::select(&[0_u64, 1, 5, 10, u64::MAX][..]),
        most in 1..5_usize,
    ) {
        let (request_map, response_map) = (request.to_map(), response.to_map());
        let verdict = preconditions::evaluate(&request_map, status(code), &response_map, moment(received));
        let expected = rfc9110::not_modified(&request, code, &response, received);
        prop_assert_eq!(verdict == Verdict::NotModified, expected);

        let selected = match range::select(&request_map, &response_map, length, most) {
            Selection::Whole => rfc9110::Ranges::Whole,
            Selection::Parts(parts) => {
                rfc9110::Ranges::Parts(parts.iter().map(|part| (part.start, part.end)).collect())
            }
            Selection::Unsatisfiable => rfc9110::Ranges::Unsatisfiable,
        };
        prop_assert_eq!(selected, rfc9110::ranges(&request, &response, length, most));
    }
}

fn scope(fields: Option<&Scope>) -> directives::Scope {
    match fields {
        None => directives::Scope::Absent,
        Some(Scope::All) => directives::Scope::Whole,
        Some(Scope::Named(names)) => {
            let mut names: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names.dedup();
            directives::Scope::Named(names)
        }
    }
}
