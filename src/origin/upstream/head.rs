//! What of a message's head travels on, and what this hop adds to it.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE, VIA};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Response, Version};

use super::error::{Error, ErrorKind};
use crate::origin::Viewer;
use crate::semantics::headers::strip_hop_by_hop;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How requests become the origin's.
pub(super) struct Rules {
    pub(super) scheme: Scheme,
    pub(super) origin: Authority,
    /// The host every request is for; `None` is the viewer's.
    pub(super) host: Option<Authority>,
    /// This hop's line in `Via`, for each protocol a message comes by.
    via: Via,
    /// This hop's own mark in `CDN-Loop`, and the line with it.
    id: String,
    cdn_loop: HeaderValue,
}

struct Via {
    http_1_0: HeaderValue,
    http_1_1: HeaderValue,
    http_2: HeaderValue,
}

/// The head of a request, ready to be sent over either protocol.
#[derive(Clone)]
pub(super) struct Head {
    parts: Parts,
    scheme: Scheme,
    host: HeaderValue,
    path: PathAndQuery,
    takes_trailers: bool,
    upgrade: Option<HeaderValue>,
}

impl Rules {
    /// `edge` is this hop's name, a token, and `id` its own mark.
    pub(super) fn new(
        scheme: Scheme,
        origin: Authority,
        host: Option<Authority>,
        edge: &str,
        id: String,
    ) -> Self {
        let line = |text: String| HeaderValue::try_from(text).expect("a token makes a value");
        let via = Via {
            http_1_0: line(format!("1.0 {edge}")),
            http_1_1: line(format!("1.1 {edge}")),
            http_2: line(format!("2.0 {edge}")),
        };
        let cdn_loop = line(format!("{edge};id={id}"));
        Self { scheme, origin, host, via, id, cdn_loop }
    }

    /// Takes what is about the viewer's connection out of a head, and puts in what the origin should know of it.
    /// `upgrade` is the protocol to switch to.
    pub(super) fn prepare(&self, mut parts: Parts, upgrade: Option<HeaderValue>) -> Result<Head, Error> {
        // RFC 9110 §9.3.6: a tunnel to the origin's own port is nothing a gateway makes.
        if parts.method == Method::CONNECT {
            return Err(ErrorKind::Target.into());
        }
        let viewer = parts.extensions.remove::<Viewer>();
        let asked = host(&parts);
        // RFC 9110 §4.2.4: a host with a user in front of it is made to mislead.
        if asked.as_ref().is_some_and(|asked| asked.as_bytes().contains(&b'@')) {
            return Err(ErrorKind::Target.into());
        }
        let takes_trailers = takes_trailers(&parts.headers);
        let headers = &mut parts.headers;
        self.refuse_loop(headers)?;
        strip_hop_by_hop(headers);
        headers.remove(HOST);
        self.sign(headers, parts.version);
        headers.append(CDN_LOOP, self.cdn_loop.clone());
        // The scheme in the URI is the one in the cache key.
        let https = match parts.uri.scheme() {
            Some(scheme) => Some(*scheme == Scheme::HTTPS),
            None => viewer.as_ref().map(Viewer::is_https),
        };
        forwarded(headers, asked.as_ref(), viewer.map(|viewer| viewer.address()), https);
        let host = match (&self.host, asked) {
            (None, Some(asked)) => asked,
            (host, _) => HeaderValue::from_str(host.as_ref().unwrap_or(&self.origin).as_str())
                .map_err(|_| ErrorKind::Target)?,
        };
        let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Head { parts, scheme: self.scheme.clone(), host, path, takes_trailers, upgrade })
    }

    /// RFC 8586 §2. A mark of its own, rather than the name, tells a loop from a chain of edges that share a name.
    pub(super) fn refuse_loop(&self, headers: &HeaderMap) -> Result<(), Error> {
        let mark = self.id.as_bytes();
        // To look the name up is to hash it, which takes longer than to pass by the others.
        let mut lines = headers.iter().filter(|(name, _)| **name == CDN_LOOP);
        if lines.any(|(_, line)| line.as_bytes().windows(mark.len()).any(|part| part == mark)) {
            return Err(ErrorKind::Loop.into());
        }
        Ok(())
    }

    pub(super) fn prepare_response<B>(&self, response: &mut Response<B>, received: Version) {
        strip_hop_by_hop(response.headers_mut());
        self.sign(response.headers_mut(), received);
    }

    /// RFC 9110 §7.6.3: the protocol is the one the message came by.
    pub(super) fn sign(&self, headers: &mut HeaderMap, received: Version) {
        let line = match received {
            Version::HTTP_10 => &self.via.http_1_0,
            Version::HTTP_2 => &self.via.http_2,
            _ => &self.via.http_1_1,
        };
        headers.append(VIA, line.clone());
    }
}

impl Head {
    pub(super) fn is_idempotent(&self) -> bool {
        self.parts.method.is_idempotent()
    }

