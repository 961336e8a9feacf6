//! Where an origin's answers lead, in the viewer's terms: [`Relocate`].
//!
//! `Location` and `Content-Location` name what the origin knows: its own host, its own paths. Viewers know others, and so
//! does the cache, which clears what a write's answer names.

use hyper::Request;
use hyper::header::{CONTENT_LOCATION, HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::http::uri::{Authority, Scheme, Uri};
use tower_edge::origin::Viewer;

/// Between the viewer's URIs and those of an origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relocate {
    /// What the origins call themselves.
    pub(crate) names: Vec<(Scheme, Authority)>,
    /// Taken from the viewer's path.
    pub(crate) strip_prefix: String,
    /// Put in front after that.
    pub(crate) add_prefix: String,
}

/// Where a request was for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    scheme: Scheme,
    authority: Option<Authority>,
}

impl Asked {
    /// Reads a request as it came.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let https = request.extensions().get::<Viewer>().is_some_and(Viewer::is_https);
        let scheme = uri.scheme().cloned().unwrap_or(if https { Scheme::HTTPS } else { Scheme::HTTP });
        let host = || Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok();
        Self { scheme, authority: uri.authority().cloned().or_else(host) }
    }
}

impl Relocate {
    fn moves_paths(&self) -> bool {
        !(self.strip_prefix.is_empty() && self.add_prefix.is_empty())
    }

    /// The path and query of the origin for those of the viewer; `None` if they are the same.
    pub(crate) fn to_origin(&self, uri: &Uri) -> Option<String> {
        let path = uri.path();
        if !self.moves_paths() || !path.starts_with('/') {
            return None;
        }
        let rest = below(path, &self.strip_prefix).unwrap_or(path);
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(format!("{}{rest}{query}", self.add_prefix))
    }

    /// Whether an origin may take a viewer's path, behind the prefix that is put in front of it, for one outside of that.
    pub(crate) fn may_leave(&self, uri: &Uri) -> bool {
        let path = uri.path();
        if self.add_prefix.is_empty() || !path.contains(['.', '%']) {
            return false;
        }
        let mut decoded = path.to_ascii_lowercase();
        // Servlets take what follows a semicolon away, and C what follows a NUL.
        for (encoded, meant) in [("%2e", "."), ("%2f", "/"), ("%5c", "/"), ("%3b", ";"), ("%00", ";")] {
            decoded = decoded.replace(encoded, meant);
        }
        decoded.split(['/', '\\']).any(|segment| segment.split(';').next() == Some(".."))
    }

    /// Has the answer to a request, which asked the origin for `path`, say where things are for the viewer.
    pub(crate) fn to_viewer(&self, asked: &Asked, path: &str, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            if headers.get_all(&name).iter().nth(1).is_some() {
                // Which of them counts is the viewer's guess.
                continue;
            }
            let moved = headers.get(&name).and_then(|value| self.moved(asked, path, value.to_str().ok()?));
            if let Some(moved) = moved.and_then(|moved| HeaderValue::try_from(moved).ok()) {
                headers.insert(name, moved);
            }
        }
    }

    /// A reference as the viewer has it; `None` if that is the same, or it leads elsewhere.
    fn moved(&self, asked: &Asked, base: &str, reference: &str) -> Option<String> {
        let (origin, path) = split(reference);
        let Some(origin) = origin else {
            if !self.moves_paths() || path.is_empty() || path.starts_with(['?', '#']) {
                return None;
            }
            let path = self.viewer_path(&resolved(base, path))?;
            if !path[1..].starts_with(['/', '\\', '\t']) {
                return Some(path);
            }
            // RFC 3986 §4.2: by itself it would be a reference to another host, and as browsers read it (WHATWG URL §4.4).
            return Some(format!("{}://{}{path}", asked.scheme, asked.authority.as_ref()?));
        };
        let (scheme, authority) = match origin.split_once("//")? {
            // RFC 3986 §4.2: with the scheme of what was asked, which the origin knows as its own.
            ("", authority) => (None, authority),
            (scheme, authority) => {
                (Some(scheme.strip_suffix(':')?.to_ascii_lowercase().parse::<Scheme>().ok()?), authority)
            }
        };
        let authority: Authority = authority.parse().ok()?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let is = |(other_scheme, other): (&Scheme, &Authority)| {
            scheme.as_ref().is_none_or(|scheme| scheme == other_scheme)
                && other.host().eq_ignore_ascii_case(authority.host())
                && port(other, other_scheme) == port(&authority, scheme.as_ref().unwrap_or(other_scheme))
        };
        let viewer = asked.authority.as_ref()?;
        if is((&asked.scheme, viewer)) {
            // It knows the viewer's name for it.
            return self
                .moves_paths()
                .then(|| self.viewer_path(&path))?
                .map(|path| format!("{origin}{path}"));
        }
        if self.names.iter().any(|(scheme, name)| is((scheme, name))) {
            return Some(format!("{}://{viewer}{}", asked.scheme, self.viewer_path(&path)?));
        }
        None
    }

    /// The viewer's path, with all that follows it, for the origin's; `None` if no viewer's leads there.
    fn viewer_path(&self, path: &str) -> Option<String> {
        let (path, rest) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
        let path = without_dots(path);
        Some(format!("{}{}{rest}", self.strip_prefix, below(&path, &self.add_prefix)?))
    }
}

