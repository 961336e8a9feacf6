//! May this response be stored, and shown to others? (RFC 9111 §3)

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, Method, StatusCode};

use super::directives::{Fields, RequestCacheControl, ResponseCacheControl};
use super::freshness::{Source, Terms, parse_date};
use super::length::{Unreadable, content_length};
use super::status::{heuristically_cacheable, understood};
use super::vary::Vary;
use crate::policy::{Authorization, CachePolicy, RequestDirectives, SetCookie};

/// One exchange with the origin, as far as its heads tell.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Exchange<'a> {
    pub method: &'a Method,
    /// As the origin saw it.
    pub request: &'a HeaderMap,
    pub status: StatusCode,
    /// As the origin sent it.
    pub response: &'a HeaderMap,
    /// Parsed from `response`.
    pub control: &'a ResponseCacheControl,
    /// Worked out from `response`.
    pub terms: &'a Terms,
    pub policy: &'a CachePolicy,
    /// The body's length as far as it is known beforehand.
    pub length: Option<u64>,
    /// The largest body the edge stores.
    pub max_length: u64,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum NotStored {
    Method,
    Status,
    NoStore,
    Private,
    NoCache,
    Vary,
    Authorization,
    SetCookie,
    NoFreshness,
    EventStream,
    Partial,
    HeadTooLarge,
    BodyTooLarge,
    ContentLength,
}

impl From<Unreadable> for NotStored {
    fn from(_: Unreadable) -> Self {
        Self::ContentLength
    }
}

/// Says whether a shared cache may store the response, under `policy`, and what it was chosen by.
///
/// The exchange is taken for a GET: what a HEAD tells about a stored GET is for the caller (RFC 9111 §4.3.5).
///
/// # Errors
/// The first reason found against it.
pub fn storable(exchange: &Exchange<'_>) -> Result<Vary, NotStored> {
    // What a POST may give to later GETs (RFC 9110 §9.3.3) comes here as the answer to a GET.
    if *exchange.method != Method::GET {
        return Err(NotStored::Method);
    }
    status_allows(exchange)?;
    origin_allows(exchange)?;
    request_allows(exchange)?;
    let vary = fields_allow(exchange)?;
    worth_storing(exchange)?;
    size_allows(exchange)?;
    Ok(vary)
}

fn status_allows(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let (status, control) = (exchange.status, exchange.control);
    // RFC 9111 §3: final statuses only, and 206 and 304 only by a cache that knows what to do with them. A 206 nobody
    // asked for and a 304 to a request without conditions are faults of the origin.
    match status.as_u16() {
        206 => return Err(NotStored::Partial),
        ..200 | 304 => return Err(NotStored::Status),
        _ => {}
    }
    if control.must_understand && !understood(status) {
        return Err(NotStored::Status);
    }
    // RFC 9111 §3, the last requirement. The source is a heuristic only where the status or public allows for one.
    if exchange.terms.source == Source::None && !control.public && !heuristically_cacheable(status) {
        return Err(NotStored::Status);
    }
    Ok(())
}

/// What the response's own directives say (RFC 9111 §5.2.2).
fn origin_allows(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let control = exchange.control;
    // An answer made for someone with credentials is beyond what an operator can declare to be for everyone.
    let overridden =
        exchange.terms.source == Source::Override && !exchange.request.contains_key(AUTHORIZATION);
    if !overridden {
        if control.no_store_holds(exchange.status) {
            return Err(NotStored::NoStore);
        }
        if control.private == Some(Fields::All) {
            return Err(NotStored::Private);
        }
        // Without a validator it could never be used. Terms made for an override let it be used without asking.
        let validated = exchange.terms.always_validate && has_validator(exchange.response);
        if control.no_cache == Some(Fields::All) && !validated {
            return Err(NotStored::NoCache);
        }
    }
    // Without these a body is not what its viewer was sent, so they cannot be left out alone.
    let needed = |fields: &Option<Fields>| match fields {
        Some(Fields::Named(names)) => {
            names.iter().any(|name| [CONTENT_ENCODING, CONTENT_TYPE, VARY].contains(name))
        }
        _ => false,
    };
    if needed(&control.private) {
        return Err(NotStored::Private);
    }
    if needed(&control.no_cache) {
        return Err(NotStored::NoCache);
    }
    Ok(())
}

