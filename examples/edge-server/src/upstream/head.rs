//! What of a message's head travels on, and what this hop adds to it.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE, VIA};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::{Request, Response, Version};
use tower_edge::semantics::headers::strip_hop_by_hop;

use super::OriginError;
use super::tunnel::Upgrade;
use crate::serve::Viewer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How requests become the origin's.
pub(super) struct Rules {
    pub(super) origin: Authority,
    /// This hop's name in `Via`: a token.
    pub(super) edge: String,
    pub(super) rewrite_host: bool,
}

impl Rules {
    pub(super) fn prepare_request<B>(
        &self,
        request: &mut Request<B>,
        viewer: Option<&Viewer>,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), OriginError> {
        let received = request.version();
        let asked = host(request);
        let takes_trailers = takes_trailers(request.headers());
        *request.uri_mut() = self.target(request.uri())?;
        *request.version_mut() = Version::HTTP_11;

        let headers = request.headers_mut();
        strip_hop_by_hop(headers);
        // These two speak of the connection to the origin, so they are said anew.
        if let Some(upgrade) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, upgrade.protocol.clone());
        } else if takes_trailers {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        self.sign(headers, received);
        let viewer = viewer.map(|viewer| (viewer.address, viewer.https));
        forwarded(headers, asked.as_ref(), viewer);
        match asked {
            Some(asked) if !self.rewrite_host => headers.insert(HOST, asked),
            // hyper writes the origin's.
            _ => headers.remove(HOST),
        };
        Ok(())
    }

    pub(super) fn prepare_response<B>(&self, response: &mut Response<B>, received: Version) {
        strip_hop_by_hop(response.headers_mut());
        self.sign(response.headers_mut(), received);
    }

    /// RFC 9110 §7.6.3: the protocol is the one the message came by.
    pub(super) fn sign(&self, headers: &mut HeaderMap, received: Version) {
        let version = match received {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2.0",
            _ => "1.1",
        };
        append(headers, VIA, &format!("{version} {}", self.edge));
    }

    fn target(&self, asked: &Uri) -> Result<Uri, OriginError> {
        let path = asked.path_and_query().cloned();
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.origin.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| OriginError::Target)
    }
}

/// The host the viewer asked for: HTTP/2 and absolute targets have it in the URI.
fn host<B>(request: &Request<B>) -> Option<HeaderValue> {
    match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    }
}

/// RFC 9110 §6.5.1: trailers may be sent only to who said to take them.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Says who asked, for what, and how: in the terms of RFC 7239, and in those most origins read.
fn forwarded(headers: &mut HeaderMap, asked: Option<&HeaderValue>, viewer: Option<(SocketAddr, bool)>) {
    let mut pairs = Vec::with_capacity(3);
    if let Some((address, _)) = viewer {
        let address = address.ip().to_canonical();
        append(headers, X_FORWARDED_FOR, &address.to_string());
        // RFC 7239 §6: an IPv6 address stands in brackets and quotes.
        pairs.push(match address {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        });
    }
    if let Some(host) = asked.and_then(|asked| asked.to_str().ok()) {
        append(headers, X_FORWARDED_HOST, host);
        pairs.push(format!("host=\"{host}\""));
    }
    let proto = if viewer.is_some_and(|(_, https)| https) { "https" } else { "http" };
    append(headers, X_FORWARDED_PROTO, proto);
    pairs.push(format!("proto={proto}"));
    append(headers, FORWARDED, &pairs.join(";"));
}

/// What is made of an address, a host or a name that was checked can always be a value.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(rewrite_host: bool, request: hyper::http::request::Builder) -> Request<()> {
        let rules =
            Rules { origin: Authority::from_static("origin:3000"), edge: "fra-1".to_owned(), rewrite_host };
        let mut request = request.body(()).unwrap();
        rules.prepare_request(&mut request, None, None).unwrap();
        request
    }

    #[test]
    fn the_target_moves_to_the_origin_and_its_path_stays_as_it_was() {
        for (asked, expected) in [
            ("/", "http://origin:3000/"),
            ("/a//b/../%2F?x=%20&y", "http://origin:3000/a//b/../%2F?x=%20&y"),
            ("/a?", "http://origin:3000/a?"),
            ("http://viewer/a", "http://origin:3000/a"),
        ] {
            assert_eq!(sent(false, Request::get(asked)).uri(), expected, "{asked}");
        }
        let options = sent(false, Request::builder().method("OPTIONS").uri("*"));
        assert_eq!(options.uri().path(), "*");
    }

    #[test]
    fn host_is_the_viewers_unless_told_otherwise() {
        let request = || Request::get("/").header(HOST, "viewer");
        assert_eq!(sent(false, request()).headers()[HOST], "viewer");
        assert_eq!(sent(true, request()).headers().get(HOST), None);
        assert_eq!(sent(true, request()).headers()[X_FORWARDED_HOST], "viewer");
        let http_2 = Request::get("http://viewer:81/").version(Version::HTTP_2);
        assert_eq!(sent(false, http_2).headers()[HOST], "viewer:81");
    }

    #[test]
    fn fields_of_the_connection_stay_on_it() {
        let request = Request::get("/")
            .header(CONNECTION, "x-mine, keep-alive")
            .header("keep-alive", "timeout=5")
            .header("x-mine", "1")
            .header("x-other", "1")
            .header(UPGRADE, "h2c");
        let sent = sent(false, request);
        for name in ["connection", "keep-alive", "x-mine", "upgrade"] {
            assert!(!sent.headers().contains_key(name), "{name}");
        }
        assert!(sent.headers().contains_key("x-other"));
    }

    #[test]
    fn a_viewer_that_takes_trailers_is_known_to_the_origin() {
        let sent = sent(false, Request::get("/").header(TE, "gzip, Trailers"));
        assert_eq!(sent.headers()[TE], "trailers");
        assert_eq!(sent.headers()[CONNECTION], "te");
    }

    #[test]
    fn via_tells_the_protocol_the_message_came_by() {
        let request = Request::get("http://a/").version(Version::HTTP_2).header(VIA, "1.1 other");
        let via: Vec<_> = sent(false, request).headers().get_all(VIA).iter().cloned().collect();
        assert_eq!(via, ["1.1 other", "2.0 fra-1"]);
    }

    #[test]
    fn forwarded_names_the_viewer() {
        for (viewer, list, pair) in [
            ("192.0.2.1:9", "192.0.2.1", "for=192.0.2.1;host=\"a:81\";proto=http"),
            ("[2001:db8::1]:9", "2001:db8::1", "for=\"[2001:db8::1]\";host=\"a:81\";proto=http"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1", "for=192.0.2.1;host=\"a:81\";proto=http"),
        ] {
            let mut headers = HeaderMap::new();
            let host = HeaderValue::from_static("a:81");
            forwarded(&mut headers, Some(&host), Some((viewer.parse().unwrap(), false)));
            assert_eq!(headers[X_FORWARDED_FOR], list);
            assert_eq!(headers[FORWARDED], pair);
            assert_eq!(headers[X_FORWARDED_PROTO], "http");
        }
    }
}
