//! Drops from a request what the policy leaves out of the key, so that the origin sees no more than the key knows.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Uri};

use super::{KeyBuf, KeyPolicy, Select};
use crate::policy::Normalise;
use crate::semantics::normal;

/// Puts a request in the form in which it is keyed and forwarded. Does nothing under the default policy.
///
/// Fields of content negotiation are brought into [normal form](normal) here only where the key may hold them. Elsewhere
/// that can wait until the request is forwarded: every hit would pay for it, and `Vary` compares normal forms anyway.
#[inline]
pub(crate) fn rewrite(request: &mut Parts, policy: &KeyPolicy, normalise: Normalise) {
    if !policy.takes_all() {
        rewrite_by(request, policy, normalise);
    }
}

fn rewrite_by(request: &mut Parts, policy: &KeyPolicy, normalise: Normalise) {
    rewrite_uri(&mut request.uri, policy);
    if let Some(select) = &policy.headers
        && *select != Select::All
    {
        keep_headers(&mut request.headers, select);
    }
    if let Some(select) = &policy.cookies
        && *select != Select::All
    {
        keep_cookies(&mut request.headers, select);
    }
    if policy.headers.is_some() || policy.custom.is_some() {
        normal::rewrite(&mut request.headers, normalise);
    }
}

/// A target in the form in which reads of it are keyed.
pub(crate) fn rewritten_uri(uri: &Uri, policy: &KeyPolicy) -> Uri {
    let mut uri = uri.clone();
    rewrite_uri(&mut uri, policy);
    uri
}

/// Spells the authority of a request as its key does: requests for `A.example:80` and for `a.example` share an answer,
/// so an origin that repeats the spelling must see but one. (invariant 1)
///
/// Only a request whose answer is stored needs that. A hit is found without it.
pub(crate) fn spell_authority(request: &mut Parts, key: &KeyBuf) {
    let spelt = key.authority();
    if let Some(host) = request.headers.get_mut(header::HOST)
        && host.as_bytes() != spelt
        && let Ok(canonical) = HeaderValue::from_bytes(&spelt)
    {
        *host = canonical;
    }
    if request.uri.authority().is_some_and(|authority| authority.as_str().as_bytes() != spelt)
        && let Ok(canonical) = Authority::try_from(spelt.as_slice())
    {
        let mut parts = std::mem::take(&mut request.uri).into_parts();
        parts.authority = Some(canonical);
        request.uri = Uri::from_parts(parts).expect("scheme and path are as they were");
    }
}

fn rewrite_uri(uri: &mut Uri, policy: &KeyPolicy) {
    if policy.query != Select::All
        && let Some(query) = uri.query()
    {
        let kept = keep_pairs(query, &policy.query);
        if kept.as_deref() != Some(query) {
            set_query(uri, kept.as_deref());
        }
    }
}

/// The pairs of a query that the policy keeps; `None` when none is left. Only `&` separates pairs. One that holds `;`
/// is several to some origins, so it is never dropped.
fn keep_pairs(query: &str, select: &Select) -> Option<String> {
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or(pair);
            pair.contains(';')
                || pair.as_bytes().windows(3).any(|bytes| bytes.eq_ignore_ascii_case(b"%3b"))
                || select.takes(name.as_bytes(), <[u8]>::eq)
        })
        .collect();
    if kept.is_empty() { None } else { Some(kept.join("&")) }
}

fn set_query(uri: &mut Uri, query: Option<&str>) {
    let path_and_query = match query {
        Some(query) => format!("{}?{query}", uri.path()),
        None => uri.path().to_owned(),
    };
    let mut parts = std::mem::take(uri).into_parts();
    let path = PathAndQuery::try_from(path_and_query).expect("a part of a valid query is a valid query");
    parts.path_and_query = Some(path);
    *uri = Uri::from_parts(parts).expect("scheme and authority are as they were");
}

fn keep_headers(headers: &mut HeaderMap, select: &Select) {
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !is_needed(name))
        .filter(|name| !select.takes(name.as_str().as_bytes(), <[u8]>::eq_ignore_ascii_case))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Fields that HTTP or the edge needs, whatever the policy chooses: they have rules of their own.