fn request_allows(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let Exchange { request, control, policy, .. } = *exchange;
    // RFC 9111 §5.2.1.5.
    if policy.request_directives == RequestDirectives::Honour && RequestCacheControl::parse(request).no_store
    {
        return Err(NotStored::NoStore);
    }
    if request.contains_key(AUTHORIZATION) {
        // RFC 9111 §3.5.
        let explicit = control.public || control.s_maxage.is_some() || control.must_revalidate;
        if !explicit || policy.authorization == Authorization::Bypass {
            return Err(NotStored::Authorization);
        }
    }
    Ok(())
}

fn fields_allow(exchange: &Exchange<'_>) -> Result<Vary, NotStored> {
    let Exchange { request, response, control, policy, .. } = *exchange;
    // RFC 9111 §7.3: the RFC would store it; a cookie that says who someone is must not reach anyone else.
    let kept_cookie = response.contains_key(SET_COOKIE) && !control.named().any(|name| *name == SET_COOKIE);
    if kept_cookie && policy.set_cookie == SetCookie::DoNotStore {
        return Err(NotStored::SetCookie);
    }
    // RFC 9111 §4.1: `*`, wherever it stands, matches no other request, and nor does what is no field name.
    let vary = Vary::new(response, request, policy.normalise).map_err(|_| NotStored::Vary)?;
    // A stream of events has no end to wait for, and is for one viewer.
    let event_stream = response.get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|&byte| byte == b';').next();
        media_type
            .is_some_and(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    });
    if event_stream { Err(NotStored::EventStream) } else { Ok(vary) }
}

/// A response that is stale already is worth its room if it can be validated, or may be used stale before that.
/// [`Stale::if_disconnected`](crate::Stale::if_disconnected) alone is no reason: it is on by default, and every page
/// with `max-age=0` would be kept against the day the origin is gone.
fn worth_storing(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let terms = exchange.terms;
    let window = terms.while_revalidate.max(terms.if_error);
    let usable = terms.is_fresh(terms.initial_age)
        || has_validator(exchange.response)
        || terms.source != Source::None && terms.staleness(terms.initial_age) < window;
    if usable { Ok(()) } else { Err(NotStored::NoFreshness) }
}

fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(ETAG) || response.get(LAST_MODIFIED).and_then(parse_date).is_some()
}

