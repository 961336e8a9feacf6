//! Who may ask the control port. A browser on the operator's machine reaches it too, on behalf of any site it shows.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::uri::Scheme;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::admit::admit;
use crate::token::Expected;
use crate::trust::Trust;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets in who may ask, and marks every answer as one to be kept nowhere.
pub(super) async fn guard(
    State(token): State<Option<Expected>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match check(&mut request, token.as_ref()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn check(request: &mut Request, token: Option<&Expected>) -> Result<(), Problem> {
    admit(request, &Scheme::HTTP, &Trust::default())
        .map(drop)
        .map_err(|refusal| Problem::new(refusal.status(), refusal.reason().trim()))?;
    if token.is_none() {
        check_host(request.headers())?;
    }
    check_site(request.headers())?;
    match token {
        Some(token) => check_token(request.headers(), token),
        None => Ok(()),
    }
}

/// A site may have its own name lead here, and would then be of the same origin (DNS rebinding). The port says nothing: it
/// is another behind a tunnel. Without a token the port is open on loopback alone. Where a token is needed no browser sends it for a site, and operators may use any name.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let ours = host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        match name.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    });
    if ours {
        Ok(())
    } else {
        let detail = "the Host is neither localhost nor a loopback address";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
    }
}

/// Browsers say for which site they ask.
fn check_site(headers: &HeaderMap) -> Result<(), Problem> {
    let cross = || Err(Problem::new(StatusCode::FORBIDDEN, "requests of other sites are refused"));
    if headers.get_all(&SEC_FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none") {
        return cross();
    }
    for origin in headers.get_all(ORIGIN) {
        let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        if origin.as_bytes().strip_prefix(b"http://") != Some(host) {
            return cross();
        }
    }
    Ok(())
}

/// RFC 6750 §2.1, §3
fn check_token(headers: &HeaderMap, token: &Expected) -> Result<(), Problem> {
    let refuse = |detail, challenge| {
        Err(Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge))
    };
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let offered = match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
        (Some(line), None) => {
            line.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        }
        _ => None,
    };
    match offered {
        Some((_, offered)) if token.is(offered.trim_ascii()) => Ok(()),
        Some(_) => refuse("this is not the token", "Bearer error=\"invalid_token\""),
        None => refuse("a bearer token is required", "Bearer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_our_own_names_lead_here() {
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:9090", true),
            ("127.0.0.1:9090", true),
            ("127.0.0.2", true),
            ("[::1]:9090", true),
            ("[::ffff:127.0.0.1]:9090", true),
            ("[::ffff:192.0.2.8]:9090", false),
            ("192.0.2.8:9090", false),
            ("evil.example:9090", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.", false),
            ("", false),
        ] {
            assert_eq!(check_host(&lines(&[("host", host)])).is_ok(), ours, "{host}");
        }
        assert!(check_host(&lines(&[])).is_err());
    }

    #[test]
    fn other_sites_are_refused() {
        for (fields, ours) in [
            (&[][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:9090")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", "http://localhost:8080")], false),
            (&[("origin", "https://localhost:9090")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://evil.example")], false),
        ] {
            let mut headers = lines(fields);
            headers.insert(HOST, HeaderValue::from_static("localhost:9090"));
            assert_eq!(check_site(&headers).is_ok(), ours, "{fields:?}");
        }
    }
}
