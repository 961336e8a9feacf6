//! Which requests come in, and what they leave at the door.
//!
//! This server is the trust boundary. What it would not understand the same way as the origin is refused,
//! and what is said about forwarding is removed, and heard only from who is believed, before the cache makes a key of the request.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, REFERER, USER_AGENT,
};
use hyper::http::uri::{Authority, Scheme, Uri};
use hyper::{Method, Request, StatusCode, Version};
use tower_edge::origin::Viewer;

use crate::trust::{Told, Trust};

/// RFC 8586
static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This is a gateway, not a forward proxy.
    Connect,
    /// The target is neither a path, a URL with one, nor the `*` of `OPTIONS`.
    Target,
    /// The target's scheme is neither the connection's nor the one that a trusted proxy names.
    Scheme,
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2).
    NoHost,
    /// More than one `Host` line (RFC 9112 §3.2).
    TwoHosts,
    /// A host or port that is none.
    BadHost,
    /// `Host` and the target name different hosts.
    Contradiction,
}

impl Refusal {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            // RFC 9110 §7.4: a target whose scheme needs a secured connection came over one that is not.
            Self::Scheme => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT is for forward proxies.\n",
            Self::Target => "The request target must be a path.\n",
            Self::Scheme => "The request target's scheme is not the connection's.\n",
            Self::NoHost => "The request has no Host.\n",
            Self::TwoHosts => "The request has more than one Host.\n",
            Self::BadHost => "The request's host is not valid.\n",
            Self::Contradiction => "The request's Host contradicts its target.\n",
        }
    }
}

/// What is known of a request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The scheme that the viewer used.
    pub(crate) scheme: Scheme,
    /// It names what it has been through, which may be this server (RFC 8586).
    pub(crate) may_loop: bool,
}

/// Checks the head of a request that came over a connection of this scheme, and puts it in the form that the cache and the origin
/// shall see. Who is trusted says by which scheme the viewer came, and from where.
///
/// # Errors
///
/// A request that another server may understand differently is refused.
pub(crate) fn admit<B>(
    request: &mut Request<B>,
    connection: &Scheme,
    trust: &Trust,
) -> Result<Admitted, Refusal> {
    let Told { address, scheme: told } = if trust.is_in_nobody() {
        Told::default()
    } else {
        let peer = request.extensions().get::<Viewer>().map(|peer| peer.address().ip());
        trust.told(request.headers(), peer)
    };
    check_target(request, connection, told.as_ref())?;
    let seen = Seen::of(request.headers());
    check_host(request, &seen)?;
    let Seen { cookies, forwarding, may_loop, .. } = seen;
    if (address.is_some() || told.is_some())
        && let Some(peer) = request.extensions_mut().remove::<Viewer>()
    {
        let (address, is_https) = (address.unwrap_or(peer.address()), peer.is_https());
        let is_https = told.as_ref().map_or(is_https, |told| *told == Scheme::HTTPS);
        request.extensions_mut().insert(peer.at(address).https(is_https));
    }
    if forwarding {
        remove_forwarding(request.headers_mut());
    }
    if cookies > 1 {
        join_cookies(request.headers_mut());
    }
    let scheme = match told {
        Some(told) if told != *connection => {
            spell_out(request, &told);
            told
        }
        _ => connection.clone(),
    };
    Ok(Admitted { scheme, may_loop })
}

/// Says in the target by which scheme it was asked for. The key knows it from there.
pub(crate) fn spell_out<B>(request: &mut Request<B>, scheme: &Scheme) {
    let host = || Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok();
    if !request.uri().path().starts_with('/') {
        return;
    }
    let Some(authority) = request.uri().authority().cloned().or_else(host) else { return };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    (parts.scheme, parts.authority) = (Some(scheme.clone()), Some(authority));
    *request.uri_mut() = Uri::from_parts(parts).expect("a path with a scheme and an authority is a URI");
}