/// What of a path is below a prefix of whole segments.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

/// The scheme and authority of a reference, if it has any, and what follows.
fn split(reference: &str) -> (Option<&str>, &str) {
    let scheme = reference.find(['/', '?', '#']).filter(|end| {
        let scheme = &reference[..*end];
        scheme.is_empty() || scheme.strip_suffix(':').is_some_and(|scheme| !scheme.contains(':'))
    });
    let Some(start) = scheme.filter(|start| reference[*start..].starts_with("//")) else {
        return match reference.split(['/', '?', '#']).next() {
            // `mailto:` and the like lead nowhere here.
            Some(first) if first.contains(':') => (Some(reference), ""),
            _ => (None, reference),
        };
    };
    let after = start + 2;
    let end = reference[after..].find(['/', '?', '#']).map_or(reference.len(), |end| after + end);
    (Some(&reference[..end]), &reference[end..])
}

fn port(authority: &Authority, scheme: &Scheme) -> u16 {
    authority.port_u16().unwrap_or(if *scheme == Scheme::HTTPS { 443 } else { 80 })
}

/// RFC 3986 §5.2.3, of a reference with a path.
fn resolved(base: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let base = base.split('?').next().unwrap_or_default();
    let folder = base.rfind('/').map_or("/", |end| &base[..=end]);
    format!("{folder}{path}")
}

