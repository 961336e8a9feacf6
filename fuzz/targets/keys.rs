//! Keys, through the layer: two requests, each a target on the first line of its section and fields.
//!
//! The origin answers with all that a key has to tell apart. A hit must be what the origin would have said.

use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{FORWARDED, HOST};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt, service_fn};
use tower_edge::{Edge, Outcome, RequestBody};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime without I/O"));

pub fn run(data: &[u8]) {
    let mut lines = super::lines(data);
    let mut requests = Vec::new();
    for _ in 0..2 {
        let Some(uri) = lines.next().and_then(|line| Uri::try_from(line).ok()) else { return };
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri;
        *request.headers_mut() = super::fields(lines.by_ref().take_while(|line| !line.is_empty()));
        requests.push(request);
    }
    let edge = Edge::builder().outcomes(true).capacity(16 << 20).build().expect("a valid configuration");
    let origin = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
        let response = Response::builder().header("cache-control", "public, max-age=60");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(seen(&request)))).expect("a valid response"))
    });
    RUNTIME.block_on(async {
        for request in requests.into_iter().flat_map(|request| [request.clone(), request]) {
            let (expected, unconditional) = (seen(&request), is_plain(&request));
            let response =
                edge.layer().layer(origin).oneshot(request).await.expect("the origin does not fail");
            let hit = response.extensions().get::<Outcome>().is_some_and(Outcome::is_hit);
            let status = response.status();
            let body = response.into_body().collect().await.expect("the body does not fail").to_bytes();
            if unconditional {
                assert_eq!(status, 200);
                assert_eq!(body, expected, "hit: {hit}");
            }
        }
    });
}

/// Whether the answer is the whole body, as far as the request's fields have a say.
fn is_plain(request: &Request<Full<Bytes>>) -> bool {
    !["if-none-match", "if-modified-since", "range", "cache-control"]
        .iter()
        .any(|name| request.headers().contains_key(*name))
}

/// What an origin may take a request to be for: authority in canonical form, path, query, forwarding fields.
fn seen<B>(request: &Request<B>) -> String {
    let uri = request.uri();
    let https = uri.scheme_str() == Some("https");
    let canonical = |authority: &str| {
        let lower = authority.to_ascii_lowercase();
        let default = if https { ":443" } else { ":80" };
        let port = lower
            .rfind(':')
            .filter(|&colon| !lower[colon..].contains(']'))
            .map(|colon| lower[colon + 1..].to_owned());
        match port.as_deref().map(|port| (port, port.parse::<u16>())) {
            Some(("", _)) => lower[..lower.len() - 1].to_owned(),
            Some((text, Ok(port))) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let host = &lower[..lower.len() - text.len() - 1];
                if format!(":{port}") == default { host.to_owned() } else { format!("{host}:{port}") }
            }
            _ => lower,
        }
    };
    let hosts = request
        .headers()
        .get_all(HOST)
        .iter()
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let mut authorities: Vec<String> = uri
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .into_iter()
        .chain(hosts)
        .map(|own| canonical(&own))
        .collect();
    // An authority and a `Host` that agree say one thing.
    authorities.dedup();
    let mut seen = format!("{https} {authorities:?} {:?} {:?}\n", uri.path(), uri.query());
    for name in ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix"] {
        seen.push_str(&format!("{name} {:?}\n", request.headers().get_all(name).iter().collect::<Vec<_>>()));
    }
    // RFC 7239 §4: only these two parameters change the effective URI.
    for line in request.headers().get_all(FORWARDED) {
        for pair in line.as_bytes().split(|byte| b",;".contains(byte)).map(<[u8]>::trim_ascii) {
            let lower = pair.to_ascii_lowercase();
            if lower.starts_with(b"host=") || lower.starts_with(b"proto=") {
                seen.push_str(&format!("{:?}\n", String::from_utf8_lossy(pair)));
            }
        }
    }
    seen
}
