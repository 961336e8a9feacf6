//! What does a write make invalid? (RFC 9111 §4.4)

use http::{HeaderMap, Method, StatusCode, Uri, header};

/// Whether `method` is known to leave the origin's state alone (RFC 9110 §9.2.1). Unknown methods are not.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        || method.as_str() == "QUERY"
}

/// What an answer says about the unsafe request it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It worked, so that stored responses are invalid (RFC 9111 §4.4).
    Happened,
    /// The origin did not do it.
    Refused,
    /// A gateway on the way does not know what the origin did (RFC 9110 §15.6.3, §15.6.5).
    Unknown,
}

/// What this answer to an unsafe method says about its effect.
pub fn effect(status: StatusCode) -> Effect {
    match status {
        _ if status.is_success() || status.is_redirection() => Effect::Happened,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Effect::Unknown,
        _ => Effect::Refused,
    }
}

/// Whether the answer to a POST is what a GET of `target`, which is absolute, would get: its `Content-Location` says so
/// (RFC 9110 §9.3.3).
pub fn represents(target: &Uri, response: &HeaderMap) -> bool {
    let mut lines = response.get_all(header::CONTENT_LOCATION).iter();
    let (Some(location), None) = (lines.next(), lines.next()) else { return false };
    let location = location.to_str().ok().and_then(|reference| resolve(target, reference));
    location.is_some_and(|location| location.path_and_query() == target.path_and_query())
}

/// Other URIs of the same origin that an answer to a write names: its `Location` and `Content-Location`, resolved
/// against `target`, which is absolute. Each is absolute again.
///
/// A URI of another origin is left alone, or anyone could empty the cache of anyone (RFC 9111 §4.4). What cannot be
/// read is ignored.
pub fn also_invalidated(target: &Uri, response: &HeaderMap) -> Vec<Uri> {
    let mut found: Vec<Uri> = Vec::new();
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        for line in response.get_all(name) {
            let uri = line.to_str().ok().and_then(|reference| resolve(target, reference));
            if let Some(uri) = uri
                && uri.path_and_query() != target.path_and_query()
                && !found.contains(&uri)
            {
                found.push(uri);
            }
        }
    }
    found
}

/// Resolves a reference (RFC 3986 §5.2.2) that stays within the origin of `base`. The result spells the origin as
/// `base` does, and has no fragment.
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split_once('#').map_or(reference, |(uri, _fragment)| uri);
    let (path, query) = if reference.starts_with("//") {
        path_within(base, &format!("{}:{reference}", base.scheme_str()?))?
    } else if has_scheme(reference) {
        path_within(base, reference)?
    } else {
        relative_path(base, reference)
    };
    let path_and_query = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Uri::builder()
        .scheme(base.scheme()?.clone())
        .authority(base.authority()?.clone())
        .path_and_query(path_and_query)
        .build()
        .ok()
}

/// Whether a reference begins with a scheme (RFC 3986 §3.1), and so is no path.
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
    })
}

/// The path and query of an absolute URI, if its origin is that of `base`.
fn path_within(base: &Uri, absolute: &str) -> Option<(String, Option<String>)> {
    let uri: Uri = absolute.parse().ok()?;
    let same_origin = uri.scheme_str()?.eq_ignore_ascii_case(base.scheme_str()?)
        && uri.host()?.eq_ignore_ascii_case(base.host()?)
        && port(&uri)? == port(base)?;
    same_origin.then(|| (without_dot_segments(uri.path()), uri.query().map(str::to_owned)))
}

/// The port, that of the scheme if none is given (RFC 9110 §4.2). `None` when there is no telling.
fn port(uri: &Uri) -> Option<u16> {
    // `Uri::port_u16` takes a port that is out of range for none.
    let (_, after_host) = uri.authority()?.as_str().rsplit_once(uri.host()?)?;
    match after_host {
        "" | ":" if uri.scheme_str()?.eq_ignore_ascii_case("http") => Some(80),
        "" | ":" if uri.scheme_str()?.eq_ignore_ascii_case("https") => Some(443),
        _ => after_host.strip_prefix(':')?.parse().ok(),
    }
}

/// The path and query of a reference without scheme and authority (RFC 3986 §5.2.2, §5.2.3).
fn relative_path(base: &Uri, reference: &str) -> (String, Option<String>) {
    let (path, given) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let query = |query: Option<&str>| query.map(str::to_owned);
    match path {
        "" => (base.path().to_owned(), query(given.or(base.query()))),
        _ if path.starts_with('/') => (without_dot_segments(path), query(given)),
        _ => {
            let directory = base.path().rfind('/').map_or("/", |end| &base.path()[..=end]);
            (without_dot_segments(&format!("{directory}{path}")), query(given))
        }
    }
}