pub(super) fn is_needed(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("if-")
        || name.starts_with("content-")
        || name.starts_with("x-forwarded-")
        || matches!(
            name,
            "host"
                | "connection"
                | "upgrade"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "expect"
                | "range"
                | "authorization"
                | "cookie"
                | "cache-control"
                | "pragma"
                | "accept-encoding"
                | "forwarded"
                | "via"
                | "traceparent"
                | "tracestate"
        )
}

fn keep_cookies(headers: &mut HeaderMap, select: &Select) {
    let mut kept: Vec<u8> = Vec::new();
    for line in headers.get_all(header::COOKIE) {
        for cookie in line.as_bytes().split(|byte| *byte == b';') {
            let cookie = cookie.trim_ascii();
            let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            if !cookie.is_empty() && select.takes(name, <[u8]>::eq) {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(cookie);
            }
        }
    }
    headers.remove(header::COOKIE);
    if !kept.is_empty() {
        let kept = HeaderValue::from_bytes(&kept).expect("parts of field values make a field value");
        headers.insert(header::COOKIE, kept);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::key::CustomKey;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn dropped_parameters_are_not_forwarded() {
        let only = Select::Only(names(&["v", "w"]));
        let but = Select::AllBut(names(&["utm"]));
        for (select, uri, forwarded) in [
            (&Select::All, "/p?b=1&a", "/p?b=1&a"),
            (&Select::None, "/p?b=1&a", "/p"),
            (&Select::None, "/p?", "/p"),
            (&Select::None, "/p", "/p"),
            (&only, "/p?w=2&x=1&v=1", "/p?w=2&v=1"),
            (&only, "/p?x=1", "/p"),
            (&but, "/p?utm=1&a=2&utm=3&UTM=4", "/p?a=2&UTM=4"),
            (&but, "/p?utm=1;a=2", "/p?utm=1;a=2"),
            (&but, "/p?utm=1%3Ba=2", "/p?utm=1%3Ba=2"),
            (&but, "http://h/p?utm=1", "http://h/p"),
        ] {
            let policy = KeyPolicy { query: select.clone(), ..KeyPolicy::default() };
            let mut parts = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
            rewrite(&mut parts, &policy, Normalise::default());
            assert_eq!(parts.uri.to_string(), forwarded, "{select:?} {uri}");
        }
    }

    #[test]
    fn dropped_headers_and_cookies_are_not_forwarded() {
        let policy = KeyPolicy {
            headers: Some(Select::Only(names(&["X-Device"]))),
            cookies: Some(Select::Only(names(&["lang"]))),
            ..KeyPolicy::default()
        };
        let mut parts = Request::builder()
            .uri("http://h/")
            .header("x-device", "tv")
            .header("x-other", "1")
            .header("range", "bytes=0-1")
            .header("cookie", "id=7; lang=fr")
            .header("cookie", "lang=de;b")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        rewrite(&mut parts, &policy, Normalise::default());
        assert_eq!(parts.headers["x-device"], "tv");
        assert_eq!(parts.headers["range"], "bytes=0-1");
        assert_eq!(parts.headers["cookie"], "lang=fr; lang=de");
        assert!(!parts.headers.contains_key("x-other"));
    }

    #[test]
    fn negotiated_fields_are_in_normal_form_where_the_key_may_hold_them() {
        let raw = "gzip, br";
        let custom = CustomKey::new(|_| Some(Vec::new()));
        for (policy, expected) in [
            (KeyPolicy::default(), raw),
            (KeyPolicy { headers: Some(Select::All), ..KeyPolicy::default() }, "br,gzip"),
            (KeyPolicy { custom: Some(custom), ..KeyPolicy::default() }, "br,gzip"),
        ] {
            let request = Request::builder().uri("http://h/").header("accept-encoding", raw);
            let mut parts = request.body(()).unwrap().into_parts().0;
            rewrite(&mut parts, &policy, Normalise::default());
            assert_eq!(parts.headers["accept-encoding"], expected, "{policy:?}");
        }
    }
}
