//! Which fields travel, which stay on their connection, and which are for the one who asked? (RFC 9110 §7.6.1, RFC 9111 §3.1)

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::directives::ResponseCacheControl;
use crate::policy::{CachePolicy, SetCookie};

/// Whether a field is about one connection, or about a proxy on it: RFC 9111 §3.1 forbids to store the `Proxy-` fields.
/// `Trailer` is not among them: it goes with the trailers, as far as they go.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION
        | header::PROXY_AUTHENTICATE
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRANSFER_ENCODING
        | header::UPGRADE => true,
        _ => matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "http2-settings"
        ),
    }
}

/// Whether a field makes a request conditional, partial or bigger than its head. A fill has no body, so nothing may
/// announce one.
fn is_not_for_fills(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::IF_MATCH
            | header::IF_NONE_MATCH
            | header::IF_MODIFIED_SINCE
            | header::IF_UNMODIFIED_SINCE
            | header::IF_RANGE
            | header::RANGE
            | header::EXPECT
            | header::CONTENT_LENGTH
    )
}

/// Removes hop-by-hop fields and those `Connection` nominates, except the ones it may not nominate away:
/// `Host`, `Content-Length`, `Authorization`, `Cookie`, `Cache-Control`, `Vary`, `Set-Cookie` and the forwarding fields, `CDN-Loop`
/// among them (RFC 8586 §2).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut names = named(headers, is_hop_by_hop);
    if names.is_empty() {
        // Nor is there a `Connection`.
        return;
    }
    let nominated = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !is_protected(name));
    names.extend(nominated);
    for name in names {
        headers.remove(name);
    }
}

/// The names of which `is_one` is true. To look each up that may be there is to hash it, which takes longer than to pass by
/// those that are.
fn named(headers: &HeaderMap, is_one: impl Fn(&HeaderName) -> bool) -> SmallVec<[HeaderName; 4]> {
    headers.keys().filter(|name| is_one(name)).cloned().collect()
}

/// Whether `Connection` has no say over a field. RFC 9110 §7.6.1 bars a sender from nominating what is meant for
/// every recipient; a client that does it anyway wants the origin to miss a field that the edge has acted on.
fn is_protected(name: &HeaderName) -> bool {
    const PROTECTED: [HeaderName; 11] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::AUTHORIZATION,
        header::COOKIE,
        header::CACHE_CONTROL,
        header::VARY,
        header::SET_COOKIE,
        header::FORWARDED,
        header::VIA,
        HeaderName::from_static("cdn-loop"),
        HeaderName::from_static("x-real-ip"),
    ];
    PROTECTED.contains(name) || name.as_str().starts_with("x-forwarded-")
}

/// Makes a viewer's request head fit for a fill, whose answer is for everyone: no conditions, no range, no
/// expectation, no body, no hop-by-hop fields.
pub fn prepare_fill(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in named(headers, is_not_for_fills) {
        headers.remove(name);
    }
}

/// Takes out of a response what a stored copy goes without: the fields `private` and `no-cache` name (RFC 9111 §5.2.2.4,
/// §5.2.2.7), which the viewer whose request went to the origin gets all the same, and under [`SetCookie::Strip`] the
/// cookies, which nobody gets.
pub fn take_own(response: &mut HeaderMap, control: &ResponseCacheControl, policy: &CachePolicy) -> HeaderMap {
    if policy.set_cookie == SetCookie::Strip {
        response.remove(header::SET_COOKIE);
    }
    let mut own = HeaderMap::new();
    for name in control.named() {
        if let header::Entry::Occupied(entry) = response.entry(name) {
            let (name, values) = entry.remove_entry_mult();
            own.extend(values.map(|value| (name.clone(), value)));
        }
    }
    own
}

/// The value of a field that has exactly one line.
pub(crate) fn only_line<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::map;
    use super::*;

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_about_the_connection_is_removed() {
        // RFC 9110 §7.6.1, RFC 9111 §3.1
        let mut headers = map(&[
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-authentication-info", "x"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("etag", "\"a\""),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["etag", "trailer"]);
    }

    #[test]
    fn nominated_fields_go_and_protected_fields_stay() {
        // RFC 9110 §7.6.1
        for (connection, rest) in [
            ("a, b", vec!["c", "cdn-loop", "cookie", "host", "x-forwarded-host"]),
            ("A ,, c", vec!["b", "cdn-loop", "cookie", "host", "x-forwarded-host"]),
            (
                "host, Cookie, X-Forwarded-Host, CDN-Loop",
                vec!["a", "b", "c", "cdn-loop", "cookie", "host", "x-forwarded-host"],
            ),
            ("a b", vec!["a", "b", "c", "cdn-loop", "cookie", "host", "x-forwarded-host"]),
        ] {
            let mut headers = map(&[
                ("a", "1"),
                ("a", "2"),
                ("b", "1"),
                ("c", "1"),
                ("cdn-loop", "x"),
                ("host", "example.com"),
                ("cookie", "s=1"),
                ("x-forwarded-host", "example.com"),
                ("connection", connection),
            ]);
            strip_hop_by_hop(&mut headers);
            assert_eq!(names(&headers), rest, "{connection}");
        }
    }

    #[test]
    fn nominations_add_up_over_lines() {
        let mut headers = map(&[("connection", "a"), ("connection", "b"), ("a", "1"), ("b", "1")]);
        strip_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_fill_asks_for_the_whole_response_unconditionally() {
        let mut headers = map(&[
            ("host", "example.com"),
            ("accept", "*/*"),
            ("cookie", "s=1"),
            ("if-match", "*"),
            ("if-none-match", "*"),
            ("if-modified-since", "x"),
            ("if-unmodified-since", "x"),
            ("if-range", "x"),
            ("range", "bytes=0-1"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("te", "trailers"),
        ]);
        prepare_fill(&mut headers);
        assert_eq!(names(&headers), ["accept", "cookie", "host"]);
    }
    #[test]
    fn what_directives_name_is_for_the_one_who_asked_and_a_stripped_cookie_for_nobody() {
        // RFC 9111 §5.2.2.4, §5.2.2.7
        let named = ("cache-control", "private=\"a, set-cookie\", no-cache=\"b\"");
        let plain = ("cache-control", "private, no-cache");
        let strip = CachePolicy { set_cookie: SetCookie::Strip, ..CachePolicy::default() };
        for (control, policy, own, rest) in [
            (named, CachePolicy::default(), vec!["a", "b", "set-cookie"], vec!["c", "cache-control"]),
            (named, strip.clone(), vec!["a", "b"], vec!["c", "cache-control"]),
            (plain, CachePolicy::default(), vec![], vec!["a", "b", "c", "cache-control", "set-cookie"]),
            (plain, strip, vec![], vec!["a", "b", "c", "cache-control"]),
        ] {
            let mut response = map(&[control, ("a", "1"), ("b", "1"), ("c", "1"), ("set-cookie", "d=1")]);
            response.append("a", HeaderValue::from_static("2"));
            let parsed = ResponseCacheControl::parse(&response);
            let taken = take_own(&mut response, &parsed, &policy);
            assert_eq!((names(&taken), names(&response)), (own, rest), "{control:?} {:?}", policy.set_cookie);
            assert!(taken.get_all("a").iter().eq(["1", "2"]) || !taken.contains_key("a"));
        }
    }
}