/// Takes `.` and `..` out of an absolute path (RFC 3986 §5.2.4).
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, "." | "..");
        if segment == ".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            // Dots at the end name a directory.
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(target: &'static str, location: &'static str) -> Vec<String> {
        let response = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(location))]);
        also_invalidated(&Uri::from_static(target), &response).iter().map(Uri::to_string).collect()
    }

    #[test]
    fn only_methods_known_to_be_safe_are() {
        // RFC 9110 §9.2.1, RFC 9111 §4.4
        for (method, expected) in [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("TRACE", true),
            ("QUERY", true),
            ("POST", false),
            ("PUT", false),
            ("DELETE", false),
            ("PATCH", false),
            ("PURGE", false),
            ("get", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_safe(&method), expected, "{method}");
        }
    }

    #[test]
    fn the_status_says_whether_a_write_worked() {
        // RFC 9111 §4.4
        use Effect::{Happened, Refused, Unknown};
        for (status, expected) in [
            (101, Refused),
            (200, Happened),
            (204, Happened),
            (299, Happened),
            (303, Happened),
            (399, Happened),
            (400, Refused),
            (404, Refused),
            (500, Refused),
            (502, Unknown),
            (503, Refused),
            (504, Unknown),
        ] {
            assert_eq!(effect(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    #[test]
    fn references_resolve_against_the_target() {
        // RFC 3986 §5.4, as far as the origin stays the same.
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g//../h", "http://a/b/c/g/h"),
            ("./x:y", "http://a/b/c/x:y"),
            ("g?x:y", "http://a/b/c/g?x:y"),
            ("//a/g", "http://a/g"),
            ("//a", "http://a/"),
            ("//a?y", "http://a/?y"),
            ("http://a/g", "http://a/g"),
            ("HTTP://A:80/x/../g", "http://a/g"),
            ("http://a:/g", "http://a/g"),
            ("http://user@a/g", "http://a/g"),
        ] {
            assert_eq!(found("http://a/b/c/d?q", reference), [expected], "{reference}");
        }
    }

    #[test]
    fn the_target_itself_is_left_out() {
        for reference in ["", "#s", "?q", "d?q", "/b/c/d?q", "//a/b/c/d?q", "http://A:80/b/c/d?q#s"] {
            assert_eq!(found("http://a/b/c/d?q", reference), [""; 0], "{reference}");
        }
    }

    #[test]
    fn another_origin_is_left_alone() {
        // RFC 9111 §4.4, RFC 9110 §4.3.1: the target, the reference, whether it is of the same origin.
        for (target, reference, expected) in [
            ("http://a/", "https://a/g", false),
            ("http://a/", "http://b/g", false),
            ("http://a/", "//b/g", false),
            ("http://a/", "http://a.b/g", false),
            ("http://a/", "http://a:8080/g", false),
            ("http://a/", "http://a:443/g", false),
            ("http://a/", "http://a:80/g", true),
            ("https://a/", "https://a:443/g", true),
            ("https://a/", "//a:443/g", true),
            ("http://a:80/", "http://a/g", true),
            ("http://a:8080/", "http://a/g", false),
            ("http://a:8080/", "http://a:8080/g", true),
            ("http://[::1]/", "http://[::1]:80/g", true),
            ("http://[::1]/", "http://[::2]/g", false),
            ("http://a/", "http://a@b/g", false),
        ] {
            assert_eq!(found(target, reference).len(), usize::from(expected), "{target} {reference}");
        }
    }

    #[test]
    fn what_is_no_reference_is_ignored() {
        for reference in [
            "http:",
            "http://",
            "http:g",
            "http:/g",
            "//",
            "///g",
            "mailto:x@a",
            "data:,x",
            "a b",
            "http://a:99999/g",
            "http://a:x/g",
            "http://[a/g",
        ] {
            assert_eq!(found("http://a/b", reference), [""; 0], "{reference}");
        }
        let latin1 = HeaderValue::from_bytes(b"/\xe4").unwrap();
        let response = HeaderMap::from_iter([(header::LOCATION, latin1)]);
        assert_eq!(also_invalidated(&Uri::from_static("http://a/b"), &response), [""; 0]);
    }

    #[test]
    fn every_line_of_both_fields_counts_once() {
        let response = HeaderMap::from_iter([
            (header::LOCATION, HeaderValue::from_static("/1")),
            (header::LOCATION, HeaderValue::from_static("/2")),
            (header::CONTENT_LOCATION, HeaderValue::from_static("/3")),
            (header::CONTENT_LOCATION, HeaderValue::from_static("./1")),
        ]);
        let found = also_invalidated(&Uri::from_static("http://a/"), &response);
        assert_eq!(found, ["http://a/1", "http://a/2", "http://a/3"]);
    }

    #[test]
    fn a_target_without_an_origin_names_nothing() {
        let response = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("/1"))]);
        assert_eq!(also_invalidated(&Uri::from_static("/x"), &response), [""; 0]);
        assert_eq!(also_invalidated(&Uri::from_static("*"), &response), [""; 0]);
    }
}