fn size_allows(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let Exchange { response, policy, length, max_length, .. } = *exchange;
    let head_size: usize = response.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if response.len() > policy.limits.head_fields || head_size > policy.limits.head_size {
        return Err(NotStored::HeadTooLarge);
    }
    let stated = content_length(response)?;
    // RFC 9112 §6.3, §8: a body of another length than the head says is not whole.
    if let (Some(stated), Some(length)) = (stated, length)
        && stated != length
    {
        return Err(NotStored::ContentLength);
    }
    if stated.or(length).is_some_and(|length| length > max_length) {
        return Err(NotStored::BodyTooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::map;
    use super::super::freshness::{Received, terms};
    use super::*;
    use crate::policy::{Limits, Ttl};

    use std::time::{Duration, UNIX_EPOCH};

    /// Header lines, name and value.
    type Lines<'a> = &'a [(&'a str, &'a str)];

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const TAGGED: (&str, &str) = ("etag", "\"a\"");

    fn decide(
        policy: &CachePolicy,
        request: Lines<'_>,
        status: u16,
        response: Lines<'_>,
        length: Option<u64>,
    ) -> Result<(), NotStored> {
        let (request, response) = (map(request), map(response));
        let control = ResponseCacheControl::parse(&response);
        let status = StatusCode::from_u16(status).unwrap();
        let received = Received { at: UNIX_EPOCH + Duration::from_secs(784_111_777), delay: Duration::ZERO };
        storable(&Exchange {
            method: &Method::GET,
            request: &request,
            status,
            response: &response,
            control: &control,
            terms: &terms(status, &response, &control, policy, received),
            policy,
            length,
            max_length: 1000,
        })
        .map(|vary| assert_eq!(Ok(vary), Vary::new(&response, &request, policy.normalise)))
    }

    fn stored(status: u16, response: Lines<'_>) -> Result<(), NotStored> {
        decide(&CachePolicy::default(), &[], status, response, None)
    }

    #[test]
    fn only_get_is_stored() {
        let policy = CachePolicy::default();
        let response = map(&[FRESH]);
        let control = ResponseCacheControl::parse(&response);
        let received = Received { at: UNIX_EPOCH, delay: Duration::ZERO };
        let terms = terms(StatusCode::OK, &response, &control, &policy, received);
        for method in [Method::HEAD, Method::POST, Method::PUT, Method::from_bytes(b"FOO").unwrap()] {
            let exchange = Exchange {
                method: &method,
                request: &HeaderMap::new(),
                status: StatusCode::OK,
                response: &response,
                control: &control,
                terms: &terms,
                policy: &policy,
                length: None,
                max_length: 1000,
            };
            assert_eq!(storable(&exchange), Err(NotStored::Method), "{method}");
        }
    }

    #[test]
    fn status_decides_without_a_lifetime() {
        // RFC 9111 §3; RFC 9110 §15.1.
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(stored(status, &[TAGGED]), Ok(()), "{status}");
            assert_eq!(stored(status, &[]), Err(NotStored::NoFreshness), "{status}");
        }
        for status in [201, 202, 299, 302, 303, 307, 400, 403, 499, 500, 502, 503, 504, 599, 600, 999] {
            assert_eq!(stored(status, &[TAGGED]), Err(NotStored::Status), "{status}");
            assert_eq!(stored(status, &[TAGGED, ("cache-control", "public")]), Ok(()), "{status}");
            assert_eq!(stored(status, &[FRESH]), Ok(()), "{status}");
        }
        for status in [100, 101, 103, 304] {
            assert_eq!(stored(status, &[FRESH]), Err(NotStored::Status), "{status}");
        }
        assert_eq!(stored(206, &[FRESH]), Err(NotStored::Partial));
    }

    #[test]
    fn directives_decide() {
        // RFC 9111 §3, §5.2.2.
        let table: &[(u16, Lines<'_>, Result<(), NotStored>)] = &[
            (200, &[("cache-control", "max-age=60, no-store")], Err(NotStored::NoStore)),
            (200, &[FRESH, ("cache-control", "No-Store=1")], Err(NotStored::NoStore)),
            (200, &[("cache-control", "max-age=60, private")], Err(NotStored::Private)),
            (200, &[("cache-control", "max-age=60, private, public")], Err(NotStored::Private)),
            (200, &[("cache-control", "max-age=60, private=a")], Err(NotStored::Private)),
            (200, &[("cache-control", "max-age=60, private=\"a\"")], Ok(())),
            (200, &[("cache-control", "max-age=60, private=\"content-encoding\"")], Err(NotStored::Private)),
            (200, &[("cache-control", "max-age=60, no-cache=\"a, vary\"")], Err(NotStored::NoCache)),
            (200, &[("cache-control", "max-age=60, no-cache")], Err(NotStored::NoCache)),
            (200, &[("cache-control", "max-age=60, no-cache"), TAGGED], Ok(())),
            (
                200,
                &[("cache-control", "no-cache"), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
                Ok(()),
            ),
            (200, &[("cache-control", "no-cache"), ("last-modified", "0")], Err(NotStored::NoCache)),
            // §5.2.2.3
            (200, &[("cache-control", "max-age=60, no-store, must-understand")], Ok(())),
            (599, &[("cache-control", "max-age=60, no-store, must-understand")], Err(NotStored::Status)),
            (599, &[("cache-control", "max-age=60, must-understand")], Err(NotStored::Status)),
            (
                200,
                &[("cache-control", "max-age=60, no-store, must-understand, private")],
                Err(NotStored::Private),
            ),
            // §5.4: Pragma means nothing in a response.
            (200, &[FRESH, ("pragma", "no-cache")], Ok(())),
        ];
        for (status, response, expected) in table {
            assert_eq!(stored(*status, response), *expected, "{status} {response:?}");
        }
    }

    #[test]
    fn what_is_stale_on_arrival_needs_a_use() {
        let stale = |more: &str| format!("max-age=60{more}");
        let table: &[(&str, Lines<'_>, Result<(), NotStored>)] = &[
            ("", &[("age", "59")], Ok(())),
            ("", &[("age", "60")], Err(NotStored::NoFreshness)),
            ("", &[("age", "60"), TAGGED], Ok(())),
            (", stale-while-revalidate=9", &[("age", "60")], Ok(())),
            (", stale-while-revalidate=9", &[("age", "69")], Err(NotStored::NoFreshness)),
            (", stale-if-error=9", &[("age", "60")], Ok(())),
            (", stale-if-error=9, must-revalidate", &[("age", "60")], Err(NotStored::NoFreshness)),
        ];
        for (more, lines, expected) in table {
            let control = stale(more);
            let lines = [lines, &[("cache-control", control.as_str())][..]].concat();
            assert_eq!(stored(200, &lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn credentials_need_the_origins_word() {
        // RFC 9111 §3.5.
        let request = [("authorization", "Basic YTpi")];
        let bypass = CachePolicy { authorization: Authorization::Bypass, ..CachePolicy::default() };
        for value in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
            let response = [("cache-control", value)];
            assert_eq!(decide(&CachePolicy::default(), &request, 200, &response, None), Ok(()), "{value}");
            assert_eq!(
                decide(&bypass, &request, 200, &response, None),
                Err(NotStored::Authorization),
                "{value}"
            );
            assert_eq!(decide(&bypass, &[], 200, &response, None), Ok(()), "{value}");
        }
        for value in ["max-age=60", "max-age=60, proxy-revalidate", "max-age=60, public=1"] {
            let response = [("cache-control", value)];
            let decision = decide(&CachePolicy::default(), &request, 200, &response, None);
            assert_eq!(decision, Err(NotStored::Authorization), "{value}");
        }
    }

    #[test]
    fn a_request_can_forbid_storing() {
        // RFC 9111 §5.2.1.5.
        let request = [("cache-control", "no-store")];
        let ignoring =
            CachePolicy { request_directives: RequestDirectives::Ignore, ..CachePolicy::default() };
        let decision = decide(&CachePolicy::default(), &request, 200, &[FRESH], None);
        assert_eq!(decision, Err(NotStored::NoStore));
        assert_eq!(decide(&ignoring, &request, 200, &[FRESH], None), Ok(()));
    }

    #[test]
    fn a_cookie_is_stored_only_where_the_policy_says_so() {
        // RFC 9111 §7.3.
        let under = |set_cookie| CachePolicy { set_cookie, ..CachePolicy::default() };
        let cookie = ("set-cookie", "a=b");
        let table = [
            (SetCookie::DoNotStore, Err(NotStored::SetCookie)),
            (SetCookie::Strip, Ok(())),
            (SetCookie::Store, Ok(())),
        ];
        for (set_cookie, expected) in table {
            assert_eq!(
                decide(&under(set_cookie), &[], 200, &[FRESH, cookie], None),
                expected,
                "{set_cookie:?}"
            );
        }
        // The origin says itself that the copy goes without it.
        let control = ("cache-control", "max-age=60, no-cache=\"Set-Cookie\"");
        assert_eq!(stored(200, &[control, cookie]), Ok(()));
    }

    #[test]
    fn fields_decide() {
        // RFC 9111 §4.1.
        let table: &[(&str, &str, Result<(), NotStored>)] = &[
            ("vary", "accept, , accept-encoding", Ok(())),
            ("vary", "", Ok(())),
            ("vary", "*", Err(NotStored::Vary)),
            ("vary", "accept, *", Err(NotStored::Vary)),
            ("vary", "accept encoding", Err(NotStored::Vary)),
            ("content-type", "text/event-stream", Err(NotStored::EventStream)),
            ("content-type", "Text/Event-Stream ; charset=utf-8", Err(NotStored::EventStream)),
            ("content-type", "text/plain", Ok(())),
        ];
        for (name, value, expected) in table {
            assert_eq!(stored(200, &[FRESH, (name, value)]), *expected, "{name}: {value}");
        }
    }

    #[test]
    fn lengths_agree_and_fit() {
        // RFC 9110 §8.6, RFC 9112 §6.3.
        type Row<'a> = (&'a [&'a str], Option<u64>, Result<(), NotStored>);
        let table: &[Row<'_>] = &[
            (&[], None, Ok(())),
            (&[], Some(1000), Ok(())),
            (&[], Some(1001), Err(NotStored::BodyTooLarge)),
            (&["1000"], None, Ok(())),
            (&["1001"], None, Err(NotStored::BodyTooLarge)),
            (&["10"], Some(10), Ok(())),
            (&["10"], Some(11), Err(NotStored::ContentLength)),
            (&["ten"], None, Err(NotStored::ContentLength)),
        ];
        for (stated, length, expected) in table {
            let mut response = vec![FRESH];
            response.extend(stated.iter().map(|stated| ("content-length", *stated)));
            let decision = decide(&CachePolicy::default(), &[], 200, &response, *length);
            assert_eq!(decision, *expected, "{stated:?} {length:?}");
        }
    }

    #[test]
    fn a_head_past_either_limit_is_not_stored() {
        let limits = Limits { head_fields: 2, head_size: 39, ..Limits::default() };
        let policy = CachePolicy { limits, ..CachePolicy::default() };
        let decide = |response: Lines<'_>| decide(&policy, &[], 200, response, None);
        assert_eq!(decide(&[FRESH, ("a", "b")]), Ok(()));
        assert_eq!(decide(&[FRESH, ("a", "b"), ("a", "c")]), Err(NotStored::HeadTooLarge));
        assert_eq!(decide(&[FRESH, ("a", "0123456789abcdef")]), Err(NotStored::HeadTooLarge));
    }

    #[test]
    fn the_policy_can_override_the_origin_but_not_credentials() {
        let ttl = Ttl { min: Duration::from_secs(60), override_origin: true, ..Ttl::default() };
        let policy = CachePolicy { ttl, ..CachePolicy::default() };
        for value in ["no-store", "private", "no-cache", "private, max-age=0"] {
            let response = [("cache-control", value)];
            assert_eq!(decide(&policy, &[], 200, &response, None), Ok(()), "{value}");
        }
        let request = [("authorization", "Basic YTpi")];
        for (value, expected) in [
            ("private, must-revalidate", NotStored::Private),
            ("no-store, must-revalidate", NotStored::NoStore),
            ("no-cache, must-revalidate", NotStored::NoCache),
        ] {
            let response = [("cache-control", value), TAGGED];
            assert_eq!(decide(&policy, &request, 200, &response, None), Err(expected), "{value}");
        }
    }

    #[test]
    fn error_answers_are_stored_for_the_policys_time() {
        let error_ttl = vec![(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(5))];
        let policy = CachePolicy { error_ttl, ..CachePolicy::default() };
        assert_eq!(decide(&policy, &[], 503, &[], None), Ok(()));
        assert_eq!(decide(&policy, &[], 502, &[], None), Err(NotStored::Status));
    }
}