/// RFC 3986 §5.2.4
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            kept.pop();
        }
        match segment {
            "." | ".." if segments.peek().is_some() => {}
            // Dots at the end name a folder.
            "." | ".." => kept.push(""),
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relocate(strip: &str, add: &str) -> Relocate {
        Relocate {
            names: vec![(Scheme::HTTP, Authority::from_static("origin:3000"))],
            strip_prefix: strip.to_owned(),
            add_prefix: add.to_owned(),
        }
    }

    #[test]
    fn prefixes_are_stripped_and_added_by_whole_segments() {
        for (strip, add, asked, sent) in [
            ("", "", "/a?b", None),
            ("/a", "", "/a/b?c=%2F", Some("/b?c=%2F")),
            ("/a", "", "/a", Some("/")),
            ("/a", "", "/a?", Some("/?")),
            ("/a", "", "/a//b/%2e", Some("//b/%2e")),
            ("/a", "", "/ab", Some("/ab")),
            ("", "/v1", "/a", Some("/v1/a")),
            ("/a", "/v1/x", "http://h:1/a/b?c", Some("/v1/x/b?c")),
            ("/a", "/v1", "*", None),
        ] {
            assert_eq!(
                relocate(strip, add).to_origin(&asked.parse().unwrap()).as_deref(),
                sent,
                "{strip} {add} {asked}"
            );
        }
    }

    #[test]
    fn a_prefix_that_is_added_is_not_left() {
        for (path, leaves) in [
            ("/a/b", false),
            ("/a..b/...", false),
            ("/.well-known/x", false),
            ("/./x?..", false),
            ("/..%C3%A9", false),
            ("/..", true),
            ("/a/../b", true),
            ("/%2E./b", true),
            ("/a/%2e%2e%2fb", true),
            ("/..%5cb", true),
            ("/a\\..\\b", true),
            ("/..;x=y/b", true),
            ("/..%00/b", true),
        ] {
            assert_eq!(relocate("", "/v1").may_leave(&path.parse().unwrap()), leaves, "{path}");
            assert!(!relocate("/a", "").may_leave(&path.parse().unwrap()), "{path}");
        }
    }

    #[test]
    fn places_are_the_viewers() {
        let asked = Asked { scheme: Scheme::HTTPS, authority: Some(Authority::from_static("site:8443")) };
        for (strip, add, reference, expected) in [
            ("/a", "", "/x", "/a/x"),
            ("/a", "", "/x?y=/z#/w", "/a/x?y=/z#/w"),
            ("/a", "", "/", "/a/"),
            ("/a", "", "x", "/a/d/x"),
            ("/a", "", "./x:y", "/a/d/x:y"),
            ("/a", "", "../../x", "/a/x"),
            ("/a", "", "?y", "?y"),
            ("/a", "", "", ""),
            ("/a", "/v1", "/v1/x", "/a/x"),
            ("/a", "/v1", "/v1", "/a/"),
            ("", "/v1", "/v1/x", "/x"),
            // Without its prefix it would be another site's, as RFC 3986 or browsers read it.
            ("", "/v1", "/v1//evil/x?y", "https://site:8443//evil/x?y"),
            ("", "/v1", "/v1/./\\evil", "https://site:8443/\\evil"),
            ("", "/v1", "/v1/\t/evil", "https://site:8443/\t/evil"),
            ("", "/v1", "https://site:8443/v1//evil", "https://site:8443//evil"),
            // Where no viewer's path leads.
            ("/a", "/v1", "/v10/x", "/v10/x"),
            ("/a", "/v1", "/v1/../x", "/v1/../x"),
            // Of its own name.
            ("", "", "http://origin:3000/x?y", "https://site:8443/x?y"),
            ("", "", "HTTP://ORIGIN:3000", "https://site:8443/"),
            ("", "", "//origin:3000/x", "https://site:8443/x"),
            ("/a", "/v1", "http://origin:3000/v1/x", "https://site:8443/a/x"),
            ("/a", "/v1", "http://origin:3000/x", "http://origin:3000/x"),
            ("", "", "http://origin/x", "http://origin/x"),
            ("", "", "https://origin:3000/x", "https://origin:3000/x"),
            // Of the viewer's.
            ("", "", "https://site:8443/x", "https://site:8443/x"),
            ("/a", "", "https://site:8443/x", "https://site:8443/a/x"),
            ("/a", "", "//site:8443/x", "//site:8443/a/x"),
            ("/a", "", "http://site:8443/x", "http://site:8443/x"),
            // Of others.
            ("/a", "", "https://other/x", "https://other/x"),
            ("/a", "", "//other/x", "//other/x"),
            ("/a", "", "mailto:x@origin:3000", "mailto:x@origin:3000"),
            ("/a", "", "http:x", "http:x"),
            ("/a", "", "http://", "http://"),
            ("/a", "", "///x", "///x"),
        ] {
            for name in [LOCATION, CONTENT_LOCATION] {
                let mut headers =
                    HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(reference).unwrap())]);
                relocate(strip, add).to_viewer(&asked, "/d/e?q=/r", &mut headers);
                assert_eq!(headers[&name], expected, "{strip} {add} {reference}");
            }
        }
    }
}