    /// The head as it goes over HTTP/1.1.
    pub(super) fn over_http_1(self) -> Parts {
        let Self { mut parts, host, path, takes_trailers, upgrade, .. } = self;
        parts.version = Version::HTTP_11;
        parts.uri = Uri::from(path);
        let headers = &mut parts.headers;
        headers.insert(HOST, host);
        // These two speak of the connection to the origin, so they are said anew.
        if let Some(protocol) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        } else if takes_trailers {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        parts
    }

    /// The head as it goes over HTTP/2 (RFC 9113 §8.2.2, §8.3.1): the host stands in the URI, and no field speaks of
    /// the connection.
    pub(super) fn over_http_2(self) -> Result<Parts, Error> {
        let Self { mut parts, scheme, host, path, takes_trailers, .. } = self;
        let host = Authority::try_from(host.as_bytes()).map_err(|_| ErrorKind::Target)?;
        parts.version = Version::HTTP_2;
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path);
        parts.uri = uri.build().map_err(|error| Error::with(ErrorKind::Target, error))?;
        if takes_trailers {
            parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        Ok(parts)
    }
}

/// The host the viewer asked for: HTTP/2 and absolute targets have it in the URI.
fn host(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(HOST).cloned(),
    }
}

/// RFC 9110 §6.5.1: trailers may be sent only to who said to take them.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Says who asked, for what, and how: in the terms of RFC 7239, and in those most origins read.
fn forwarded(
    headers: &mut HeaderMap,
    asked: Option<&HeaderValue>,
    viewer: Option<SocketAddr>,
    https: Option<bool>,
) {
    let mut pairs = String::with_capacity(64);
    if let Some(viewer) = viewer {
        let address = viewer.ip().to_canonical();
        let text = address.to_string();
        // RFC 7239 §6: an IPv6 address stands in brackets and quotes.
        match address {
            IpAddr::V4(_) => add_pair(&mut pairs, ["for=", &text, ""]),
            IpAddr::V6(_) => add_pair(&mut pairs, ["for=\"[", &text, "]\""]),
        }
        append(headers, X_FORWARDED_FOR, text);
    }
    if let Some((value, host)) = asked.and_then(|asked| Some((asked, asked.to_str().ok()?))) {
        add_pair(&mut pairs, ["host=\"", host, "\""]);
        headers.append(X_FORWARDED_HOST, value.clone());
    }
    if let Some(https) = https {
        let scheme = if https { "https" } else { "http" };
        add_pair(&mut pairs, ["proto=", scheme, ""]);
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !pairs.is_empty() {
        append(headers, FORWARDED, pairs);
    }
}

fn add_pair(pairs: &mut String, pair: [&str; 3]) {
    if !pairs.is_empty() {
        pairs.push(';');
    }
    pairs.extend(pair);
}

/// What is made of an address or a host can always be a value.
fn append(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::request::Builder;

    use super::*;

    fn rules(host: Option<&'static str>) -> Rules {
        let origin = Authority::from_static("origin:3000");
        let host = host.map(Authority::from_static);
        Rules::new(Scheme::HTTPS, origin, host, "fra-1", "0123456789abcdef".to_owned())
    }

    fn head(host: Option<&'static str>, request: Builder) -> Result<Head, Error> {
        rules(host).prepare(request.body(()).unwrap().into_parts().0, None)
    }

    fn sent(request: Builder) -> Parts {
        head(None, request).unwrap().over_http_1()
    }

    #[test]
    fn the_target_moves_to_the_origin_and_its_path_stays_as_it_was() {
        for (asked, http_1, http_2) in [
            ("/", "/", "https://origin:3000/"),
            ("/a//b/../%2F?x=%20&y", "/a//b/../%2F?x=%20&y", "https://origin:3000/a//b/../%2F?x=%20&y"),
            ("/a?", "/a?", "https://origin:3000/a?"),
            ("http://viewer/a", "/a", "https://viewer/a"),
            ("http://viewer?a", "/?a", "https://viewer/?a"),
        ] {
            assert_eq!(sent(Request::get(asked)).uri.to_string(), http_1, "{asked}");
            let parts = head(None, Request::get(asked)).unwrap().over_http_2().unwrap();
            assert_eq!(parts.uri.to_string(), http_2, "{asked}");
        }
        let options = || head(None, Request::options("*")).unwrap();
        assert_eq!(options().over_http_1().uri.path(), "*");
        assert_eq!(options().over_http_2().unwrap().uri.path(), "*");
    }

    #[test]
    fn a_target_that_cannot_be_sent_is_the_viewers_fault() {
        for request in [
            Request::connect("a:443"),
            Request::get("http://user@a/"),
            Request::get("/").header(HOST, "user@a"),
        ] {
            let error = head(None, request).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Target);
        }
        let bad = head(None, Request::get("/").header(HOST, "a b")).unwrap();
        assert_eq!(bad.over_http_2().unwrap_err().kind(), ErrorKind::Target);
    }

    #[test]
    fn host_is_the_viewers_unless_told_otherwise() {
        for (fixed, http_1, http_2) in [
            (None, "viewer", "https://viewer/"),
            (Some("origin:3000"), "origin:3000", "https://origin:3000/"),
            (Some("other"), "other", "https://other/"),
        ] {
            let head = || head(fixed, Request::get("/").header(HOST, "viewer")).unwrap();
            assert_eq!(head().over_http_1().headers[HOST], http_1);
            assert_eq!(head().over_http_1().headers[X_FORWARDED_HOST], "viewer");
            let parts = head().over_http_2().unwrap();
            assert_eq!(parts.uri.to_string(), http_2);
            assert!(!parts.headers.contains_key(HOST));
        }
        let http_2 = Request::get("http://viewer:81/").version(Version::HTTP_2);
        assert_eq!(sent(http_2).headers[HOST], "viewer:81");
        // HTTP/1.0 may have none.
        assert_eq!(sent(Request::get("/")).headers[HOST], "origin:3000");
    }

    #[test]
    fn fields_of_the_connection_stay_on_it() {
        let request = Request::get("/")
            .header(CONNECTION, "x-mine, keep-alive")
            .header("keep-alive", "timeout=5")
            .header("x-mine", "1")
            .header("x-other", "1")
            .header(UPGRADE, "h2c");
        let sent = sent(request);
        for name in ["connection", "keep-alive", "x-mine", "upgrade"] {
            assert!(!sent.headers.contains_key(name), "{name}");
        }
        assert!(sent.headers.contains_key("x-other"));
    }

    #[test]
    fn a_viewer_that_takes_trailers_is_known_to_the_origin() {
        let request = || head(None, Request::get("/").header(TE, "gzip, Trailers")).unwrap();
        let (http_1, http_2) = (request().over_http_1().headers, request().over_http_2().unwrap().headers);
        assert_eq!(http_1[TE], "trailers");
        assert_eq!(http_1[CONNECTION], "te");
        assert_eq!(http_2[TE], "trailers");
        assert!(!http_2.contains_key(CONNECTION));
    }

    #[test]
    fn via_tells_the_protocol_the_message_came_by() {
        for (version, line) in
            [(Version::HTTP_10, "1.0 fra-1"), (Version::HTTP_11, "1.1 fra-1"), (Version::HTTP_2, "2.0 fra-1")]
        {
            let request = Request::get("http://a/").version(version).header(VIA, "1.1 other");
            let via: Vec<_> = sent(request).headers.get_all(VIA).iter().cloned().collect();
            assert_eq!(via, ["1.1 other", line]);
        }
    }

    #[test]
    fn a_request_that_was_here_is_refused_and_one_from_a_namesake_is_not() {
        let before = sent(Request::get("/")).headers[CDN_LOOP].clone();
        assert_eq!(before, "fra-1;id=0123456789abcdef");
        for (lines, refused) in [
            (&["fra-1;id=0123456789abcdef"][..], true),
            (&["a, fra-1; id=0123456789abcdef;x=y, b"], true),
            (&["a", "fra-1; id=\"0123456789abcdef\""], true),
            (&["fra-1"], false),
            (&["fra-1;id=fedcba9876543210", "\u{fffd}"], false),
            (&[], false),
        ] {
            let request =
                lines.iter().fold(Request::get("/"), |request, line| request.header(CDN_LOOP, *line));
            let kind = head(None, request).err().map(|error| error.kind());
            assert_eq!(kind, refused.then_some(ErrorKind::Loop), "{lines:?}");
        }
        // Whoever is asked to take the mark off does not hide a loop by it.
        let request = Request::get("/").header(CONNECTION, "cdn-loop").header(CDN_LOOP, before);
        assert!(head(None, request).is_err());
    }

    #[test]
    fn forwarded_names_the_viewer() {
        for (viewer, https, list, pair) in [
            ("192.0.2.1:9", Some(false), "192.0.2.1", "for=192.0.2.1;host=\"a:81\";proto=http"),
            ("[2001:db8::1]:9", Some(true), "2001:db8::1", "for=\"[2001:db8::1]\";host=\"a:81\";proto=https"),
            ("[::ffff:192.0.2.1]:9", None, "192.0.2.1", "for=192.0.2.1;host=\"a:81\""),
        ] {
            let mut headers = HeaderMap::new();
            let host = HeaderValue::from_static("a:81");
            forwarded(&mut headers, Some(&host), Some(viewer.parse().unwrap()), https);
            assert_eq!(headers[X_FORWARDED_FOR], list);
            assert_eq!(headers[FORWARDED], pair);
            let scheme = headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
            assert_eq!(scheme, https.map(|https| if https { &b"https"[..] } else { b"http" }));
        }
    }

    #[test]
    fn the_scheme_told_is_the_one_in_the_key() {
        let viewer = Viewer::new("192.0.2.1:9".parse().unwrap()).https(true);
        for (target, viewer, expected) in [
            ("http://a/", Some(viewer.clone()), Some("http")),
            ("https://a/", None, Some("https")),
            ("/", Some(viewer), Some("https")),
            ("/", None, None),
        ] {
            let mut request = Request::get(target);
            if let (Some(viewer), Some(extensions)) = (viewer, request.extensions_mut()) {
                extensions.insert(viewer);
            }
            let headers = sent(request).headers;
            let told = headers.get(X_FORWARDED_PROTO).map(|scheme| scheme.to_str().unwrap());
            assert_eq!(told, expected, "{target}");
        }
    }
}