/// What has to be known of the fields, by one pass over them: most have nothing to be looked up for.
#[derive(Default)]
struct Seen<'a> {
    /// The first line of `Host`, and how many there are.
    host: Option<&'a [u8]>,
    hosts: usize,
    cookies: usize,
    forwarding: bool,
    may_loop: bool,
}

impl<'a> Seen<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            match *name {
                HOST => {
                    seen.hosts += 1;
                    seen.host.get_or_insert(value.as_bytes());
                }
                COOKIE => seen.cookies += 1,
                // Nearly every request has them: by constant they cost a jump, by text several comparisons.
                USER_AGENT | ACCEPT | ACCEPT_ENCODING | ACCEPT_LANGUAGE | CONNECTION | REFERER => {}
                _ => {
                    seen.forwarding |= is_forwarding(name);
                    seen.may_loop |= *name == CDN_LOOP;
                }
            }
        }
        seen
    }
}

fn check_target<B>(request: &Request<B>, connection: &Scheme, told: Option<&Scheme>) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let uri = request.uri();
    // Over HTTP/2 a proxy names the scheme of its own connection, or that of its viewer's.
    if uri.scheme().is_some_and(|scheme| scheme != connection && Some(scheme) != told) {
        return Err(Refusal::Scheme);
    }
    // `GET example.com` parses as an authority without a path.
    match uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('/') => Ok(()),
        // RFC 9112 §3.2.4
        Some("*") if request.method() == Method::OPTIONS => Ok(()),
        // `http://example.com?x`: the path of an absolute target may be empty.
        Some(target) if target.starts_with('?') && uri.scheme().is_some() => Ok(()),
        _ => Err(Refusal::Target),
    }
}

fn check_host<B>(request: &Request<B>, seen: &Seen<'_>) -> Result<(), Refusal> {
    // It counts only beside a target with a host, and so with a scheme.
    let default_port = if request.uri().scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let target = match request.uri().authority() {
        Some(authority) => Some(HostAndPort::of(authority, default_port)?),
        None => None,
    };
    if seen.hosts > 1 {
        return Err(Refusal::TwoHosts);
    }
    let parsed;
    let host = match seen.host {
        None => None,
        Some(line) => Some(match HostAndPort::plain(line, default_port) {
            Some(host) => host,
            None => {
                parsed = Authority::try_from(line).map_err(|_| Refusal::BadHost)?;
                HostAndPort::of(&parsed, default_port)?
            }
        }),
    };
    match (target, host) {
        (Some(target), Some(host)) if target != host => Err(Refusal::Contradiction),
        // HTTP/1.0 has no `Host`, HTTP/2 has it in the target.
        (_, None) if request.version() == Version::HTTP_11 => Err(Refusal::NoHost),
        (None, None) if request.version() > Version::HTTP_11 => Err(Refusal::NoHost),
        _ => Ok(()),
    }
}

/// What two spellings of an authority must share to mean the same (RFC 9110 §4.2.3).
struct HostAndPort<'a> {
    host: &'a [u8],
    port: u16,
}

impl PartialEq for HostAndPort<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

impl<'a> HostAndPort<'a> {
    /// Of a name or an IPv4 address, with or without a port, as nearly every `Host` is: without the copy that an
    /// [`Authority`] is made of. `None` of whatever else.
    fn plain(line: &'a [u8], default_port: u16) -> Option<Self> {
        let end = line.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]).unwrap_or(line.len());
        let (host, rest) = line.split_at(end);
        let port = match rest {
            [] => default_port,
            [b':', digits @ ..] => port(digits)?,
            _ => return None,
        };
        (!host.is_empty()).then_some(Self { host, port })
    }

    fn of(authority: &'a Authority, default_port: u16) -> Result<Self, Refusal> {
        let host = authority.host();
        // A user name in front of the host leaves more than a port behind it.
        let port = match authority.as_str().strip_prefix(host) {
            Some("" | ":") => default_port,
            Some(rest) => {
                rest.strip_prefix(':').and_then(|digits| port(digits.as_bytes())).ok_or(Refusal::BadHost)?
            }
            None => return Err(Refusal::BadHost),
        };
        if host.is_empty() {
            return Err(Refusal::BadHost);
        }
        Ok(Self { host: host.as_bytes(), port })
    }
}

/// The bytes of names and IPv4 addresses.
static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        byte += 1;
    }
    table
};

/// A port that there is, in digits and nothing else.
fn port(digits: &[u8]) -> Option<u16> {
    let port = digits.iter().try_fold(0u16, |port, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        port.checked_mul(10)?.checked_add(digit)
    })?;
    (port != 0).then_some(port)
}

/// The origin believes what these fields say of the viewer and its URL, so only this server may say it.
fn remove_forwarding(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_forwarding(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

fn is_forwarding(name: &HeaderName) -> bool {
    *name == FORWARDED || name.as_str() == "x-real-ip" || name.as_str().starts_with("x-forwarded-")
}

/// RFC 9113 §8.2.3: HTTP/2 may split `Cookie` into several lines, of which HTTP/1.1 knows only one.
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Pieces of valid values, joined by valid characters.
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tower_edge::distribution::Token;

    use super::*;
    use crate::trust::Proxies;

    const HTTP: Scheme = Scheme::HTTP;
    const HTTPS: Scheme = Scheme::HTTPS;

    fn request(version: Version, method: &str, target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap()
    }

    /// The scheme by which an admitted request is seen to have come.
    fn seen(
        request: &mut Request<()>,
        connection: &super::Scheme,
        trust: &Trust,
    ) -> Result<super::Scheme, Refusal> {
        admit(request, connection, trust).map(|admitted| admitted.scheme)
    }

    #[test]
    fn what_has_been_through_another_edge_is_known() {
        for (name, may_loop) in [("cdn-loop", true), ("via", false)] {
            let mut request = request(Version::HTTP_11, "GET", "/", &["a"]);
            request.headers_mut().insert(name, "edge".parse().unwrap());
            assert_eq!(admit(&mut request, &HTTP, &Trust::default()).unwrap().may_loop, may_loop, "{name}");
        }
    }

    #[test]
    fn only_one_meaning_gets_in() {
        use Refusal::*;
        for (method, target, hosts, expected) in [
            ("GET", "/", &["a"][..], Ok(())),
            ("GET", "/", &["A:8080"], Ok(())),
            ("GET", "/", &["[::1]:80"], Ok(())),
            ("GET", "http://a/", &["a"], Ok(())),
            ("GET", "http://a?x", &["a"], Ok(())),
            ("GET", "http://a/", &["A:80"], Ok(())),
            ("OPTIONS", "*", &["a"], Ok(())),
            ("GET", "/", &[], Err(NoHost)),
            ("GET", "http://a/", &[], Err(NoHost)),
            ("GET", "/", &["a", "a"], Err(TwoHosts)),
            ("GET", "/", &["a", "b"], Err(TwoHosts)),
            ("GET", "/", &[""], Err(BadHost)),
            ("GET", "/", &[":80"], Err(BadHost)),
            ("GET", "/", &["a b"], Err(BadHost)),
            ("GET", "/", &["a, b"], Err(BadHost)),
            ("GET", "/", &["a/b"], Err(BadHost)),
            ("GET", "/", &["u@a"], Err(BadHost)),
            ("GET", "/", &["a:x"], Err(BadHost)),
            ("GET", "/", &["a:+80"], Err(BadHost)),
            ("GET", "/", &["a:0"], Err(BadHost)),
            ("GET", "/", &["a:65536"], Err(BadHost)),
            ("GET", "http://a/", &["b"], Err(Contradiction)),
            ("GET", "http://a/", &["a:8080"], Err(Contradiction)),
            ("GET", "https://a/", &["a"], Err(Scheme)),
            ("GET", "*", &["a"], Err(Target)),
            ("GET", "a", &["a"], Err(Target)),
            ("CONNECT", "a:443", &["a:443"], Err(Connect)),
        ] {
            let answer =
                seen(&mut request(Version::HTTP_11, method, target, hosts), &HTTP, &Trust::default());
            assert_eq!(answer, expected.map(|()| HTTP), "{method} {target} {hosts:?}");
        }
    }

    #[test]
    fn http_2_has_its_host_in_the_target_and_http_1_0_may_have_none() {
        for (version, target, hosts, expected) in [
            (Version::HTTP_2, "http://a/", &[][..], Ok(())),
            (Version::HTTP_2, "http://a/", &["b"], Err(Refusal::Contradiction)),
            (Version::HTTP_2, "/", &[], Err(Refusal::NoHost)),
            (Version::HTTP_10, "/", &[], Ok(())),
            (Version::HTTP_10, "/", &["a", "b"], Err(Refusal::TwoHosts)),
        ] {
            let answer = seen(&mut request(version, "GET", target, hosts), &HTTP, &Trust::default());
            assert_eq!(answer, expected.map(|()| HTTP), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn over_tls_the_scheme_and_its_port_are_others() {
        for (target, host, expected) in [
            ("/", "a", Ok(())),
            ("https://a/", "a:443", Ok(())),
            ("https://a/", "a:80", Err(Refusal::Contradiction)),
            ("http://a/", "a", Err(Refusal::Scheme)),
        ] {
            let mut request = request(Version::HTTP_11, "GET", target, &[host]);
            assert_eq!(
                seen(&mut request, &HTTPS, &Trust::default()),
                expected.map(|()| HTTPS),
                "{target} {host}"
            );
        }
    }

    #[test]
    fn a_viewers_word_on_forwarding_is_removed() {
        let mut request = request(Version::HTTP_11, "GET", "/", &["a"]);
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-real-ip"] {
            request.headers_mut().insert(name, HeaderValue::from_static("evil"));
        }
        admit(&mut request, &HTTP, &Trust::default()).unwrap();
        assert_eq!(request.headers().keys().collect::<Vec<_>>(), [HOST]);
    }

    #[test]
    fn an_edge_says_by_which_scheme_its_viewer_came() {
        let token = Token::new("0123456789abcdef").ok();
        let trust = Trust { token, ..Trust::default() };
        for (shown, connection, told, scheme, target) in [
            ("0123456789abcdef", HTTP, "https", HTTPS, "https://a/x?y"),
            ("0123456789abcdef", HTTPS, "https, http", HTTP, "http://a/x?y"),
            ("0123456789abcdef", HTTP, "http", HTTP, "/x?y"),
            ("0123456789abcdef", HTTP, "ftp", HTTP, "/x?y"),
            ("0123456789abcdee", HTTP, "https", HTTP, "/x?y"),
        ] {
            let mut request = request(Version::HTTP_11, "GET", "/x?y", &["a"]);
            request.headers_mut().insert("tower-edge-token", shown.parse().unwrap());
            request.headers_mut().insert("x-forwarded-proto", told.parse().unwrap());
            let mut nobody_knows = request.clone();
            assert_eq!(seen(&mut request, &connection, &trust), Ok(scheme), "{told}");
            assert_eq!(request.uri(), target, "{told}");
            assert!(!request.headers().contains_key("x-forwarded-proto"));
            assert_eq!(seen(&mut nobody_knows, &connection, &Trust::default()), Ok(connection));
        }
    }

    #[test]
    fn an_edge_says_where_its_viewer_is() {
        let token = Token::new("0123456789abcdef").ok();
        let trust = Trust { token, ..Trust::default() };
        for (shown, told, address) in [
            ("0123456789abcdef", "192.0.2.1", "192.0.2.1:0"),
            ("0123456789abcdef", "evil, 2001:db8::1", "[2001:db8::1]:0"),
            ("0123456789abcdef", "unknown", "198.51.100.1:9"),
            ("0123456789abcdee", "192.0.2.1", "198.51.100.1:9"),
        ] {
            let mut request = request(Version::HTTP_11, "GET", "/", &["a"]);
            request.headers_mut().insert("tower-edge-token", shown.parse().unwrap());
            request.headers_mut().insert("x-forwarded-for", told.parse().unwrap());
            request.extensions_mut().insert(Viewer::new("198.51.100.1:9".parse().unwrap()));
            admit(&mut request, &HTTP, &trust).unwrap();
            assert!(!request.headers().contains_key("x-forwarded-for"));
            let viewer: &Viewer = request.extensions().get().unwrap();
            assert_eq!(viewer.address(), address.parse().unwrap(), "{told}");
        }
    }

    #[test]
    fn a_trusted_proxy_says_by_which_scheme_and_from_where_its_viewer_came() {
        let trusted = ["198.51.100.0/24".parse().unwrap()].into();
        let trust = Trust { proxies: Proxies { trusted, ..Proxies::default() }, ..Trust::default() };
        for (peer, version, connection, asked, told, expected) in [
            ("198.51.100.1", Version::HTTP_11, HTTP, "/x", "https", Ok((HTTPS, "https://a/x"))),
            ("198.51.100.1", Version::HTTP_11, HTTP, "/x", "http", Ok((HTTP, "/x"))),
            ("198.51.100.1", Version::HTTP_11, HTTPS, "/x", "http", Ok((HTTP, "http://a/x"))),
            ("198.51.100.1", Version::HTTP_11, HTTPS, "/x", "", Ok((HTTPS, "/x"))),
            ("198.51.100.1", Version::HTTP_2, HTTP, "http://a/x", "https", Ok((HTTPS, "https://a/x"))),
            ("198.51.100.1", Version::HTTP_2, HTTP, "https://a/x", "https", Ok((HTTPS, "https://a/x"))),
            ("198.51.100.1", Version::HTTP_2, HTTP, "https://a/x", "http", Err(Refusal::Scheme)),
            ("198.51.101.1", Version::HTTP_2, HTTP, "https://a/x", "https", Err(Refusal::Scheme)),
            ("198.51.101.1", Version::HTTP_11, HTTP, "/x", "https", Ok((HTTP, "/x"))),
        ] {
            let what = format!("{peer} {version:?} {connection} {asked} {told}");
            let mut request = request(version, "GET", asked, if asked == "/x" { &["a"] } else { &[] });
            for (name, value) in [
                ("x-forwarded-proto", told),
                ("x-forwarded-for", "6.6.6.6, 192.0.2.1"),
                ("forwarded", "for=7.7.7.7"),
            ] {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            let address = SocketAddr::new(peer.parse().unwrap(), 9);
            request.extensions_mut().insert(Viewer::new(address).https(connection == HTTPS));
            let admitted = seen(&mut request, &connection, &trust);
            let found = admitted.map(|scheme| (scheme, request.uri().to_string()));
            assert_eq!(found, expected.map(|(scheme, uri)| (scheme, uri.to_owned())), "{what}");
            let Ok((scheme, _)) = found else { continue };
            assert!(!request.headers().keys().any(is_forwarding), "{what}");
            let viewer: &Viewer = request.extensions().get().unwrap();
            let is_trusted = peer == "198.51.100.1";
            let address = if is_trusted { "192.0.2.1:0".parse().unwrap() } else { address };
            assert_eq!((viewer.address(), viewer.is_https()), (address, scheme == HTTPS), "{what}");
        }
    }

    #[test]
    fn split_cookies_are_joined() {
        let mut request = request(Version::HTTP_2, "GET", "http://a/", &[]);
        request.headers_mut().append(COOKIE, HeaderValue::from_static("a=1"));
        request.headers_mut().append(COOKIE, HeaderValue::from_static("b=2"));
        admit(&mut request, &HTTP, &Trust::default()).unwrap();
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
